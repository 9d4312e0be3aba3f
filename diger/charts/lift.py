"""How much better or worse: the forest plot of lifts, and every arm beside the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import pandas as pd

from diger.charts.labels import LINE, broken, point_labels
from diger.charts.methods import METHOD_COLOURS, method_colour, method_shape
from diger.charts.theme import (
    arm_rows,
    layered,
    method_scales,
    role,
    tips,
)

ROW = 84  # pixels a bar and two lines of words over it
WORDS = 54  # pixels that a value of four digits takes beside its mark
SLIDE_ROW = (30, 36)  # and one line, at the least and at the most, in units of type of 13 px
SLIDE_ROWS = 144  # pixels of all rows of a slide, where that is enough
_BOLD: dict[str, Any] = {"fontWeight": 600}
_HALO: dict[str, Any] = {"stroke": role("ground"), "strokeWidth": 4, "color": role("ground")}


def forest(
    frame: pd.DataFrame,
    seeds: pd.DataFrame,
    metric: str,
    baseline: str,
    *,
    slide: bool = False,
) -> alt.LayerChart:
    """Lift over a baseline with its interval, one row a title; small ticks are the seeds.

    Args:
        frame: `title, method, lift, low, high, label`, lifts as fractions; `low` and `high` are
            missing with one seed. Over the row stands `head`, and `numbers` under it.
        seeds: `title, seed, lift`, one row a seed.
        metric: on the axis.
        baseline: on the axis; empty where the titles say it.
        slide: `line` in place of both, for a low and wide place.
    """
    top = float(frame[["lift", "high"]].max().max())
    bottom = float(frame[["lift", "low"]].min().min())
    if not seeds.empty:
        top, bottom = max(top, seeds["lift"].max()), min(bottom, seeds["lift"].min())
    reach = max(abs(top), abs(bottom), 0.05)
    low, high = min(bottom, 0.0) - 0.12 * reach, max(top, 0.0) + 0.12 * reach
    x = alt.X(
        "lift:Q",
        title=f"{metric}, change{f' from {baseline}' if baseline else ''}",
        scale=alt.Scale(domain=[low, high], nice=False),
        # Ticks over less than this are half percents apart.
        axis=alt.Axis(format="+.0%" if high - low > 0.05 else "+.1%", tickCount=6),
    )
    # Words stand over the bars: beside them there is no room on a phone.
    y = alt.Y("title:N", title=None, sort=None, axis=None)
    colour = alt.Color("method:N", scale=_methods(), legend=None)
    tooltip = tips(
        title=("what", ""),
        label=("finding", ""),
        lift="+.1%",
        low=("95 % interval from", "+.1%"),
        high=("to", "+.1%"),
    )
    zero = alt.Chart(pd.DataFrame({"lift": [0.0]})).mark_rule(color=role("rule"), strokeWidth=1.5)
    rows = alt.Chart(frame).encode(y=y, tooltip=tooltip)
    known = alt.datum.low != None  # noqa: E711 - a Vega expression, not a comparison here
    interval = rows.transform_filter(known).mark_rule(strokeWidth=4, opacity=0.55)
    each = alt.Chart(seeds).mark_tick(
        size=8 if slide else 16, thickness=2, opacity=0.9, yOffset=7 if slide else 18
    )
    lines: list[tuple[str, int, dict[str, Any]]] = [("head", -28, _BOLD), ("numbers", -11, {})]
    if slide:
        lines = [("line", -7, {})]
    words = [
        rows.encode(x=alt.XValue(0), text=alt.Text(f"{column}:N")).mark_text(
            align="left", baseline="bottom", dy=dy, **weight, **style
        )
        for column, dy, weight in lines
        # A halo keeps the words apart from the grid and the zero line.
        for style in (_HALO, {"color": role("ink")})
    ]
    return layered(
        zero.encode(x=x),
        interval.encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), color=colour),
        rows.mark_point(size=190, filled=True).encode(x=x, color=colour, shape=_shape()),
        each.encode(
            x=x,
            y=y,
            color=alt.ColorValue(role("faint")),
            tooltip=tips(seed="d", lift="+.1%"),
        ),
        *words,
        height=_height(max(1, len(frame)), slide),
    )


def _height(rows: int, slide: bool) -> int:
    if not slide:
        return ROW * rows
    least, most = SLIDE_ROW
    return max(least * rows, min(most * rows, SLIDE_ROWS))


def beside(frame: pd.DataFrame, metric: str) -> alt.LayerChart:
    """Every arm of one dataset on one axis, ours filled, published figures hollow.

    Args:
        frame: `name, method, value, low, high, published, note`, best first; `low` and `high` are
            the range over seeds; a row without a value was not run.
        metric: on the axis.
    """
    y = alt.Y("name:N", title=None, sort=list(frame["name"]))
    ends = frame[["value", "high"]].max(axis=1).fillna(0)
    most = float(ends.max()) or 1.0
    # Room for the words after the last mark, on a phone too.
    end = alt.ExprRef(f"{most} * width / max(width - {WORDS}, width / 3)")
    scale = alt.Scale(domainMin=0, domainMax=end, nice=False)
    axis = alt.Axis(tickCount=4, format="~g")
    x = alt.X("value:Q", title=metric, scale=scale, axis=axis)
    colour = alt.Color("method:N", scale=_methods(), legend=None)
    tooltip = tips(name=("arm", ""), value=(metric, ".4f"), note=("how", ""))
    words = [f"{value:.4f}" if value == value else "not run" for value in frame["value"]]
    rows = alt.Chart(frame.assign(end=ends, words=words)).encode(y=y, tooltip=tooltip)
    ours = rows.transform_filter(~alt.datum.published)
    theirs = rows.transform_filter(alt.datum.published)
    return layered(
        ours.mark_rule(strokeWidth=4, opacity=0.5).encode(
            x=alt.X("low:Q", title=metric), x2=alt.X2("high:Q"), color=colour
        ),
        ours.mark_point(size=120).encode(x=x, color=colour, shape=_shape()),
        theirs.mark_point(size=110, filled=False, strokeWidth=2, shape="circle").encode(
            x=x, color=alt.ColorValue(role("faint"))
        ),
        rows.mark_text(align="left", dx=11, color=role("faint")).encode(
            x=alt.X("end:Q", title=metric), text=alt.Text("words:N")
        ),
        height=26 * max(2, len(frame)),
    )


def against_share(
    frame: pd.DataFrame, metric: str, share: str, *, slide: bool = False
) -> alt.LayerChart:
    """Lift of each rung on each dataset, against a share on which it may depend.

    Where every dataset has one share, its name stands over it.

    Args:
        frame: `title, share, rung, method, lift, low, high`, one row a rung and dataset; `low` and
            `high` are missing with fewer than three seeds.
        metric: on the axis.
        share: on the axis, what the share is of.
        slide: wide and low, its legend in one line.
    """
    rungs: dict[str, str] = dict(zip(frame["rung"], frame["method"], strict=True))
    named = frame.groupby("title")["share"].nunique().max() == 1
    step = 0.006 if named else 0.0  # so that the marks of one dataset stand beside each other
    aside = {rung: (i - (len(rungs) - 1) / 2) * step for i, rung in enumerate(rungs)}
    frame = frame.assign(at=frame["share"] + frame["rung"].map(aside))
    lows, highs = frame[["low", "lift"]].min(axis=1), frame[["high", "lift"]].max(axis=1)
    low, high = min(lows.min(), 0.0), max(highs.max(), 0.0)
    room = 0.14 * max(high - low, 0.05)
    names = frame.drop_duplicates("title").assign(top=high + room) if named else frame[:0]
    x = alt.X(
        "at:Q",
        title=share,
        scale=alt.Scale(domain=[0, frame["share"].max() + 0.024], nice=False),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    y = alt.Y(
        "lift:Q",
        title=f"{metric}, change",
        scale=alt.Scale(domain=[low - room, high + 1.5 * room], nice=False),
        axis=alt.Axis(format="+.0%", tickCount=5),
    )
    legend = alt.Legend(
        title=None,
        orient="bottom",
        direction="horizontal" if slide else "vertical",
        labelLimit=0,
        symbolOpacity=1,
        columnPadding=6,
    )
    looks = {
        "color": alt.Color("rung:N", legend=legend, scale=_of(rungs, method_colour)),
        "shape": alt.Shape("rung:N", legend=legend, scale=_of(rungs, method_shape)),
    }
    known = alt.datum.low != None  # noqa: E711 - a Vega expression, not a comparison here
    rows = alt.Chart(frame).encode(
        x=x,
        tooltip=tips(
            title=("dataset", ""),
            rung="",
            share=(share, ".1%"),
            lift="+.1%",
            low=("95 % interval from", "+.1%"),
            high=("to", "+.1%"),
        ),
    )
    zero = alt.Chart(pd.DataFrame({"lift": [0.0]})).mark_rule(color=role("rule"), strokeWidth=1.5)
    words = alt.Chart(names).mark_text(color=role("ink"), fontWeight=600)
    return layered(
        zero.encode(y=y),
        rows.transform_filter(known)
        .mark_rule(strokeWidth=4, opacity=0.55)
        .encode(y=alt.Y("low:Q"), y2="high:Q", color=looks["color"]),
        rows.mark_point(size=150, filled=True).encode(y=y, **looks),
        words.encode(x=alt.X("share:Q"), y=alt.Y("top:Q"), text="title:N"),
        height=150 if slide else 340,
    )


def _of(rungs: dict[str, str], look: Callable[[str], str]) -> alt.Scale:
    return alt.Scale(domain=list(rungs), range=[look(method) for method in rungs.values()])


def _methods() -> alt.Scale:
    return _of({method: method for method in METHOD_COLOURS}, method_colour)


def _shape() -> alt.Shape:
    scale = _of({method: method for method in METHOD_COLOURS}, method_shape)
    return alt.Shape("method:N", scale=scale, legend=None)


# Where an arm wins: difference by slice, users won and lost, overlap and reach of the lists.


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
        zero.encode(x=alt.X("x:Q")),
        rows.transform_filter(known)
        .mark_rule(strokeWidth=3, opacity=0.6)
        .encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")),
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
    reach = float(part["users"].max() or 1) * 1.7  # room for the words on a phone
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
    words = base.encode(text=alt.Text("words:N"))
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
        frame: from `diger.statistics.slices.overlaps`.
        k: the cut-off.
    """
    shown = frame.assign(words=[f"{value:.0%}" for value in frame["overlap"]])
    base = alt.Chart(shown).encode(
        y=alt.Y("between:N", title=None, sort=None),
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
        base.mark_text(align="left", dx=6, color=role("ink")).encode(text=alt.Text("words:N")),
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
        .encode(
            y=y, x=alt.X("most:Q", title=title, scale=scale, axis=axis), text=alt.Text("words:N")
        ),
        height=34 * max(2, len(arms)),
    )


# Two bundles side by side: metrics as dumbbells.


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
    legend = alt.Legend(title=None, columns=1)  # two names side by side are too long for a phone
    return layered(
        rule.encode(y=y, x=alt.X("a:Q", title="test"), x2=alt.X2("b:Q")),
        points.encode(
            y=y,
            x=x,
            color=alt.Color("name:N", scale=scales["color"], legend=legend),
            shape=alt.Shape("name:N", scale=scales["shape"], legend=None),
            tooltip=tips(name="", metric="", value=".4f"),
        ),
        height=28 * max(2, len(frame)),
    )


# Quality against cost: every arm as a point, the Pareto front as a line.

# Names are placed for a phone's width: what is apart there is apart where there is more.
WIDTH, HEIGHT = 320, 340


def pareto_chart(
    frame: pd.DataFrame, metric: str, cost: str, *, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """Quality up, cost to the right; nothing is better and cheaper than the arms on the line.

    Args:
        frame: `arm, method, quality, cost, front, seeds`, one row an arm; where room for names is
            short, the first rows have theirs.
        metric: of the y axis.
        cost: of the x axis, with its unit.
        width, height: in pixels, what the names are placed for.
    """
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
    names = [broken(arm, 24) for arm in frame["arm"]]
    places = point_labels(
        (frame["cost"] - left) / (right - left),
        frame["quality"] / top,
        names,
        width,
        height,
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
        .mark_text(align=align, dx=dx, dy=dy, lineBreak="\n", lineHeight=LINE, color=role("ink"))
        .encode(x=x, y=y, text=alt.Text("name:N"))
        for (align, dx, dy), part in shown.dropna(subset=["align"]).groupby(["align", "dx", "dy"])
    ]
    return layered(front, points, *words, height=height)
