"""Watch it think: the beam search of every model shown that writes SIDs, as trees."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from diger_app import service
from diger_app.library import Library
from diger_app.panels.common import results, said, sid_columns, with_state
from diger_app.render import tree as render
from diger_app.render.text import empty
from diger_app.view import DEFAULT_TREE_BEAM, MAX_TREE_BEAM, View

STATE = ("dataset", "left", "right", "third", "history", "tree_beam")


@dataclass(frozen=True)
class ThinkPanel:
    """The tab's components."""

    beam: gr.Slider
    out: gr.HTML


def build() -> ThinkPanel:
    """Lay the tab out."""
    out = results("think-results", script_name="tree.js")
    beam = gr.Slider(
        1,
        MAX_TREE_BEAM,
        value=DEFAULT_TREE_BEAM,
        step=1,
        label="Prefixes kept at each level (beams); the first tab searches with more",
        elem_classes="beams",
    )
    return ThinkPanel(beam, out)


@said
def show(library: Library, view: View) -> str:
    """The trees."""
    shelf = library.shelf(view.dataset)
    if not view.history:
        nothing = empty(
            "No history yet",
            "Add items or choose an example on the first tab; then watch the models spell out the "
            "next item, code by code.",
        )
        return with_state(nothing, view, STATE)
    rows = service.history_rows(shelf, view.history)
    drawn = [
        (shelf.load(name), service.tree(shelf, name, view))
        for name in sid_columns(shelf, view).values()
    ]
    return with_state(render.path(shelf, rows) + render.trees(shelf, drawn), view, STATE)
