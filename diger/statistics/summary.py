"""The summary table of a study: a row an arm and dataset, over its seeds.

Seeds are pooled only within a group (`diger.statistics.runs`). A mean is over all seeds of the
group or it is blank: a cell that one seed did not measure is never averaged over the rest. The
standard deviation is that of a sample (n - 1), blank with one seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from diger.bundle.reader import Bundle
from diger.statistics.runs import runs_frame

_KEYS = ["dataset", "group"]
_SHARED = (
    *("title", "simulated", "fingerprint", "split", "users", "items", "arm", "method", "decay"),
    *("noise", "recipe", "backbone", "tokenizer", "decoding"),
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
    records = []
    for (dataset, group), everyone in runs.groupby(_KEYS, sort=False):
        part = everyone[~repeated(everyone)]
        record = {"dataset": dataset, "group": group}
        record |= {name: part[name].iloc[0] for name in _SHARED}
        record["seeds"] = len(part)
        record["seed_list"] = ", ".join(str(seed) for seed in sorted(part["seed"]))
        record["left_out"] = ", ".join(everyone.loc[repeated(everyone), "bundle"])
        record["hardware"] = ", ".join(dict.fromkeys(_machine(run) for _, run in part.iterrows()))
        for column in columns:
            values = part[column]
            whole = bool(values.notna().all())
            record[column] = values.mean() if whole else float("nan")
            record[f"{column}_std"] = values.std(ddof=1) if whole else float("nan")
        records.append(record)
    names = [*_KEYS, *_SHARED, "seeds", "seed_list", "left_out", "hardware"]
    names += [name for c in columns for name in (c, f"{c}_std")]
    return pd.DataFrame(records, columns=names)


def repeated(runs: pd.DataFrame) -> pd.Series:
    """Mask of runs whose group already has a run of their seed."""
    return runs.duplicated(subset=[*_KEYS, "seed"], keep="first")


def _machine(run: pd.Series) -> str:
    name = run["cpu"] if run["device"] in ("", "cpu") else run["device"]
    threads = "" if pd.isna(run["threads"]) else f", {run['threads']:.0f} threads"
    return f"{name or 'unknown'}{threads if run['device'] in ('', 'cpu') else ''}"
