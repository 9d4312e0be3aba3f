"""Projector mode: one chart a screen in large type, a story first, everything else after it.

A slide is one chart of a panel. The story is ten slides at most, the first chart of each of its
panels; the rest is an appendix in the order of the pages. Tables, and panels with nothing to show,
are passed over. Everything is sized by the screen, so that a slide looks alike on all of them. The
arrow keys and a presenter's page keys go on and back, Esc leaves.
"""

from __future__ import annotations

import streamlit as st

from dashboard import style
from dashboard.pages import PAGES
from dashboard.panel import SLIDE, Builder, Figure, Lens, Page, Panel, build
from dashboard.show import show_card
from diger.charts.theme import Look, specification
from diger.text import markdown

SCALE = 28 / 13  # type of 28 px on the smallest screen, 1280 x 720; more on others
ROWS = 0.7  # of a page's height, where there is no chart for slides
AXIS = 60  # what the x axis takes, in units of type of 13 px
ROOM = 210  # what is left between title and notes, two lines each, in these units
STORY = (
    *("verdict.decision", "verdict.main_metric", "verdict.second_metric"),
    *("matrix.foretold", "matrix.training", "matrix.moved", "matrix.controls"),
    *("where.users", "codebook.effective", "cost.seconds"),
)
_ALL = {
    f"{page.key}.{builder.__name__}": (page, builder)
    for page in PAGES
    if page.key != "compare"
    for builder in page.builders
}
DECK: tuple[tuple[Page, Builder], ...] = (*(_ALL[name] for name in STORY), *_ALL.values())


def show_slide(page: Page, lens: Lens) -> None:
    """The slide that the URL names, else the first of the page."""
    st.html(style.css(projector=True))
    place, number = _at(page)
    charts = _charts(place, lens)
    if not charts:
        found = _step(lens, place, 0, +1) or _step(lens, place, 0, -1)
        if found is None:
            st.info("There is nothing to project: the filters leave no chart.")
            _buttons(lens, place, 0)
            return
        place, number = found
        charts = _charts(place, lens)
    number = min(number, len(charts) - 1)
    panel, figure = build(DECK[place][1], lens), charts[number]
    named = f"{panel.finding} · {figure.title}" if figure.title else panel.finding
    dataset = lens.title(lens.dataset)
    if "dataset" in DECK[place][0].controls and dataset not in named:  # no chooser says it here
        named = f"{dataset}: {named}"
    st.title(markdown(named))
    with st.container(key="slide-chart"):
        if figure.card:
            show_card(figure, panel, short=True)
        else:
            spec = {**_sized(figure), "description": named}
            st.vega_lite_chart(spec, width="content", theme=None)
    shown = lens.runs[lens.runs["hash"].isin(panel.hashes)]
    notes = [*panel.notes[:1], *(f"{words}." for words in lens.legend(shown))]
    st.caption(markdown(" ".join(notes)))
    _buttons(lens, place, number)


def _sized(figure: Figure) -> dict[str, object]:
    """A chart in large type and of a fixed size, which the style sheet fits to the screen."""
    chart = figure.slide or figure.chart
    assert chart is not None
    spec = specification(chart, Look(adaptive=True, scale=SCALE))
    tall = spec.get("height")
    assert isinstance(tall, int | float)
    if figure.slide is None:  # rows may be closer than on a page
        tall = max(SLIDE[1], ROWS * tall)
    # Of everything: Streamlit fits charts into their size. What is tall is wide as well, or a
    # screen would have room at both sides.
    spec["height"] = (tall + AXIS) * SCALE
    spec["width"] = SLIDE[0] * SCALE * max(1, (tall + AXIS) / ROOM)
    spec["usermeta"] = {"embedOptions": {"actions": False, "renderer": "svg"}}
    return spec


def _buttons(lens: Lens, place: int, number: int) -> None:
    with st.container(horizontal=True, key="slides", vertical_alignment="center"):
        back = st.button("Back", icon=":material/arrow_back:", shortcut="Left")
        onward = st.button("Next", icon=":material/arrow_forward:", shortcut="Right")
        st.button("Leave", icon=":material/close:", shortcut="Esc", on_click=_leave)
        counter = st.empty()
    with st.container(key="remote", horizontal=True):
        # A presenter's remote sends these.
        back |= st.button("Back", key="page-up", shortcut="PageUp")
        onward |= st.button("Next", key="page-down", shortcut="PageDown")
    if back or onward:
        found = _step(lens, place, number, +1 if onward else -1)
        if found is not None:
            st.query_params["slide"] = f"{found[0] + 1}.{found[1] + 1}"
            st.rerun()
    # Last, for it takes every panel of the story.
    name = markdown(DECK[place][0].name)
    if place < len(STORY):
        told = [i for i in range(len(STORY)) if _charts(i, lens)]
        counter.caption(f"{sum(i <= place for i in told)} of {len(told)} · {name}")
    else:
        counter.caption(f"Appendix · {name}")


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
    if 0 <= number + by < len(_charts(place, lens)):
        return place, number + by
    place += by
    while 0 <= place < len(DECK):
        charts = _charts(place, lens)
        if charts:
            return place, 0 if by > 0 else len(charts) - 1
        place += by
    return None


def _charts(place: int, lens: Lens) -> list[Figure]:
    """Charts of a place in the deck: in the story the first, in the appendix those not in it."""
    panel: Panel = build(DECK[place][1], lens)
    charts = [] if panel.missing else [f for f in panel.figures if f.chart is not None or f.card]
    if place < len(STORY):
        return charts[:1]
    return charts[1:] if DECK[place] in DECK[: len(STORY)] else charts


def _leave() -> None:
    st.session_state["projector"] = False
    if "slide" in st.query_params:
        del st.query_params["slide"]
