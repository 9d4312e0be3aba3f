"""How alike two arms' recommendations are: overlap of their top lists, user by user.

Two seeds of the *same* arm are the yardstick: lists that differ between arms as much as they do
between seeds say nothing about the arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from diger.bundle import tables
from diger.bundle.reader import Bundle
from diger.errors import DigerError


def overlap_at_k(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """(users,) share of the first k items that two lists have in common, whatever their order.

    Args:
        a, b: (users, at least k) item rows, -1 = none; an empty slot matches nothing.
        k: how many of each list to look at.

    >>> overlap_at_k(np.array([[1, 2]]), np.array([[2, 3]]), k=2)
    array([0.5])
    """
    if a.shape[0] != b.shape[0] or min(a.shape[1], b.shape[1]) < k:
        raise DigerError(f"lists of {a.shape} and {b.shape} have no first {k} in common")
    # Items of a list are distinct, so equal neighbours after sorting are items of both. Empty
    # slots become distinct numbers below zero.
    both = np.concatenate([a[:, :k], b[:, :k]], axis=1).astype(np.int64)
    both = np.where(both >= 0, both, -1 - np.arange(2 * k))
    both.sort(axis=1)
    return (both[:, 1:] == both[:, :-1]).sum(axis=1) / k


def overlaps(baseline: Sequence[Bundle], arm: Sequence[Bundle], k: int = 10) -> pd.DataFrame:
    """Mean overlap of top-k lists between two arms and within each.

    Returns: `between, pairs, users, overlap, lowest, highest` with one row for "arm and baseline"
    (same seeds) and one each for "seeds of the baseline" and "seeds of the arm" where there are
    several; `overlap` is the mean over pairs of bundles, the others their range.
    """
    first, second = _lists(baseline), _lists(arm)
    wanted = {
        "arm and baseline": [(first[s], second[s]) for s in sorted(first.keys() & second.keys())],
        "seeds of the baseline": list(combinations(first.values(), 2)),
        "seeds of the arm": list(combinations(second.values(), 2)),
    }
    records = []
    for between, pairs in wanted.items():
        values = [_mean_overlap(a, b, k) for a, b in pairs]
        if values:
            records.append(
                {
                    "between": between,
                    "pairs": len(values),
                    "users": len(pairs[0][0]),
                    "overlap": float(np.mean(values)),
                    "lowest": min(values),
                    "highest": max(values),
                }
            )
    columns = ["between", "pairs", "users", "overlap", "lowest", "highest"]
    return pd.DataFrame(records, columns=columns)


def _lists(bundles: Sequence[Bundle]) -> dict[int, pd.DataFrame]:
    found = {}
    for bundle in bundles:
        if bundle.topk is None:
            raise DigerError(
                f"{bundle.name} carries no lists (topk.parquet): variants go without, and so do "
                "bundles whose viewers are private"
            )
        found[int(bundle.config.get("seed", -1))] = bundle.topk.sort_values("user", kind="stable")
    return found


def _mean_overlap(a: pd.DataFrame, b: pd.DataFrame, k: int) -> float:
    if not np.array_equal(a["user"].to_numpy(), b["user"].to_numpy()):
        raise DigerError("the top lists are of different users")
    return float(overlap_at_k(tables.topk_rows(a), tables.topk_rows(b), k).mean())
