"""A small disk of its own, to be filled up: needs root, for only root may mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

SIZE = 2**25


@contextlib.contextmanager
def full_disk() -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A folder on a tmpfs of 32 MiB, and what leaves so many bytes of it free."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", place], check=True)
        filler = Path(place) / "filler"

        def leave(free: int) -> None:
            filler.unlink(missing_ok=True)
            there = os.statvfs(place)
            fill = there.f_bavail * there.f_frsize - free
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(fill, 1))

        try:
            yield Path(place), leave
        finally:
            subprocess.run(["umount", "-l", place], check=True)
