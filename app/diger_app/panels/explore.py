"""Explore the SIDs: an item, the codes from the top, the map, what moved in joint training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from diger.errors import DigerError
from diger.names import JOINT_METHODS
from diger_app.library import Library
from diger_app.panels.common import COMBO, results, said, suggest, with_state
from diger_app.panels.recommend import missing
from diger_app.render import explore as render
from diger_app.render.catalogue_map import catalogue_map
from diger_app.render.text import empty
from diger_app.shelf import Shelf
from diger_app.theme import script
from diger_app.view import View

STATE = ("dataset", "left", "right", "side", "explore", "item", "prefix")
VIEWS = (
    ("An item", "item"),
    ("Codes from the top", "browse"),
    ("Map", "map"),
    ("What moved", "moved"),
)
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
        what = gr.Radio(list(VIEWS), value="item", label="Show", elem_classes="segmented")
        side = gr.Radio(
            [("first model", "left")], value="left", label="Model", elem_classes="segmented"
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
    out = results("explore-results")
    return ExplorePanel(what, side, look, prefix, out)


@said
def show(library: Library, view: View) -> str:
    """What the tab shows in a view."""
    shelf = library.shelf(view.dataset)
    return with_state(_drawn(shelf, view), view, STATE)


def _drawn(shelf: Shelf, view: View) -> str:
    row = shelf.rows.get(view.item)
    name = view.right if view.side == "right" and view.right else view.left
    if view.explore == "browse":
        return render.browse(shelf, shelf.load(name), view.prefix)
    if view.explore == "map":
        return catalogue_map(shelf, shelf.load(name), row)
    if view.explore == "moved":
        return render.moved(shelf, _joint(shelf, view))
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
    models = [shelf.load(one) for one in (view.left, view.right) if one]
    gap = ""
    if not view.right and len({s.method for s in shelf.sources.values()}) == 1:
        panel = missing(shelf)
        gap = empty(panel.head, panel.missing)
    return render.item(shelf, row, models, gap)


def _joint(shelf: Shelf, view: View) -> Any:
    """The model whose moves are shown: the chosen one if it has a start, else any that has."""
    chosen = view.right if view.side == "right" and view.right else view.left
    for name in (chosen, view.right, view.left):
        if name:
            loaded = shelf.load(name)
            if loaded.start is not None:
                return loaded
    return next(
        (shelf.load(n) for n, s in shelf.sources.items() if s.method in JOINT_METHODS), None
    )


def look_value(shelf: Shelf, item: str) -> dict[str, str]:
    """What the search island holds."""
    row = shelf.rows.get(item)
    title = "" if row is None else shelf.title(row)
    return {"dataset": shelf.key, "id": item if row is not None else "", "title": title}
