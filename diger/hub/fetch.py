"""From an address to a checked folder on this disk.

Files come through the Hub client's own cache, so nothing is fetched twice, by us or by others. The
cache keeps content behind links, and a bundle may hold none: the files of a commit that were all
found right are put, by hard links where the disk allows, into a folder beside it, whole or not at
all. A commit that has its folder needs no network; a branch or a tag asks the Hub what it means,
and takes the last known meaning where the Hub cannot be reached.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from diger.bundle import schema, swap
from diger.bundle.manifest import FileEntry, Manifest, located
from diger.bundle.picture import check_picture
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.hub import remote as hub
from diger.hub.address import Address, is_address, parse
from diger.hub.client import Say, connection, say_on_stderr
from diger.hub.download import Download
from diger.hub.faults import Unreachable, explained
from diger.hub.remote import Remote
from diger.text import printable

_SAFE = "Whole files that came are kept, and nothing half-done is used; the same command goes on"


def local_path(path_or_address: str | os.PathLike[str], *, say: Say = say_on_stderr) -> Path:
    """A folder for whatever names a bundle: a path as it is, an address after fetching it.

    Args:
        path_or_address: a path, or `hub://owner/name@revision`.
        say: gets notes for people.

    Raises:
        DigerError: not a bundle, not what its manifest says, or not to be had.
    """
    if not is_address(path_or_address):
        return Path(path_or_address)
    return fetch(parse(path_or_address), say=say)


def fetch(address: Address, *, again: bool = False, say: Say = say_on_stderr) -> Path:
    """The checked folder of an address, fetched where it is not here.

    Args:
        address: what to fetch.
        again: hash the folder's files as well, and repair what is damaged.
        say: gets notes for people.

    Raises:
        DigerError: as for `local_path`.
    """
    if address.is_pinned:
        folder = folder_of(address, address.revision)
        if _is_whole(folder, every_byte=again):
            return folder
    doing = f"fetching {address}"
    with connection(say) as api:
        try:
            with explained(doing):
                there = hub.look(api, address, say)
        except Unreachable as error:
            return _from_cache(address, error, say)
        folder = folder_of(address, there.commit)
        if not _is_whole(folder, every_byte=again):
            with explained(doing, safe=_SAFE):
                _fetch(address, there, folder, say)
        _remember(address, there.commit)
    return folder


def folder_of(address: Address, commit: str) -> Path:
    """Where the checked files of a commit are, or would be: in the Hub client's assets cache."""
    from huggingface_hub import constants

    base = Path(constants.HF_ASSETS_CACHE).expanduser() / "diger" / "bundles"
    return base / f"{address.owner}--{address.name}" / commit


def _fetch(address: Address, there: Remote, folder: Path, say: Say) -> None:
    """Fetch a commit's bundle and put it at `folder`; raises the client's errors too."""
    if not there.is_bundle:
        raise DigerError(f"{address} is on the Hub but is no DIGER bundle: it has no manifest.json")
    download = Download(address, there.commit, say)
    data = download.manifest(there.files[schema.MANIFEST])
    with _named(address):
        manifest = Manifest.parse(data)
        for name, entry in sorted(manifest.files.items()):
            if name not in there.files:
                raise DigerError(f"{name} is in its manifest but not on the Hub")
            if there.files[name].contradicts(entry):
                raise DigerError(
                    f"{name} on the Hub is not the file that its manifest lists: it was changed "
                    "there afterwards; take an earlier revision, or ask its owner to publish again"
                )
    files = download.files(manifest, there.files)
    _place(address, folder, data, manifest, files)


def _from_cache(address: Address, error: Unreachable, say: Say) -> Path:
    """The folder of the last known meaning of an address; `error` where nothing is known of it."""
    commit = address.revision if address.is_pinned else _remembered(address)
    if commit is None:
        raise DigerError(f"{error}. It is not in the cache either")
    folder = folder_of(address, commit)
    if not _is_whole(folder):
        # The folder may be gone while the client's cache has the files.
        download = Download(address, commit, say)
        data = download.cached(schema.MANIFEST)
        with _named(address):
            manifest = None if data is None else Manifest.parse(data.read_bytes())
        files = {} if manifest is None else {n: download.cached(n) for n in manifest.files}
        found = {name: path for name, path in files.items() if path is not None}
        if data is None or manifest is None or len(found) < len(files):
            raise DigerError(f"{error}. Only a part of it is in the cache")
        _place(address, folder, data.read_bytes(), manifest, found)
    if not address.is_pinned:
        say(f"the Hub cannot be reached: taking {address} as last seen, commit {commit[:12]}")
    return folder


def _place(
    address: Address, folder: Path, data: bytes, manifest: Manifest, files: dict[str, Path]
) -> None:
    """Put a bundle's files, hashed once more as they lie there, at `folder`."""
    with located(folder, "be written"):
        swap.finish_swap(folder)
        swap.sweep(folder)
        staging = swap.Staging(folder)
        try:
            for name, path in files.items():
                _link(path.resolve(), staging.folder / name)
            (staging.folder / schema.MANIFEST).write_bytes(data)
            with _named(address):
                for name, entry in manifest.files.items():
                    content = (staging.folder / name).read_bytes()
                    if FileEntry.of(content) != entry:
                        raise DigerError(f"{name} is not what its manifest says; fetch it again")
                    if name == schema.PICTURE:
                        check_picture(content)
            staging.publish()
        except BaseException:
            staging.discard()
            raise


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _is_whole(folder: Path, *, every_byte: bool = False) -> bool:
    """Whether a fetched folder is still as it was put there; names and sizes, or every byte."""
    try:
        Bundle.open(folder, verify=every_byte)
    except DigerError:
        return False
    return True


def _remember(address: Address, commit: str) -> None:
    """Note what a branch or a tag meant, for when the Hub cannot be asked."""
    if address.is_pinned:
        return
    note = _note(address)
    with contextlib.suppress(OSError):  # a cache that may not be written is still a cache
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_name(f".{note.name}.{os.getpid()}.tmp")
        temporary.write_text(commit)
        temporary.replace(note)


def _remembered(address: Address) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        commit = _note(address).read_text().strip()
        if Address(address.repo_id, commit).is_pinned:
            return commit
    return None


def _note(address: Address) -> Path:
    return folder_of(address, "refs") / quote(address.revision, safe="")


@contextlib.contextmanager
def _named(address: Address) -> Iterator[None]:
    """Put the address before a DigerError."""
    try:
        yield
    except DigerError as error:
        raise DigerError(f"{printable(address)}: {error}") from None
