"""Item-level ranking metrics from the targets' ranks, one relevant item a user.

Ranks are 1-based positions among *items*; NaN or a null means that the target was not decoded and
counts as a miss. There is deliberately no metric over SIDs: where items share codes, finding the
SID is not finding the item, and a collapsed codebook, with a thousand items on one SID, would look
nearly perfect. The collision-corrected numbers below answer the question behind it (what if the
suffix were a coin toss?) without that inflation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from diger.errors import DigerError

CUTOFFS = (1, 5, 10, 20)
METRICS = ("recall", "ndcg", "mrr")


def per_user(ranks: Any, metric: str) -> np.ndarray:
    """(users,) float64 values of a metric such as "ndcg@10", for paired comparisons of users.

    recall@k is [rank <= k], with one relevant item the same as hit@k; ndcg@k is [rank <= k] /
    log2(rank + 1), for the ideal list of one relevant item scores 1; mrr@k is [rank <= k] / rank.

    `ranks` is (users,): whole numbers >= 1, NaN or null for a target that was not decoded.
    Raises DigerError for a rank below 1 or a metric that is not `recall@k`, `ndcg@k` or `mrr@k`.

    >>> per_user([1, 3, 11], "ndcg@10")
    array([1. , 0.5, 0. ])
    """
    name, k = parse_metric(metric)
    rank = _as_ranks(ranks)
    hit = rank <= k  # False for NaN
    return np.where(hit, _gain(name, np.where(hit, rank, 1.0)), 0.0)


def summary(ranks: Any, ks: Iterable[int] = CUTOFFS) -> dict[str, float]:
    """All metrics at all cut-offs by name; NaN where there are no users.

    >>> summary([1, 2], ks=(1,))
    {'recall@1': 0.5, 'ndcg@1': 0.5, 'mrr@1': 0.5}
    """
    rank = _as_ranks(ranks)
    return {name: _mean(per_user(rank, name)) for name in _names(ks)}


def corrected_per_user(first: Any, size: Any, metric: str) -> np.ndarray:
    """(users,) expected value of a metric if each collision group were in random order.

    Items that share all codes but the suffix form a group. Take the target's group to hold the
    positions first .. first + size - 1, its target equally likely at each; then the expectation is
    the mean over these positions p of gain(p) [p <= k]. For recall that is
    clip((k - first + 1) / size, 0, 1). Where every group has one item nothing changes.

    `first` is (users,) the best rank held by an item of the target's group, NaN or null for none;
    `size` (users,) the items in that group, the target included.

    >>> corrected_per_user([1, 10, float("nan")], [2, 4, 1], "recall@10")
    array([1.  , 0.25, 0.  ])
    """
    name, k = parse_metric(metric)
    rank, group = _as_ranks(first), _as_ranks(size)
    if rank.shape != group.shape or np.isnan(group).any():
        raise DigerError(
            f"every user needs a group size: got {group.size} sizes for {rank.size} ranks"
        )
    gains = _gain(name, np.arange(1, k + 1, dtype=np.float64))
    up_to = np.concatenate([[0.0], np.cumsum(gains)])  # up_to[n] = sum of gain(1) .. gain(n)
    start = np.where(np.isnan(rank), k + 1, rank)
    before = np.minimum(start - 1, k).astype(np.int64)
    last = np.minimum(start + group - 1, k).astype(np.int64)
    return (up_to[last] - up_to[before]) / group


def corrected_summary(first: Any, size: Any, ks: Iterable[int] = CUTOFFS) -> dict[str, float]:
    """Means of `corrected_per_user` for all metrics and cut-offs, by name as in `summary`."""
    return {name: _mean(corrected_per_user(first, size, name)) for name in _names(ks)}


def parse_metric(metric: str) -> tuple[str, int]:
    """The name and the cut-off of "ndcg@10"; DigerError for anything else.

    >>> parse_metric("ndcg@10")
    ('ndcg', 10)
    """
    match = re.fullmatch(r"(recall|ndcg|mrr)@([1-9]\d{0,6})", metric)
    if not match:
        raise DigerError(f"metric must be recall@k, ndcg@k or mrr@k with k >= 1, got {metric!r}")
    return match[1], int(match[2])


def _names(ks: Iterable[int]) -> list[str]:
    cutoffs = tuple(ks)
    return [f"{name}@{k}" for name in METRICS for k in cutoffs]


def _gain(name: str, rank: np.ndarray) -> np.ndarray:
    """What a hit at each rank >= 1 is worth."""
    if name == "recall":
        return np.ones_like(rank)
    return 1.0 / np.log2(rank + 1.0) if name == "ndcg" else 1.0 / rank


def _as_ranks(values: Any) -> np.ndarray:
    """(users,) float64, NaN for a miss; takes arrays, lists and pandas' nullable columns."""
    if hasattr(values, "to_numpy"):
        rank = values.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        rank = np.asarray(values, dtype=np.float64)
    if rank.ndim != 1:
        raise DigerError(f"ranks must be one number a user, got shape {rank.shape}")
    if (rank < 1).any():
        raise DigerError(f"ranks and sizes must be >= 1, got {rank[rank < 1][0]:g}")
    return rank


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
