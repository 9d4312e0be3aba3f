"""The report page: choose pages, get one HTML file."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import streamlit as st

from dashboard.pages import PAGES
from dashboard.panel import Lens, Page
from dashboard.report import brief, report, sections
from diger.errors import DigerError
from diger.text import markdown

DEFAULT = ("Verdict", "Leaderboard", "Where it wins", "Codebook health", "SID drift", "Cost")


def show_report(lens: Lens) -> None:
    """Choices, and the report to download."""
    st.title("What do I hand to somebody who was not here?")
    st.markdown(
        "One HTML file: a brief of two pages with the decision, its numbers and what the "
        "ingredients bring, and an appendix if you want one. It needs no network and no software, "
        "and prints to A4 or, from a browser, to slides in 16:9."
    )
    offered = [page for page in PAGES if page.key != "compare"]
    names: list[str] = []
    if st.toggle("Appendix", key="appendix", bind="query-params"):
        names = st.multiselect(
            "Pages of the appendix",
            [page.name for page in offered],
            default=list(DEFAULT),
            key="pages",
            bind="query-params",
        )
    title = st.text_input(
        "Title", "Differentiable or static semantic IDs?", key="report-title", max_chars=120
    )
    datasets = st.multiselect(
        "Datasets",
        lens.datasets,
        default=lens.datasets,
        format_func=lens.title,
        key="report-data",
    )
    layout = st.segmented_control("Layout", ["A4", "16:9 slides"], default="A4", key="layout")
    chosen = [page for page in offered if page.name in names]
    if not datasets:
        st.info("Choose at least one dataset; the filters must leave some runs.")
        return
    if st.button("Make the report", type="primary", icon=":material/description:"):
        view = replace(lens.view, data=tuple(datasets))
        try:
            html = _make(Lens(lens.library, view), chosen, title, layout == "16:9 slides")
        except DigerError as error:
            st.error(markdown(str(error)))
            return
        st.success(f"{len(html) / 2**20:.1f} MiB, {html.count('<svg')} charts.")
        st.download_button(
            "Download the report",
            html,
            f"diger-report-{date.today():%Y-%m-%d}.html",
            "text/html",
            icon=":material/download:",
            on_click="ignore",
        )


def _make(lens: Lens, pages: list[Page], title: str, slides: bool) -> str:
    bar = st.progress(0.0, "Computing …")
    parts = sections(lens, pages, lambda share: bar.progress(share / 2, "Computing …"))
    html = report(
        title,
        parts,
        lens,
        story=brief(lens),
        slides=slides,
        progress=lambda share: bar.progress(0.5 + share / 2, "Drawing the charts …"),
    )
    bar.empty()
    return html
