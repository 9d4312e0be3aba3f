"""The runs of a study, in the order in which they are made.

Dataset by dataset and seed by seed, so that the arms of a seed stand beside each other early; an
arm whose bundle another needs comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diger.config import Recipe
from diger.errors import DigerError, did_you_mean
from diger.study.config import Study


@dataclass(frozen=True)
class Run:
    """One bundle of a study; dataset, arm and seed are its place in the grid."""

    dataset: str
    arm: str
    seed: int
    recipe: Recipe  # what is trained
    data: Path  # dataset folder
    out: Path  # where the bundle goes
    sids_from: str | None  # key of a run whose bundle it needs
    start_from: str | None  # key of a run whose bundle it needs
    complete: bool  # whether its bundle keeps its weights
    lists: bool  # whether a bundle without weights keeps the users' lists: to compare, as declared
    half: bool  # whether in half precision

    @property
    def key(self) -> str:
        """How a person names it: `dataset/arm/seed`."""
        return f"{self.dataset}/{self.arm}/{self.seed}"

    @property
    def sources(self) -> tuple[str, ...]:
        """Keys of the runs whose bundles it needs."""
        return tuple(key for key in (self.sids_from, self.start_from) if key)


def grid(study: Study) -> list[Run]:
    """Every run of a study, those that others need before them."""
    runs = [
        Run(
            dataset=name,
            arm=arm.name,
            seed=seed,
            recipe=arm.recipes[name],
            data=dataset.folder,
            out=study.bundles / f"{name}-{arm.name}-s{seed}",
            sids_from=f"{name}/{arm.sids_from}/{seed}" if arm.sids_from else None,
            start_from=f"{name}/{arm.start_from}/{seed}" if arm.start_from else None,
            complete=study.complete is None
            or (arm.name in study.complete and seed == arm.seeds[name][0]),
            # Two seeds are enough to tell how alike lists are.
            lists=study.claims is not None
            and arm.name in (study.claims.baseline, study.claims.arm)
            and seed in dataset.seeds[:2],
            half=study.half,
        )
        for name, dataset in study.datasets.items()
        for seed in dataset.seeds
        for arm in study.arms.values()
        if seed in arm.seeds.get(name, ())
    ]
    taken: dict[Path, Run] = {}
    for run in runs:
        first = taken.setdefault(run.out, run)
        if first is not run:
            raise DigerError(
                f"study {study.name}: {first.key} and {run.key} would both be {run.out.name}; "
                "rename a dataset or an arm"
            )
    return runs


def select(runs: Sequence[Run], key: str) -> Run:
    """The run named `dataset/arm/seed`."""
    by_key = {run.key: run for run in runs}
    if key not in by_key:
        raise DigerError(
            f"no run {key} in this study{did_you_mean(key, by_key)} "
            "(a run is named DATASET/ARM/SEED; --dry-run lists them)"
        )
    return by_key[key]
