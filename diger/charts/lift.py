"""How much better or worse: the forest plot of lifts, and every arm beside the others."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from diger.charts.palette import METHOD_COLOURS
from diger.charts.theme import layered, method_scales, role, tips

ROW = 58  # pixels a dataset
_HALO: dict[str, Any] = {"stroke": role("ground"), "strokeWidth": 4, "color": role("ground")}


def forest(frame: pd.DataFrame, seeds: pd.DataFrame, metric: str, baseline: str) -> alt.LayerChart:
    """Lift over a baseline with its interval, one row a dataset; small ticks are the seeds.

    Args:
        frame: `title, method, lift, low, high, label`, lifts as fractions; `low` and `high` are
            missing with one seed; `label` is written beside the row.
        seeds: `title, seed, lift`, one row a seed.
        metric: on the axis.
        baseline: on the axis.
    """
    top = float(frame[["lift", "high"]].max().max())
    bottom = float(frame[["lift", "low"]].min().min())
    if not seeds.empty:
        top, bottom = max(top, seeds["lift"].max()), min(bottom, seeds["lift"].min())
    reach = max(abs(top), abs(bottom), 0.05)
    low, high = min(bottom, 0.0) - 0.12 * reach, max(top, 0.0) + 0.12 * reach
    x = alt.X(
        "lift:Q",
        title=f"{metric}, change from {baseline}",
        scale=alt.Scale(domain=[low, high], nice=False),
        # Ticks over less than this are half percents apart.
        axis=alt.Axis(format="+.0%" if high - low > 0.05 else "+.1%", tickCount=6),
    )
    y = alt.Y("title:N", title=None, sort=None, axis=alt.Axis(labelFontWeight=600, labelPadding=14))
    colour = alt.Color("method:N", scale=_methods(), legend=None)
    tooltip = tips(
        title=("dataset", ""),
        label=("finding", ""),
        lift="+.1%",
        low=("95 % interval from", "+.1%"),
        high=("to", "+.1%"),
    )
    zero = alt.Chart(pd.DataFrame({"lift": [0.0]})).mark_rule(color=role("rule"), strokeWidth=1.5)
    rows = alt.Chart(frame).encode(y=y, tooltip=tooltip)
    known = alt.datum.low != None  # noqa: E711 - a Vega expression, not a comparison here
    interval = rows.transform_filter(known).mark_rule(strokeWidth=4, opacity=0.55)
    each = alt.Chart(seeds).mark_tick(size=16, thickness=2, opacity=0.9, yOffset=15)
    text = rows.encode(x=alt.value(0), text="label:N")
    return layered(
        zero.encode(x=x),
        interval.encode(x=alt.X("low:Q"), x2="high:Q", color=colour),
        rows.mark_point(size=190, filled=True).encode(x=x, color=colour, shape=_shape()),
        each.encode(
            x=x,
            y=y,
            color=alt.value(role("faint")),
            tooltip=tips(seed="d", lift="+.1%"),
        ),
        # A halo keeps the words apart from the grid and the zero line.
        text.mark_text(align="left", baseline="bottom", dy=-13, **_HALO),
        text.mark_text(align="left", baseline="bottom", dy=-13, color=role("ink")),
        height=ROW * max(1, len(frame)),
    )


def beside(frame: pd.DataFrame, metric: str) -> alt.LayerChart:
    """Every arm of one dataset on one axis, ours filled, published figures hollow.

    Args:
        frame: `name, method, value, low, high, published, note`, best first; `low` and `high` are
            the range over seeds.
        metric: on the axis.
    """
    y = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=240))
    x = alt.X(
        "value:Q", title=metric, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4, format="~g")
    )
    colour = alt.Color("method:N", scale=_methods(), legend=None)
    tooltip = tips(name=("arm", ""), value=(metric, ".4f"), note=("how", ""))
    ends = frame[["value", "high"]].max(axis=1)
    rows = alt.Chart(frame.assign(end=ends)).encode(y=y, tooltip=tooltip)
    ours = rows.transform_filter(~alt.datum.published)
    theirs = rows.transform_filter(alt.datum.published)
    return layered(
        ours.mark_rule(strokeWidth=4, opacity=0.5).encode(
            x=alt.X("low:Q", title=metric), x2="high:Q", color=colour
        ),
        ours.mark_point(size=120).encode(x=x, color=colour, shape=_shape()),
        theirs.mark_point(size=110, filled=False, strokeWidth=2, shape="circle").encode(
            x=x, color=alt.value(role("faint"))
        ),
        rows.mark_text(align="left", dx=11, color=role("faint")).encode(
            x=alt.X("end:Q", title=metric), text=alt.Text("value:Q", format=".4f")
        ),
        height=26 * max(2, len(frame)),
    )


def _methods() -> alt.Scale:
    return alt.Scale(domain=list(METHOD_COLOURS), range=list(METHOD_COLOURS.values()))


def _shape() -> alt.Shape:
    scale = method_scales((m, m) for m in METHOD_COLOURS)["shape"]
    return alt.Shape("method:N", scale=scale, legend=None)
