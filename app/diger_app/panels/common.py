"""What the panels share: reading what the page holds, islands, and errors as sentences."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from diger.errors import DigerError
from diger_app.library import Library
from diger_app.render.text import attribute_json, called, notice, sentence
from diger_app.shelf import Shelf
from diger_app.theme import script
from diger_app.view import View, written

_log = logging.getLogger(__name__)
OOPS = "Something went wrong here; the server's log says what. Try another input."
LOADING = '<p class="muted loading" role="status">Loading …</p>'
MODEL = "model"  # events that run a model share one concurrency limit

COMBO = """
<div class="combo">
<label for="{id}">{label}</label>
<input id="{id}" type="text" role="combobox" aria-expanded="false" aria-autocomplete="list"
 aria-controls="{id}-list" autocomplete="off" spellcheck="false" maxlength="120"
 placeholder="{placeholder}" dir="auto">
<ul id="{id}-list" role="listbox" aria-label="suggestions" hidden></ul>
<span class="combo-status sr" role="status"></span>
</div>"""


def results(kind: str = "", value: str = "", script_name: str = "") -> gr.HTML:
    """An island for results: its content comes from the server, its links trigger `select`; a
    script of its own may come on top."""
    return gr.HTML(
        value,
        js_on_load=script("results.js") + (script(script_name) if script_name else ""),
        apply_default_css=False,
        elem_classes=["results", kind] if kind else ["pressable"],
        padding=False,
    )


def suggest(library: Library) -> Callable[..., list[dict[str, str]]]:
    """The search that islands call while a person types."""

    def suggest(*values: Any) -> list[dict[str, str]]:
        dataset, typed = given(values, 2)
        try:
            shelf = library.shelf(dataset[:120])
            rows = shelf.index.find(typed, 8)
            return [
                {"id": shelf.ids[row], "title": shelf.title(row), "by": shelf.maker(row)}
                for row in rows
            ]
        except DigerError:
            return []
        except Exception:
            _log.exception("the search failed")
            return []

    return suggest


def given(values: tuple[Any, ...], count: int) -> list[str]:
    """`count` texts that an island's script sent; several come as one list."""
    sent = values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)
    return ([str(one) for one in sent] + [""] * count)[:count]


def said(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, which returns HTML, with its errors as a notice in place of the result."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except DigerError as error:
            return notice(sentence(str(error)), kind="error")
        except Exception:
            _log.exception("%s failed", fn.__name__)
            return notice(OOPS, kind="error")

    return call


def with_state(html: str, view: View, names: Sequence[str]) -> str:
    """Results with their part of the view, for the address bar."""
    values = {name: written(view, name) for name in names}
    return f'<div data-state="{attribute_json(values)}">{html}</div>'


def sid_columns(shelf: Shelf, view: View) -> dict[str, str]:
    """The columns of a view whose models write SIDs; the dataset's first pair where none does."""
    found = {s: n for s, n in view.columns.items() if n in shelf.sid_sources}
    left, right = shelf.pair()
    return found or {"left": left} | ({"right": right} if right else {})


def sid_model(shelf: Shelf, view: View) -> str:
    """The bundle of the column that is shown alone."""
    found = sid_columns(shelf, view)
    return found.get(view.side) or next(iter(found.values()))


def side_choices(shelf: Shelf, view: View) -> list[tuple[str, str]]:
    """The columns whose SIDs can be looked at, called as in Recommend, for a radio."""
    return [(called(shelf, name), side) for side, name in sid_columns(shelf, view).items()]


def history_ids(value: object) -> tuple[tuple[str, ...], str]:
    """Item ids and target of the history island; anything odd is dropped."""
    if not isinstance(value, Mapping):
        return (), ""
    items = value.get("items")
    ids = tuple(
        one["id"]
        for one in (items if isinstance(items, list) else [])
        if isinstance(one, Mapping) and isinstance(one.get("id"), str)
    )
    target = value.get("target")
    return ids, target if isinstance(target, str) else ""


def history_value(shelf: Shelf, rows: Sequence[int], target: str = "") -> dict[str, Any]:
    """What the history island holds."""
    return {
        "dataset": shelf.key,
        "items": [{"id": shelf.ids[row], "title": shelf.title(row)} for row in rows],
        "target": target or None,
    }
