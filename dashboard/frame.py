"""What surrounds every page: bundles, filters, navigation. The only file that knows all parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import style
from dashboard.controls import filters, page_controls
from dashboard.extras import show_bundles, show_empty, show_glossary
from dashboard.kept import Kept
from dashboard.library import Library
from dashboard.pages import PAGES
from dashboard.panel import Lens, Page, panels_of
from dashboard.projector import show_slide
from dashboard.report_page import show_report
from dashboard.show import show_panel, specified
from dashboard.sources import fetched, opened, signature
from dashboard.view import View
from diger.bundle.reader import BrokenBundle
from diger.charts.theme import ADAPTIVE
from diger.memory import Memory
from diger.text import markdown


def run(sources: tuple[str, ...]) -> None:
    """Draw the whole app once."""
    library = load(sources)
    st.html(style.css())
    # Before its first run the widget is not there yet, and the URL speaks for it.
    projecting = bool(st.session_state.get("projector", _asked("projector")))
    current = st.navigation(_pages(library), position="hidden" if projecting else "sidebar")
    arrived = st.session_state.get("page") != current.url_path
    st.session_state["page"] = current.url_path
    st.session_state["arrived"] = arrived
    with st.sidebar:
        filters(library, arrived)
    current.run()


def first_page(sources: tuple[str, ...], metric: str) -> None:
    """Work out what the first page shows, so that it is remembered when somebody comes."""
    lens = Lens(load(sources), View.of({"metric": metric}))
    for panel in panels_of(PAGES[0], lens):
        for number, figure in enumerate(panel.figures):
            if figure.chart is not None:
                specified(figure, panel, lens, ADAPTIVE, number)


def load(sources: tuple[str, ...]) -> Library:
    """The library of all sources; read again only where a manifest changed."""
    folders, failed = _fetched(sources)
    return _library(signature(folders), folders, failed)


@st.cache_resource(show_spinner="Fetching bundles …")
def _fetched(sources: tuple[str, ...]) -> tuple[tuple[Path, ...], tuple[BrokenBundle, ...]]:
    return fetched(sources)


@st.cache_resource(show_spinner=False)
def _memory() -> Memory:
    return Memory()


@st.cache_resource(show_spinner="Opening bundles …", max_entries=2)
def _library(
    changed: tuple[tuple[str, int, int], ...],
    _folders: tuple[Path, ...],
    _failed: tuple[BrokenBundle, ...],
) -> Library:
    # The leading underscores keep these out of the cache's key: `changed` says it all.
    return Library.of(opened(_folders), _failed, _memory(), Kept.beside(_folders))


def _pages(library: Library) -> dict[str, list[st.Page]]:  # type: ignore[valid-type]
    def lens() -> Lens:
        return Lens(library, View.of(st.session_state.to_dict()))

    def page(one: Page) -> Callable[[], None]:
        return lambda: _show_page(one, lens())

    def entry(call: Callable[[], None], title: str, icon: str, path: str, default: bool = False):  # type: ignore[no-untyped-def]
        return st.Page(call, title=title, icon=f":material/{icon}:", url_path=path, default=default)

    first = PAGES[0]
    # The first page is at the root, and under its own name, which the navigation does not show.
    named = st.Page(page(first), title=first.name, url_path=first.key, visibility="hidden")
    return {
        "Findings": [
            entry(page(first), first.name, first.icon, "home", default=True),
            *(entry(page(one), one.name, one.icon, one.key) for one in PAGES[1:]),
            named,
        ],
        "Take away": [entry(lambda: show_report(lens()), "Report", "picture_as_pdf", "report")],
        "About": [
            entry(lambda: show_bundles(library), "Bundles", "inventory_2", "bundles"),
            entry(show_glossary, "Glossary", "menu_book", "glossary"),
        ],
    }


def _show_page(page: Page, lens: Lens) -> None:
    if not len(lens.library.runs):
        show_empty(lens.library)
        return
    if st.session_state.get("projector"):
        show_slide(page, lens)
        return
    st.title(markdown(page.question))
    _visible_filters(lens)
    lens = Lens(lens.library, page_controls(page, lens))
    slot = _slot()
    for panel in panels_of(page, lens):
        with slot.container():
            show_panel(panel, lens, ADAPTIVE)
        slot = _slot()
    slot.empty()


def _slot() -> DeltaGenerator:
    """The place of a panel; grey until it is computed, where there was nothing before."""
    slot = st.empty()
    if st.session_state.get("arrived"):
        slot.html(style.SKELETON)
    return slot


def _visible_filters(lens: Lens) -> None:
    """What is shown and what is not, in words."""
    library, runs = lens.library, lens.runs
    words = [
        f"{len(runs)} of {len(library.runs)} runs",
        "datasets: " + (", ".join(markdown(lens.title(d)) for d in lens.view.data) or "all"),
        "arms: " + (", ".join(map(markdown, lens.view.arms)) or _default_arms(lens)),
        f"metric: {markdown(lens.view.metric)} on the test split",
    ]
    words += lens.legend(runs)
    several = runs.groupby("dataset")["fingerprint"].nunique()
    for dataset in several[several > 1].index:
        words.append(
            f"{markdown(lens.title(dataset))} is there in {several[dataset]} versions of its data"
        )
    if library.broken:
        left = len(library.broken)
        words.append(f"{left} bundle{'' if left == 1 else 's'} left out (page Bundles says why)")
    st.caption(" · ".join(words))


def _default_arms(lens: Lens) -> str:
    summary = lens.library.summary
    hidden = summary[summary["group"].isin(lens.library.variants)]
    if lens.view.data:
        hidden = hidden[hidden["dataset"].isin(lens.view.data)]
    if lens.view.variants or hidden.empty:
        return "all"
    count = len(hidden)
    return f"one a method ({count} {'variant' if count == 1 else 'variants'} not shown)"


def _asked(name: str) -> bool:
    return str(st.query_params.get(name, "")).lower() == "true"
