"""A study's results as files beside its bundles: CSV for a spreadsheet, JSON for a program."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from diger.errors import DigerError
from diger.statistics.randomisation import ABOUT
from diger.statistics.verdict import Claim
from diger.study.config import Study
from diger.study.table import Results
from diger.text import csv_cell


def write_results(study: Study, results: Results) -> list[Path]:
    """Write `<study>.summary.csv`, `<study>.claims.csv` and `<study>.json`; the paths."""
    claims = pd.DataFrame([claim_row(one) for one in results.claims])
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
    written = []
    for name, text in texts.items():
        path = study.bundles / name
        aside = path.with_name(f".{name}.tmp")
        try:
            study.bundles.mkdir(parents=True, exist_ok=True)
            aside.write_text(text, encoding="utf-8")
            aside.replace(path)
        except OSError as error:
            raise DigerError(f"cannot write {path}: {error.strerror}") from None
        written.append(path)
    return written


def claim_row(one: Claim) -> dict[str, Any]:
    """A claim as plain values; what was not compared is missing, with the reason."""
    found = one.difference
    interval = found.interval if found else None
    lift = found.lift_interval if found else None
    return {
        "dataset": one.dataset,
        "simulated": one.simulated,
        "metric": one.metric,
        "baseline": one.baseline,
        "arm": one.arm,
        "outcome": one.outcome,
        "reason": one.reason,
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
        "p_holm": one.adjusted_p,
        "randomisation_p": one.randomisation_p,
        "difference_per_seed": seeds_in_words(one),
        "seeds_left_out": " ".join(map(str, one.alone)),
    }


def seeds_in_words(one: Claim) -> str:
    """Every seed's difference: `0: +0.0012, 1: -0.0003`."""
    if one.difference is None:
        return ""
    return ", ".join(f"{seed}: {value:+.4f}" for seed, value in one.difference.per_seed)


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
