"""Watch it think: the beam search as a tree."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from diger_app import service
from diger_app.library import Library
from diger_app.panels.common import results, said, with_state
from diger_app.render import tree as render
from diger_app.render.text import empty
from diger_app.view import MAX_TREE_BEAM, View

STATE = ("dataset", "left", "right", "history", "side", "tree_beam")


@dataclass(frozen=True)
class ThinkPanel:
    """The tab's components."""

    side: gr.Radio
    beam: gr.Slider
    out: gr.HTML


def build() -> ThinkPanel:
    """Lay the tab out."""
    with gr.Row(elem_classes="toolbar", equal_height=False):
        side = gr.Radio(
            [("first model", "left")], value="left", label="Model", elem_classes="segmented"
        )
        beam = gr.Slider(
            1,
            MAX_TREE_BEAM,
            value=5,
            step=1,
            label="Beams",
            info="few, so that you see it choose; the first tab searches with more",
            elem_classes="beams",
        )
    out = results("think-results")
    return ThinkPanel(side, beam, out)


@said
def show(library: Library, view: View) -> str:
    """The tree of one model."""
    shelf = library.shelf(view.dataset)
    if not view.history:
        nothing = empty(
            "No history yet",
            "Add items or choose an example on the first tab; then watch the model spell out the "
            "next item, code by code.",
        )
        return with_state(nothing, view, STATE)
    name = view.right if view.side == "right" and view.right else view.left
    rows = service.history_rows(shelf, view.history)
    loaded = shelf.load(name)
    levels = service.tree(shelf, name, view)
    drawn = render.tree(shelf, loaded, levels, view.tree_beam)
    return with_state(render.path(shelf, rows, loaded) + drawn, view, STATE)
