"""Per-epoch tables of several runs, side by side and as a mean with its range.

Runs stop at different epochs. A mean over seeds is given only where every seed of the arm has a
value: a mean over those that happened to train longer would jump for no reason of the method's.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from diger.bundle.reader import Bundle


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
        method = str((bundle.config.get("arm") or {}).get("method", ""))
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
