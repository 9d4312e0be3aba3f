"""Ctrl-C during training: the batch is finished, the state saved, then the run stops."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from diger.errors import Stopped


class Interrupted(Stopped):
    """Ctrl-C, after the state was saved."""


@contextmanager
def ctrl_c(patient: bool = False) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C (or SIGTERM) was pressed; the first press waits for the batch to end.

    A second press stops at once, unless `patient`: a launcher of several processes may send two
    signals for one press, and kills those that take too long in any case.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed and not patient:
            raise KeyboardInterrupt
        pressed = True

    try:
        before = {s: signal.signal(s, press) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals go elsewhere
        yield lambda: False
        return
    try:
        yield lambda: pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
