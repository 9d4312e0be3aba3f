"""Recommend: build a history, and see what each model writes next, side by side; above it the
strip that tells in twenty seconds what is going on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diger.errors import DigerError
from diger_app import service
from diger_app.library import Library
from diger_app.panels.common import (
    COMBO,
    history_ids,
    history_value,
    results,
    said,
    suggest,
    with_state,
)
from diger_app.pasted import Pasted, read_pasted
from diger_app.render import compare as render
from diger_app.render import strip as render_strip
from diger_app.render.text import esc, notice, sentence
from diger_app.shelf import Shelf
from diger_app.theme import script
from diger_app.view import DECODINGS, MAX_BEAM, MAX_HISTORY, MAX_K, MIN_BEAM, SIDES, View

_log = logging.getLogger(__name__)

STATE = (
    "dataset",
    "left",
    "right",
    "third",
    "history",
    "target",
    "k",
    "beam",
    "leave_out_seen",
    "decoding",
)
DECODING_LABELS = (
    ("within the catalogue", "beam"),
    ("reordered by the item-level head (hybrid)", "hybrid"),
    ("telling, popular items count less", "telling"),
    ("free, may invent SIDs", "free"),
)

_HISTORY = (
    COMBO.format(id="add-item", label="Add an item", placeholder="Title, maker, year, kind …")
    + """
<div class="hist-head"><h2>History <span class="hist-count"></span></h2>
<button type="button" class="hist-clear" hidden>Clear</button></div>
<ol class="hist-list" aria-label="history, oldest first"></ol>
<p class="hist-none">Empty. Add what was liked, oldest first.</p>
<p class="hist-said sr" role="status"></p>"""
)


@dataclass(frozen=True)
class RecommendPanel:
    """The tab's components."""

    examples: gr.HTML
    history: gr.HTML
    pasted: gr.Textbox
    read_pasted: gr.Button
    paste_report: gr.HTML
    k: gr.Slider
    beam: gr.Slider
    leave_out_seen: gr.Checkbox
    decoding: gr.Radio
    left: gr.Textbox
    right: gr.Textbox
    third: gr.Textbox
    strip: gr.HTML
    out: gr.HTML


def build(library: Library) -> RecommendPanel:
    """Lay the tab out; what the columns hold is chosen in their heads, and kept in the page."""
    strip = results("story", script_name="strip.js")
    with gr.Row(elem_classes="workbench", equal_height=False):
        with gr.Column(scale=0, min_width=300, elem_classes="bench"):
            history = gr.HTML(
                {"dataset": "", "items": [], "target": None},
                html_template=_HISTORY,
                js_on_load=script("history.js"),
                server_functions=[suggest(library)],
                apply_default_css=False,
                elem_classes="history",
                most=MAX_HISTORY,
            )
        left, right, third = (
            gr.Textbox("", visible="hidden", label=f"{side} column") for side in SIDES
        )
        with gr.Column(scale=1, min_width=300, elem_classes="stage"):
            out = results("compare-results", render.skeleton())
        with gr.Column(scale=0, min_width=300, elem_classes="bench"):  # a phone has it last
            shown = examples(library.shelf()) if library.datasets else ""
            stories = results("examples", shown)
            with gr.Accordion("Paste a list", open=False):
                pasted = gr.Textbox(
                    label="Titles or ids, one a line",
                    lines=4,
                    max_lines=8,
                    max_length=200_000,
                    elem_id="paste-box",
                )
                read = gr.Button("Add to the history", size="sm")
                report = results("paste-report")
            with gr.Accordion("Settings", open=False):
                k = gr.Slider(1, MAX_K, value=10, step=1, label="How many items (k)")
                beam = gr.Slider(MIN_BEAM, MAX_BEAM, value=50, step=5, label="Beams")
                seen = gr.Checkbox(True, label="Leave out items of the history")
                decoding = gr.Radio(list(DECODING_LABELS), value=DECODINGS[0], label="Decoding")
    columns = (left, right, third, strip, out)
    return RecommendPanel(stories, history, pasted, read, report, k, beam, seen, decoding, *columns)


@said
def show(library: Library, view: View) -> str:
    """The lists of the models."""
    shelf = library.shelf(view.dataset)
    if not view.history:
        return with_state(render.welcome(), view, STATE)
    panels = []
    for name in view.columns.values():
        panels.append(_panel(shelf, name, view))
    if len(panels) == 1 and len({source.method for source in shelf.sid_sources.values()}) == 1:
        panels.append(missing(shelf))
    service.history_rows(shelf, view.history)
    return with_state(render.compare(shelf, view, panels), view, STATE)


def story(library: Library, view: View) -> str:
    """The strip, of the last item of the history and the models that write SIDs; an aside, so
    nothing where it cannot be told."""
    try:
        shelf = library.shelf(view.dataset)
        rows, unknown = shelf.rows_of(view.history)
        if not rows or unknown:
            return ""
        tellings = []
        for name in view.columns.values():
            found = service.spelling(shelf, name, view)
            if found is not None:
                tellings.append(render_strip.Telling(shelf.load(name), *found))
        return render_strip.strip(shelf, rows[-1], len(rows), tellings)
    except DigerError:
        return ""  # the lists say what is wrong
    except Exception:
        _log.exception("the strip failed")
        return ""


def missing(shelf: Shelf) -> render.Panel:
    """The empty column where nothing stands beside the first model."""
    has = next(iter(shelf.sources.values())).method
    wanted = "differentiable" if has != "differentiable" else "static"
    return render.Panel(
        side=None,
        head=f"No {wanted} bundle of {shelf.label} here",
        missing="To compare, put one into the folder that the app reads, or start the app with "
        f"the hub:// address of one. Bundles here: {', '.join(shelf.sources)}.",
    )


def _panel(shelf: Shelf, name: str, view: View) -> render.Panel:
    try:
        return render.Panel(service.recommend(shelf, name, view), shelf.load(name), name=name)
    except DigerError as error:
        said = sentence(str(error))
        return render.Panel(None, head=f"{name} cannot answer", missing=said, name=name)


def examples(shelf: Shelf) -> str:
    """Buttons of the sample histories."""
    buttons = "".join(
        f'<li><button type="button" class="example" data-example="{number}" dir="auto">'
        f"<b>{esc(one['name'], 60)}</b><span>{esc(one['story'], 140)}</span>"
        f"{'<em>true next item known</em>' if one['target'] is not None else ''}</button></li>"
        for number, one in enumerate(shelf.examples)
    )
    return f'<h2>Or start from an example</h2><ul class="example-list">{buttons}</ul>'


def paste(library: Library, text: object, held: object, dataset: str) -> tuple[dict[str, Any], str]:
    """The history with what was pasted, and a report of what was not understood."""
    shelf = library.shelf(dataset)
    ids, _ = history_ids(held)
    rows, _ = shelf.rows_of(ids)
    found = read_pasted(text if isinstance(text, str) else "", shelf.index)
    together = (rows + found.rows)[-MAX_HISTORY:]
    dropped = len(rows) + len(found.rows) - len(together)
    return history_value(shelf, together), _paste_report(shelf, found, dropped)


def _paste_report(shelf: Shelf, found: Pasted, dropped: int) -> str:
    parts = []
    if found.rows:
        n = len(found.rows)
        parts.append(notice(f"{n} item{'s' if n > 1 else ''} added."))
    for line, rows in found.offers[:20]:
        choices = "".join(
            f'<li><button type="button" class="offer" data-offer="{esc(shelf.ids[row])}" '
            f'dir="auto">{esc(shelf.title(row), 80)}</button></li>'
            for row in rows
        )
        parts.append(
            f'<div class="offers"><p>“{esc(line, 60)}” names no one item. Did you mean:</p>'
            f"<ul>{choices}</ul></div>"
        )
    unknown = found.unknown + [line for line, _ in found.offers[20:]]
    if unknown:
        named = "; ".join(f"“{line[:40]}”" for line in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        parts.append(notice(f"Not found: {named}{more}. Search for them by title.", kind="warn"))
    if found.cut or dropped:
        parts.append(
            notice(
                f"A history here holds {MAX_HISTORY} items; {found.cut + dropped} were left out.",
                kind="warn",
            )
        )
    if not parts:
        parts.append(notice("Nothing was pasted; write one title or id a line.", kind="warn"))
    return "".join(parts)


def take_offer(library: Library, held: object, dataset: str, item: object) -> dict[str, Any]:
    """The history with an offered item added."""
    shelf = library.shelf(dataset)
    ids, _ = history_ids(held)
    rows, _ = shelf.rows_of([*ids, item if isinstance(item, str) else ""])
    return history_value(shelf, rows[-MAX_HISTORY:])
