"""All bundles of a folder, where a broken one never hurts the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diger.bundle import schema, swap
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.text import printable


@dataclass(frozen=True)
class BrokenBundle:
    """A folder that looks like a bundle and cannot be opened, and why (one line)."""

    path: Path
    reason: str


def list_bundles(folder: str | Path, verify: bool = True) -> list[Bundle | BrokenBundle]:
    """Bundles directly within `folder`, by name.

    A subfolder counts as a bundle, perhaps a broken one, where it holds any file of a bundle;
    others and hidden ones are passed over. `verify` as in `Bundle.open`. Raises DigerError where
    `folder` itself cannot be listed.
    """
    root = Path(folder)
    try:
        for target in swap.interrupted(root):
            swap.finish_swap(target)
        subfolders = sorted(p for p in root.iterdir() if p.is_dir() and p.name[:1] != ".")
    except OSError as error:
        raise DigerError(f"{root} cannot be listed: {error.strerror or error}") from None
    return [_open(path, verify) for path in subfolders if _looks_like_one(path)]


def _looks_like_one(path: Path) -> bool:
    try:
        return any(
            p.name in schema.ALLOWED - {schema.CARD} or p.name == schema.MANIFEST
            for p in path.iterdir()
        )
    except OSError:
        return True  # it may be one, and why it cannot be read is worth showing


def _open(path: Path, verify: bool) -> Bundle | BrokenBundle:
    try:
        return Bundle.open(path, verify=verify)
    except DigerError as error:
        return BrokenBundle(path, str(error).removeprefix(f"{printable(path)}: "))
