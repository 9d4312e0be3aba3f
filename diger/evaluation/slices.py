"""Metrics by kind of user and target: who gains, and who pays.

Slices are by the target's training popularity, by the length of the history, and by whether the
target is cold (never seen in training). Each kind covers every user of a split once, so its counts
sum to the number of users; a slice without users is left out rather than shown as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from diger.errors import DigerError
from diger.evaluation.metrics import summary

CUTOFFS = (5, 10, 20)

# (lowest value, label); a bin ends where the next begins.
POPULARITY_BINS = (
    (0, "0 (cold)"),
    (1, "1-4"),
    (5, "5-9"),
    (10, "10-19"),
    (20, "20-49"),
    (50, "50-199"),
    (200, "200-999"),
    (1000, "1,000+"),
)
LENGTH_BINS = ((0, "up to 4"), (5, "5-9"), (10, "10-19"), (20, "20-99"), (100, "100+"))

_NEEDED = ("split", "rank", "history_length", "target_popularity", "cold")


def slice_metrics(ranks: pd.DataFrame, ks: Iterable[int] = CUTOFFS) -> pd.DataFrame:
    """Metrics of every slice of every split, from ranks as in a bundle's `ranks.parquet`.

    One row a slice, in a fixed order: `split`, `slice` ("target popularity", "history length" or
    "cold target"), `label`, `users`, then `recall@k`, `ndcg@k`, `mrr@k` at the cut-offs `ks`.
    """
    missing = [name for name in _NEEDED if name not in ranks.columns]
    if missing:
        raise DigerError(f"ranks table has no column {missing[0]}: slices need it")
    ks = tuple(ks)
    records = [
        {"split": split, "slice": kind, "label": label, "users": int(users.sum())}
        | summary(part.loc[users, "rank"], ks)
        for split in ("validation", "test")
        if len(part := ranks[ranks["split"] == split])
        for kind, label, users in _slices(part)
        if users.any()
    ]
    columns = ["split", "slice", "label", "users", *summary([], ks)]
    return pd.DataFrame.from_records(records, columns=columns)


def _slices(ranks: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, label and a (users,) mask of every slice, empty ones too."""
    for kind, column, bins in (
        ("target popularity", "target_popularity", POPULARITY_BINS),
        ("history length", "history_length", LENGTH_BINS),
    ):
        values = ranks[column].to_numpy(dtype=np.int64)
        if (values < 0).any():
            raise DigerError(f"ranks table: {column} must be >= 0, got {values.min()}")
        bin_of = np.searchsorted([low for low, _ in bins], values, side="right") - 1
        for i, (_, label) in enumerate(bins):
            yield kind, label, bin_of == i
    cold = ranks["cold"].to_numpy(dtype=bool)
    yield "cold target", "yes", cold
    yield "cold target", "no", ~cold
