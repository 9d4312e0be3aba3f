"""A chart as SVG or PNG, without a browser or a network.

`vl-convert-python` carries Vega; it is imported only when something is exported.
"""

from __future__ import annotations

import textwrap
from typing import Any

import altair as alt

from diger.charts.theme import LIGHT, Look, specification
from diger.errors import DigerError

WIDTH = 760


def to_svg(
    chart: alt.Chart | alt.LayerChart,
    look: Look = LIGHT,
    width: int = WIDTH,
    *,
    title: str = "",
    source: str = "",
) -> str:
    """The chart as an SVG document on the look's ground.

    Args:
        chart: from one of the functions of this package.
        look: light or dark, and how large.
        width: of the plot with its axes, in pixels.
        title: above the chart, wrapped.
        source: below the title in small type: when it was made and from what.
    """
    return _convert("vegalite_to_svg", _spec(chart, look, width, title, source))


def to_png(
    chart: alt.Chart | alt.LayerChart,
    look: Look = LIGHT,
    width: int = WIDTH,
    *,
    title: str = "",
    source: str = "",
    scale: float = 2.0,
) -> bytes:
    """The chart as a PNG, `scale` pixels a unit; the rest as in `to_svg`."""
    return _convert("vegalite_to_png", _spec(chart, look, width, title, source), scale=scale)


def _spec(
    chart: alt.Chart | alt.LayerChart, look: Look, width: int, title: str, source: str
) -> dict[str, Any]:
    spec = specification(chart, look)
    spec["width"] = width
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["background"] = look.ground
    spec["padding"] = 12
    letters = max(20, int(width / (8.2 * look.scale)))
    if title:
        spec["title"] = {"text": textwrap.wrap(title, letters)}
        if source:
            spec["title"]["subtitle"] = textwrap.wrap(source, int(letters * 1.15))
    return spec


def _convert(function: str, spec: dict[str, Any], **options: Any) -> Any:
    import vl_convert  # half a second, for exports alone

    major_minor = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    try:
        # No base URL and no allowed ones: a specification cannot make this fetch anything.
        return getattr(vl_convert, function)(
            spec, vl_version=major_minor, allowed_base_urls=[], **options
        )
    except ValueError as error:
        raise DigerError(f"the chart cannot be drawn: {str(error).splitlines()[0]}") from None
