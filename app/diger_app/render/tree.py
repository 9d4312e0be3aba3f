"""The beam as a tree, one a model: every level a column, every prefix a card in it.

What was kept is drawn through, the best of what was dropped is dashed and says so, so that colour
is not needed to tell them apart. Cards stand at columns and rows, whose size the style sheet says;
`static/tree.js` plays the levels one after another, zooms and pans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from diger.charts.methods import method_colour
from diger.explain.tree import Branch, Level
from diger_app.render.text import arm, chip, esc, method, percent
from diger_app.service import words_for
from diger_app.shelf import Loaded, Shelf

_DROPPED = 1  # of the dropped of each level, how many are drawn: more make all of it small
_CARD = 0.9  # a card's share of its column's width


def trees(shelf: Shelf, drawn: Sequence[tuple[Loaded, Sequence[Level]]]) -> str:
    """The trees side by side, and what plays, zooms and sums them up."""
    n = max(len(levels) for _, levels in drawn)
    stepper = "".join(
        f'<label><input type="radio" name="tree-step" value="{i}" class="step-{i}"'
        f"{' checked' if i == n else ''}><span>{_level_name(i, n)}</span></label>"
        for i in range(1, n + 1)
    )
    sections = "".join(_tree(shelf, loaded, levels) for loaded, levels in drawn)
    return (
        f'<div class="thinking" data-levels="{n}"><div class="think-bar">'
        '<button type="button" class="button tree-play">▶ Play</button>'
        f'<fieldset class="stepper"><legend class="sr">Show the search up to</legend>{stepper}'
        '</fieldset><div class="zoom-tools" role="group" aria-label="zoom">'
        '<button type="button" class="button" data-zoom="out" aria-label="smaller">−</button>'
        '<button type="button" class="button" data-zoom="fit">fit</button>'
        '<button type="button" class="button" data-zoom="in" aria-label="larger">+</button></div>'
        '<output class="tree-said muted">Press a branch to read it, an item to add it to the '
        f'history.</output></div><div class="trees trees-{len(drawn)}">{sections}</div>'
        f"{_summary(drawn, n)}</div>"
    )


def _level_name(level: int, n: int) -> str:
    return "items" if level == n else f"level {level}"


def _tree(shelf: Shelf, loaded: Loaded, levels: Sequence[Level]) -> str:
    branches = [_shown(level) for level in levels]
    places = _places(branches)
    rows = max((row for row in places.values()), default=0) + 1
    n = len(levels)
    cards, edges = [], []
    for depth, level in enumerate(branches):
        for branch in level:
            at = places[branch.prefix]
            cards.append(_card(shelf, loaded, branch, depth, n, at))
            if depth:
                before = places[branch.prefix[:-1]] + 0.5
                x, y = depth - 1 + _CARD, at + 0.5
                middle = (x + depth) / 2
                edges.append(
                    f'<path class="d{depth + 1}{"" if branch.kept else " dropped"}" d="M{x:.2f} '
                    f'{before:.2f}C{middle:.2f} {before:.2f} {middle:.2f} {y:.2f} {depth} {y:.2f}"'
                    "/>"
                )
    return (
        f'<section class="think" style="--method:{method_colour(loaded.method)}">'
        f'<header class="side-head"><h3>{arm(loaded.method)}</h3>'
        f'<span class="bundle">{esc(loaded.name, 60)}</span></header>'
        f'<div class="zoom"><div class="tree" data-columns="{n}" '
        f'style="--cols:{n};--rows:{rows:.2f}">'
        f'<svg viewBox="0 0 {n} {rows:.2f}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(edges)}</svg>{''.join(cards)}</div></div></section>"
    )


def _shown(level: Level) -> list[Branch]:
    kept = [one for one in level.branches if one.kept]
    return kept + [one for one in level.branches if not one.kept][:_DROPPED]


def _places(branches: Sequence[Sequence[Branch]]) -> dict[tuple[int, ...], float]:
    """The row of each prefix: ends stand one below another, a parent in the middle of its own."""
    below: dict[tuple[int, ...], list[Branch]] = {}
    for level in branches:
        for one in level:
            below.setdefault(one.prefix[:-1], []).append(one)
    places: dict[tuple[int, ...], float] = {}
    free = 0

    def place(prefix: tuple[int, ...]) -> float:
        nonlocal free
        mine = [place(one.prefix) for one in below.get(prefix, [])]
        if mine:
            places[prefix] = (mine[0] + mine[-1]) / 2
        else:
            places[prefix] = float(free)
            free += 1
        return places[prefix]

    if below:
        place(())
        del places[()]
    return places


def _card(shelf: Shelf, loaded: Loaded, branch: Branch, depth: int, n: int, row: float) -> str:
    code = branch.prefix[-1]
    last = depth == n - 1
    coloured = f'<span class="chip chip-suffix">{code}</span>' if last else chip(depth, code)
    step, whole = percent(math.exp(branch.step)), percent(math.exp(branch.log_p))
    words = ", ".join(words_for(shelf, loaded, branch.prefix[: n - 1]))
    written = "-".join(map(str, branch.prefix))
    state = "kept" if branch.kept else "dropped"
    said = f"{written}: {step} after the codes before it, {whole} in all; {state}"
    if branch.row is None:
        count = f"{branch.items} item{'s' if branch.items != 1 else ''}"
        said += f"; {count}" + (f": {words}" if words else "")
        meaning = f'<span class="words" dir="auto">{esc(words, 60) or count}</span>'
        tag, more = "div", ""
    else:
        item, title = shelf.ids[branch.row], shelf.title(branch.row)
        said += f". Press to add {title} to the history"
        meaning = f'<span class="leaf-title" dir="auto">{esc(title, 80)}</span>'
        tag = "button"
        more = f' type="button" data-add="{esc(item)}" data-title="{esc(title)}"'
        coloured += '<span class="plus" aria-hidden="true">+</span>'
    flag = "" if branch.kept else '<span class="state">dropped</span>'
    return (
        f'<{tag} class="branch {state} d{depth + 1}" style="--c:{depth};--r:{row:.2f}" '
        f'title="{esc(said)}"{more}><span class="branch-head">{coloured}'
        f'<b class="step">{step}</b>{flag}</span>{meaning}'
        f'<span class="bar" aria-hidden="true"><i style="width:{100 * math.exp(branch.step):.1f}%">'
        f"</i></span></{tag}>"
    )


def _summary(drawn: Sequence[tuple[Loaded, Sequence[Level]]], n: int) -> str:
    rows = "".join(
        f'<tr><th scope="row">{method(loaded.method)} {_level_name(i, n)}</th>'
        f"<td>{level.weighed}</td><td>{level.kept}</td><td>{percent(level.outside)}</td></tr>"
        for loaded, levels in drawn
        for i, level in enumerate(levels, 1)
    )
    return (
        '<details class="reading"><summary>The search in numbers</summary>'
        '<table class="table"><thead><tr><th scope="col">level</th>'
        '<th scope="col">prefixes weighed</th><th scope="col">kept</th>'
        '<th scope="col">given to codes that no item has</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )


def path(shelf: Shelf, rows: Sequence[int]) -> str:
    """The history that the search starts from, in one line."""
    shown = rows[-8:]
    more = f"… {len(rows) - len(shown)} before → " if len(rows) > len(shown) else ""
    names = " → ".join(esc(shelf.title(row), 50) for row in shown)
    return f'<p class="crumbs" dir="auto"><b>After</b> {more}{names}</p>'
