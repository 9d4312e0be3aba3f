"""A map of the catalogue: content vectors laid out in two dimensions.

A small version of UMAP (McInnes et al. 2018): the graph of nearest neighbours, laid out by
attraction along its edges and repulsion from random points, from a start on the two leading
principal directions. Numpy only, a few seconds for 4,000 items, and the same map for the same
vectors. Near on the map is near in content; distances between far groups mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# The curve 1 / (1 + A d^2B) that UMAP fits for a minimum distance of 0.1 and a spread of 1.
_A, _B = 1.577, 0.895
_EPOCHS, _NEGATIVES, _STEP = 160, 4, 1.0
_BLOCK = 1024


def layout(vectors: np.ndarray, *, neighbours: int = 12, seed: int = 0) -> np.ndarray:
    """Positions float32 (n, 2) within the unit square, for vectors (n, width).

    Fewer than four items are laid on a line.
    """
    vectors = np.asarray(vectors, np.float32)
    n = len(vectors)
    if n < 4:
        return np.stack([(np.arange(n) + 0.5) / max(n, 1), np.full(n, 0.5)], axis=1, dtype="f4")
    position = _principal(vectors)
    source, target, weight = _edges(vectors, min(neighbours, n - 1))
    rng = np.random.default_rng(seed)
    weight = weight / weight.max()
    for epoch in range(_EPOCHS):
        rate = _STEP * (1 - epoch / _EPOCHS)
        chosen = rng.random(len(weight)) < weight
        a, b = source[chosen], target[chosen]
        difference = position[a] - position[b]
        distance = (difference**2).sum(axis=1, keepdims=True)
        pull = -2 * _A * _B * np.maximum(distance, 1e-6) ** (_B - 1) / (1 + _A * distance**_B)
        step = np.clip(pull * difference, -4, 4)
        away = np.repeat(a, _NEGATIVES)
        difference = position[away] - position[rng.integers(n, size=len(away))]
        distance = (difference**2).sum(axis=1, keepdims=True)
        push = 2 * _B / ((0.001 + distance) * (1 + _A * distance**_B))
        away_step = np.clip(push * difference, -4, 4)
        for axis in range(2):
            position[:, axis] += rate * (
                np.bincount(a, step[:, axis], n)
                - np.bincount(b, step[:, axis], n)
                + np.bincount(away, away_step[:, axis], n)
            )
    return _into_square(position)


def _principal(vectors: np.ndarray) -> np.ndarray:
    """The two leading principal directions (n, 2), spread 10, signs fixed by the largest entry."""
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred.T @ centred)
    directions = directions[:2]
    peak = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), peak])[:, None]
    found = (centred @ directions.T).astype(np.float64)
    if found.shape[1] == 1:
        found = np.concatenate([found, np.zeros_like(found)], axis=1)
    # Items with equal vectors must not sit on one point, or nothing ever parts them.
    found += np.random.default_rng(0).normal(scale=1e-3, size=found.shape) * (found.std() + 1e-9)
    return 10 * found / (np.abs(found).max() + 1e-12)


def _edges(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directed edges to the k nearest, weighted by exp(-(d - nearest) / mean excess)."""
    n = len(vectors)
    norms = (vectors**2).sum(axis=1)
    nearest = np.empty((n, k), np.int64)
    distances = np.empty((n, k))
    for start in range(0, n, _BLOCK):
        block = vectors[start : start + _BLOCK]
        square = norms[start : start + _BLOCK, None] + norms - 2 * block @ vectors.T
        square[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        rows = np.argpartition(square, k - 1, axis=1)[:, :k]
        nearest[start : start + _BLOCK] = rows
        found = np.maximum(np.take_along_axis(square, rows, axis=1), 0)
        distances[start : start + _BLOCK] = np.sqrt(found)
    excess = distances - distances.min(axis=1, keepdims=True)
    weight = np.exp(-excess / (excess.mean(axis=1, keepdims=True) + 1e-9))
    return np.repeat(np.arange(n), k), nearest.ravel(), weight.ravel()


def _into_square(position: np.ndarray) -> np.ndarray:
    """Into [0.02, 0.98] on both axes; the outermost half percent is pulled to the rim."""
    low, high = np.quantile(position, [0.005, 0.995], axis=0)
    span = np.where(high > low, high - low, 1)
    return np.clip(0.02 + 0.96 * (position - low) / span, 0.01, 0.99).astype(np.float32)


# Squarified treemap: areas in proportion to values, as near to squares as may be.
#
# Bruls, Huizing, van Wijk (2000): rows are filled along the shorter side for as long as that makes
# the worst aspect ratio better. No dependency, and the result is in shares of the box.


class Tile(NamedTuple):
    """A rectangle within the box given: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


def squarify(values: Sequence[float], width: float = 1.0, height: float = 1.0) -> list[Tile]:
    """One tile a value, in the order given; values must be positive and are best sorted descending.

    >>> squarify([1, 1], 2, 1)
    [Tile(x=0.0, y=0.0, width=1.0, height=1.0), Tile(x=1.0, y=0.0, width=1.0, height=1.0)]
    """
    if any(value <= 0 for value in values):
        raise ValueError("treemap values must be positive")
    scale = width * height / sum(values) if values else 0.0
    areas = [value * scale for value in values]
    tiles: list[Tile] = []
    x = y = 0.0
    while areas:
        side = min(width, height)
        row = 1
        while row < len(areas) and _worst(areas[: row + 1], side) <= _worst(areas[:row], side):
            row += 1
        total = sum(areas[:row])
        thick = total / side
        at = 0.0
        for area in areas[:row]:
            long = area / thick
            if width >= height:
                tiles.append(Tile(x, y + at, thick, long))
            else:
                tiles.append(Tile(x + at, y, long, thick))
            at += long
        if width >= height:
            x, width = x + thick, max(width - thick, 1e-12)
        else:
            y, height = y + thick, max(height - thick, 1e-12)
        areas = areas[row:]
    return tiles


def _worst(areas: Sequence[float], side: float) -> float:
    """The worst aspect ratio of a row of areas along a side."""
    total = sum(areas)
    return max(side**2 * max(areas) / total**2, total**2 / (side**2 * min(areas)))
