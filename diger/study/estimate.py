"""How long the rest of a study will take, from the runs that are finished.

A run takes as long as the mean of its arm's other seeds on its dataset. Where there is none, as
long as the arm's runs elsewhere, in proportion to events and epochs; where there is none of these
either, as the other arms of its method and backbone on its dataset. Failing all, nobody knows, and
nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import mean

from diger.bundle.documents import entry, is_number
from diger.bundle.reader import Bundle
from diger.data.store import read_info
from diger.errors import DigerError
from diger.study.grid import Run
from diger.study.progress import Cell


@dataclass(frozen=True)
class Estimate:
    """Seconds for runs.

    Attributes:
        seconds: of those whose time can be told.
        unknown: how many others there are.
    """

    seconds: float
    unknown: int

    def __str__(self) -> str:
        if not self.seconds:
            return "" if not self.unknown else "unknown time"
        return f"{'at least' if self.unknown else 'about'} {duration(self.seconds)}"


def estimate(runs: Sequence[Run], cells: Sequence[Cell]) -> Estimate:
    """The time of `runs`, from those of `cells` that are done."""
    times = [expected_seconds(run, cells) for run in runs]
    known = [seconds for seconds in times if seconds is not None]
    return Estimate(sum(known), len(times) - len(known))


def expected_seconds(run: Run, cells: Sequence[Cell]) -> float | None:
    """How long a run will take; None where no finished run says."""
    near, far, kin = [], [], []
    for cell in cells:
        seconds = None if cell.bundle is None else seconds_of(cell.bundle)
        if cell.bundle is None or seconds is None:
            continue
        here = cell.run.dataset == run.dataset
        if cell.run.arm != run.arm:
            if here and _kind(cell.run) == _kind(run):
                kin.append(seconds)
            continue
        if here:
            near.append(seconds)
            continue
        events = entry(cell.bundle.config, "dataset", "events")
        if is_number(events) and events > 0:
            far.append(seconds / (events * cell.run.recipe.training.epochs))
    if near:
        return mean(near)
    with suppress(DigerError):  # the data may not be there
        if far:
            return mean(far) * read_info(run.data).n_events * run.recipe.training.epochs
    return mean(kin) if kin else None


def _kind(run: Run) -> tuple[str, str]:
    return run.recipe.method, run.recipe.backbone.kind


def seconds_of(bundle: Bundle) -> float | None:
    """Seconds that a run took over all sittings; None where its bundle does not say."""
    phases = bundle.config.get("seconds")
    told = phases if isinstance(phases, dict) else {}
    spent = [value for phase, value in told.items() if phase != "this sitting" and is_number(value)]
    return float(sum(spent)) if spent else None


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(42), duration(600), duration(6000), duration(200_000)
    ('42 s', '10 min', '1 h 40 min', '55 h 33 min')
    """
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
