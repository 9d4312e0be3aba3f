"""A stopwatch, and one line of a benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Measurement:
    """One line of the benchmark."""

    what: str  # was timed
    value: float  # in `unit`; of several repeats the median
    unit: str  # s, ms, GFLOP/s, ...
    note: str  # how it was measured
    low: float | None = None  # the least of the repeats
    high: float | None = None  # and the most
    items: int | None = None  # size of the catalogue, where it was varied


@dataclass(frozen=True)
class Times:
    """Seconds of each repeat."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)

    def measurement(
        self, what: str, unit: str, note: str, scale: float = 1.0, items: int | None = None
    ) -> Measurement:
        """Times `scale`, as a line of the benchmark."""
        low, high = min(self.seconds) * scale, max(self.seconds) * scale
        return Measurement(what, self.median * scale, unit, note, low, high, items)


def timed(work: Callable[[], object], device: torch.device, repeats: int = 1) -> Times:
    """Do it `repeats` times and wait for the device each time."""
    seconds = []
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return Times(tuple(seconds))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
