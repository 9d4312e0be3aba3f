"""The small pieces of HTML that every view uses: escaping, chips, method marks, notices.

`esc` is the only way text from data gets onto the page. Apart from HTML's own characters it
neutralises `{`, `$` and backtick, which the page's templates and scripts could give meaning to.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from diger.charts.methods import method_colour, method_mark
from diger.text import printable
from diger_app.shelf import Shelf

_MORE = {"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"}


def esc(text: object, limit: int | None = None) -> str:
    """`text` as literal characters of HTML, on one line, cut at `limit` characters."""
    escaped = html.escape(printable(text, limit), quote=True)
    return "".join(_MORE.get(character, character) for character in escaped)


def attribute_json(value: Any) -> str:
    """A value as JSON for a data attribute in double quotes."""
    return esc(json.dumps(value, ensure_ascii=True, separators=(",", ":")))


def hue(level: int, code: int) -> int:
    """The hue of a code chip in degrees: neighbouring codes get far hues (the golden angle)."""
    return round((code * 137.508 + level * 47) % 360)


def chip(level: int, code: int) -> str:
    """One code in its colour."""
    return f'<span class="chip" style="--h:{hue(level, code)}">{code}</span>'


def chips(sid: Sequence[int], *, match: int = 0, suffix: bool = True, invalid: bool = False) -> str:
    """A SID as coloured chips; `match` leading codes are marked as shared, `suffix` says whether
    the last number is one. The written SID is there for screen readers."""
    written = "-".join(map(str, sid))
    parts = []
    for level, code in enumerate(sid):
        if suffix and level == len(sid) - 1:
            parts.append(f'<span class="chip chip-suffix">{code}</span>')
            continue
        kind = "chip chip-match" if level < match else "chip"
        parts.append(f'<span class="{kind}" style="--h:{hue(level, code)}">{code}</span>')
    label = f"SID {written}, no item has it" if invalid else f"SID {written}"
    kind = "sid sid-invalid" if invalid else "sid"
    return f'<span class="{kind}" role="img" aria-label="{label}">{"".join(parts)}</span>'


ARMS = {  # what a method does, in words for anybody, and its term
    "static": ("Fixed names", "static"),
    "detached": ("Refreshed names", "detached"),
    "differentiable": ("Learned names", "differentiable"),
    "ste": ("Learned names, no noise", "ste"),
    "sasrec": ("No names, items ranked", "SASRec"),
    "popularity": ("What everyone chooses", "popularity"),
}


def called(shelf: Shelf, name: str) -> str:
    """A bundle by what its method does, with the term; in place of the term what tells it from
    others of the same method, where there are any. Not escaped."""
    method = shelf.sources[name].method
    said, term = ARMS.get(method, (method, method))
    if sum(one.method == method for one in shelf.sources.values()) > 1:
        term = name.removeprefix(f"{shelf.key}-")
    return f"{method_mark(method)} {said} · {term}"


def mark(name: str) -> str:
    """A method's mark in its colour, for the eye alone."""
    style = f'style="--method:{method_colour(name)}" aria-hidden="true"'
    return f'<span class="mark" {style}>{method_mark(name)}</span>'


def arm(name: str) -> str:
    """A method by what it does, its term beside it."""
    said, term = ARMS.get(name, ("", name))
    inside = f'{said} <span class="term">{esc(term)}</span>' if said else esc(term)
    return f'<span class="method arm">{mark(name)}{inside}</span>'


def method(name: str) -> str:
    """A method's mark and name, in its colour and in ink."""
    return f'<span class="method">{mark(name)}{esc(name)}</span>'


def beside(name: str, number: int, said: str) -> str:
    """A flag with a method's mark and a number; `said` says in words what it means."""
    return (
        f'<span class="flag flag-both" title="{said}" style="--method:{method_colour(name)}">'
        f'<span aria-hidden="true"><span class="mark">{method_mark(name)}</span> {number}</span>'
        f'<span class="sr">{said}</span></span>'
    )


def percent(probability: float) -> str:
    r"""A probability with two or three significant digits; tiny ones are not called zero.

    >>> percent(0.2194), percent(0.00712), percent(1e-9)
    ('21.9\xa0%', '0.71\xa0%', '<\xa00.01\xa0%')
    """
    value = 100 * probability
    written = "< 0.01" if value < 0.01 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return f"{written} %".replace(" ", "\u00a0")


def item_button(item_id: str, title: str, css: str = "") -> str:
    """A title that looks the item up when pressed."""
    return (
        f'<button type="button" class="item {css}" dir="auto" data-look="{esc(item_id)}" '
        f'title="{esc(title)}: look up its SIDs">{esc(title, 160)}</button>'
    )


def notice(message: str, *, kind: str = "info", head: str = "") -> str:
    """A message for the person: `info`, `warn` or `error`; the kind is said in words too."""
    icon = {"info": "i", "warn": "!", "error": "×"}[kind]
    strong = f"<strong>{esc(head)}</strong> " if head else ""
    role = "alert" if kind == "error" else "status"
    return (
        f'<div class="notice notice-{kind}" role="{role}"><span class="notice-icon" '
        f'aria-hidden="true">{icon}</span><p>{strong}{esc(message)}</p></div>'
    )


def sentence(message: str) -> str:
    """An error's message as a sentence: a capital first, a full stop last."""
    message = message.strip()
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")


def empty(head: str, message: str, icon: str = "○") -> str:
    """An empty state that says what to do next."""
    return (
        f'<div class="empty"><div class="empty-icon" aria-hidden="true">{icon}</div>'
        f"<h3>{esc(head)}</h3><p>{esc(message)}</p></div>"
    )
