"""Reading a bundle: the manifest first, and nothing that does not match it.

`Bundle.open` refuses a folder with a file too many, too few or changed, and names the file. Every
file is hashed again when it is parsed, so one that changes while the bundle is open is noticed
too. No torch, and no format that can carry code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diger import files
from diger.bundle import schema
from diger.bundle.documents import Config
from diger.bundle.manifest import MAX_BYTES, FileEntry, Manifest, located, parse_json
from diger.bundle.parquet import read_parquet
from diger.bundle.tables import with_derived
from diger.bundle.tensors import HEADER, check_header, metadata_of, unpack
from diger.errors import DigerError
from diger.text import printable

# What the Hub's client, git and desktops put into a folder; never read.
_NOT_OURS = frozenset((".gitattributes", ".git", ".cache", ".DS_Store"))


class _Table:
    """A table of a bundle, read when it is asked for; None where the bundle has none."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, bundle: Bundle, owner: type[Bundle]) -> pd.DataFrame | None:
        return bundle.frame(self._name) if self._name in bundle.manifest.files else None


class Bundle:
    """A checked bundle; make one with `Bundle.open`. Tables and tensors are read when asked for.

    `config` and `metrics` are as `diger.bundle.documents` lays out, `about` is the former with its
    types; `hash`, the manifest's SHA-256, is the bundle's identity. Frames are shared between
    calls: copy one before changing it.
    """

    items = _Table(schema.ITEMS)
    """One row an item: id, SID, SID at the start, training popularity, text where it may."""
    ranks = _Table(schema.RANKS)
    """One row a user and split; `rank` is null where the target was not decoded."""
    topk = _Table(schema.TOPK)
    """One row a test user: `user`, then item rows `item_1 .. item_k`, best first, -1 none."""
    history = _Table(schema.HISTORY)
    """One row an epoch."""
    codes = _Table(schema.CODES)
    """Item count of each code, by epoch and level."""
    levels = _Table(schema.LEVELS)
    """Per-level diagnostics by epoch."""
    examples = _Table(schema.EXAMPLES)
    """Sample histories, where they may be published."""

    def __init__(self, path: Path, manifest: Manifest, identity: str) -> None:
        self.path = path
        self.manifest = manifest
        self.hash = identity
        self.config: dict[str, Any] = {}
        self.about = Config()
        self.metrics: dict[str, Any] = {}
        self._frames: dict[str, pd.DataFrame] = {}

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Bundle:
        """Open and check the bundle in folder `path`.

        With `verify` every file is hashed now; without, only names and sizes are compared and a
        file is hashed when it is first read. Raises DigerError (one line, naming path and file)
        for a folder that is not a whole, unchanged bundle of a format this version reads.
        """
        folder = Path(path)
        with located(folder, "be read"):
            if not folder.exists():
                files.finish_swap(folder.absolute(), schema.MANIFEST)
            if not folder.is_dir():
                raise DigerError("there is no such bundle folder")
            try:
                data = _read(folder / schema.MANIFEST, MAX_BYTES)
            except FileNotFoundError:
                raise DigerError("no manifest.json: not a bundle, or never finished") from None
            bundle = cls(folder, Manifest.parse(data), hashlib.sha256(data).hexdigest())
            bundle._check_names()
            for name in sorted(bundle.manifest.files) if verify else ():
                bundle._verify(name)
            bundle.config = parse_json(bundle._bytes(schema.CONFIG), schema.CONFIG)
            bundle.about = Config.read(bundle.config)
            bundle.metrics = parse_json(bundle._bytes(schema.METRICS), schema.METRICS)
        return bundle

    @property
    def name(self) -> str:
        """The name in its configuration, the folder's where it has none."""
        return self.about.name or self.path.absolute().name

    @property
    def kind(self) -> schema.Kind:
        """`complete`, or `results-only` where it has no weights."""
        return self.manifest.kind

    @property
    def card(self) -> str:
        """The model card's Markdown."""
        with located(self.path, "be read"):
            return self._bytes(schema.CARD).decode("utf-8", errors="replace")

    def frame(self, name: str) -> pd.DataFrame:
        """The checked table `name` (`ranks.parquet`, ...); DigerError where there is none."""
        if name not in self._frames:
            with located(self.path, "be read"):
                table = read_parquet(self._bytes(self._has(name, tuple(schema.TABLES))), name)
            items = self.items if schema.holds_item_rows(name) else None
            if name == schema.RANKS:
                table = with_derived(table, items)
            with located(self.path, "be read"):
                self._frames[name] = schema.check_table(
                    name, table, None if items is None else len(items)
                )
        return self._frames[name]

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        """Arrays of `model.safetensors` or `content.safetensors`, read anew at each call.

        bfloat16 tensors are widened to float32 (exactly), for numpy has no such type.
        """
        with located(self.path, "be read"):
            arrays = unpack(self._bytes(self._has(name, schema.TENSOR_FILES)), name)
        items, vectors = self.items, arrays.get("vectors")
        if name == schema.CONTENT and items is not None and vectors is not None:
            with located(self.path, "be read"):
                schema.check_vectors(vectors, len(items))
        return arrays

    def tensor_metadata(self, name: str) -> dict[str, str]:
        """The text metadata of a safetensors file."""
        with located(self.path, "be read"):
            return metadata_of(self._bytes(self._has(name, schema.TENSOR_FILES)), name)

    def require_complete(self) -> Bundle:
        """This bundle; DigerError saying what is missing where it cannot be loaded as a model."""
        if self.kind != "complete":
            raise DigerError(
                f"{self.path}: {printable(self.name, 80)} holds results only: without "
                f"{schema.MODEL} it can be studied but not loaded as a model"
            )
        return self

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, {self.kind}, {self.hash[:12]})"

    def _check_names(self) -> None:
        """The folder holds the manifest's files, plain and of the right size, and no others."""
        found = {entry.name: entry for entry in self.path.iterdir() if entry.name not in _NOT_OURS}
        for name, entry in sorted(found.items()):
            if name != schema.MANIFEST and name not in self.manifest.files:
                raise DigerError(f"{printable(name, 80)} is not in its manifest: remove it")
            if entry.is_symlink() or not entry.is_file():
                raise DigerError(f"{name} must be a plain file, not a link or a folder")
        for name, wanted in sorted(self.manifest.files.items()):
            if name not in found:
                raise DigerError(f"{name} is missing: fetch or write the bundle again")
            size = found[name].stat().st_size
            if size != wanted.size:
                raise DigerError(
                    f"{name} has {size} bytes where its manifest says {wanted.size}: "
                    "fetch or write the bundle again"
                )
            if size > schema.MOST_BYTES.get(name, size):
                raise DigerError(
                    f"{name} has {size} bytes, more than a bundle's may ({schema.MOST_BYTES[name]})"
                )
            if name in schema.TENSOR_FILES:
                check_header(_read(self.path / name, HEADER - 1), size, name)

    def _verify(self, name: str) -> None:
        """Compare a file's hash, without holding all of it."""
        try:
            found = files.file_sha256(self.path / name)
        except FileNotFoundError:
            raise DigerError(f"{name} is missing: fetch or write the bundle again") from None
        if found != self.manifest.files[name].sha256:
            raise DigerError(_changed(name))

    def _bytes(self, name: str) -> bytes:
        """A file's content, hashed; DigerError where it is not what the manifest says."""
        wanted = self.manifest.files[name]
        try:
            data = _read(self.path / name, wanted.size)
        except FileNotFoundError:
            raise DigerError(f"{name} is missing: fetch or write the bundle again") from None
        if FileEntry.of(data) != wanted:
            raise DigerError(_changed(name))
        return data

    def _has(self, name: str, allowed: tuple[str, ...]) -> str:
        schema.check_name(name, allowed)
        if name not in self.manifest.files:
            raise DigerError(f"it has no {name}")
        return name


def _changed(name: str) -> str:
    return (
        f"{name} does not match the SHA-256 in its manifest: it was changed or damaged, "
        "fetch or write the bundle again"
    )


def _read(path: Path, limit: int) -> bytes:
    """A plain file's content, at most one byte more than `limit`; no links, no pipes."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DigerError(f"{path.name} must be a plain file, not a link or a folder")
    with path.open("rb") as file:
        return file.read(limit + 1)


# All bundles of a folder, where a broken one never hurts the rest.


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
        for target in files.interrupted(root):
            files.finish_swap(target, schema.MANIFEST)
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
