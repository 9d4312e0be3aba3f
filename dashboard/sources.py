"""Where bundles come from: folders of bundles, single bundles, `hub://` addresses, collections.

A source that cannot be read is listed with its reason, like a broken bundle, and does not hurt the
others. Addresses on the Hub are fetched once, when the dashboard starts, to the Hub's own cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from diger.bundle import schema
from diger.bundle.reader import BrokenBundle, Bundle, list_bundles
from diger.errors import DigerError
from diger.text import printable

VARIABLE = "DIGER_BUNDLES"
COLLECTIONS = "hub://collections/"
Found = Bundle | BrokenBundle
Fetch = Callable[[str], Path]


def configured(arguments: Sequence[str], default: Path) -> tuple[str, ...]:
    """Sources from the command line (after `--`), else from DIGER_BUNDLES, else `default`."""
    named = [a for a in arguments if not a.startswith("-")]
    if not named:
        named = os.environ.get(VARIABLE, "").replace(",", " ").split()
    return tuple(named) or (str(default),)


def fetched(
    sources: Sequence[str],
    fetch: Fetch | None = None,
    members: Callable[[str], list[str]] | None = None,
) -> tuple[tuple[Path, ...], tuple[BrokenBundle, ...]]:
    """Folders on this disk for all sources, and those that could not be had.

    Args:
        sources: as from `configured`.
        fetch: gives the folder of a `hub://` address; by default `diger.hub.local_path`.
        members: gives the addresses in a collection; by default asks the Hub.
    """
    folders: list[Path] = []
    failed: list[BrokenBundle] = []
    for source in sources:
        try:
            if source.startswith(COLLECTIONS):
                addresses = (members or _members)(source.removeprefix(COLLECTIONS))
            else:
                addresses = [source]
        except DigerError as error:
            failed.append(BrokenBundle(Path(source), str(error)))
            continue
        for address in addresses:
            try:
                remote = address.lower().startswith("hub:")
                folders.append((fetch or _fetch)(address) if remote else Path(address))
            except DigerError as error:
                failed.append(BrokenBundle(Path(address), str(error)))
    return tuple(folders), tuple(failed)


def signature(folders: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """What changes whenever a bundle comes, goes or is rewritten: manifests, times and sizes."""
    found = []
    for folder in folders:
        for place in (folder, *_subfolders(folder)):
            try:
                stat = (place / schema.MANIFEST).stat()
                found.append((str(place), stat.st_mtime_ns, stat.st_size))
            except OSError:
                found.append((str(place), 0, 0))
    return tuple(found)


def opened(folders: Sequence[Path]) -> list[Found]:
    """All bundles of the folders, each folder itself one or full of them; broken ones as such.

    Files are hashed when they are first read, not now. A bundle that lies in two places is opened
    once, and its copies are listed.
    """
    found: list[Found] = []
    places: dict[str, Path] = {}
    for folder in folders:
        for bundle in _in(folder):
            if isinstance(bundle, Bundle):
                first = places.get(bundle.hash)
                if first is not None:
                    if first.resolve() != bundle.path.resolve():
                        reason = f"left out: the same bundle as {first}"
                        found.append(BrokenBundle(bundle.path, reason))
                    continue
                places[bundle.hash] = bundle.path
            found.append(bundle)
    return found


def _in(folder: Path) -> list[Found]:
    if (folder / schema.MANIFEST).exists():
        try:
            return [Bundle.open(folder, verify=False)]
        except DigerError as error:
            return [BrokenBundle(folder, str(error).removeprefix(f"{printable(folder)}: "))]
    try:
        return list(list_bundles(folder, verify=False))
    except DigerError as error:
        return [BrokenBundle(folder, str(error).removeprefix(f"{printable(folder)} "))]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[:1] != ".")
    except OSError:
        return []


def _fetch(address: str) -> Path:
    from diger.hub import local_path

    return local_path(address)


def _members(slug: str) -> list[str]:
    from diger.hub import members

    return members(slug)
