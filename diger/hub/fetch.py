"""From an address to a checked folder on this disk.

The Hub's client fetches a commit's files into a folder aside and goes on there after a cut; when
every one of them is what the bundle's manifest says, the folder gets its name, whole or not at all.
A commit that has its folder needs no network; a branch or a tag asks the Hub what it means, and
takes the last known meaning where the Hub cannot be reached.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from diger.bundle import schema
from diger.bundle.manifest import MAX_BYTES, Manifest, located
from diger.bundle.reader import Bundle
from diger.bundle.writer import check_target
from diger.errors import DigerError
from diger.files import Staging
from diger.hub.address import Address, is_address, parse
from diger.hub.client import Remote, Unreachable, contradicts, look, talking

_SAFE = "What came is kept, and nothing half-done is used; the same command goes on"


@dataclass(frozen=True)
class Pulled:
    """A pulled bundle: where it is, which commit it is, and whether it was there already."""

    address: Address
    path: Path
    commit: str
    was_there: bool


def local_path(path_or_address: str | os.PathLike[str]) -> Path:
    """A folder for whatever names a bundle: a path as it is, `hub://owner/name` after fetching."""
    if not is_address(path_or_address):
        return Path(path_or_address)
    return fetch(parse(path_or_address))


def fetch(address: Address, *, again: bool = False) -> Path:
    """The checked folder of an address, fetched where it is not here.

    With `again` the folder's files are hashed as well, and fetched anew where they are damaged.
    """
    if address.is_pinned and _is_whole(folder_of(address, address.revision), every_byte=again):
        return folder_of(address, address.revision)
    doing = f"fetching {address}"
    try:
        with talking(doing) as api:
            there = look(api, address)
    except Unreachable as error:
        return _last_seen(address, error)
    folder = folder_of(address, there.commit)
    if not _is_whole(folder, every_byte=again):
        with talking(doing, safe=_SAFE):
            _fetch(address, there, folder)
    if not address.is_pinned:  # for when the Hub cannot be asked what a branch or a tag means
        with contextlib.suppress(OSError):  # a cache that may not be written is still a cache
            note = _note_of(address)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(there.commit)
    return folder


def pull(
    address: str | os.PathLike[str], out: str | Path | None = None, *, force: bool = False
) -> Pulled:
    """Fetch a bundle, check every byte, and put it at `out`, whole or not at all.

    The folder is by default `checkpoints/<name>`; with `force` another bundle that is there is
    replaced. An address may do without its `hub://`.
    """
    wanted = parse(address)
    target = Path("checkpoints") / wanted.name if out is None else Path(out)
    folder = fetch(wanted, again=True)
    fetched = Bundle.open(folder)
    with contextlib.suppress(DigerError):
        if Bundle.open(target).hash == fetched.hash:
            return Pulled(wanted, target, folder.name, was_there=True)
    with located(target, "be written"):
        absolute = target.absolute()
        check_target(absolute, force=force)
        with Staging(absolute) as staging:
            for name in (*fetched.manifest.files, schema.MANIFEST):
                # A copy: what people do to their folder must not reach the cache.
                shutil.copyfile(folder / name, staging.folder / name)
            staging.publish()
    return Pulled(wanted, target, folder.name, was_there=False)


def folder_of(address: Address, commit: str) -> Path:
    """Where the checked files of a commit are, or would be: in the Hub client's assets cache."""
    from huggingface_hub import constants

    base = Path(constants.HF_ASSETS_CACHE).expanduser() / "diger" / "bundles"
    return base / address.repo_id.replace("/", "--") / commit


def _note_of(address: Address) -> Path:
    """The file that says which commit a branch or a tag was when it was last asked for."""
    return folder_of(address, "refs") / quote(address.revision, safe="")


def remote_manifest(address: Address, there: Remote, folder: Path) -> Manifest:
    """The manifest at a commit, fetched into `folder`; what it lists must be there."""
    if not there.is_bundle:
        raise DigerError(f"{address} is on the Hub but is no DIGER bundle: it has no manifest.json")
    if there.files[schema.MANIFEST].size > MAX_BYTES:
        raise DigerError(f"{address}: its manifest.json is far too large to be one")
    bring(address, there.commit, [schema.MANIFEST], folder)
    with located(address, "be read"):
        manifest = Manifest.parse((folder / schema.MANIFEST).read_bytes())
        for name in sorted(manifest.files):
            if name not in there.files:
                raise DigerError(f"{name} is in its manifest but not on the Hub")
    return manifest


def bring(address: Address, commit: str, names: list[str], folder: Path) -> None:
    """Let the client put files of a commit into `folder`; what is in its cache is taken from there.

    A Space that names bundles under `preload_from_hub` finds them in that cache when it starts.
    """
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    folder.mkdir(parents=True, exist_ok=True)
    cached = {n: try_to_load_from_cache(address.repo_id, n, revision=commit) for n in names}
    if all(isinstance(path, str) for path in cached.values()):
        for name, path in cached.items():
            shutil.copyfile(str(path), folder / name)
        return
    snapshot_download(
        address.repo_id,
        revision=commit,
        local_dir=folder,
        allow_patterns=names,
        library_name="diger",
        max_workers=4,
    )


def _fetch(address: Address, there: Remote, folder: Path) -> None:
    """Fetch a commit's bundle and put it at `folder`; raises the client's errors too."""
    aside = folder.with_name(f"{folder.name}.partial")
    aside.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(aside.with_suffix(".lock")):
        if _is_whole(folder, every_byte=True):  # another process was faster
            return
        manifest = remote_manifest(address, there, aside)
        with located(address, "be fetched"):
            for name, entry in sorted(manifest.files.items()):
                if contradicts(there.files[name], entry):
                    raise DigerError(
                        f"{name} on the Hub is not the file that its manifest lists: it was "
                        "changed there afterwards; take an earlier revision, or ask its owner to "
                        "publish again"
                    )
        bring(address, there.commit, sorted(manifest.files), aside)
        shutil.rmtree(aside / ".cache", ignore_errors=True)  # the client's notes for going on
        try:
            with located(address, "be read"):
                Bundle.open(aside)
        except DigerError as error:
            shutil.rmtree(aside)
            raise DigerError(f"{error}; it was thrown away, nothing of it is used") from None
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)


def _last_seen(address: Address, error: Unreachable) -> Path:
    """The folder of the last known meaning of an address; `error` where nothing is known of it."""
    commit = address.revision
    if not address.is_pinned:
        with contextlib.suppress(OSError, ValueError):
            commit = _note_of(address).read_text()
    folder = folder_of(address, commit)
    if not Address(address.repo_id, commit).is_pinned or not _is_whole(folder):
        raise DigerError(f"{error}. It is not in the cache either")
    if not address.is_pinned:
        note = f"the Hub cannot be reached: taking {address} as last seen, commit {commit[:12]}"
        print(note, file=sys.stderr)  # where it does not mix with results
    return folder


def _is_whole(folder: Path, *, every_byte: bool = False) -> bool:
    """Whether a fetched folder is still as it was put there; names and sizes, or every byte."""
    try:
        Bundle.open(folder, verify=every_byte)
    except DigerError:
        return False
    return True
