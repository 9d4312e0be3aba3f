"""Two bundles side by side: metrics as dumbbells."""

from __future__ import annotations

import altair as alt
import pandas as pd

from diger.charts.theme import layered, method_scales, role, tips


def dumbbell(frame: pd.DataFrame, arms: list[tuple[str, str]]) -> alt.LayerChart:
    """Each metric of two bundles on one axis.

    Args:
        frame: `metric, a, b`.
        arms: (name, method) of a and b.
    """
    scales = method_scales(arms)
    names = [name for name, _ in arms]
    long = frame.melt("metric", ["a", "b"], var_name="side", value_name="value")
    long["name"] = long["side"].map(dict(zip(("a", "b"), names, strict=True)))
    y = alt.Y("metric:N", title=None, sort=None)
    x = alt.X(
        "value:Q", title="test", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5, format="~g")
    )
    rule = alt.Chart(frame).mark_rule(strokeWidth=3, color=role("grid"))
    points = alt.Chart(long).mark_point(size=120)
    return layered(
        rule.encode(y=y, x=alt.X("a:Q", title="test"), x2="b:Q"),
        points.encode(
            y=y,
            x=x,
            color=alt.Color("name:N", scale=scales["color"], legend=alt.Legend(title=None)),
            shape=alt.Shape("name:N", scale=scales["shape"], legend=None),
            tooltip=tips(name="", metric="", value=".4f"),
        ),
        height=28 * max(2, len(frame)),
    )
