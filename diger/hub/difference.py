"""How a bundle differs from another: a folder's from the Hub's, or any two.

Two manifests tell which files differ without fetching them; of the Hub's side only the manifest
and the two small documents come down. The card counts apart: publishing writes it anew, so it
differs between a folder and what was published from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diger.bundle import documents, schema
from diger.bundle.manifest import FileEntry, parse_json
from diger.bundle.reader import Bundle
from diger.bundle.settings import leaves
from diger.hub.address import is_address, parse
from diger.hub.client import contradicts, entry_of, look, talking
from diger.hub.fetch import bring, remote_manifest

PRESENTATION = frozenset((schema.CARD, schema.PICTURE))


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, its files, and its documents."""

    name: str
    files: Mapping[str, FileEntry]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """Two sides and what differs; every list is sorted.

    changed, only_left, only_right: names of files. settings: `config.json` entries by dotted name
    with both values. metrics: headline test metrics with both values. None is: not there.
    """

    left: Side
    right: Side
    changed: tuple[str, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]
    metrics: tuple[tuple[str, float | None, float | None], ...]

    @property
    def same_content(self) -> bool:
        """Whether nothing differs but the card and its picture."""
        return not ({*self.changed, *self.only_left, *self.only_right} - PRESENTATION)

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not (self.changed or self.only_left or self.only_right)


def diff(left: str | os.PathLike[str], right: str | os.PathLike[str]) -> Difference:
    """Compare two bundles, each a path or an address."""
    ours, theirs = _side(left), _side(right)
    shared = ours.files.keys() & theirs.files.keys()
    changed = sorted(name for name in shared if ours.files[name] != theirs.files[name])
    return Difference(
        ours,
        theirs,
        tuple(changed),
        tuple(sorted(ours.files.keys() - shared)),
        tuple(sorted(theirs.files.keys() - shared)),
        _both(dict(leaves(ours.config)), dict(leaves(theirs.config))),
        _both(_headline(ours.metrics), _headline(theirs.metrics)),
    )


def _side(place: str | os.PathLike[str]) -> Side:
    if not is_address(place):
        bundle = Bundle.open(Path(place))
        return Side(str(place), bundle.manifest.files, bundle.config, bundle.metrics)
    address = parse(place)
    with talking(f"comparing with {address}") as api, TemporaryDirectory() as aside:
        folder = Path(aside)
        there = look(api, address)
        manifest = remote_manifest(address, there, folder)
        bring(address, there.commit, list(schema.JSON_FILES), folder)
        config, metrics = (parse_json((folder / n).read_bytes(), n) for n in schema.JSON_FILES)
    files = {
        # Somebody may have changed a file on the Hub without the manifest.
        name: entry_of(there.files[name]) if contradicts(there.files[name], entry) else entry
        for name, entry in manifest.files.items()
    }
    return Side(f"{address} ({there.commit[:12]})", files, config, metrics)


def _headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    tested = documents.headline(metrics, "test")
    values = {} if tested is None else tested["metrics"]
    return {name: float(v) for name, v in values.items() if documents.is_number(v)}


def _both(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[tuple[str, Any, Any], ...]:
    """Entries that differ, with both values."""
    names = sorted(left.keys() | right.keys())
    return tuple((n, left.get(n), right.get(n)) for n in names if left.get(n) != right.get(n))
