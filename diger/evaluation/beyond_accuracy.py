"""What the recommendations are like, right or not: coverage of the catalogue and popularity bias.

All work on top-k lists: an integer array (users, width) of item rows, best first, -1 where the
list ended early. Empty slots count for nothing, in the denominators too.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from diger.errors import DigerError

CUTOFFS = (10, 20)
HEAD_PERCENT = 20


def head_items(popularity: np.ndarray) -> np.ndarray:
    """(items,) bool: the most popular 20 % of the catalogue, rounded up, ties by item row.

    >>> head_items(np.array([3, 9, 9, 0, 1])).tolist()
    [False, True, False, False, False]
    """
    popularity = np.asarray(popularity)
    size = -(-len(popularity) * HEAD_PERCENT // 100)
    head = np.zeros(len(popularity), dtype=bool)
    head[np.argsort(-popularity, kind="stable")[:size]] = True
    return head


def coverage_at_k(topk: np.ndarray, n_items: int, k: int) -> float:
    """Share of the catalogue's `n_items` items that are among the first k of any user.

    >>> coverage_at_k(np.array([[0, 1], [0, -1]]), n_items=4, k=2)
    0.5
    """
    return len(np.unique(_recommended(topk, n_items, k))) / n_items


def head_share_at_k(topk: np.ndarray, popularity: np.ndarray, k: int) -> float:
    """Share of the first k slots held by head items (`head_items`); NaN without any slot filled.

    >>> head_share_at_k(np.array([[1, 0], [1, -1]]), np.array([3, 9, 9, 0, 1]), k=2)
    0.6666666666666666
    """
    return _mean(head_items(popularity)[_recommended(topk, len(popularity), k)])


def mean_popularity_at_k(topk: np.ndarray, popularity: np.ndarray, k: int) -> float:
    """Mean training popularity over the first k slots; NaN without any slot filled.

    >>> mean_popularity_at_k(np.array([[1, 0], [1, -1]]), np.array([3, 9, 9, 0, 1]), k=2)
    7.0
    """
    return _mean(np.asarray(popularity)[_recommended(topk, len(popularity), k)])


def summary(
    topk: np.ndarray, popularity: np.ndarray, ks: Iterable[int] = CUTOFFS
) -> dict[str, float]:
    """`coverage@k`, `head_share@k` and `mean_popularity@k` at every cut-off.

    `topk` is (users, width) item rows, -1 = none, with every cut-off at most `width`; `popularity`
    (items,) counts over training events.
    """
    ks = tuple(ks)
    return {
        **{f"coverage@{k}": coverage_at_k(topk, len(popularity), k) for k in ks},
        **{f"head_share@{k}": head_share_at_k(topk, popularity, k) for k in ks},
        **{f"mean_popularity@{k}": mean_popularity_at_k(topk, popularity, k) for k in ks},
    }


def _recommended(topk: np.ndarray, n_items: int, k: int) -> np.ndarray:
    """Item rows in the first k slots of all users, empty slots left out."""
    topk = np.asarray(topk)
    if topk.ndim != 2 or not 1 <= k <= topk.shape[1]:
        raise DigerError(f"top lists must be (users, at least {k}), got shape {topk.shape}")
    rows = topk[:, :k]
    rows = rows[rows >= 0]
    if rows.size and rows.max() >= n_items:
        raise DigerError(f"top lists name item row {rows.max()} of a catalogue of {n_items}")
    return rows


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
