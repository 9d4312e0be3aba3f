"""Explore the SIDs: the map with what moved, an item, the codes from the top."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
import numpy as np

from diger.errors import DigerError
from diger_app import service
from diger_app.library import Library
from diger_app.panels.common import (
    COMBO,
    results,
    said,
    sid_columns,
    sid_model,
    suggest,
    with_state,
)
from diger_app.panels.recommend import missing
from diger_app.render import explore as render
from diger_app.render.catalogue_map import Shown, catalogue_map
from diger_app.render.text import empty
from diger_app.shelf import Shelf
from diger_app.theme import script
from diger_app.view import SIDES, View

STATE = (
    *("dataset", "left", "right", "third", "history", "k", "beam", "leave_out_seen", "decoding"),
    *("side", "explore", "item", "prefix"),
)
VIEWS = (("Map", "map"), ("An item", "item"), ("Codes from the top", "browse"))
_LOOKUP = (
    COMBO.format(id="look-up", label="Look up an item", placeholder="Search by title …")
    + '<p class="look-chosen">Showing: <b class="look-name" dir="auto"></b></p>'
)


@dataclass(frozen=True)
class ExplorePanel:
    """The tab's components; `prefix` is what is browsed, kept by the page."""

    what: gr.Radio
    side: gr.Radio
    look: gr.HTML
    prefix: gr.Textbox
    out: gr.HTML


def build(library: Library) -> ExplorePanel:
    """Lay the tab out."""
    with gr.Row(elem_classes="toolbar", equal_height=False):
        what = gr.Radio(list(VIEWS), value="map", label="Show", elem_classes="segmented")
        side = gr.Radio(
            # All three from the start: a value that is not among them yet would not be taken.
            [(side, side) for side in SIDES],
            value="left",
            label="Model",
            elem_classes="segmented",
            elem_id="explore-side",
        )
        look = gr.HTML(
            {"dataset": "", "id": "", "title": ""},
            html_template=_LOOKUP,
            js_on_load=script("lookup.js"),
            server_functions=[suggest(library)],
            apply_default_css=False,
            elem_classes="lookup",
        )
        prefix = gr.Textbox("", visible="hidden", label="prefix", elem_id="browse-prefix")
    out = results("explore-results", script_name="map.js")
    return ExplorePanel(what, side, look, prefix, out)


@said
def show(library: Library, view: View) -> str:
    """What the tab shows in a view."""
    shelf = library.shelf(view.dataset)
    return with_state(_drawn(shelf, view), view, STATE)


def _drawn(shelf: Shelf, view: View) -> str:
    row = shelf.rows.get(view.item)
    name = sid_model(shelf, view)
    if view.explore == "browse":
        return render.browse(shelf, shelf.load(name), view.prefix)
    if view.explore == "map":
        return catalogue_map(shelf, _shown(shelf, view, name, row))
    if row is None:
        if view.item:
            raise DigerError(
                f"there is no item {view.item[:80]!r} in {shelf.key}; search by its title"
            )
        return empty(
            "Look up an item",
            "Search above, or press any title in this app: you see its SID under each method, who "
            "shares its prefixes, and who is near in content.",
            "⌕",
        )
    models = [shelf.load(one) for one in sid_columns(shelf, view).values()]
    gap = ""
    if not view.right and len({s.method for s in shelf.sid_sources.values()}) == 1:
        panel = missing(shelf)
        gap = empty(panel.head, panel.missing)
    return render.item(shelf, row, models, gap)


def _shown(shelf: Shelf, view: View, name: str, row: int | None) -> Shown:
    """The map of the bundle `name`: with what flies between it and another column, where one was
    trained jointly from the other's codes."""
    loaded = shelf.load(name)
    joint, turn = (loaded, "") if loaded.start is not None else (None, "")
    for side, other in sid_columns(shelf, view).items():
        one = shelf.load(other)
        if joint is loaded and np.array_equal(one.codes, loaded.start):
            turn = side
        elif joint is None and one.start is not None and np.array_equal(one.start, loaded.codes):
            joint, turn = one, side
    rows, _ = shelf.rows_of(view.history)
    listed = service.recommend(shelf, name, view).listed if rows else ()
    found = [one.row for one in listed if one.row is not None]
    return Shown(loaded, joint, turn, row, tuple(dict.fromkeys(rows)), found)


def look_value(shelf: Shelf, item: str) -> dict[str, str]:
    """What the search island holds."""
    row = shelf.rows.get(item)
    title = "" if row is None else shelf.title(row)
    return {"dataset": shelf.key, "id": item if row is not None else "", "title": title}
