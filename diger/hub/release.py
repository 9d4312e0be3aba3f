"""What of a bundle goes up: the same files, with the card for the Hub, and text only where it may.

A release is a bundle again, with a manifest of its own: what others fetch is byte for byte this.
The bundle on disk is never touched. The card is written anew because only now is it known where the
bundle will be and what stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diger.bundle import schema
from diger.bundle.card import Sibling, model_card
from diger.bundle.manifest import FileEntry, Manifest, located
from diger.bundle.reader import Bundle, list_bundles
from diger.bundle.settings import leaves
from diger.errors import DigerError
from diger.hub.address import is_address, parse
from diger.hub.client import current_token
from diger.hub.fetch import local_path
from diger.names import SID_METHODS
from diger.text import printable

NO_SIBLING = "none"

_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}")
_LOCAL_PATH = re.compile(r"(?:/|~/|[A-Za-z]:\\|\\\\)[\w .~-]+[/\\].+")


@dataclass(frozen=True)
class Release:
    """Files to send, by name: their content, or the path of one that is sent as it is.

    entries: size and SHA-256 of each, the manifest among them. notes: what its owner should know.
    """

    files: Mapping[str, bytes | Path]
    entries: Mapping[str, FileEntry]
    notes: tuple[str, ...]

    def content(self, name: str) -> bytes:
        """A file's bytes; DigerError where it changed since the release was made."""
        source = self.files[name]
        data = source if isinstance(source, bytes) else source.read_bytes()
        if FileEntry.of(data) != self.entries[name]:
            raise DigerError(f"{name} changed while the bundle was being sent: run it again")
        return data


def make_release(
    bundle: Bundle,
    repo_id: str,
    *,
    sibling: Sibling | None = None,
    licence: str | None = None,
    keep_card: bool = False,
    without_text: bool = False,
) -> Release:
    """The release of a bundle, opened with every hash checked, to `repo_id`.

    Args:
        bundle: what to send.
        repo_id: where it goes, for the card's example.
        sibling: what the card sets it beside.
        licence: of the card, see `diger.bundle.card.model_card`.
        keep_card: send the bundle's own README.md.
        without_text: leave the item text out even where it may go.
    """
    allowed = bundle.about.dataset.text_may_be_published
    files: dict[str, bytes | Path] = {n: bundle.path / n for n in bundle.manifest.files}
    notes = list(_local_paths(bundle.config))
    items = bundle.items
    if not allowed or without_text:
        items = _without_text(bundle, items, files)
        notes.insert(
            0,
            "item text stays here: "
            + ("as asked" if allowed else "the dataset's licence setting does not allow it to go"),
        )
    if not keep_card:
        files.pop(schema.PICTURE, None)
        card = model_card(
            bundle.config,
            bundle.metrics,
            items,
            codes=bundle.codes,
            sibling=sibling,
            complete=bundle.kind == "complete",
            licence=licence,
            repository=repo_id,
        )
        files[schema.CARD] = card.encode()
    with located(bundle.path, "be read"):
        entries = {
            name: FileEntry.of(source) if isinstance(source, bytes) else bundle.manifest.files[name]
            for name, source in sorted(files.items())
        }
        manifest = Manifest(schema.FORMAT_VERSION, bundle.kind, entries).to_bytes()
        release = Release(
            {**files, schema.MANIFEST: manifest},
            {**entries, schema.MANIFEST: FileEntry.of(manifest)},
            tuple(notes),
        )
        _refuse_secrets(release)
    return release


def _without_text(
    bundle: Bundle, items: pd.DataFrame | None, files: dict[str, bytes | Path]
) -> pd.DataFrame | None:
    """Take the text out of `files`; the items table as it goes."""
    files.pop(schema.EXAMPLES, None)
    if items is None:
        return None
    with_text = [column for column in schema.TEXT_COLUMNS if column in items.columns]
    if not with_text:
        return items
    items = items.drop(columns=with_text)
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(items, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, sink, compression="zstd")
    files[schema.ITEMS] = sink.getvalue().to_pybytes()
    return items


def _refuse_secrets(release: Release) -> None:
    """A token in a configuration or a card would be everybody's; tables and tensors hold none."""
    token = (current_token() or "").encode()
    for name in (*schema.JSON_FILES, *schema.TEXT_FILES):
        if name not in release.files:
            continue
        data = release.content(name)
        if _TOKEN.search(data) or (len(token) >= 8 and token in data):
            raise DigerError(
                f"{name} holds what looks like an access token: nothing was sent; take it out, "
                "and revoke it if anybody else can have seen it"
            )


def _local_paths(config: Mapping[str, Any]) -> Iterator[str]:
    """Notes on paths of this machine that the configuration would show."""
    found = sorted({place for place, value in leaves(config) if _LOCAL_PATH.fullmatch(str(value))})
    if found:
        yield (
            f"config.json shows paths of this machine ({printable(', '.join(found), 120)}), "
            "and they would be seen"
        )


# The bundle to set beside this one: the same data and backbone, static against joint training.


def sibling_of(
    bundle: Bundle, given: str | Path, named: str | Path | None
) -> tuple[Sibling | None, tuple[str, ...]]:
    """What the card sets `bundle` beside, and a note where it was found and not named.

    Args:
        bundle: what is published.
        given: how the user called it.
        named: the sibling as the user named it, NO_SIBLING among it; None to find one.
    """
    if named is None:
        best = None if is_address(given) else _find_sibling(bundle)
        if best is None:
            return None, ()
        note = f"the card sets it beside {printable(best.path.name, 80)} (--sibling to choose)"
        return Sibling(best.config, best.metrics), (note,)
    if str(named) == NO_SIBLING:
        return None, ()
    other = Bundle.open(local_path(named))
    here, there = bundle.about, other.about
    for what, ours, theirs in (
        ("data", here.dataset.fingerprint, there.dataset.fingerprint),
        ("backbone", here.backbone, there.backbone),
    ):
        if ours != theirs:
            raise DigerError(
                f"{printable(named, 120)} is no sibling of {printable(bundle.name, 80)}: its "
                f"{what} is another ({printable(theirs, 16)}, not {printable(ours, 16)}), so "
                "their figures do not compare"
            )
    repository = parse(named).repo_id if is_address(named) else None
    return Sibling(other.config, other.metrics, repository), ()


def _find_sibling(bundle: Bundle) -> Bundle | None:
    """The best sibling among the bundles in the same folder; None where there is none.

    Of several, one with the same seed comes first, then by name.
    """
    about = bundle.about
    if about.arm.method not in SID_METHODS:
        return None
    wanted = "differentiable" if about.arm.method == "static" else "static"
    try:
        # Only the two documents are read, and reading them checks their hashes.
        neighbours = list_bundles(bundle.path.absolute().parent, verify=False)
    except DigerError:
        return None
    fitting = [
        other
        for other in neighbours
        if isinstance(other, Bundle)
        and other.about.arm.method == wanted
        and other.about.dataset.fingerprint == about.dataset.fingerprint
        and other.about.backbone == about.backbone
    ]
    return min(fitting, key=lambda o: (o.about.seed != about.seed, o.path.name), default=None)
