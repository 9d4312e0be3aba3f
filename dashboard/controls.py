"""The widgets: filters that hold everywhere, and the choices of single pages. All in the URL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from dashboard.analysis import chosen
from dashboard.library import Library
from dashboard.panel import Lens, Page
from dashboard.panels.codebook import epochs_recorded, levels_recorded
from dashboard.view import METRICS, View
from diger.errors import DigerError
from diger.names import CHALLENGERS
from diger.text import printable

FILTERS = ("arms", "variants", "metric", "projector")


def filters(library: Library, arrived: bool = False) -> None:
    """Datasets, arms, metric and projector mode, in the sidebar.

    `arrived` says that the person has just come from another page. A link clicked before its page
    had finished drawing leads to an address without the filters, which still hold; setting them
    again puts them back into it.
    """
    if arrived:
        for key in FILTERS:
            if key in st.session_state and key not in st.query_params:
                st.session_state[key] = st.session_state[key]
    summary = library.summary
    datasets = list(dict.fromkeys(summary.sort_values(["simulated", "dataset"])["dataset"]))
    arms = sorted(summary["arm"].unique())
    st.session_state["data"] = _of_url("data", datasets)
    st.multiselect(
        "Datasets",
        datasets,
        format_func=library.titles.__getitem__,
        key="data",
        on_change=_to_url,
        args=("data",),
        placeholder="all",
        help="None: all.",
    )
    st.multiselect(
        "Arms",
        arms,
        key="arms",
        bind="query-params",
        placeholder="all" if not library.variants else "one a method",
        help="None: one a method, or all with Variants.",
    )
    st.selectbox("Metric", METRICS, key="metric", bind="query-params", help="On the test split.")
    with st.container(horizontal=True):
        if library.variants:
            st.toggle(
                "Variants",
                key="variants",
                bind="query-params",
                help="Also what is beside each method's main arm, the one with the most seeds: "
                "other decays, gradients, starts and recipes.",
            )
        st.toggle("Projector", key="projector", bind="query-params")


def page_controls(page: Page, lens: Lens) -> View:
    """The page's own choices in a row above its panels; the view with them."""
    wanted = [name for name in page.controls if name in _CONTROLS]
    if wanted:
        with st.container(horizontal=True, key="controls"):
            for name in wanted:
                _CONTROLS[name](lens)
    return View.of(st.session_state.to_dict())


def _dataset(lens: Lens) -> None:
    if lens.datasets:
        st.session_state["dataset"] = next(iter(_of_url("dataset", lens.datasets)), lens.dataset)
        st.selectbox(
            "Dataset",
            lens.datasets,
            format_func=lens.title,
            key="dataset",
            on_change=_to_url,
            args=("dataset",),
            width=220,
        )


def _of_url(key: str, datasets: Sequence[str]) -> list[str]:
    """The datasets that the URL names for a widget, by folder: `bind` would write titles there.

    Whoever comes from another page brings what was chosen there.
    """
    if st.session_state.get("arrived") and st.session_state.get(key):
        _to_url(key)
    return [one for one in st.query_params.get_all(key) if one in datasets]


def _to_url(key: str) -> None:
    st.query_params[key] = st.session_state[key]


def _challenger(lens: Lens) -> None:
    there = set(lens.library.summary["method"])
    options = [m for m in CHALLENGERS if m in there or m == CHALLENGERS[0]]
    st.selectbox(
        "Compared with static",
        options,
        key="challenger",
        bind="query-params",
        width=220,
        help="The declared family of claims is about differentiable; the others are for looking.",
    )


def _level(lens: Lens) -> None:
    levels = levels_recorded(lens) if lens.datasets else []
    if len(levels) > 1:
        st.segmented_control(
            "Level of the heat map", levels, key="level", default=levels[0], bind="query-params"
        )


def _epoch(lens: Lens) -> None:
    epochs = epochs_recorded(lens) if lens.datasets else []
    if len(epochs) > 1:
        st.select_slider(
            "Epoch of the heat map",
            epochs,
            key="epoch",
            value=epochs[-1],
            bind="query-params",
            width=320,
        )


def _seed(lens: Lens) -> None:
    seeds = sorted({int(s) for s in lens.runs.loc[lens.runs["dataset"] == lens.dataset, "seed"]})
    if len(seeds) > 1:
        st.selectbox("Seed", seeds, key="seed", bind="query-params", width=120)


def _first_pair(lens: Lens) -> tuple[int, int]:
    """Places of two runs worth comparing: of one dataset and seed, of the arms that are judged."""
    runs = lens.runs.reset_index(drop=True)
    places = {(row.group, row.seed): row.Index for row in runs.itertuples()}
    with suppress(DigerError):
        static, other = (row["group"] for row in chosen(lens, lens.dataset))
        for group, seed in places:
            if group == static and (other, seed) in places:
                return places[static, seed], places[other, seed]
    return 0, min(1, len(runs) - 1)


def _bundle(which: str, label: str) -> None:
    def control(lens: Lens) -> None:
        names = [printable(name, 120) for name in lens.with_variants["bundle"]]
        if names:
            index = _first_pair(lens)[which == "b"]
            st.selectbox(label, names, index=index, key=which, bind="query-params", width=420)

    _CONTROLS[which] = control


_CONTROLS = {
    "dataset": _dataset,
    "challenger": _challenger,
    "level": _level,
    "epoch": _epoch,
    "seed": _seed,
}
_bundle("a", "First bundle")
_bundle("b", "Second bundle")
