"""Where an item stands on a map that knows its codes: between its text and its company. Numpy only.

A map of content vectors looks the same whatever the codes are. Here a point is drawn part of the
way to the middle of the items that share its first code, and part of the way to the middle of those
that share its first two. The middles are those at the start, so that between two sets of codes
exactly the items that changed one of their first two codes have another place.
"""

from __future__ import annotations

import numpy as np

PULLS = (0.4, 0.3)  # toward those with the same first code, and the same first two


def places(position: np.ndarray, codes: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Places float32 (n, 2) of items at `position` (n, 2) with `codes` (n, levels).

    The middle of a group is the median of its members by `start` codes (n, levels), by default
    the codes themselves; of a group that had no member then, the median of those it has now.
    """
    position = np.asarray(position, np.float32)
    codes = np.asarray(codes)
    start = codes if start is None else np.asarray(start)
    pulls = PULLS[: codes.shape[1]]
    placed = position * (1 - sum(pulls))
    for level, pull in enumerate(pulls, 1):
        middle: dict[tuple[int, ...], np.ndarray] = {}
        for by in (start, codes):
            for prefix in {tuple(one) for one in by[:, :level].tolist()} - middle.keys():
                members = (by[:, :level] == np.asarray(prefix)).all(axis=1)
                middle[prefix] = np.median(position[members], axis=0)
        placed += pull * np.stack([middle[tuple(one)] for one in codes[:, :level].tolist()])
    return placed.astype(np.float32)
