"""Progress bars that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


@contextmanager
def file_bars() -> Iterator[Callable[[Path, int, int], None]]:
    """Yield a callback (file, bytes done, bytes in all): one bar a file, on a terminal's stderr."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        tasks: dict[Path, TaskID] = {}

        def show(path: Path, done: int, size: int) -> None:
            if path not in tasks:
                tasks[path] = bars.add_task(path.name, total=size)
            bars.update(tasks[path], completed=done)

        yield show
