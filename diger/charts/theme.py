"""One Altair theme: quiet grid, readable type, and inks for light, dark and paper.

Method colours come from `diger.charts.methods` and are the same everywhere; only text, grid and
ground change with the look. A chart is dressed once, by `specification`, where it is shown or
exported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import altair as alt

from diger.charts.labels import VARIANT
from diger.charts.methods import method_colour, method_dash, method_shape

FONT = '"Source Sans", "Source Sans 3", "Helvetica Neue", Helvetica, Arial, sans-serif'


@dataclass(frozen=True)
class Look:
    """How a chart is dressed.

    Attributes:
        dark: light ink on a dark ground.
        scale: size of type and marks; 1 on a desk, more on a projector.
        adaptive: take the inks from the page around the chart (CSS), so that a change of its theme
            changes the chart at once. Only for browsers: a file has no page around it.
    """

    dark: bool = False
    scale: float = 1.0
    adaptive: bool = False

    @property
    def ink(self) -> str:
        """Colour of text that must be read."""
        return self._one_of("#1D2330", "#E9ECF1", "currentColor")

    @property
    def faint(self) -> str:
        """Colour of text that may be read: axis labels, notes; 4.5:1 on its ground."""
        return self._one_of("#545C6B", "#AEB6C4", _mixed(75))

    @property
    def grid(self) -> str:
        """Colour of grid lines."""
        return self._one_of("#E4E7EC", "#2C323E", _mixed(13))

    @property
    def rule(self) -> str:
        """Colour of axes and the zero line."""
        return self._one_of("#8B93A1", "#7C8596", _mixed(45))

    @property
    def ground(self) -> str:
        """Colour behind everything, where the chart brings its own."""
        return self._one_of("#FFFFFF", "#0E1117", "Canvas")

    def _one_of(self, light: str, dark: str, adaptive: str) -> str:
        if self.adaptive:
            return adaptive
        return dark if self.dark else light


def _mixed(percent: int) -> str:
    """The page's text colour, let through to its ground."""
    return f"color-mix(in srgb, currentColor {percent}%, transparent)"


_ROLE = "theme:"
_ROLES = ("ink", "faint", "rule", "grid", "ground")
LIGHT, DARK, ADAPTIVE = Look(), Look(dark=True), Look(adaptive=True)


def config(look: Look) -> dict[str, Any]:
    """Vega-Lite's `config` for a look."""
    size = 13 * look.scale
    text = {"font": FONT, "fontSize": size}
    axis = {
        "labelColor": look.faint,
        "labelFont": FONT,
        "labelFontSize": size,
        "titleColor": look.faint,
        "titleFont": FONT,
        "titleFontSize": size,
        "titleFontWeight": "normal",
        "titlePadding": 10 * look.scale,
        "labelLimit": 260 * look.scale,
        "domainColor": look.rule,
        "gridColor": look.grid,
        "tickColor": look.grid,
        "domain": False,
        "ticks": False,
        "labelPadding": 6 * look.scale,
    }
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None, "continuousHeight": 300, "continuousWidth": 560},
        "axis": axis,
        "axisY": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleY": -14}
        | {"titleX": 0, "titleBaseline": "bottom"},
        "legend": {
            "labelColor": look.ink,
            "labelFont": FONT,
            "labelFontSize": size,
            "titleColor": look.faint,
            "titleFont": FONT,
            "titleFontSize": size,
            "titleFontWeight": "normal",
            "orient": "bottom",
            "symbolStrokeWidth": 2.5 * look.scale,
            "labelLimit": 320 * look.scale,
        },
        "title": {
            "anchor": "start",
            "color": look.ink,
            "font": FONT,
            "fontSize": 15 * look.scale,
            "fontWeight": 600,
            "offset": 14,
            "subtitleColor": look.faint,
            "subtitleFont": FONT,
            "subtitleFontSize": size,
        },
        "text": {**text, "color": look.ink},
        "rule": {"color": look.rule, "strokeWidth": look.scale},
        "line": {"strokeWidth": 2.5 * look.scale},
        "point": {"size": 90 * look.scale**2, "filled": True, "opacity": 1},
        "tick": {"thickness": 2 * look.scale},
    }


def specification(chart: alt.Chart | alt.LayerChart, look: Look = LIGHT) -> dict[str, Any]:
    """The chart as a Vega-Lite specification in a look.

    Marks name theme colours by role (`ink`, `faint`, `rule`, `grid`); here the roles become
    colours, so that chart functions need not know the look.
    """
    spec = chart.to_dict(validate=False)
    spec["config"] = config(look)
    if look.scale != 1:
        for layer in spec.get("layer", [spec]):
            _enlarge(layer["mark"], look.scale)
    return _coloured(spec, look)


def layered(*charts: alt.Chart, height: int) -> alt.LayerChart:
    """The charts on top of each other, `height` pixels tall and as wide as there is room."""
    layers = alt.layer(*charts)
    assert isinstance(layers, alt.LayerChart)
    layers.height = height
    return layers


def tips(**columns: str | tuple[str, str]) -> list[alt.Tooltip]:
    """Tooltips from `column="d3 format"` or `column=("title", "d3 format")`, "" for plain text."""
    made = []
    for column, wanted in columns.items():
        title, number = wanted if isinstance(wanted, tuple) else (column, wanted)
        kind = "Q" if number else "N"
        tip = alt.Tooltip(f"{column}:{kind}", title=title)
        made.append(tip.format(number) if number else tip)
    return made


def role(name: str) -> str:
    """A theme colour by role, `ink`, `faint`, `rule`, `grid` or `ground`, filled in at the end."""
    return f"{_ROLE}{name}"


def method_scales(arms: Iterable[tuple[str, str]]) -> dict[str, alt.Scale]:
    """Scales `color`, `shape` and `dash` over arm names, from (arm, method) pairs.

    Arms of one method share its colour and mark; from the second on, their lines are dashed.
    """
    methods = dict(arms)
    names = list(methods)
    seen: dict[str, int] = {}
    dashes = []
    for method in methods.values():
        place = seen.get(method, 0)
        seen[method] = place + 1
        dashes.append(method_dash(method) if place == 0 else [6 - min(place, 4), 2 + place])
    return {
        "color": alt.Scale(domain=names, range=[method_colour(m) for m in methods.values()]),
        "shape": alt.Scale(domain=names, range=[method_shape(m) for m in methods.values()]),
        "dash": alt.Scale(domain=names, range=dashes),
    }


def arm_rows(arms: Iterable[tuple[str, str]]) -> alt.Y:
    """A row an arm, in this order; a variant's is labelled with its own name.

    Args:
        arms: name and method of each, whose colour the marks in the row have.
    """
    own = f"replace(datum.label, /^.*{VARIANT}/, '$1')"
    names = [arm for arm, _ in arms]
    return alt.Y("arm:N", title=None, sort=names, axis=alt.Axis(labelExpr=own))


def _enlarge(mark: dict[str, Any], scale: float) -> None:
    """Scale what a chart set for a mark itself; the rest comes from the config."""
    powers = {"size": 2} | dict.fromkeys(
        ("strokeWidth", "thickness", "dx", "dy", "xOffset", "yOffset", "lineHeight"), 1
    )
    if mark.get("type") == "tick":
        powers["size"] = 1
    for name, power in powers.items():
        if isinstance(mark.get(name), int | float):
            mark[name] *= scale**power


def _coloured(value: Any, look: Look) -> Any:
    if isinstance(value, dict):
        # Data is not the theme's business, and there may be much of it.
        return {
            key: entry if key in ("datasets", "values") else _coloured(entry, look)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_coloured(entry, look) for entry in value]
    if isinstance(value, str) and value.startswith(_ROLE) and value[len(_ROLE) :] in _ROLES:
        return getattr(look, value.removeprefix(_ROLE))
    return value
