"""The lists side by side, with lines between the items that neighbours both recommend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diger.charts.methods import method_colour
from diger_app.render.text import (
    arm,
    beside,
    called,
    chips,
    empty,
    esc,
    item_button,
    method,
    percent,
)
from diger_app.service import Recommended, Side, words_for
from diger_app.shelf import Loaded, Shelf
from diger_app.view import SIDES, View


@dataclass(frozen=True)
class Panel:
    """What stands in one column: an answer, or the sentence that says why there is none.

    `name` is the bundle, empty where no bundle is there to stand in it.
    """

    side: Side | None
    loaded: Loaded | None = None
    missing: str = ""
    head: str = ""
    name: str = ""


def compare(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    """The columns, what they have in common, the true next item, and the history's own SIDs."""
    lists = [[one.row for one in panel.side.listed] if panel.side else [] for panel in panels]
    columns = []
    for number, panel in enumerate(panels):
        others = [one for one in panels if one is not panel and one.side]
        columns.append(_column(shelf, view, number, panel, others))
        if number + 1 < len(panels):
            columns.append(_links(lists[number], lists[number + 1]))
    return (
        f"{_headline(shelf, view, panels)}"
        f"{_target(shelf, view, panels)}"
        f'<div class="compare compare-{len(panels)}">{"".join(columns)}</div>'
        f"{_footnote(view, panels)}"
        f"{_history(shelf, view, panels)}"
    )


def _headline(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    listed = [{one.row for one in p.side.listed} - {None} for p in panels if p.side]
    parts = []
    if len(listed) > 1:
        common = len(set.intersection(*listed))
        lists = "both lists" if len(listed) == 2 else f"all {len(listed)} lists"
        parts.append(
            f"{common} of {view.k} items {'is' if common == 1 else 'are'} in {lists}."
            if common
            else f"No item is in {lists}."
        )
    seen = view.leave_out_seen and view.decoding != "free"
    left = '<span class="muted">What is in the history is left out.</span>' if seen else ""
    return (
        f'<div class="headline"><p role="status">{" ".join(parts)} {left}</p>'
        f"{_another(shelf, view, panels)}</div>"
    )


def _another(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    """The way to one more column, where there is something to put into it."""
    free = next((side for side in SIDES if not getattr(view, side)), "")
    names = [name for name in shelf.sources if name not in view.columns.values()]
    if not free or not names:
        return ""
    options = "".join(_option(shelf, name) for name in names)
    return (
        f'<select class="choice choice-more" data-column="{free}" aria-label="Add a column">'
        f'<option value="" selected>+ another column</option>{options}</select>'
    )


def _option(shelf: Shelf, name: str, chosen: bool = False) -> str:
    return (
        f'<option value="{esc(name)}"{" selected" if chosen else ""}>'
        f"{esc(called(shelf, name), 90)}</option>"
    )


def _chooser(shelf: Shelf, view: View, number: int, name: str) -> str:
    """The bundle of a column, as a choice among all of the dataset."""
    side = SIDES[number]
    taken = set(view.columns.values()) - {name}
    options = "".join(_option(shelf, one, one == name) for one in shelf.sources if one not in taken)
    if number:
        options += '<option value="">take this column away</option>'
    return (
        f'<select class="choice" data-column="{side}" title="{esc(name)}" '
        f'aria-label="Model of column {number + 1}">{options}</select>'
    )


def _target(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    row = shelf.rows.get(view.target)
    if row is None:
        return ""
    said = []
    for panel in panels:
        if panel.side is None:
            continue
        rank = panel.side.target_rank
        where = f"<b>number {rank}</b>" if rank else f"not among its first {panel.side.decoded}"
        said.append(f"<li>{method(panel.side.method)} {where}</li>")
    title = item_button(view.target, shelf.title(row))
    return (
        f'<div class="target"><span class="target-flag" aria-hidden="true">⚑</span><p>What really '
        f'came next: {title}</p><ul class="target-ranks">{"".join(said)}</ul></div>'
    )


def _column(shelf: Shelf, view: View, number: int, panel: Panel, others: Sequence[Panel]) -> str:
    chooser = _chooser(shelf, view, number, panel.name) if panel.name in shelf.sources else ""
    if panel.side is None:
        body = f"{chooser}{empty(panel.head, panel.missing)}"
        return f'<section class="side side-missing" aria-label="{esc(panel.head)}">{body}</section>'
    side = panel.side
    most = max((one.probability for one in side.listed), default=1.0)
    lines = "".join(
        _line(shelf, view, panel, place, one, most, others)
        for place, one in enumerate(side.listed, 1)
    )
    head = chooser or arm(side.method)
    total = percent(sum(one.probability for one in side.listed))
    return (
        f'<section class="side" style="--method:{method_colour(side.method)}" '
        f'aria-label="{esc(side.method)}, {esc(side.name)}">'
        f'<header class="side-head"><h3>{head}</h3>'
        f'<span class="total" title="the probabilities listed">{total} in all</span></header>'
        f'<ol class="recs">{lines}</ol></section>'
    )


def _line(
    shelf: Shelf,
    view: View,
    panel: Panel,
    place: int,
    one: Recommended,
    most: float,
    others: Sequence[Panel],
) -> str:
    if one.row is None:
        title = '<span class="no-item">no item has this SID</span>'
        key = ""
    else:
        item = shelf.ids[one.row]
        title = item_button(item, shelf.title(one.row))
        key = f' data-key="{one.row}"'
    flags = []
    if one.row is not None and shelf.rows.get(view.target) == one.row:
        flags.append('<span class="flag flag-target">⚑ came next</span>')
    if one.row is not None and shelf.ids[one.row] in view.history:
        flags.append('<span class="flag" title="already in the history">seen</span>')
    for other in others:
        assert other.side is not None
        places = {their.row: at for at, their in enumerate(other.side.listed, 1)}
        if one.row in places and one.row is not None:
            flags.append(_twin(other.side.method, places[one.row]))
    share = max(one.probability / most, 0.004) if most else 0
    sid = chips(one.sid, match=one.depth, invalid=one.row is None) if one.sid else ""
    return (
        f'<li class="rec"{key}><span class="place" aria-hidden="true">{place}</span>'
        f'<div class="rec-body"><div class="rec-title">{title}{"".join(flags)}</div>'
        f'<div class="rec-sid">{sid}{_why(shelf, view, panel, one)}</div></div>'
        f'<div class="prob"><span class="prob-number">{percent(one.probability)}</span>'
        f'<span class="bar" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i></span>'
        f"</div></li>"
    )


def _twin(name: str, place: int) -> str:
    return beside(name, place, f"also number {place} in {name}")


def _why(shelf: Shelf, view: View, panel: Panel, one: Recommended) -> str:
    """What it shares with the history; failing that, what its first two codes stand for."""
    assert panel.side is not None
    if not panel.side.sids:
        events = int(shelf.popularity[one.row]) if one.row is not None else 0
        return f'<span class="why">{events:,} training events</span>'
    if not one.depth:
        words = ", ".join(words_for(shelf, panel.loaded, one.sid[:2])) if panel.loaded else ""
        why = esc(words, 60) or "no shared prefix"
        said = "shares no code with the history; its first two codes in words"
        return f'<span class="why" title="{said}" dir="auto">{why}</span>'
    titles = [shelf.title(shelf.rows[view.history[i]]) for i in one.sharers]
    titles = list(dict.fromkeys(titles))
    more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
    codes = f"{one.depth} code{'s' if one.depth > 1 else ''}"
    full = esc(f"shares its first {codes} with: " + "; ".join(titles))
    return f'<span class="why" title="{full}">{codes} with {esc(titles[-1], 60)}{more}</span>'


def _links(left: Sequence, right: Sequence) -> str:
    """Lines between equal items of the two lists, in units of one row's height."""
    height = max(len(left), len(right), 1)
    paths = []
    for i, row in enumerate(left):
        if row is not None and row in right:
            j = right.index(row)
            a, b = i + 0.5, j + 0.5
            paths.append(f'<path data-key="{row}" d="M0 {a} C 4 {a} 6 {b} 10 {b}"/>')
    return (
        f'<svg class="links" viewBox="0 0 10 {height}" preserveAspectRatio="none" '
        f'style="--rows:{height}" aria-hidden="true">{"".join(paths)}</svg>'
    )


_BASELINES = {
    "sasrec": "SASRec has no codes: it scores every item of the catalogue, and its probabilities "
    "are over all items.",
    "popularity": "What everyone chooses is the same list whoever asks; its percentages are shares "
    "of all training events.",
}


def _footnote(view: View, panels: Sequence[Panel]) -> str:
    sides = [panel.side for panel in panels if panel.side]
    if not sides:
        return ""
    writing = [side for side in sides if side.sids]
    parts = [
        "Probabilities are over the whole codebook, codes that no item has included, so a list "
        "need not add up to 100 %."
    ]
    if view.decoding == "free":
        bad = "; ".join(f"{s.method}: {s.invalid} of {s.decoded}" for s in writing)
        parts.append(f"Decoded freely; SIDs that no item has: {bad}.")
        if view.leave_out_seen:
            parts.append("Free decoding knows no catalogue, so it cannot leave out seen items.")
    elif view.decoding == "telling":
        parts.append(
            "Every item scored, and half the logarithm of its popularity taken off before ranking; "
            "the probabilities shown are the model's own."
        )
    elif view.decoding == "hybrid":
        parts.append(
            "Found by beam search within the catalogue and reordered by the item-level head, where "
            "a model has one; the beam's whole probability is dealt out anew."
        )
    else:
        parts.append(f"Beam search within the catalogue, {max(view.beam, view.k)} beams.")
    for name, said in _BASELINES.items():
        if any(side.method == name for side in sides):
            parts.append(said)
    short = [s for s in sides if s.read < len(view.history)]
    if short:
        parts.append(f"The model reads the last {short[0].read} items of the history.")
    parts.append(
        "Outlined codes are shared with an item of the history; a grey last number is "
        "the suffix, which only tells apart items with equal codes."
    )
    return f'<p class="footnote">{esc(" ".join(parts))}</p>'


def _history(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    loaded = [p.loaded for p in panels if p.loaded and p.side and p.side.sids]
    if not loaded:
        return ""
    heads = "".join(f'<th scope="col">{method(one.method)}</th>' for one in loaded)
    lines = []
    for item in view.history:
        row = shelf.rows[item]
        cells = "".join(f"<td>{chips(one.sids[row])}</td>" for one in loaded)
        lines.append(f'<tr><th scope="row">{item_button(item, shelf.title(row))}</th>{cells}</tr>')
    return (
        f'<details class="reading"><summary>How the models read the history: '
        f"{len(view.history)} item{'s' if len(view.history) > 1 else ''} as SIDs</summary>"
        f'<div class="scroll"><table class="table"><thead><tr><th scope="col">item</th>{heads}</tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def skeleton() -> str:
    """Before the page has heard from the server."""
    return '<div class="skeleton" role="status" aria-label="loading"><div></div><div></div></div>'


def welcome() -> str:
    """Before the first recommendation."""
    return empty(
        "Start with a history",
        "Choose one of the examples, or search for a title and add it: each model writes the "
        "semantic IDs of what it thinks comes next.",
        "✎",
    )
