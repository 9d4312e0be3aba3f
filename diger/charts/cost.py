"""Quality against cost: every arm as a point, the Pareto front as a line."""

from __future__ import annotations

import altair as alt
import pandas as pd

from diger.charts.labels import point_labels, short_name
from diger.charts.theme import layered, method_scales, role, tips

# Names are placed for a phone's width: what is apart there is apart where there is more.
WIDTH, HEIGHT = 320, 340


def pareto_chart(frame: pd.DataFrame, metric: str, cost: str) -> alt.LayerChart:
    """Quality up, cost to the right; nothing is better and cheaper than the arms on the line.

    Args:
        frame: `arm, method, quality, cost, front, seeds`, one row an arm.
        metric: of the y axis.
        cost: of the x axis, with its unit.
    """
    # Where room for names is short, the arms of many runs have theirs.
    frame = frame.sort_values("seeds", ascending=False, kind="stable", ignore_index=True)
    arms = list(frame[["arm", "method"]].itertuples(index=False, name=None))
    scales = method_scales(arms)
    far, tall = float(frame["cost"].max()) or 1.0, float(frame["quality"].max()) or 1.0
    left, right, top = -0.12 * far, 1.15 * far, 1.18 * tall
    x = alt.X(
        "cost:Q",
        title=cost,
        scale=alt.Scale(domain=[left, right], nice=False),
        axis=alt.Axis(format="~s", tickCount=5),
    )
    y = alt.Y(
        "quality:Q",
        title=metric,
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(tickCount=5),
    )
    names = [short_name(arm) for arm in frame["arm"]]
    places = point_labels(
        (frame["cost"] - left) / (right - left),
        frame["quality"] / top,
        names,
        WIDTH,
        HEIGHT,
    )
    shown = frame.assign(name=names).join(places)
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
    words = [
        alt.Chart(part)
        .mark_text(align=align, dx=dx, dy=dy, color=role("ink"))
        .encode(x=x, y=y, text="name:N")
        for (align, dx, dy), part in shown.dropna(subset=["align"]).groupby(["align", "dx", "dy"])
    ]
    return layered(front, points, *words, height=HEIGHT)
