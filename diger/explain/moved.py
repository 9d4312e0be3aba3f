"""Which items changed their SID during joint training, and whom they moved toward. Numpy only.

Codes keep their numbers during joint training, so an item that has another code than at the start
has moved. Its company is who shares its longest prefix that anybody shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diger.explain.prefixes import shared_depth


@dataclass(frozen=True, eq=False)
class Move:
    """One item that moved.

    Attributes:
        row: the item.
        level: the first level (from 1) whose code changed.
        before, after: its codes at the start and now.
        left, joined: rows of its company at the start that is no longer, and the reverse, the
            popular first.
    """

    row: int
    level: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    left: np.ndarray
    joined: np.ndarray


def moved_share(start: np.ndarray, now: np.ndarray) -> list[float]:
    """Per level, the share of items whose prefix up to that level changed.

    >>> moved_share(np.array([[0, 1], [0, 2]]), np.array([[0, 1], [0, 3]]))
    [0.0, 0.5]
    """
    if not len(now):
        return [0.0] * now.shape[1]
    changed = np.logical_or.accumulate(np.asarray(start) != np.asarray(now), axis=1)
    return [float(share) for share in changed.mean(axis=0)]


def moves(
    start: np.ndarray, now: np.ndarray, popularity: np.ndarray, limit: int = 30, company: int = 3
) -> list[Move]:
    """Items that moved: those that changed at an earlier level first, then the popular ones.

    start, now: codes (items, levels) at the start of joint training and after it; `limit` moves
    with `company` rows on each side at most.
    """
    start, now = np.asarray(start), np.asarray(now)
    differs = start != now
    rows = np.flatnonzero(differs.any(axis=1))
    level = differs.argmax(axis=1) + 1
    order = rows[np.lexsort((rows, -popularity[rows], level[rows]))][:limit]
    found = []
    for row in order:
        before, after = _company(start, row), _company(now, row)
        found.append(
            Move(
                row=int(row),
                level=int(level[row]),
                before=tuple(int(code) for code in start[row]),
                after=tuple(int(code) for code in now[row]),
                left=_popular(np.setdiff1d(before, after), popularity)[:company],
                joined=_popular(np.setdiff1d(after, before), popularity)[:company],
            )
        )
    return found


def _company(codes: np.ndarray, row: int) -> np.ndarray:
    """Rows that share the longest prefix that any other item shares with `row`."""
    depth = shared_depth(codes, codes[row])
    depth[row] = 0
    deepest = depth.max()
    return np.flatnonzero(depth == deepest) if deepest else np.zeros(0, np.int64)


def _popular(rows: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    return rows[np.argsort(-popularity[rows], kind="stable")]
