"""A panel on a Streamlit page: finding, figures, how to read them, and everything to take along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler
from streamlit.elements.lib.column_types import ColumnConfig

from dashboard.glossary import TERMS
from dashboard.panel import Figure, Lens, Panel, sentence
from diger.charts.export import to_png, to_svg
from diger.charts.tables import to_latex
from diger.charts.theme import LIGHT, Look, specification
from diger.errors import DigerError
from diger.text import csv_cell, markdown

_BOLD = {True: "font-weight: bold", False: ""}
MOST_ROWS = 60  # of a table that is shown whole, without a scroll of its own
NARROW_A_ROW = 3  # figures beside each other; Streamlit stacks them on a phone


def show_panel(panel: Panel, lens: Lens, look: Look) -> None:
    """Draw a panel."""
    with st.container(border=False, key=f"panel-{panel.key}"):
        if panel.finding:
            st.markdown(f"### {markdown(panel.finding)}")
        if panel.missing:
            st.info(markdown(sentence(panel.missing)) + ".", icon=":material/visibility_off:")
            return
        for row in _rows(panel.figures):
            # Rows of a grid have the same number of columns, so that all charts are alike.
            columns = st.columns(len(row)) if len(row) > 1 else [st.container()]
            for place, one in zip(columns, row, strict=True):
                if one is not None:
                    with place:
                        show_figure(one[1], panel, lens, look, one[0])
        for reason in panel.blank:
            st.caption(f":material/visibility_off: Blank: {markdown(reason)}")
        if panel.notes:
            st.caption(" ".join(markdown(note) for note in panel.notes))
        with st.container(horizontal=True, key=f"tools-{panel.key}"):
            _in_full(panel)
            _meanings(panel)
            _take_along(panel)


def show_figure(figure: Figure, panel: Panel, lens: Lens, look: Look, number: int) -> None:
    """Draw a chart or a table, under its title."""
    if figure.title:
        st.markdown(f"**{markdown(figure.title)}**")
    if figure.card:
        show_card(figure, panel)
    elif figure.chart is not None:
        try:
            spec = specified(figure, panel, lens, look, number)
            st.vega_lite_chart(spec, width="stretch", theme=None)
        except (DigerError, ValueError, TypeError) as error:
            kind = type(error).__name__
            st.info(f"This chart could not be drawn ({kind}).", icon=":material/visibility_off:")
    elif figure.table is not None:
        show_table(figure.table, figure.formats, figure.best)


def specified(
    figure: Figure, panel: Panel, lens: Lens, look: Look, number: int
) -> dict[str, object]:
    """A chart's specification, remembered."""
    spec = lens.remember(
        ("spec", panel.key, number, id(figure.chart), look),
        lambda: (figure.chart, _fitting(figure, look)),
    )[1]
    # Vega makes it the label of the chart, which has a role: what a screen reader says.
    said = ". ".join(filter(None, (figure.title, panel.finding)))
    return {**spec, "description": said}


def show_card(figure: Figure, panel: Panel, *, short: bool = False) -> None:
    """Draw a card: a line a heading; all of it is behind a click, unless on a slide."""
    with st.container(border=not short, key=f"card-{panel.key}"):
        for head, line, _ in figure.card:
            st.markdown(f"**{markdown(head)}.** {markdown(sentence(line))}")


def show_table(
    table: pd.DataFrame, formats: dict[str, str], best: pd.DataFrame | None = None
) -> None:
    """Draw a table that sorts, searches and hides columns, the cells of `best` in bold."""
    config: dict[str, ColumnConfig] = {
        name: st.column_config.NumberColumn(format=form)
        for name, form in formats.items()
        if name in table.columns and pd.api.types.is_numeric_dtype(table[name])
    }
    # No name is cut, on a phone either; a setting's has few wide letters.
    for name, letter in (("dataset", 7), ("arm", 7), ("setting", 6)):
        if name in table:
            longest = int(table[name].str.len().max())
            config[name] = st.column_config.TextColumn(width=min(330, 18 + letter * longest))
    shown: pd.DataFrame | Styler = table
    if best is not None:
        shown = table.style.apply(lambda _: best.map(_BOLD.__getitem__), axis=None)
    st.dataframe(
        shown,
        width="stretch",
        height="content" if len(table) <= MOST_ROWS else "auto",
        hide_index=True,
        column_config=config,
        placeholder="",
    )


def to_csv(table: pd.DataFrame) -> str:
    """CSV in which no cell is run as a formula by a spreadsheet."""
    safe = table.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = [csv_cell(v) if isinstance(v, str) else v for v in safe[name]]
    safe.columns = [csv_cell(c) for c in safe.columns]
    return safe.to_csv(index=False)


def caption(panel: Panel) -> tuple[str, str]:
    """Title and source line of an exported chart: finding; date and the bundles' hashes."""
    shown = ", ".join(h[:8] for h in panel.hashes[:6])
    more = len(panel.hashes) - 6
    more_words = f" and {more} more" if more > 0 else ""
    return panel.finding, f"DIGER Studio, {date.today():%d %B %Y}; bundles {shown}{more_words}"


def _take_along(panel: Panel) -> None:
    """Every figure as a file; charts are drawn when somebody asks for them."""
    title, source = caption(panel)
    with st.popover("Take it along", icon=":material/download:", type="tertiary"):
        for number, figure in enumerate(panel.figures):
            several = len(panel.figures) > 1
            name = f"diger-{panel.key}{f'-{number + 1}' if several else ''}"
            label = figure.title or (f"Figure {number + 1}" if several else "")
            with st.container(horizontal=True, vertical_alignment="center"):
                if label:
                    st.markdown(markdown(label), width=260)
                for kind, mime, make in _files(figure, title, source):
                    st.download_button(
                        kind,
                        make,
                        f"{name}.{kind.lower()}",
                        mime,
                        key=f"{kind}-{panel.key}-{number}",
                        on_click="ignore",
                    )


def _files(
    figure: Figure, title: str, source: str
) -> Iterator[tuple[str, str, Callable[[], str | bytes]]]:
    """Name of the format, its MIME type, and what makes the file."""
    chart, table = figure.chart, figure.table
    words = f"{title} ({figure.title})" if figure.title else title
    if chart is not None:
        yield "SVG", "image/svg+xml", lambda: to_svg(chart, LIGHT, title=words, source=source)
        yield "PNG", "image/png", lambda: to_png(chart, LIGHT, title=words, source=source)
    if table is not None:
        yield "CSV", "text/csv", lambda: to_csv(table)
        if chart is None and {"arm", "seeds"} <= set(table.columns):
            metrics = [c for c in table.columns if "@" in c and f"± {c}" in table.columns]
            yield "TEX", "text/x-tex", lambda: to_latex(table, metrics[:4], words)


def _in_full(panel: Panel) -> None:
    """All parts of the panel's cards one click away."""
    for figure in panel.figures:
        if figure.card:
            with st.popover("In full", icon=":material/unfold_more:", type="tertiary"):
                for head, _, parts in (line for line in figure.card if line[2]):
                    lines = "  \n".join(map(markdown, parts))
                    st.markdown(f"**{markdown(head)}**  \n{lines}")


def _meanings(panel: Panel) -> None:
    """Definitions one click away."""
    terms = [term for term in dict.fromkeys(panel.terms) if term in TERMS]
    if terms:
        with st.popover("What the words mean", icon=":material/menu_book:", type="tertiary"):
            for term in terms:
                st.markdown(f"**{markdown(term)}**: {markdown(TERMS[term])}")


def _rows(figures: tuple[Figure, ...]) -> Iterator[list[tuple[int, Figure] | None]]:
    """Wide figures alone; runs of narrow ones in rows of two or three, the last one filled up."""
    run: list[tuple[int, Figure]] = []
    for number, figure in [*enumerate(figures), (-1, None)]:
        if figure is not None and not figure.wide:
            run.append((number, figure))
            continue
        # Two by two is better than three and one: names and marks have more room.
        size = 2 if len(run) % NARROW_A_ROW else NARROW_A_ROW
        for first in range(0, len(run), size):
            row: list[tuple[int, Figure] | None] = [*run[first : first + size]]
            yield row + [None] * (size - len(row) if len(run) > 1 else 0)
        run = []
        if figure is not None:
            yield [(number, figure)]


def _fitting(figure: Figure, look: Look) -> dict[str, object]:
    assert figure.chart is not None
    spec = specification(figure.chart, look)
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["usermeta"] = {"embedOptions": {"actions": False}}
    return spec
