"""Nearest neighbours in content space: what the tokenizer was given, before any code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
