"""Curves over epochs: seeds as thin lines, their mean with its range as a band, labels at the end.

The selected epoch of every run is a mark on its line.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from diger.charts.labels import end_labels
from diger.charts.theme import layered, method_scales, role, tips

HEIGHT = 300
COUNT = "~s"  # the format of numbers of things


def curve(
    lines: pd.DataFrame,
    bands: pd.DataFrame,
    value: str,
    title: str,
    *,
    selected: pd.DataFrame | None = None,
    number: str = "~g",
    zero: bool = False,
    height: int = HEIGHT,
    room: float = 0.2,
) -> alt.LayerChart:
    """One value over epochs, a colour an arm.

    Args:
        lines: `arm, method, seed, epoch` and `value`, one row a run and epoch.
        bands: from `diger.statistics.curves.bands` of the same value.
        value: the column.
        title: what is on the y axis, with its unit.
        selected: `arm, seed, epoch`, the epoch that was kept of each run.
        number: d3 format of the values; a percentage gets the decimals that its range asks for,
            and `COUNT` whole numbers.
        zero: whether the y axis starts at 0.
        height: in pixels.
        room: share of the width kept for the names at the right; more where the chart is narrow.
    """
    known = lines.dropna(subset=[value])
    arms = list(known[["arm", "method"]].drop_duplicates().itertuples(index=False, name=None))
    scales = method_scales(arms)
    first, last = int(known["epoch"].min()), int(known["epoch"].max())
    end = last + max(1, last - first) * room / (1 - room)
    ticks = _ticks(first, last)
    x = alt.X(
        "epoch:Q",
        title="epoch",
        scale=alt.Scale(domain=[first, end], nice=False),
        axis=alt.Axis(values=ticks, format="d", grid=False),
    )
    low, high = float(known[value].min()), float(known[value].max())
    if zero and not high:
        high = 1.0
    # At least a twentieth of the values is in sight, or noise would look like a change; and a line
    # at 0 stands clear of the axis.
    spread = max(high - low, 0.05 * abs(high))
    margin = 0.06 * ((high - min(0.0, low)) if zero else spread) or 1.0
    domain = (min(0.0, low) - margin / 2 if zero else low - margin, high + margin)
    y_scale = alt.Scale(domain=list(domain), nice=False)
    fine = ".4~g"
    if number.endswith("%"):
        number, fine = _percent(domain[1] - domain[0])
    colour = alt.Color("arm:N", scale=scales["color"], legend=None)
    dash = alt.StrokeDash("arm:N", scale=scales["dash"], legend=None)
    axis = alt.Axis(format=number, tickMinStep=1 if number == COUNT else alt.Undefined)
    y = alt.Y(f"{_field(value)}:Q", title=title, scale=y_scale, axis=axis)
    tooltip = tips(arm="", seed="d", epoch="d")
    tooltip.append(alt.Tooltip(f"{_field(value)}:Q", title=title, format=fine))
    layers: list[alt.Chart] = []
    # A single epoch makes no line, so its points must carry it.
    points = alt.OverlayMarkDef(size=12, opacity=0.45)
    if first == last:
        points = alt.OverlayMarkDef(size=110, opacity=1)
    several = bands[bands["seeds"] > 1] if not bands.empty else bands
    if not several.empty:
        layers.append(
            alt.Chart(several)
            .mark_area(opacity=0.16)
            .encode(
                x=x, y=alt.Y("low:Q", title=title, scale=y_scale), y2=alt.Y2("high:Q"), color=colour
            )
        )
    if not bands.empty:
        layers.append(
            alt.Chart(bands)
            .mark_line(strokeWidth=3)
            .encode(
                x=x, y=alt.Y("mean:Q", title=title, scale=y_scale), color=colour, strokeDash=dash
            )
        )
    layers.append(
        alt.Chart(known)
        .mark_line(strokeWidth=1, opacity=0.45, point=points)
        .encode(x=x, y=y, color=colour, detail=alt.Detail("seed:N"), tooltip=tooltip)
    )
    if selected is not None:
        chosen = known.merge(selected[["arm", "seed", "epoch"]])
        layers.append(
            alt.Chart(chosen)
            .mark_point(size=110, filled=False, strokeWidth=2.5)
            .encode(x=x, y=y, color=colour, shape=_shape(scales), tooltip=tooltip)
        )
    names = alt.Chart(end_labels(known, value, domain, height)).encode(
        x=x, y=alt.Y("top:Q", title=title, scale=y_scale)
    )
    # The names are in ink, so that they can be read; a mark in the arm's colour leads each.
    layers.append(
        names.mark_point(size=55, xOffset=12, yOffset=8).encode(color=colour, shape=_shape(scales))
    )
    layers.append(
        names.mark_text(
            align="left", baseline="top", dx=21, lineBreak="\n", lineHeight=15, color=role("ink")
        ).encode(text=alt.Text("words:N"))
    )
    return layered(*layers, height=height)


def _ticks(first: int, last: int, most: int = 7) -> list[int]:
    """The first epoch and round ones after it."""
    steps = (step * 10**power for power in range(7) for step in (1, 2, 5))
    step = next(step for step in steps if (last - first) / step < most)
    return [first, *(t for t in range(0, last + 1, step) if t - first >= step / 2)]


def _percent(span: float) -> tuple[str, str]:
    """d3 formats of an axis of percentages over `span`, and of a single value on it.

    >>> _percent(0.5), _percent(0.02)
    (('.0%', '.1%'), ('.1%', '.2%'))
    """
    decimals = 0 if span >= 0.08 else 1 if span >= 0.008 else 2
    return f".{decimals}%", f".{decimals + 1}%"


def _shape(scales: dict[str, alt.Scale]) -> alt.Shape:
    return alt.Shape("arm:N", scale=scales["shape"], legend=None)


def _field(name: str) -> str:
    """A column name as Vega-Lite reads it: dots, brackets and colons are not paths."""
    return name.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[").replace(":", "\\:")
