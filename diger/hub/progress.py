"""One progress bar for many files: bytes done, bytes in all, time left.

Silent where stderr is not a terminal. `Meter` stands in for the bar class of the Hub's client, so
that its downloads move our bar as the bytes arrive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Advance = Callable[[int], None]


@contextlib.contextmanager
def byte_bar(what: str, total: int) -> Iterator[Advance]:
    """A bar of `total` bytes; the yielded function moves it on, at most to its end."""
    from huggingface_hub.utils import disable_progress_bars

    console = Console(stderr=True)
    # The client's own bars would be drawn across ours.
    with (
        _quietly(disable_progress_bars),
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as bar,
    ):
        task = bar.add_task(what, total=total)
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(task, completed=min(max(done, 0), total))

        yield advance


def meter(advance: Advance) -> type:
    """A class that the Hub's client can use for its bars: what it counts moves ours."""

    class Meter:
        """One file's part of the bar."""

        def __init__(self, *_: Any, initial: int = 0, **__: Any) -> None:
            advance(int(initial or 0))

        def update(self, count: float | None = 1) -> None:
            """`count` more bytes are on the disk."""
            advance(int(count or 0))

        def update_transfer(self, count: float | None = 1) -> None:
            """Bytes off the network, before they are unpacked: not counted."""

        def set_postfix_str(self, *_: Any, **__: Any) -> None:
            """A rate: the bar has its own."""

        set_transfer_postfix_str = set_postfix_str

        def close(self) -> None:
            """The file is done."""

        def __enter__(self) -> Meter:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

    return Meter


@contextlib.contextmanager
def _quietly(disable: Any) -> Iterator[None]:
    """The client's bars off, and on again where they were on before."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    import warnings

    with warnings.catch_warnings():  # HF_HUB_DISABLE_PROGRESS_BARS=0 insists on them
        warnings.simplefilter("ignore")
        disable()
    try:
        yield
    finally:
        enable_progress_bars()
