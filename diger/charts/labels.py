"""Where to write the names of lines and points so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

LINE = 17  # pixels of one line of text
LETTER = 6.6  # pixels of a letter, on average
_Align = Literal["left", "center", "right"]


def end_labels(
    lines: pd.DataFrame, value: str, domain: tuple[float, float], height: int
) -> pd.DataFrame:
    """Names of lines at their right ends, moved apart as little as needed.

    Args:
        lines: `arm, seed, epoch` and `value`.
        value: the column.
        domain: lowest and highest value of the y axis.
        height: of the plot in pixels.

    Returns:
        `arm, epoch, top, words`: `top` is where the text begins, in the units of `value`; method
        and variant are on two lines.
    """
    ends = lines.sort_values("epoch").groupby(["arm", "seed"], sort=False)[value].last()
    middle = ends.groupby("arm").mean().sort_values()
    words = [str(arm).replace(" (", "\n(", 1) for arm in middle.index]
    sizes = np.array([LINE * (1 + text.count("\n")) for text in words], dtype=float)
    unit = (domain[1] - domain[0]) / height
    # In pixels from below.
    wanted = (middle.to_numpy(dtype=float) - domain[0]) / unit
    places = _apart(wanted, sizes, height)
    return pd.DataFrame(
        {
            "arm": middle.index,
            "epoch": int(lines["epoch"].max()),
            "top": domain[0] + (places + sizes / 2) * unit,
            "words": words,
        }
    )


def point_labels(
    x: Sequence[float], y: Sequence[float], names: Sequence[str], width: int, height: int
) -> pd.DataFrame:
    """Names of points above, below, right or left of them, whichever is free first.

    Args:
        x, y: shares of the plot's width and height, 0 to 1, from the lower left.
        names: what to write.
        width, height: of the plot in pixels; a guess is good enough.

    Returns:
        `dx, dy` in pixels from the point (down is positive) and `align`, one row a point.
    """
    taken: list[tuple[float, float, float, float]] = [
        (a * width - 9, b * height - 9, a * width + 9, b * height + 9)
        for a, b in zip(x, y, strict=True)
    ]
    records = []
    for a, b, name in zip(x, y, names, strict=True):
        long = len(name) * LETTER
        options: list[tuple[_Align, float, float]] = [
            ("center", 0.0, side * (18.0 + LINE * step))
            for step, side in product(range(3), (1, -1))
        ]
        options[2:2] = [("left", 13.0, 0.0), ("right", -13.0, 0.0)]
        boxes = [_box(a * width + dx, b * height + dy, long, align) for align, dx, dy in options]
        # Within the plot if that can be had, then where the least is covered.
        costs = [
            sum(_covers(box, other) for other in taken) + 0.5 * _outside(box, width)
            for box in boxes
        ]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        align, dx, dy = options[best]
        records.append({"dx": dx, "dy": -dy, "align": align})
    return pd.DataFrame(records, columns=["dx", "dy", "align"])


def _apart(wanted: np.ndarray, sizes: np.ndarray, height: float) -> np.ndarray:
    """Middles as near as can be (least squares) to ascending wanted ones, without overlap.

    With the gaps that neighbours need taken out this is isotonic regression, by pooling adjacent
    violators; then everything is kept within the plot.
    """
    gaps = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])
    pools: list[tuple[float, int]] = []
    for value in wanted - gaps:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (b, m), (a, n) = pools.pop(), pools.pop()
            pools.append(((a * n + b * m) / (n + m), n + m))
    level = np.concatenate([np.full(n, value) for value, n in pools])
    lowest, highest = sizes[0] / 2, height - sizes[-1] / 2 - gaps[-1]
    return np.clip(level, lowest, max(highest, lowest)) + gaps


def _box(x: float, y: float, long: float, align: _Align) -> tuple[float, float, float, float]:
    left = {"center": x - long / 2, "left": x, "right": x - long}[align]
    return left, y - LINE / 2, left + long, y + LINE / 2


def _covers(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _outside(box: tuple[float, float, float, float], width: float) -> bool:
    return box[0] < 0 or box[2] > width
