"""Where a study stands: each run done, unfinished, to do, or something in its way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Literal

from diger.bundle.reader import Bundle
from diger.bundle.schema import MANIFEST
from diger.data.info import DatasetInfo
from diger.data.store import read_info
from diger.errors import DigerError
from diger.study.grid import Run
from diger.study.match import made_of_here, made_of_there, mismatch, parts

State = Literal["done", "unfinished", "to do", "in the way", "no data"]


@dataclass(frozen=True, eq=False)
class Cell:
    """A run of the grid and where it stands.

    "done": its bundle is there; "unfinished": something to go on from is; "in the way": where its
    bundle would go there is something else.
    """

    run: Run
    state: State
    reason: str = ""  # of "in the way" and "no data"
    bundle: Bundle | None = None  # where done


def survey(runs: Sequence[Run], *, data_needed: bool = True, verify: bool = False) -> list[Cell]:
    """Where each run stands; with `verify`, every hash of every bundle is checked.

    Without `data_needed`, a dataset that is not there is no hindrance, and its bundles are measured
    against each other: the first one's data is taken for the study's.
    """
    infos: dict[Path, DatasetInfo | DigerError] = {}
    for run in runs:
        if run.data not in infos:
            try:
                infos[run.data] = read_info(run.data)
            except DigerError as error:
                infos[run.data] = error
    seen: dict[tuple[str, str, str], str] = {}
    cells = []
    for run in runs:
        info = infos[run.data]
        # Of what is not there now, the first bundle that tells is the measure of the others.
        needed = {what: (run.dataset, what, which) for what, which in parts(run.recipe).items()}
        known = {what: seen[key] for what, key in needed.items() if key in seen}
        if not isinstance(info, DigerError):
            known |= made_of_here(run, info)
        cell = look(run, known, verify=verify)
        if cell.bundle is not None:
            told = made_of_there(cell.bundle.about)
            for what in needed.keys() & told.keys():
                seen.setdefault(needed[what], told[what])
        elif cell.state != "in the way" and data_needed and isinstance(info, DigerError):
            cell = Cell(run, "no data", str(info))
        cells.append(cell)
    return cells


def look(run: Run, made_of: Mapping[str, str] | None = None, *, verify: bool = False) -> Cell:
    """Where one run stands, on data with these hashes (see `diger.study.match`; None: any)."""
    if not (run.out / MANIFEST).exists():
        if run.out.is_dir() and any(run.out.iterdir()):
            return Cell(run, "in the way", f"{run.out} holds something that is not a bundle")
        begun = any(run.out.with_name(f"{run.out.name}.partial").glob("*.safetensors"))
        return Cell(run, "unfinished" if begun else "to do")
    try:
        bundle = Bundle.open(run.out, verify=verify)
    except DigerError as error:
        return Cell(run, "in the way", str(error))
    different = mismatch(bundle, run, made_of or {})
    if different:
        return Cell(run, "in the way", f"{run.out} was made otherwise: {different}")
    return Cell(run, "done", bundle=bundle)


def dependents_done(run: Run, cells: Mapping[str, Cell]) -> bool:
    """Whether every run that needs the bundle of `run` has its own."""
    return all(c.state == "done" for c in cells.values() if run.key in c.run.sources)


# How long the rest of a study will take, from the runs that are finished.
#
# A run takes as long as the mean of its arm's other seeds on its dataset. Where there is none, as
# long as the arm's runs elsewhere, in proportion to events and epochs; where there is none of these
# either, as the other arms of its method and backbone on its dataset. Failing all, nobody knows,
# and nothing is guessed.


@dataclass(frozen=True)
class Estimate:
    """Seconds for runs."""

    seconds: float  # of those whose time can be told
    unknown: int  # how many others there are

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
        events = cell.bundle.about.dataset.events
        if events:
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
    told = bundle.about.seconds
    spent = [value for phase, value in told.items() if phase != "this sitting"]
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
