"""The two lists side by side, with lines between the items that both recommend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diger.charts.theme import method_colour
from diger_app.render.text import beside, chips, empty, esc, item_button, method, notice, percent
from diger_app.service import Recommended, Side
from diger_app.shelf import Loaded, Shelf
from diger_app.view import View


@dataclass(frozen=True)
class Panel:
    """What stands in one column: an answer, or the sentence that says why there is none."""

    side: Side | None
    loaded: Loaded | None = None
    missing: str = ""
    head: str = ""


def compare(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    """The columns, what both have in common, the true next item, and the history's own SIDs."""
    lists = [[one.row for one in panel.side.listed] if panel.side else [] for panel in panels]
    common = set(lists[0]) & set(lists[-1]) - {None} if len(lists) == 2 else set()
    columns = []
    for number, panel in enumerate(panels):
        other = panels[1 - number] if len(panels) == 2 else None
        columns.append(_column(shelf, view, panel, other, common))
        if number == 0 and len(panels) == 2:
            columns.append(_links(lists[0], lists[1], common))
    return (
        f"{_headline(view, panels, common)}"
        f"{_target(shelf, view, panels)}"
        f'<div class="compare">{"".join(columns)}</div>'
        f"{_footnote(view, panels)}"
        f"{_history(shelf, view, panels)}"
    )


def _headline(view: View, panels: Sequence[Panel], common: set) -> str:
    answered = [panel.side for panel in panels if panel.side]
    if len(answered) < 2:
        return ""
    shared = (
        "No item is in both lists."
        if not common
        else f"{len(common)} of {view.k} items {'is' if len(common) == 1 else 'are'} in both lists."
    )
    return f'<p class="headline" role="status">{shared}</p>'


def _target(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    row = shelf.rows.get(view.target)
    if row is None:
        return ""
    said = []
    for panel in panels:
        if panel.side is None:
            continue
        rank = panel.side.target_rank
        where = (
            f"<b>number {rank}</b>" if rank else f"not among the {panel.side.decoded} SIDs decoded"
        )
        said.append(f"<li>{method(panel.side.method)} {where}</li>")
    title = item_button(view.target, shelf.title(row))
    return (
        f'<div class="target"><span class="target-flag" aria-hidden="true">⚑</span><p>What really '
        f'came next: {title}</p><ul class="target-ranks">{"".join(said)}</ul></div>'
    )


def _column(shelf: Shelf, view: View, panel: Panel, other: Panel | None, common: set) -> str:
    if panel.side is None:
        body = empty(panel.head, panel.missing)
        return f'<section class="side side-missing" aria-label="{esc(panel.head)}">{body}</section>'
    side = panel.side
    places = {}
    if other is not None and other.side is not None:
        places = {one.row: place for place, one in enumerate(other.side.listed, 1)}
    most = max((one.probability for one in side.listed), default=1.0)
    lines = "".join(
        _line(shelf, view, side, place, one, most, places if one.row in common else {}, other)
        for place, one in enumerate(side.listed, 1)
    )
    total = percent(sum(one.probability for one in side.listed))
    return (
        f'<section class="side" style="--method:{method_colour(side.method)}" '
        f'aria-label="{esc(side.method)}, {esc(side.name)}">'
        f'<header class="side-head"><h3>{method(side.method)}</h3>'
        f'<span class="bundle" title="the bundle shown">{esc(side.name, 60)}</span>'
        f'<span class="total" title="sum of the probabilities listed">Σ {total}</span></header>'
        f'<ol class="recs">{lines}</ol></section>'
    )


def _line(
    shelf: Shelf,
    view: View,
    side: Side,
    place: int,
    one: Recommended,
    most: float,
    places: dict,
    other: Panel | None,
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
    if places and other is not None and other.side is not None:
        flags.append(_twin(other.side.method, places[one.row]))
    share = max(one.probability / most, 0.004) if most else 0
    return (
        f'<li class="rec"{key}><span class="place" aria-hidden="true">{place}</span>'
        f'<div class="rec-body"><div class="rec-title">{title}{"".join(flags)}</div>'
        f'<div class="rec-sid">{chips(one.sid, match=one.depth, invalid=one.row is None)}'
        f"{_why(shelf, view, one)}</div></div>"
        f'<div class="prob"><span class="prob-number">{percent(one.probability)}</span>'
        f'<span class="bar" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i></span>'
        f"</div></li>"
    )


def _twin(name: str, place: int) -> str:
    return beside(name, place, f"also number {place} in {name}")


def _why(shelf: Shelf, view: View, one: Recommended) -> str:
    if not one.depth:
        return '<span class="why">no shared prefix</span>'
    titles = [shelf.title(shelf.rows[view.history[i]]) for i in one.sharers]
    titles = list(dict.fromkeys(titles))
    more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
    codes = f"{one.depth} code{'s' if one.depth > 1 else ''}"
    full = esc(f"shares its first {codes} with: " + "; ".join(titles))
    return f'<span class="why" title="{full}">{codes} with {esc(titles[-1], 60)}{more}</span>'


def _links(left: Sequence, right: Sequence, common: set) -> str:
    """Lines between equal items of the two lists, in units of one row's height."""
    height = max(len(left), len(right), 1)
    paths = []
    for i, row in enumerate(left):
        if row in common:
            j = right.index(row)
            a, b = i + 0.5, j + 0.5
            paths.append(f'<path data-key="{row}" d="M0 {a} C 4 {a} 6 {b} 10 {b}"/>')
    return (
        f'<svg class="links" viewBox="0 0 10 {height}" preserveAspectRatio="none" '
        f'style="--rows:{height}" aria-hidden="true">{"".join(paths)}</svg>'
    )


def _footnote(view: View, panels: Sequence[Panel]) -> str:
    sides = [panel.side for panel in panels if panel.side]
    if not sides:
        return ""
    parts = [
        "Probabilities are over the whole codebook, codes that no item has included, so a list "
        "need not add up to 100 %."
    ]
    if view.decoding == "free":
        bad = "; ".join(f"{s.method}: {s.invalid} of {s.decoded}" for s in sides)
        parts.append(f"Decoded freely; SIDs that no item has: {bad}.")
        if view.leave_out_seen:
            parts.append("Free decoding knows no catalogue, so it cannot leave out seen items.")
    elif view.decoding == "telling":
        parts.append(
            "Every item scored, and half the logarithm of its popularity taken off before ranking; "
            "the probabilities shown are the model's own."
        )
    else:
        parts.append(f"Beam search within the catalogue, {max(view.beam, view.k)} beams.")
    if view.leave_out_seen and view.decoding != "free":
        parts.append("Items of the history are left out.")
    short = [s for s in sides if s.read < len(view.history)]
    if short:
        parts.append(f"The model reads the last {short[0].read} items of the history.")
    parts.append(
        "Outlined codes are shared with an item of the history; a grey last number is "
        "the suffix, which only tells apart items with equal codes."
    )
    return f'<p class="footnote">{esc(" ".join(parts))}</p>'


def _history(shelf: Shelf, view: View, panels: Sequence[Panel]) -> str:
    loaded = [panel.loaded for panel in panels if panel.loaded and panel.side]
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


def problem(message: str) -> str:
    """A sentence in place of a result."""
    return notice(message, kind="error")
