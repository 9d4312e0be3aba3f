"""Items under a SID prefix, and the items beside an item at each prefix depth. Numpy only.

`codes` is (items, levels), the suffix left aside: it tells items apart and means nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Items that share exactly `depth` leading codes with an item: `rows`, the first of `total`."""

    depth: int
    prefix: tuple[int, ...]
    rows: np.ndarray
    total: int


def shared_depth(codes: np.ndarray, reference: Sequence[int] | np.ndarray) -> np.ndarray:
    """How many leading codes each row of codes (n, levels) shares with reference (levels,).

    >>> shared_depth(np.array([[1, 2, 3], [1, 2, 9], [7, 2, 3]]), [1, 2, 3])
    array([3, 2, 0])
    """
    equal = np.asarray(codes) == np.asarray(reference)
    return np.logical_and.accumulate(equal, axis=1).sum(axis=1)


def rows_under(codes: np.ndarray, prefix: Sequence[int]) -> np.ndarray:
    """Item rows (m,) whose codes (n, levels) begin with `prefix`, in row order."""
    wanted = np.asarray(prefix, dtype=np.int64)
    return np.flatnonzero((np.asarray(codes)[:, : len(wanted)] == wanted).all(axis=1))


def children(codes: np.ndarray, prefix: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """The codes that follow `prefix` and the item rows under each, the fullest first.

    Empty for a prefix that no item has, and for one that is already all levels long.
    """
    codes = np.asarray(codes)
    level = len(prefix)
    if level >= codes.shape[1]:
        return []
    rows = rows_under(codes, prefix)
    values, counts = np.unique(codes[rows, level], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(values[i]), rows[codes[rows, level] == values[i]]) for i in order]


def neighbours(
    codes: np.ndarray, row: int, popularity: np.ndarray, limit: int = 8
) -> list[Neighbours]:
    """What shares a prefix with item `row`, deepest first; depths without any are left out.

    An item is listed once, at its deepest shared prefix; the more popular (items,) come first.
    """
    codes = np.asarray(codes)
    depth = shared_depth(codes, codes[row])
    depth[row] = -1
    found = []
    for d in range(codes.shape[1], 0, -1):
        rows = np.flatnonzero(depth == d)
        if len(rows):
            order = rows[np.argsort(-popularity[rows], kind="stable")]
            prefix = tuple(int(code) for code in codes[row, :d])
            found.append(Neighbours(d, prefix, order[:limit], len(rows)))
    return found


# Nearest neighbours in content space: what the tokenizer was given, before any code.


@dataclass(frozen=True, eq=False)
class ContentSpace:
    """Content vectors as the tokenizer sees them, made unit length.

    Attributes:
        units: float32 (items, width); zero where an item has no text.
    """

    units: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> ContentSpace:
        """From transformed vectors (items, width)."""
        return cls(_unit(np.asarray(vectors, np.float32)))

    def nearest(
        self, vector: np.ndarray, limit: int = 8, leave_out: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and cosines of the `limit` items nearest to a vector (width,), best first.

        Items without text are never neighbours; ties go to the smaller row.
        """
        cosine = self.units @ _unit(np.asarray(vector, np.float32)[None])[0]
        cosine[~self.units.any(axis=1)] = -np.inf
        if leave_out is not None:
            cosine[leave_out] = -np.inf
        order = np.argsort(-cosine, kind="stable")[:limit]
        order = order[np.isfinite(cosine[order])]
        return order, cosine[order]


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)
