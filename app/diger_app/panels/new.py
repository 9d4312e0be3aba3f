"""A new item: type what no model has seen, and see what it is called and whom it lands beside."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import gradio as gr

from diger.content.models import INSTALL, has_small_encoder
from diger.errors import DigerError
from diger_app.library import Library
from diger_app.panels.common import results, said, sid_columns, with_state
from diger_app.render import new_item as render
from diger_app.render.text import empty, notice, sentence
from diger_app.view import MAX_TEXT, View

STATE = (
    "dataset",
    "left",
    "right",
    "third",
    "history",
    "k",
    "beam",
    "leave_out_seen",
    "title",
    "description",
    "only_new",
)
NO_ENCODER = (
    f"Naming a new item needs the text encoder (100 MB): {INSTALL}, then start the app "
    "again. Everything else works without."
)


@dataclass(frozen=True)
class NewPanel:
    """The tab's components."""

    title: gr.Textbox
    description: gr.Textbox
    only_new: gr.Checkbox
    run: gr.Button
    out: gr.HTML


def has_encoder() -> bool:
    """Whether the optional text encoder is installed."""
    return has_small_encoder() or importlib.util.find_spec("sentence_transformers") is not None


def build() -> NewPanel:
    """Lay the tab out."""
    ready = has_encoder()
    with gr.Row(elem_classes="workbench", equal_height=False):
        with gr.Column(scale=0, min_width=300, elem_classes="bench"):
            if not ready:
                gr.HTML(notice(NO_ENCODER, kind="warn"), apply_default_css=False)
            title = gr.Textbox(
                label="Title",
                max_length=MAX_TEXT,
                placeholder="The Long Way Round (2026)",
                elem_id="new-title",
            )
            description = gr.Textbox(
                label="Description",
                lines=4,
                max_length=MAX_TEXT,
                placeholder="Two retired safe-crackers drive across Iceland to return what they "
                "stole in 1971. Crime, Comedy, road movie",
                elem_id="new-description",
            )
            only_new = gr.Checkbox(
                False,
                label="Rank among new items only",
                info="items without any training event: a cold start",
            )
            run = gr.Button("Name it", variant="primary", interactive=ready, elem_id="name-button")
        with gr.Column(scale=1, min_width=300, elem_classes="stage"):
            out = results("new-results", _start())
    return NewPanel(title, description, only_new, run, out)


def _start() -> str:
    return empty(
        "An item that nobody has seen",
        "Type a title and what it is about, then press Name it. Each tokenizer gives it a SID; "
        "with a history from the first tab you also see where it would be recommended.",
        "✚",
    )


def nothing_typed() -> str:
    """The answer to a press with both fields empty."""
    said = "Type a title or a description first; a few words are enough."
    return notice(said, kind="warn") + _start()


def waiting(view: View) -> str:
    """What is shown while a link's new item is being named."""
    if not view.title.strip() and not view.description.strip():
        return _start()
    return empty("Naming it …", "The text encoder is being loaded.", "✚")


@said
def show(library: Library, view: View) -> str:
    """The new item under both models."""
    shelf = library.shelf(view.dataset)
    if not view.title.strip() and not view.description.strip():
        return with_state(_start(), view, STATE)
    if not has_encoder():
        raise DigerError(NO_ENCODER)
    from diger_app.new_item import NewItem, new_item

    columns: list[NewItem | str] = []
    for name in sid_columns(shelf, view).values():
        try:
            columns.append(new_item(shelf, name, view))
        except DigerError as error:
            columns.append(notice(sentence(str(error)), kind="warn", head=name))
    return with_state(render.new_item(shelf, view, columns), view, STATE)
