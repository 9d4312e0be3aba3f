"""What several commands show: progress bars, and lines that are printed as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


def print_line(console: Console, text: str) -> None:
    """Print a line as it is: no markup, no colours, folded by the terminal alone."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress_bars(count: ProgressColumn | str, *, shown: bool = True) -> Progress:
    """Bars on a terminal's stderr that go when all is done; `count` is what stands beside each."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        count,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )


@contextmanager
def file_bars() -> Iterator[Callable[[Path, int, int], None]]:
    """Yield a callback (file, bytes done, bytes in all): one bar a file."""
    with progress_bars(DownloadColumn()) as bars:
        tasks: dict[Path, TaskID] = {}

        def show(path: Path, done: int, size: int) -> None:
            if path not in tasks:
                tasks[path] = bars.add_task(path.name, total=size)
            bars.update(tasks[path], completed=done)

        yield show
