"""The summary table of a study: a row an arm and dataset, over its seeds.

Seeds are pooled only within a group (`diger.statistics.runs`). A mean is over all seeds of the
group or it is blank: a cell that one seed did not measure is never averaged over the rest. The
standard deviation is that of a sample (n - 1), blank with one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from diger.bundle.reader import Bundle
from diger.statistics.runs import runs_frame

_KEYS = ["dataset", "group"]
_SHARED = (
    *("title", "simulated", "fingerprint", "split", "users", "items", "arm", "origin", "method"),
    *("decay", "noise", "recipe", "backbone", "tokenizer", "decoding"),
)
_COSTS = ("seconds", "memory_bytes", "parameters")
_MEASURED = ("test_", "validation_", "corrected_")


def summarise(bundles: Sequence[Bundle]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs and their summary: `runs_frame(bundles)` and `summary_frame` of it."""
    runs = runs_frame(bundles)
    return runs, summary_frame(runs)


def summary_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a dataset and arm, in the order in which they first occur.

    Columns: `dataset, group` and what its runs share (`title, simulated, arm, method, decay,
    noise, recipe, backbone, decoding, ...`); `seeds` (how many) and `seed_list`; `left_out`, runs
    that repeat a seed of their group (the first counts); for every metric and cost column `c` of
    the runs, `c` (mean) and `c_std`; `hardware`, every machine the runs were made on.
    """
    measured = [c for c in runs.columns if c.startswith(_MEASURED) and c != "test_users"]
    columns = [*measured, *_COSTS]
    names = [*_KEYS, *_SHARED, "seeds", "seed_list", "left_out", "hardware"]
    names += [name for c in columns for name in (c, f"{c}_std")]
    if runs.empty:
        return pd.DataFrame(columns=names)
    again = repeated(runs)
    counted = runs[~again].groupby(_KEYS, sort=False)
    summary = counted[list(_SHARED)].first()
    summary["seeds"] = counted.size()
    summary["seed_list"] = counted["seed"].agg(lambda seeds: ", ".join(map(str, sorted(seeds))))
    left_out = runs[again].groupby(_KEYS, sort=False)["bundle"].agg(", ".join)
    summary["left_out"] = left_out.reindex(summary.index).fillna("")
    machines = runs[~again].assign(machine=[_machine(r) for r in runs[~again].itertuples()])
    by_arm = machines.groupby(_KEYS, sort=False)["machine"]
    summary["hardware"] = by_arm.agg(lambda names: ", ".join(dict.fromkeys(names)))
    values = counted[columns]
    whole = values.count().eq(summary["seeds"], axis=0)
    means, spreads = values.mean().where(whole), values.std(ddof=1).where(whole)
    return pd.concat([summary, means, spreads.add_suffix("_std")], axis=1).reset_index()[names]


def repeated(runs: pd.DataFrame) -> pd.Series:
    """Mask of runs whose group already has a run of their seed."""
    return runs.duplicated(subset=[*_KEYS, "seed"], keep="first")


def _machine(run: Any) -> str:
    on_cpu = run.device in ("", "cpu")
    name = (run.cpu if on_cpu else run.device) or "unknown"
    return f"{name}, {run.threads:.0f} threads" if on_cpu and run.threads > 0 else str(name)
