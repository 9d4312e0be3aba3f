"""The results of a study, from its bundles alone: a row a dataset and arm, and the claims.

A mean is over the seeds that were run, whose number stands beside it; what was not run is blank.
A bundle that was made otherwise than the study says is left out, and said to be. The claims are
those the study declares: per dataset the bootstrap interval over seeds, then users, every seed's
difference, and Holm's correction over the family; see `diger.statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from diger.bundle.reader import Bundle
from diger.statistics.runs import runs_frame
from diger.statistics.summary import summary_frame
from diger.statistics.verdict import Claim, claim, judge
from diger.study.config import Study
from diger.study.grid import grid
from diger.study.progress import Cell, survey


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found.

    Attributes:
        summary: a row a dataset and arm of the study, in its order: `dataset, arm, planned`
            (seeds), then the columns of `diger.statistics.summary.summary_frame` and
            `seconds_per_epoch`; missing where nothing was run.
        runs: a row a bundle: `diger.statistics.runs.runs_frame`, and `seconds_per_epoch`.
        claims: judged; empty where the study claims nothing.
        left_out: bundles that do not count, and why.
        versions: of the code that made the bundles.
    """

    summary: pd.DataFrame
    runs: pd.DataFrame
    claims: list[Claim]
    left_out: list[str]
    versions: list[str]


def collect(study: Study) -> Results:
    """Open every bundle of a study and sum them up."""
    cells = survey(grid(study), data_needed=False, verify=True)
    done = [cell for cell in cells if cell.bundle is not None]
    runs = runs_frame([_bundle(cell) for cell in done])
    # Arms by their names here, which are not those of method, decay and noise alone.
    runs["dataset"] = [cell.run.dataset for cell in done]
    runs["arm"] = runs["group"] = [cell.run.arm for cell in done]
    runs["seconds_per_epoch"] = [_seconds_per_epoch(_bundle(cell)) for cell in done]
    return Results(
        summary=_summary(study, runs),
        runs=runs,
        claims=_claims(study, done),
        left_out=[cell.reason for cell in cells if cell.state == "in the way"],
        versions=sorted(set(runs["code_version"])),
    )


def _summary(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (dataset, arm.name, len(arm.seeds[dataset]))
        for dataset in study.datasets
        for arm in study.arms.values()
        if arm.seeds.get(dataset)
    ]
    every = pd.DataFrame(rows, columns=["dataset", "arm", "planned"])
    pace = runs.groupby(["dataset", "arm"], as_index=False)["seconds_per_epoch"].mean()
    found = summary_frame(runs).drop(columns="group")
    found = every.merge(found, how="left").merge(pace, how="left")
    found["seeds"] = found["seeds"].fillna(0).astype(int)
    return found


def _claims(study: Study, done: Sequence[Cell]) -> list[Claim]:
    declared = study.claims
    if declared is None:
        return []
    claims = []
    for dataset in study.datasets if declared.datasets is None else declared.datasets:
        sides = [
            [_bundle(c) for c in done if (c.run.dataset, c.run.arm) == (dataset, arm)]
            for arm in (declared.baseline, declared.arm)
        ]
        told = [bundle.config["dataset"] for side in sides for bundle in side]
        claims.append(
            claim(
                *sides,
                dataset=dataset,
                title=str(told[0]["title"]) if told else dataset,
                simulated=bool(told and told[0]["simulated"]),
                metric=declared.metric,
                names=(declared.baseline, declared.arm),
            )
        )
    return judge(claims)


def _seconds_per_epoch(bundle: Bundle) -> float:
    """Mean seconds of training in an epoch, validation left aside; NaN without epochs."""
    history = bundle.history
    if history is None or "seconds" not in history:
        return float("nan")
    return float(history["seconds"].mean())


def _bundle(cell: Cell) -> Bundle:
    assert cell.bundle is not None
    return cell.bundle
