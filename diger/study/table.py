"""The results of a study, from its bundles alone: a row a dataset and arm, and the claims.

A mean is over the seeds that were run, whose number stands beside it; what was not run is blank.
A bundle that was made otherwise than the study says is left out, and said to be. The claims are
those the study declares: per dataset the bootstrap interval over seeds, then users, every seed's
difference, and Holm's correction over the family; see `diger.statistics`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diger.bundle.manifest import located
from diger.bundle.reader import Bundle
from diger.bundle.writer import write_file
from diger.statistics.randomisation import ABOUT
from diger.statistics.runs import runs_frame, summary_frame
from diger.statistics.verdict import Claim, claim, judge
from diger.study.config import Study
from diger.study.grid import grid
from diger.study.progress import Cell, survey
from diger.text import csv_cell


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found.

    summary: a row a dataset and arm of the study, in its order: `dataset, arm, planned` (seeds),
    then the columns of `diger.statistics.runs.summary_frame` and `seconds_per_epoch`; missing where
    nothing was run. runs: a row a bundle, `runs_frame` of the same and `seconds_per_epoch`.
    """

    summary: pd.DataFrame
    runs: pd.DataFrame
    claims: list[Claim]  # judged; empty where the study claims nothing
    left_out: list[str]  # bundles that do not count, and why
    versions: list[str]  # of the code that made the bundles


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


# A study's results as files beside its bundles: CSV for a spreadsheet, JSON for a program.


def write_results(study: Study, results: Results) -> list[Path]:
    """Write `<study>.summary.csv`, `<study>.claims.csv` and `<study>.json`; the paths."""
    claims = pd.DataFrame([claim_row(judged) for judged in results.claims])
    document = {
        "study": study.name,
        "about": study.about,
        "randomisation_p": ABOUT,
        "summary": _records(results.summary),
        "claims": _records(claims),
        "runs": _records(results.runs.drop(columns=["path", "group"])),
        "left_out": results.left_out,
    }
    texts = {
        f"{study.name}.summary.csv": _csv(results.summary),
        f"{study.name}.claims.csv": _csv(claims),
        f"{study.name}.json": json.dumps(document, indent=2, allow_nan=False) + "\n",
    }
    with located(study.bundles, "be written"):
        study.bundles.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_file(text.encode(), study.bundles / name)
    return [study.bundles / name for name in texts]


def claim_row(judged: Claim) -> dict[str, Any]:
    """A claim as plain values; what was not compared is missing, with the reason."""
    found = judged.difference
    interval = found.interval if found else None
    lift = found.lift_interval if found else None
    return {
        "dataset": judged.dataset,
        "simulated": judged.simulated,
        "metric": judged.metric,
        "baseline": judged.baseline,
        "arm": judged.arm,
        "outcome": judged.outcome,
        "reason": judged.reason,
        "seeds": found.seeds if found else 0,
        "users": found.users if found else None,
        "baseline_mean": found.baseline if found else None,
        "arm_mean": found.arm if found else None,
        "difference": found.difference if found else None,
        "difference_low": interval.low if interval else None,
        "difference_high": interval.high if interval else None,
        "lift": found.lift if found else None,
        "lift_low": lift.low if lift else None,
        "lift_high": lift.high if lift else None,
        "level": interval.level if interval else None,
        "p": found.p_value if found else None,
        "p_holm": judged.adjusted_p,
        "randomisation_p": judged.randomisation_p,
        "difference_per_seed": seeds_in_words(judged),
        "seeds_left_out": " ".join(map(str, judged.alone)),
    }


def seeds_in_words(judged: Claim) -> str:
    """Every seed's difference: `0: +0.0012, 1: -0.0003`."""
    if judged.difference is None:
        return ""
    return ", ".join(f"{seed}: {value:+.4f}" for seed, value in judged.difference.per_seed)


def _csv(frame: pd.DataFrame) -> str:
    """`frame` as CSV, text that a spreadsheet would run made harmless."""
    safe = frame.map(lambda value: csv_cell(value) if isinstance(value, str) else value)
    return safe.to_csv(index=False, lineterminator="\n")


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON's own values; null where a number is missing."""

    def plain(value: Any) -> Any:
        value = value.item() if hasattr(value, "item") else value
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return [{str(k): plain(v) for k, v in row.items()} for row in frame.to_dict("records")]
