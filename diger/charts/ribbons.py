"""Where items went: first codes at the start and the end of joint training, joined by ribbons."""

from __future__ import annotations

from collections.abc import Callable

import altair as alt
import numpy as np
import pandas as pd

from diger.charts.palette import method_colour
from diger.charts.theme import layered, role, tips

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
        y2="high:Q",
        detail="flow:N",
        tooltip=tips(words=("first code", ""), items=","),
    )
    ends = pd.concat([_ends(shown, "start", left, 0), _ends(shown, "now", right, 1)])
    names = alt.Chart(ends).encode(x=x, y=alt.Y("middle:Q", axis=None), text="code:N")
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
