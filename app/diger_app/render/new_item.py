"""A new item's SID, company and recommendations, one column a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diger.charts.methods import method_colour
from diger_app.new_item import NewItem
from diger_app.render.text import arm, chips, esc, item_button, percent
from diger_app.service import words_for
from diger_app.shelf import Shelf
from diger_app.view import View


def new_item(shelf: Shelf, view: View, columns: Sequence[NewItem | str]) -> str:
    """Columns of results; a string is a ready notice in place of one."""
    parts = [
        f'<section class="side side-missing">{one}</section>'
        if isinstance(one, str)
        else _column(shelf, view, one)
        for one in columns
    ]
    near = next((one.near for one in columns if isinstance(one, NewItem)), None)
    if near is not None and len(near[0]):
        lines = "".join(
            f"<li>{item_button(shelf.ids[r], shelf.title(r))}"
            f'<span class="muted number">{c:.2f}</span></li>'
            for r, c in zip(near[0].tolist(), near[1].tolist(), strict=True)
        )
        parts.append(
            '<section class="side side-plain"><header class="side-head"><h3>nearest in content</h3>'
            '<span class="bundle">cosine, before any code</span></header>'
            f'<div class="side-body"><ul class="names">{lines}</ul></div></section>'
        )
    return f'<div class="columns columns-{len(parts)}">{"".join(parts)}</div>'


def _column(shelf: Shelf, view: View, one: NewItem) -> str:
    loaded = one.loaded
    words = ", ".join(words_for(shelf, loaded, one.sid[: one.beside[0][0]])) if one.beside else ""
    said = f'<p class="words">{esc(words, 90)}</p>' if words else ""
    rings = "".join(
        f'<div class="ring"><h4>{chips(one.sid[:depth], suffix=False)} <span>shares {depth} '
        f'code{"s" if depth > 1 else ""}</span></h4><ul class="names">'
        + "".join(f"<li>{item_button(shelf.ids[r], shelf.title(r))}</li>" for r in rows.tolist())
        + "</ul></div>"
        for depth, rows in one.beside
    )
    if not rings:
        rings = '<p class="muted">It has a first code that no other item has.</p>'
    return (
        f'<section class="side" style="--method:{method_colour(loaded.method)}">'
        f'<header class="side-head"><h3>{arm(loaded.method)}</h3>'
        f'<span class="bundle">{esc(loaded.name, 60)}</span></header><div class="side-body">'
        f'<p class="own-sid">{chips(one.sid)}</p>{said}{_verdict(view, one)}'
        f"<h4>Lands beside</h4>{rings}{_ranking(shelf, view, one)}</div></section>"
    )


def _verdict(view: View, one: NewItem) -> str:
    ranking = one.ranking
    if ranking is None:
        return (
            '<p class="muted">With a history (first tab), its rank among the recommendations is '
            "shown here.</p>"
        )
    among = f"{ranking.candidates:,} items"
    if view.only_new:
        among += " without training events, itself included,"
    elif view.leave_out_seen:
        among += " (those of the history left out)"
    return (
        f'<p class="verdict"><span dir="auto">{esc(view.title or "The new item", 100)}</span> is '
        f"number <b>{ranking.rank}</b> of {among} after this history, with probability "
        f"{percent(math.exp(ranking.log_p))}.</p>"
    )


def _ranking(shelf: Shelf, view: View, one: NewItem) -> str:
    ranking = one.ranking
    if ranking is None:
        return ""
    new = len(shelf.ids)
    lines = []
    for place, (row, score) in enumerate(zip(ranking.rows, ranking.scores, strict=True), 1):
        name = (
            f'<b class="new-name" dir="auto">{esc(view.title or "the new item", 100)}</b>'
            '<span class="flag flag-target">new</span>'
            if row == new
            else item_button(shelf.ids[row], shelf.title(row))
        )
        lines.append(
            f'<li><span class="place">{place}</span>{name}'
            f'<span class="muted number">{percent(math.exp(min(score, 0)))}</span></li>'
        )
    return (
        "<details open><summary>Recommended with it in the catalogue</summary>"
        f'<ol class="names numbered">{"".join(lines)}</ol></details>'
    )
