"""What a benchmark found, as JSON, as a table in Markdown and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair as alt
import pandas as pd

from diger.benchmark.clock import Measurement
from diger.charts.methods import method_colour
from diger.charts.theme import layered, tips

# One user's milliseconds by size of the catalogue, and whose colour each takes.
LINES = {
    "one user": "differentiable",
    "one user, T5, our search": "static",
    "one user, T5, the library's generate": "sasrec",
}


def document(measured: Sequence[Measurement], about: dict[str, Any]) -> dict[str, Any]:
    """All of it, for `json.dumps`: `about` tells the machine, the dataset and the recipe."""
    return {"about": about, "measured": [asdict(one) for one in measured]}


def markdown(found: dict[str, Any]) -> str:
    """Tables of a `document`: what does not depend on the catalogue's size, and what does."""
    about = ", ".join(f"{name} {value}" for name, value in found["about"].items())
    rows = [row for row in found["measured"] if row["items"] is None]
    lines = [f"Measured on: {about}.", "", "| | median | least to most | how |"]
    lines.append("|---|---|---|---|")
    for row in rows:
        spread = "" if row["low"] is None else f"{_short(row['low'])} to {_short(row['high'])}"
        lines.append(
            f"| {row['what']} | {_short(row['value'])} {row['unit']} | {spread} | {row['note']} |"
        )
    scaled = [row for row in found["measured"] if row["items"] is not None]
    sizes = sorted({row["items"] for row in scaled})
    if sizes:
        heads = "".join(f" {size:,} items |" for size in sizes)
        lines += ["", f"| median |{heads}", "|---|" + "---|" * len(sizes)]
    for what, unit in dict.fromkeys((row["what"], row["unit"]) for row in scaled):
        cells = {row["items"]: _short(row["value"]) for row in scaled if row["what"] == what}
        shown = " | ".join(cells.get(size, "") for size in sizes)
        lines.append(f"| {what}, {unit} | {shown} |")
    return "\n".join(lines) + "\n"


def chart(found: dict[str, Any]) -> alt.LayerChart:
    """Milliseconds for one user by size of the catalogue, both on logarithmic scales."""
    rows = [row for row in found["measured"] if row["what"] in LINES and row["items"] is not None]
    columns = ["what", "items", "value", "low", "high"]
    frame = pd.DataFrame([{name: row[name] for name in columns} for row in rows], columns=columns)
    frame["what"] = frame["what"].replace({"one user": "one user, the recipe's backbone"})
    names = list(frame["what"].unique())
    colours = [method_colour(LINES.get(name, "differentiable")) for name in names]
    base = alt.Chart(frame).encode(
        x=alt.X(
            "items:Q",
            title="items in the catalogue",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(format="~s", values=sorted(frame["items"].unique().tolist())),
        ),
        color=alt.Color(
            "what:N",
            title=None,
            scale=alt.Scale(domain=names, range=colours),
            legend=alt.Legend(orient="bottom", columns=1, labelLimit=400),
        ),
    )
    y = alt.Y("value:Q", title="milliseconds, median", scale=alt.Scale(type="log"))
    told = tips(what=("", ""), items=",", value=("ms", ".2f"))
    lines = base.mark_line().encode(y=y)
    points = base.mark_point().encode(y=y, tooltip=told)
    return layered(lines, points, height=320).properties(title=_title(frame))


def _title(frame: pd.DataFrame) -> str:
    """What the recipe's own line says: its time at the largest catalogue beside the smallest."""
    own = frame[frame["what"] == "one user, the recipe's backbone"].sort_values("items")
    if len(own) < 2:
        return "One recommendation, by the size of the catalogue"
    (small, fast), (large, slow) = own[["items", "value"]].iloc[[0, -1]].to_numpy().tolist()
    return f"One recommendation: {fast:.1f} ms of {small:,.0f} items, {slow:.1f} ms of {large:,.0f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
