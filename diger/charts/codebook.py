"""Codebook health: the heat map of code usage, and effective codes over epochs (see `curves`)."""

from __future__ import annotations

import math

import altair as alt
import numpy as np
import pandas as pd

from diger.charts.palette import method_colour
from diger.charts.theme import layered, role, tips

SIDE = 300  # pixels


def usage_grid(codes: pd.DataFrame, epoch: int, level: int, *, width: int = 16) -> pd.DataFrame:
    """How many items have each code, laid out in rows of `width`.

    Args:
        codes: `epoch, level, code, items` of one bundle.
        epoch, level: which to show.
        width: codes a row; 16 makes 256 codes a square.

    Returns: `code, items, row, column`, a row for every code up to the largest known.
    """
    part = codes[(codes["epoch"] == epoch) & (codes["level"] == level)]
    size = int(codes["code"].max()) + 1 if len(codes) else 0
    items = np.zeros(size, np.int64)
    items[part["code"].to_numpy()] = part["items"].to_numpy()
    code = np.arange(size)
    return pd.DataFrame(
        {"code": code, "items": items, "row": code // width, "column": code % width}
    )


def heat_map(grid: pd.DataFrame, most: int) -> alt.LayerChart:
    """Usage of one level's codes, stronger for more items; dead codes are crossed.

    Args:
        grid: from `usage_grid`.
        most: items at the end of the scale, the same for all charts that stand together.
    """
    rows = int(grid["row"].max()) + 1 if len(grid) else 1
    columns = int(grid["column"].max()) + 1 if len(grid) else 1
    most = max(most, 1)
    ticks = sorted({0, round(most / 4), most})
    base = alt.Chart(grid).encode(
        x=alt.X("column:O", axis=None),
        y=alt.Y("row:O", axis=None),
        tooltip=tips(code="d", items=","),
    )
    # Opacity, not lightness: more items stand out from a light ground and from a dark one.
    squares = base.mark_rect(color=method_colour("static"), stroke=role("ground")).encode(
        opacity=alt.Opacity(
            "items:Q",
            scale=alt.Scale(type="sqrt", domain=[0, most], range=[0.04, 1.0]),
            legend=alt.Legend(
                title="items a code", orient="top", values=ticks, symbolType="square", format="~s"
            ),
        )
    )
    dead = base.transform_filter(alt.datum["items"] == 0).mark_point(
        shape="M-1,-1L1,1M-1,1L1,-1", size=14, filled=False, color=role("faint"), opacity=0.8
    )
    return layered(squares, dead, height=math.ceil(SIDE * rows / columns))
