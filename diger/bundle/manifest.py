"""The manifest: SHA-256 and size of every other file of a bundle, its format and its kind.

It is the last file written, so a folder without one was never finished, and its own SHA-256 is
the bundle's identity: it changes when anything in the bundle does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diger.bundle import schema
from diger.errors import DigerError
from diger.text import printable

MAX_BYTES = 1_000_000  # a manifest of our few files is a few kilobytes


@dataclass(frozen=True)
class FileEntry:
    """SHA-256 (64 hex digits) and size in bytes of one file."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> FileEntry:
        """The entry of a file with this content."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`; `files` maps each other file's name to its entry."""

    format: int
    kind: schema.Kind
    files: Mapping[str, FileEntry]

    def to_bytes(self) -> bytes:
        """The file's content; equal manifests give equal bytes."""
        document = {
            "format": self.format,
            "kind": self.kind,
            "files": {
                name: {"sha256": entry.sha256, "bytes": entry.size}
                for name, entry in sorted(self.files.items())
            },
        }
        return (json.dumps(document, indent=2) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read and check a manifest; DigerError (without the bundle's path) where it is wrong."""
        document = parse_json(data, schema.MANIFEST)
        version = document.get("format")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise DigerError(f"manifest.json: format must be a number >= 1, got {_show(version)}")
        if version > schema.FORMAT_VERSION:
            raise DigerError(
                f"bundle format {version} is newer than this DIGER reads "
                f"({schema.FORMAT_VERSION}): upgrade DIGER"
            )
        files = document.get("files")
        if not isinstance(files, dict):
            raise DigerError("manifest.json: files must be an object")
        entries = {name: _entry(name, value) for name, value in files.items()}
        kind = schema.kind_of(set(entries))
        if document.get("kind") != kind:
            raise DigerError(
                f"manifest.json: kind is {_show(document.get('kind'))}, but its files "
                f"make it {kind}"
            )
        schema.check_names(set(entries))
        return cls(version, kind, entries)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the bundle in `folder`, its files unseen; None where it has no sound one."""
    try:
        with (folder / schema.MANIFEST).open("rb") as file:
            return Manifest.parse(file.read(MAX_BYTES + 1))
    except (OSError, DigerError):
        return None


@contextlib.contextmanager
def located(place: object, doing: str) -> Iterator[None]:
    """Put a bundle's place before a DigerError, and make one of an OSError ("cannot `doing`")."""
    try:
        yield
    except DigerError as error:
        raise DigerError(f"{printable(place)}: {error}") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DigerError(f"{printable(place)}: cannot {doing}: {reason}") from None


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object from bytes; DigerError naming the file where it is not one."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        problem = printable(error, 120) if isinstance(error, ValueError) else "nested too deeply"
        raise DigerError(f"{name} is not valid JSON: {problem}") from None
    if not isinstance(document, dict):
        raise DigerError(f"{name} must be a JSON object")
    return document


def _entry(name: str, value: object) -> FileEntry:
    """One checked entry; a name outside the whitelist never reaches the file system."""
    if re.search(r"[/\\:\0]", name) or name in (".", ".."):
        raise DigerError(f"manifest.json: {_show(name)} is a path, not the name of a bundle's file")
    if name not in schema.ALLOWED:
        raise DigerError(f"manifest.json: {_show(name)} is not a file a bundle may hold")
    sha256 = value.get("sha256") if isinstance(value, dict) else None
    size = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise DigerError(f"manifest.json: {name} has no valid sha256")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise DigerError(f"manifest.json: {name} has no valid size in bytes")
    return FileEntry(sha256, size)


def _show(value: object) -> str:
    return printable(repr(value), 60)
