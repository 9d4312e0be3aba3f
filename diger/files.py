"""Files and folders put in their place whole, or not at all.

A writer fills `.NAME.<token>.new.tmp` beside its target and renames it. A folder that is there
already steps aside to `.NAME.<token>.old.tmp` first, because a rename cannot replace a folder
with files; `finish_swap` completes a swap that died between the two renames. A live writer holds a
lock on its folders, and the kernel drops it when the process dies, whatever way; only folders
nobody holds are touched. Where there are no such locks (Windows), a day without change decides.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STALE_SECONDS = 24 * 3600
_NO_LOCKS = -1


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
        while True:
            self._token = secrets.token_hex(4)
            self.folder = _temporary(target, self._token, "new")
            self.folder.mkdir()
            self._locks: list[int | None] = [_lock(self.folder)]
            # Another process may have swept the folder away before the lock was taken.
            if self._locks[0] is not None and self.folder.is_dir():
                return
            self._unlock()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def publish(self) -> None:
        """Rename the folder to the target; what was there is removed only afterwards."""
        sync(self.folder)
        aside = _temporary(self.target, self._token, "old")
        replaces = self.target.exists()
        if replaces:
            self._locks.append(_lock(self.target))
            self.target.rename(aside)
        try:
            self.folder.rename(self.target)
        except BaseException:
            if replaces:
                with contextlib.suppress(OSError):
                    aside.rename(self.target)
            raise
        sync(self.target.parent)
        if replaces:
            shutil.rmtree(aside, ignore_errors=True)
        self._unlock()

    def discard(self) -> None:
        """Remove the temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        for lock in self._locks:
            _release(lock)
        self._locks = []


def finish_swap(target: Path, marker: str) -> None:
    """Complete a swap to `target` whose writer died between the two renames.

    That writer had finished the new folder (a whole one holds the file `marker`), so it takes the
    place; if it is gone, the old one returns. Folders of live writers are left alone, and so is
    all where we may not write.
    """
    for token, stage, folder in list(_leftovers(target)):
        if stage != "old" or target.exists():
            continue
        fresh = _temporary(target, token, "new")
        whole = fresh if (fresh / marker).is_file() else folder
        with contextlib.suppress(OSError), _held(folder) as free:
            if free:
                whole.rename(target)


def sweep(target: Path) -> None:
    """Remove the temporary folders that dead writers of `target` left behind."""
    for _, _, folder in list(_leftovers(target)):
        with contextlib.suppress(OSError), _held(folder) as free:
            if free:
                shutil.rmtree(folder, ignore_errors=True)


def interrupted(parent: Path) -> set[Path]:
    """Targets within `parent` that have stepped aside, so that a swap may be unfinished."""
    names = (_LEFTOVER.fullmatch(folder.name) for folder in parent.glob(".*.old.tmp"))
    return {parent / match["name"] for match in names if match}


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on the disk, where it can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<token>[0-9a-f]{8})\.(?P<stage>new|old)\.tmp")


def _temporary(target: Path, token: str, stage: str) -> Path:
    return target.with_name(f".{target.name}.{token}.{stage}.tmp")


def _leftovers(target: Path) -> Iterator[tuple[str, str, Path]]:
    """Token, stage and path of every temporary folder of `target`."""
    if not target.parent.is_dir():
        return
    for folder in sorted(target.parent.iterdir()):
        match = _LEFTOVER.fullmatch(folder.name)
        if match and match["name"] == target.name and not folder.is_symlink():
            yield match["token"], match["stage"], folder


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a leftover's lock for a moment; False where its writer may be alive."""
    lock = _lock(folder)
    try:
        if lock == _NO_LOCKS:
            yield time.time() - folder.stat().st_mtime > _STALE_SECONDS
        else:
            yield lock is not None
    finally:
        _release(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, _NO_LOCKS where there are none, None if taken."""
    if fcntl is None:
        return _NO_LOCKS
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if isinstance(error, BlockingIOError) else _NO_LOCKS
    return descriptor


def _release(lock: int | None) -> None:
    if lock is not None and lock != _NO_LOCKS:
        os.close(lock)
