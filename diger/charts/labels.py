"""Where to write the names of lines and points so that they do not cover each other."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

LINE = 17  # pixels of one line of text
LETTER = 6.6  # pixels of a letter, on average
COLUMN = 16  # letters of a name at the end of a line; a longer one is broken
VARIANT = r"\[(.+)\]$"  # the end of an arm's name: a variant's own, read alike by Vega
_Align = Literal["left", "center", "right"]


def short_name(arm: str) -> str:
    """Of a variant its own name, for where a mark or a colour says the method.

    >>> short_name("differentiable (frqud) [often]"), short_name("differentiable (frqud)")
    ('often', 'differentiable (frqud)')
    """
    variant = re.search(VARIANT, arm)
    return variant.group(1) if variant else arm


def end_labels(
    lines: pd.DataFrame, value: str, domain: tuple[float, float], height: int
) -> pd.DataFrame:
    """Names of lines at their right ends, moved apart as little as needed.

    Where there is no room for all, those are named that stand apart, first the lowest and the
    highest. A variant is called by its own name alone; its mark says the method.

    Args:
        lines: `arm, seed, epoch` and `value`.
        value: the column.
        domain: lowest and highest value of the y axis.
        height: of the plot in pixels.

    Returns:
        `arm, epoch, top, words`, from below: `top` is where the text begins, in the units of
        `value`; `words` may have several lines.
    """
    ends = lines.sort_values("epoch").groupby(["arm", "seed"], sort=False)[value].last()
    middle = ends.groupby("arm").mean().sort_values()
    words = [broken(str(arm)) for arm in middle.index]
    sizes = np.array([LINE * (1 + text.count("\n")) for text in words], dtype=float)
    unit = (domain[1] - domain[0]) / height
    # In pixels from below.
    wanted = (middle.to_numpy(dtype=float) - domain[0]) / unit
    named = _named(wanted, sizes, height)
    wanted, sizes = wanted[named], sizes[named]
    places = _apart(wanted, sizes, height)
    return pd.DataFrame(
        {
            "arm": middle.index[named],
            "epoch": int(lines["epoch"].max()),
            "top": domain[0] + (places + sizes / 2) * unit,
            "words": [words[index] for index in named],
        }
    )


def point_labels(
    x: Sequence[float], y: Sequence[float], names: Sequence[str], width: int, height: int
) -> pd.DataFrame:
    """Names of points above, below, beside or aslant of them, whichever is free first.

    Args:
        x, y: shares of the plot's width and height, 0 to 1, from the lower left.
        names: what to write, on one line or more, in the order of their claims to a place.
        width, height: of the plot in pixels; a guess is good enough.

    Returns:
        `dx, dy` in pixels from the point to the first line (down is positive) and `align`, one row
        a point; missing values where every place would cover another name or point.
    """
    taken: list[tuple[float, float, float, float]] = [
        (a * width - 9, b * height - 9, a * width + 9, b * height + 9)
        for a, b in zip(x, y, strict=True)
    ]
    records: list[dict[str, float | str | None]] = []
    for a, b, name in zip(x, y, names, strict=True):
        lines = name.split("\n")
        long, more = max(map(len, lines)) * LETTER, (len(lines) - 1) * LINE
        options: list[tuple[_Align, float, float]] = [
            ("center", 0.0, side * (18.0 + more / 2 + LINE * step))
            for step, side in product(range(3), (1, -1))
        ]
        options[2:2] = [("left", 13.0, 0.0), ("right", -13.0, 0.0)]
        for dy in (18.0 + more / 2, -18.0 - more / 2):
            options[4:4] = [("right", -2.0, dy), ("left", 2.0, dy)]
        boxes = [
            _box(a * width + dx, b * height + dy, long, LINE + more, align)
            for align, dx, dy in options
        ]
        free = [i for i, box in enumerate(boxes) if not any(_covers(box, t) for t in taken)]
        if not free:
            records.append({"dx": np.nan, "dy": np.nan, "align": None})
            continue
        best = min(free, key=lambda i: _outside(boxes[i], width))  # the first within the plot
        taken.append(boxes[best])
        align, dx, dy = options[best]
        records.append({"dx": dx, "dy": -dy - more / 2, "align": align})
    return pd.DataFrame(records, columns=["dx", "dy", "align"])


def broken(arm: str, column: int = COLUMN) -> str:
    """An arm's short name on lines of some `column` letters.

    >>> broken("differentiable (frqud)")
    'differentiable\\n(frqud)'
    """
    return "\n".join(textwrap.wrap(short_name(arm), column, break_long_words=False))


def _named(wanted: np.ndarray, sizes: np.ndarray, height: float) -> list[int]:
    """Which of the ascending places get a name: all if they fit, else those that stand apart.

    The ends first, then always the one farthest from what is named, while it fits and is at least
    half a line away: a name in a bundle of lines would tell nothing.
    """
    if sizes.sum() <= height:
        return list(range(len(wanted)))
    named = [0]
    while len(named) < len(wanted):
        distance = np.abs(wanted[:, None] - wanted[named]).min(axis=1)
        far = int(distance.argmax())
        if distance[far] < LINE / 2 or sizes[[*named, far]].sum() > height:
            break
        named.append(far)
    return sorted(named)


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


def _box(
    x: float, y: float, long: float, tall: float, align: _Align
) -> tuple[float, float, float, float]:
    left = {"center": x - long / 2, "left": x, "right": x - long}[align]
    return left, y - tall / 2, left + long, y + tall / 2


def _covers(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _outside(box: tuple[float, float, float, float], width: float) -> bool:
    return box[0] < -LETTER or box[2] > width
