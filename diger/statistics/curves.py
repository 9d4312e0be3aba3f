"""Per-epoch tables of several runs, side by side and as a mean with its range.

Runs stop at different epochs. A mean over seeds is given only where every seed of the arm has a
value: a mean over those that happened to train longer would jump for no reason of the method's.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from diger.bundle.reader import Bundle
from diger.errors import DigerError


def stack(runs: Iterable[tuple[Bundle, str, int]], table: str, columns: list[str]) -> pd.DataFrame:
    """Rows of a per-epoch table of several bundles under each other.

    Args:
        runs: bundle, arm name and seed.
        table: `history.parquet`, `levels.parquet` or `codes.parquet`.
        columns: to keep where a bundle has them, besides `epoch` and `level`.

    Returns:
        `arm, method, seed, epoch, level` (where the table has it) and `columns`, NaN where a
        bundle lacks one; bundles without the table are passed over.
    """
    keys = ["arm", "method", "seed", "epoch"]
    parts = []
    for bundle, arm, seed in runs:
        if table not in bundle.manifest.files:
            continue
        frame = bundle.frame(table)
        kept = [c for c in ["epoch", "level", *columns] if c in frame.columns]
        method = bundle.about.arm.method
        parts.append(frame[kept].assign(arm=arm, method=method, seed=seed))
    levels = ["level"] if any("level" in part.columns for part in parts) else []
    wanted = [*keys, *levels, *columns]
    if not parts:
        return pd.DataFrame(columns=wanted)
    return pd.concat(parts, ignore_index=True).reindex(columns=list(dict.fromkeys(wanted)))


def bands(frame: pd.DataFrame, value: str, by: tuple[str, ...] = ("arm", "method")) -> pd.DataFrame:
    """Mean, lowest and highest over seeds at each epoch, where every seed of the arm has a value.

    Args:
        frame: as from `stack`.
        value: the column.
        by: what makes a line besides the epoch.

    Returns:
        `by, epoch, mean, low, high, seeds`.
    """
    keys = list(by)
    known = frame.dropna(subset=[value])
    columns = [*keys, "epoch", "mean", "low", "high", "seeds"]
    if known.empty:
        return pd.DataFrame(columns=columns)
    all_seeds = frame.groupby(keys, sort=False)["seed"].nunique().rename("of")
    found = (
        known.groupby([*keys, "epoch"], sort=False)
        .agg(
            mean=(value, "mean"), low=(value, "min"), high=(value, "max"), seeds=("seed", "nunique")
        )
        .reset_index()
        .merge(all_seeds.reset_index(), on=keys)
    )
    return found.loc[found["seeds"] == found["of"], columns].reset_index(drop=True)


# Quality against cost: the Pareto front, and the composite score TPME.
#
# TPME (training time, parameters, GPU memory; Fu et al., "IISAN", SIGIR 2024, arXiv 2404.02059, and
# the IISAN papers after it) is, over the arms compared,
#
#     TPME_i = a_T f(T)_i + a_P f(P)_i + a_M f(M)_i,   f(X)_i = (X_i - min X) / (max X - min X)
#
# with the weights 0.45, 0.10, 0.45 (quoted from memory, not checked against the paper). Lower is
# cheaper; 0 is the cheapest in everything. It ranks the arms it was computed over and nothing else:
# another arm in the table changes every score. On a CPU the memory is that of the process, which is
# why ours compares only runs of one machine.

WEIGHTS = {"seconds": 0.45, "parameters": 0.10, "memory_bytes": 0.45}


def tpme(costs: pd.DataFrame) -> pd.Series:
    """TPME of every row, NaN where one of its three costs is missing.

    Such a row also has no part in the minima and maxima. A cost that all rows share counts 0.

    Args:
        costs: columns `seconds`, `parameters`, `memory_bytes`, one row an arm.
    """
    missing = [name for name in WEIGHTS if name not in costs.columns]
    if missing:
        raise DigerError(f"TPME needs the column {missing[0]}")
    known = costs[list(WEIGHTS)].astype("float64").dropna()
    low, high = known.min(), known.max()
    spread = (high - low).where(high > low, 1.0)
    scaled = (known - low) / spread
    score = sum(scaled[name] * weight for name, weight in WEIGHTS.items())
    return pd.Series(score, index=known.index, dtype="float64").reindex(costs.index)


def pareto(quality: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(n,) bool: rows that no other beats in quality without costing more.

    A row is off the front if another is at least as good and at least as cheap, and better in one.
    NaN in either keeps a row off.

    >>> pareto(np.array([3.0, 2.0, 1.0]), np.array([2.0, 1.0, 1.0])).tolist()
    [True, True, False]
    """
    q, c = np.asarray(quality, np.float64), np.asarray(cost, np.float64)
    known = np.isfinite(q) & np.isfinite(c)
    as_good = (q[None] >= q[:, None]) & (c[None] <= c[:, None]) & known[None]
    better = (q[None] > q[:, None]) | (c[None] < c[:, None])
    return known & ~(as_good & better).any(axis=1)
