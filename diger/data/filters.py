"""Which events to keep: k-core filtering and dropping repeats, on plain arrays."""

from __future__ import annotations

import numpy as np


def first_of_pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(n,) bool: True at the first event of each (user, item) pair, False at its repeats."""
    first = np.zeros(len(users), dtype=bool)
    if len(users):
        pairs = users.astype(np.int64) * (int(items.max()) + 1) + items
        first[np.unique(pairs, return_index=True)[1]] = True
    return first


def k_core(users: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """(n,) bool: the events left when every user and every item has at least `k` of them.

    Users and items with fewer are taken out by turns until nothing changes; what remains is the
    largest such subset, whatever the order of taking out. Repeats count. May be empty.
    """
    left = np.arange(len(users))
    while len(left):
        enough_by_user = np.bincount(users[left]) >= k
        enough_by_item = np.bincount(items[left]) >= k
        keep = enough_by_user[users[left]] & enough_by_item[items[left]]
        if keep.all():
            break
        left = left[keep]
    mask = np.zeros(len(users), dtype=bool)
    mask[left] = True
    return mask
