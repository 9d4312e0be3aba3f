"""Projector mode: large type, one chart a screen, the pages' panels one after another.

Slides are (panel, chart) pairs in the order of the pages; tables, and panels with nothing to show,
are passed over. The arrow keys and a presenter's page keys go on and back, Esc leaves.
"""

from __future__ import annotations

import streamlit as st

from dashboard import style
from dashboard.pages import PAGES
from dashboard.panel import Builder, Figure, Lens, Page, Panel, build
from dashboard.show import show_figure
from diger.charts.theme import Look
from diger.text import markdown

SCALE = 1.5
HEIGHT = 480  # pixels; what a chart gets at least
DECK: tuple[tuple[Page, Builder], ...] = tuple(
    (page, builder) for page in PAGES if page.key != "compare" for builder in page.builders
)


def show_slide(page: Page, lens: Lens) -> None:
    """The slide that the URL names, else the first of the page."""
    st.html(style.css(projector=True))
    place, number = _at(page)
    panel = build(DECK[place][1], lens)
    if not _charts(panel):
        found = _step(lens, place, 0, +1) or _step(lens, place, 0, -1)
        if found is None:
            st.info("There is nothing to project: the filters leave no chart.")
            _buttons(lens, place, 0)
            return
        place, number = found
        panel = build(DECK[place][1], lens)
    charts = _charts(panel)
    number = min(number, len(charts) - 1)
    st.title(markdown(DECK[place][0].question))
    st.markdown(f"### {markdown(panel.finding)}")
    show_figure(charts[number], panel, lens, Look(adaptive=True, scale=SCALE), number, HEIGHT)
    if panel.notes:
        st.caption(markdown(panel.notes[0]))
    _buttons(lens, place, number)


def _buttons(lens: Lens, place: int, number: int) -> None:
    with st.container(horizontal=True, key="slides", vertical_alignment="center"):
        back = st.button("Back", icon=":material/arrow_back:", shortcut="Left")
        onward = st.button("Next", icon=":material/arrow_forward:", shortcut="Right")
        st.button("Leave", icon=":material/close:", shortcut="Esc", on_click=_leave)
        st.caption(f"{place + 1} of {len(DECK)} · {markdown(DECK[place][0].name)}")
    with st.container(key="remote", horizontal=True):
        # A presenter's remote sends these.
        back |= st.button("Back", key="page-up", shortcut="PageUp")
        onward |= st.button("Next", key="page-down", shortcut="PageDown")
    if back or onward:
        found = _step(lens, place, number, +1 if onward else -1)
        if found is not None:
            st.query_params["slide"] = f"{found[0] + 1}.{found[1] + 1}"
            st.rerun()


def _at(page: Page) -> tuple[int, int]:
    """Place in the deck and figure that the URL names, counted from 0."""
    first = next((i for i, (one, _) in enumerate(DECK) if one is page), 0)
    place, _, number = str(st.query_params.get("slide", "")).partition(".")
    try:
        at, figure = int(place) - 1, int(number or 1) - 1
    except ValueError:
        return first, 0
    return (at, max(figure, 0)) if 0 <= at < len(DECK) else (first, 0)


def _step(lens: Lens, place: int, number: int, by: int) -> tuple[int, int] | None:
    """The next chart in one direction, None at the end."""
    if 0 <= number + by < len(_charts(build(DECK[place][1], lens))):
        return place, number + by
    place += by
    while 0 <= place < len(DECK):
        charts = _charts(build(DECK[place][1], lens))
        if charts:
            return place, 0 if by > 0 else len(charts) - 1
        place += by
    return None


def _charts(panel: Panel) -> list[Figure]:
    return [] if panel.missing else [f for f in panel.figures if f.chart is not None or f.card]


def _leave() -> None:
    st.session_state["projector"] = False
    if "slide" in st.query_params:
        del st.query_params["slide"]
