"""Where an arm wins: difference by slice, users won and lost, overlap and reach of the lists."""

from __future__ import annotations

import altair as alt
import pandas as pd

from diger.charts.palette import method_colour
from diger.charts.theme import arm_rows, layered, method_scales, role, tips


def slice_forest(frame: pd.DataFrame, metric: str, method: str) -> alt.LayerChart:
    """Difference and interval per slice of one kind; slices without a clear difference are faint.

    Args:
        frame: rows of one kind from `diger.statistics.slices.slice_differences`.
        metric: on the axis.
        method: whose colour the better-or-worse slices wear.
    """
    shown = frame.assign(
        name=[f"{row.label}  ({row.users:,} users)" for row in frame.itertuples()],
        clear=frame["verdict"].isin(["better", "worse"]),
    )
    strength = alt.condition(
        alt.datum.clear, alt.value(method_colour(method)), alt.value(role("rule"))
    )
    rows = alt.Chart(shown).encode(
        y=alt.Y("name:N", title=None, sort=None),
        color=strength,
        tooltip=tips(
            label=("slice", ""),
            users=",",
            baseline=(f"baseline {metric}", ".4f"),
            arm=(f"arm {metric}", ".4f"),
            difference="+.4f",
            low=("95 % interval from", "+.4f"),
            high=("to", "+.4f"),
            verdict="",
        ),
    )
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=role("rule"), strokeWidth=1.5)
    known = alt.datum.low != None  # noqa: E711 - a Vega expression
    x = alt.X(
        "difference:Q", title=f"difference in {metric}", axis=alt.Axis(format="+.4~f", tickCount=5)
    )
    return layered(
        zero.encode(x="x:Q"),
        rows.transform_filter(known)
        .mark_rule(strokeWidth=3, opacity=0.6)
        .encode(x="low:Q", x2="high:Q"),
        rows.mark_point(size=110).encode(x=x),
        height=30 * max(2, len(frame)),
    )


def won_and_lost(frame: pd.DataFrame, arm: str, baseline: str) -> alt.LayerChart:
    """Users only one of two arms serves, one diverging bar a seed.

    Args:
        frame: from `diger.statistics.slices.won_and_lost`.
        arm, baseline: their methods, for the colours.
    """
    part = frame[frame["outcome"].isin(["won", "lost"])].copy()
    part["signed"] = part["users"].where(part["outcome"] == "won", -part["users"])
    part["seed_name"] = [f"seed {seed}" for seed in part["seed"]]
    part["words"] = [f"{row.users:,} {row.outcome}" for row in part.itertuples()]
    scale = alt.Scale(domain=["lost", "won"], range=[method_colour(baseline), method_colour(arm)])
    reach = float(part["users"].max() or 1) * 1.35
    base = alt.Chart(part).encode(
        y=alt.Y("seed_name:N", title=None, sort=None),
        x=alt.X(
            "signed:Q",
            title="users whose target only one arm has in its list",
            scale=alt.Scale(domain=[-reach, reach], nice=False),
            axis=alt.Axis(labelExpr="format(abs(datum.value), ',')", tickCount=5),
        ),
        tooltip=tips(seed="d", outcome="", users=",", share=("share of users", ".1%")),
    )
    words = base.encode(text="words:N")
    won = words.transform_filter(alt.datum.outcome == "won")
    lost = words.transform_filter(alt.datum.outcome == "lost")
    return layered(
        base.mark_bar(height={"band": 0.6}).encode(
            color=alt.Color("outcome:N", scale=scale, legend=None)
        ),
        won.mark_text(align="left", dx=6, color=role("ink")),
        lost.mark_text(align="right", dx=-6, color=role("ink")),
        height=38 * max(2, part["seed"].nunique()),
    )


def overlap(frame: pd.DataFrame, k: int) -> alt.LayerChart:
    """Mean overlap of top-k lists between arms, with the overlap between seeds as a yardstick.

    Args:
        frame: from `diger.statistics.lists.overlaps`.
        k: the cut-off.
    """
    shown = frame.assign(words=[f"{value:.0%}" for value in frame["overlap"]])
    base = alt.Chart(shown).encode(
        y=alt.Y("between:N", title=None, sort=None, axis=alt.Axis(labelLimit=200)),
        x=alt.X(
            "overlap:Q",
            title=f"items in common among the first {k}",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format=".0%", tickCount=5),
        ),
        tooltip=tips(between="", pairs="d", overlap=".1%", lowest=".1%", highest=".1%"),
    )
    return layered(
        base.mark_bar(height={"band": 0.55}, color=role("rule"), opacity=0.7),
        base.mark_text(align="left", dx=6, color=role("ink")).encode(text="words:N"),
        height=42 * max(2, len(frame)),
    )


def reach(frame: pd.DataFrame, title: str) -> alt.LayerChart:
    """One share per arm (coverage of the catalogue, share of head items), all seeds as points.

    Args:
        frame: `arm, method, seed, value`.
        title: of the axis.
    """
    arms = list(frame[["arm", "method"]].drop_duplicates().itertuples(index=False, name=None))
    scales = method_scales(arms)
    mean = frame.groupby(["arm", "method"], sort=False, as_index=False)["value"].mean()
    mean["words"] = [f"{value:.0%}" for value in mean["value"]]
    # Words stand beyond the last circle, or they would hide each other.
    mean["most"] = mean["arm"].map(frame.groupby("arm")["value"].max())
    y = arm_rows(arms)
    scale = alt.Scale(domain=[0, 1.1], nice=False)
    axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
    x = alt.X("value:Q", title=title, scale=scale, axis=axis)
    bars = alt.Chart(mean).encode(y=y, x=x)
    dots = alt.Chart(frame).mark_point(size=45, color=role("ink"), filled=False, strokeWidth=1.5)
    return layered(
        bars.mark_bar(height={"band": 0.6}).encode(
            color=alt.Color("arm:N", scale=scales["color"], legend=None)
        ),
        dots.encode(y=y, x=x, tooltip=tips(arm="", seed="d", value=".1%")),
        alt.Chart(mean)
        .mark_text(align="left", dx=10, color=role("ink"))
        .encode(y=y, x=alt.X("most:Q", title=title, scale=scale, axis=axis), text="words:N"),
        height=34 * max(2, len(arms)),
    )
