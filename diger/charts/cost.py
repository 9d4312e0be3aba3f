"""Quality against cost: every arm as a point, the Pareto front as a line."""

from __future__ import annotations

import altair as alt
import pandas as pd

from diger.charts.labels import point_labels
from diger.charts.theme import layered, method_scales, role, tips

WIDTH, HEIGHT = 640, 340  # the width is what labels are placed for; the chart takes what there is


def pareto_chart(frame: pd.DataFrame, metric: str, cost: str) -> alt.LayerChart:
    """Quality up, cost to the right; nothing is better and cheaper than the arms on the line.

    Args:
        frame: `arm, method, quality, cost, front, seeds`, one row an arm.
        metric: of the y axis.
        cost: of the x axis, with its unit.
    """
    arms = list(frame[["arm", "method"]].itertuples(index=False, name=None))
    scales = method_scales(arms)
    far, tall = float(frame["cost"].max()) or 1.0, float(frame["quality"].max()) or 1.0
    right, top = 1.15 * far, 1.18 * tall
    x = alt.X(
        "cost:Q",
        title=cost,
        scale=alt.Scale(domain=[-0.08 * far, right], nice=False),
        axis=alt.Axis(format="~s", tickCount=5),
    )
    y = alt.Y(
        "quality:Q",
        title=metric,
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(tickCount=5),
    )
    places = point_labels(
        (frame["cost"] + 0.08 * far) / (right + 0.08 * far),
        frame["quality"] / top,
        list(frame["arm"]),
        WIDTH,
        HEIGHT,
    )
    shown = frame.reset_index(drop=True).join(places)
    base = alt.Chart(shown).encode(x=x, y=y)
    front = base.transform_filter(alt.datum.front).mark_line(
        interpolate="step-after", color=role("rule"), strokeDash=[4, 3], strokeWidth=1.5
    )
    points = base.mark_point(size=170).encode(
        color=alt.Color("arm:N", scale=scales["color"], legend=None),
        shape=alt.Shape("arm:N", scale=scales["shape"], legend=None),
        tooltip=tips(arm="", quality=(metric, ".4f"), cost=(cost, ",.4~g"), seeds="d"),
    )
    # Offsets and alignment are properties of a mark, so each combination is a layer.
    names = [
        alt.Chart(part)
        .mark_text(align=align, dx=dx, dy=dy, color=role("ink"))
        .encode(x=x, y=y, text="arm:N")
        for (align, dx, dy), part in shown.groupby(["align", "dx", "dy"])
    ]
    return layered(front, points, *names, height=HEIGHT)
