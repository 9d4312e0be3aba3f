"""Files and folders put in their place whole, or not at all.

A writer fills `.NAME.<token>.new.tmp` beside its target and renames it. A folder that is there
already steps aside to `.NAME.<token>.old.tmp` first, because a rename cannot replace a folder
with files; `finish_swap` completes a swap that died between the two renames. A live writer holds
the lock `.NAME.<token>.lock`, and the system drops it when the process dies, whatever way; only
folders whose lock nobody holds are touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; on a clean exit it takes the place of `path`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            temporary.unlink()


class Staging:
    """A locked temporary folder beside `target`; left without `publish`, it is discarded."""

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self.target = target
        self._token = secrets.token_hex(4)
        self._lock = FileLock(_beside(target, self._token, "lock"))
        self._lock.acquire()  # before there is a folder that others might take for a dead one's
        self.folder = _beside(target, self._token, "new.tmp")
        self.folder.mkdir()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def publish(self) -> None:
        """Rename the folder to the target; what was there is discarded afterwards."""
        sync(self.folder)
        aside = _beside(self.target, self._token, "old.tmp")
        replaces = self.target.exists()
        if replaces:
            self.target.rename(aside)
        try:
            self.folder.rename(self.target)
        except BaseException:
            if replaces:
                with contextlib.suppress(OSError):
                    aside.rename(self.target)
            raise
        if replaces:
            with contextlib.suppress(OSError):
                aside.rename(self.folder)  # half removed, it would return once the target is gone
        sync(self.target.parent)

    def discard(self) -> None:
        """Remove what is not, or no more, at the target, and let go of the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _let_go(self._lock)


def finish_swap(target: Path, marker: str) -> None:
    """Complete a swap to `target` whose writer died between the two renames.

    That writer had finished the new folder (a whole one holds the file `marker`), so it takes the
    place; if it is gone, the old one returns. Folders of live writers are left alone, and so is
    all where we may not write.
    """
    for token, stage, folder in list(_leftovers(target)):
        if stage != "old" or target.exists():
            continue
        fresh = _beside(target, token, "new.tmp")
        whole = fresh if (fresh / marker).is_file() else folder
        with contextlib.suppress(OSError), _abandoned(target, token) as free:
            if free:
                whole.rename(target)


def sweep(target: Path) -> None:
    """Remove the temporary folders that dead writers of `target` left behind."""
    for token, _, folder in list(_leftovers(target)):
        with contextlib.suppress(OSError), _abandoned(target, token) as free:
            if free:
                shutil.rmtree(folder.rename(_beside(target, token, "new.tmp")), ignore_errors=True)


def interrupted(parent: Path) -> set[Path]:
    """Targets within `parent` that have stepped aside, so that a swap may be unfinished."""
    names = (_LEFTOVER.fullmatch(folder.name) for folder in parent.glob(".*.old.tmp"))
    return {parent / match["name"] for match in names if match}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; an OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on the disk, where it can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<token>[0-9a-f]{8})\.(?P<stage>new|old)\.tmp")


def _beside(target: Path, token: str, ending: str) -> Path:
    return target.with_name(f".{target.name}.{token}.{ending}")


def _leftovers(target: Path) -> Iterator[tuple[str, str, Path]]:
    """Token, stage and path of every temporary folder of `target`."""
    if not target.parent.is_dir():
        return
    for folder in sorted(target.parent.iterdir()):
        match = _LEFTOVER.fullmatch(folder.name)
        if match and match["name"] == target.name and not folder.is_symlink():
            yield match["token"], match["stage"], folder


@contextlib.contextmanager
def _abandoned(target: Path, token: str) -> Iterator[bool]:
    """Hold the lock of a leftover for a moment; False where its writer lives and holds it."""
    lock = FileLock(_beside(target, token, "lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        _let_go(lock)


def _let_go(lock: FileLock) -> None:
    lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
