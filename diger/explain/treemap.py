"""Squarified treemap: areas in proportion to values, as near to squares as may be.

Bruls, Huizing, van Wijk (2000): rows are filled along the shorter side for as long as that makes
the worst aspect ratio better. No dependency, and the result is in shares of the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


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
