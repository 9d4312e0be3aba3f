"""Codebook health: the heat map of code usage, and effective codes over epochs (see `curves`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import altair as alt
import numpy as np
import pandas as pd

from diger.charts.methods import method_colour
from diger.charts.theme import arm_rows, layered, method_scales, role, tips

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


# SID drift: the share of items that changed, by level and by part of the catalogue.


def changed_by_level(frame: pd.DataFrame) -> alt.LayerChart:
    """Share of items whose codes changed since the start: arms down, whole SID and levels across.

    Args:
        frame: `arm, method, level, share`, means over seeds; level 0 is the whole SID.
    """
    shown = frame.assign(
        where=["whole SID" if level == 0 else f"level {level}" for level in frame["level"]],
        words=[f"{share:.0%}" for share in frame["share"]],
    )
    arms = list(shown[["arm", "method"]].drop_duplicates().itertuples(index=False, name=None))
    # Short, for cells are narrow on a phone.
    short = "replace(replace(datum.label, ' SID', ''), 'level ', '')"
    across = alt.Axis(labelAngle=0, orient="top", labelExpr=short)
    base = alt.Chart(shown).encode(
        x=alt.X("where:N", title="whole SID, then level by level", sort=None, axis=across),
        y=arm_rows(arms),
        tooltip=tips(arm="", where="", share=".1%"),
    )
    squares = base.mark_rect(stroke=role("ground"), strokeWidth=3, cornerRadius=4).encode(
        color=alt.Color("arm:N", scale=method_scales(arms)["color"], legend=None),
        # Never so dark that the number in it could not be read.
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 0.6]), legend=None
        ),
    )
    return layered(
        squares,
        base.mark_text(color=role("ink"), fontWeight=600).encode(text=alt.Text("words:N")),
        height=46 * max(2, len(arms)),
    )


def head_and_tail(frame: pd.DataFrame) -> alt.LayerChart:
    """Share of changed items in the head (filled) and the tail (hollow) of the catalogue.

    Args:
        frame: `arm, method, part, items, share`, part "head" or "tail", means over seeds.
    """
    arms = list(frame[["arm", "method"]].drop_duplicates().itertuples(index=False, name=None))
    scales = method_scales(arms)
    shown = frame.assign(words=[f"{row.part} {row.share:.0%}" for row in frame.itertuples()])
    wide = frame.pivot(index=["arm", "method"], columns="part", values="share").reset_index()
    y = arm_rows(arms)
    x = alt.X(
        "share:Q",
        title="items that changed",
        scale=alt.Scale(domain=[0, 1.1]),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    colour = alt.Color("arm:N", scale=scales["color"], legend=None)
    rows = alt.Chart(shown).encode(y=y, x=x, tooltip=tips(arm="", part="", items=",", share=".1%"))
    head = rows.transform_filter(alt.datum.part == "head")
    tail = rows.transform_filter(alt.datum.part == "tail")
    joined = alt.Chart(wide).mark_rule(strokeWidth=3, opacity=0.5)
    return layered(
        joined.encode(y=y, x=alt.X("head:Q"), x2=alt.X2("tail:Q"), color=colour),
        head.mark_point(size=120).encode(color=colour),
        tail.mark_point(size=120, filled=False, strokeWidth=2.5).encode(color=colour),
        head.mark_text(dy=-17, color=role("ink")).encode(text=alt.Text("words:N")),
        tail.mark_text(dy=19, color=role("ink")).encode(text=alt.Text("words:N")),
        height=72 * max(2, len(arms)),
    )


# Where items went: first codes at the start and the end of joint training, joined by ribbons.

_STEPS = 24  # points of a ribbon
_GAP = 0.015  # between codes, as a share of all items shown
_LABELLED = 0.012  # codes with a smaller share of the items shown go without a label


def ribbon_chart(flows: pd.DataFrame, method: str) -> alt.LayerChart:
    """First codes at the start (left) and at the end (right), a ribbon a flow; grey ones stayed.

    Args:
        flows: `start, now, items` from `diger.statistics.sids.flows`; what stayed within "other"
            is not drawn.
        method: whose colour the moving ribbons wear.
    """
    shown = flows[~((flows["start"] == "other") & (flows["now"] == "other"))]
    left, right = _stack(shown, "start", "now"), _stack(shown, "now", "start")
    t = np.linspace(0, 1, _STEPS)
    bend = t * t * (3 - 2 * t)
    parts = []
    for i, row in enumerate(shown.itertuples()):
        a, b = left[(row.start, row.now)], right[(row.start, row.now)]
        low = a + (b - a) * bend
        words = f"{row.start} → {row.now}" if row.start != row.now else f"{row.start}, stayed"
        parts.append(
            pd.DataFrame(
                {
                    "flow": i,
                    "x": t,
                    "low": low,
                    "high": low + row.items,
                    "moved": row.start != row.now,
                    "words": words,
                    "items": row.items,
                }
            )
        )
    columns = ["flow", "x", "low", "high", "moved", "words", "items"]
    ribbons = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    scale = alt.Scale(domain=[0, _height(shown)], reverse=True)
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-0.1, 1.1]))
    areas = alt.Chart(ribbons).encode(
        x=x,
        y=alt.Y("low:Q", axis=None, scale=scale),
        y2=alt.Y2("high:Q"),
        detail=alt.Detail("flow:N"),
        tooltip=tips(words=("first code", ""), items=","),
    )
    ends = pd.concat([_ends(shown, "start", left, 0), _ends(shown, "now", right, 1)])
    names = alt.Chart(ends).encode(x=x, y=alt.Y("middle:Q", axis=None), text=alt.Text("code:N"))
    stayed = areas.transform_filter(~alt.datum.moved)
    moved = areas.transform_filter(alt.datum.moved)
    first = names.transform_filter(alt.datum.x == 0)
    last = names.transform_filter(alt.datum.x == 1)
    return layered(
        stayed.mark_area(color=role("grid"), opacity=0.9),
        moved.mark_area(color=method_colour(method), opacity=0.55),
        first.mark_text(align="right", dx=-6, color=role("ink")),
        last.mark_text(align="left", dx=6, color=role("ink")),
        height=460,
    )


def _stack(flows: pd.DataFrame, side: str, other: str) -> dict[tuple[str, str], float]:
    """Lower end of every flow on one side, codes in order of size and "other" last."""
    place: dict[tuple[str, str], float] = {}
    at, gap = 0.0, _GAP * float(flows["items"].sum())
    for code in _order(flows):
        part = flows[flows[side] == code].sort_values(other, key=_place(flows))
        for row in part.itertuples():
            place[(row.start, row.now)] = at
            at += row.items
        at += gap
    return place


def _order(flows: pd.DataFrame) -> list[str]:
    now = flows.groupby("now")["items"].sum()
    sizes = flows.groupby("start")["items"].sum().add(now, fill_value=0)
    order = list(sizes.sort_values(ascending=False, kind="stable").index)
    return [c for c in order if c != "other"] + (["other"] if "other" in order else [])


def _place(flows: pd.DataFrame) -> Callable[[pd.Series], pd.Series]:
    order = {code: i for i, code in enumerate(_order(flows))}
    return lambda column: column.map(order)


def _height(flows: pd.DataFrame) -> float:
    total = float(flows["items"].sum()) or 1.0
    return total * (1 + _GAP * len(_order(flows)))


def _ends(
    flows: pd.DataFrame, side: str, lows: dict[tuple[str, str], float], x: int
) -> pd.DataFrame:
    """Where each code's label stands; codes too thin to label are left without."""
    total = float(flows["items"].sum())
    records = []
    for code, part in flows.groupby(side):
        items = float(part["items"].sum())
        low = min(lows[(row.start, row.now)] for row in part.itertuples())
        if items >= _LABELLED * total:
            records.append({"x": x, "middle": low + items / 2, "code": code})
    return pd.DataFrame(records, columns=["x", "middle", "code"])
