"""The beam as a tree: nested lists that read well aloud and are drawn from left to right.

Every kept prefix is a card; the best of what was dropped at each level is listed beside it, in
words and dashed, so that colour is not needed to tell them apart. Radio buttons show the search
level by level without a script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from diger.charts.theme import method_colour
from diger.explain.tree import Branch, Level
from diger_app.render.text import chips, esc, hue, item_button, method, percent
from diger_app.service import words_for
from diger_app.shelf import Loaded, Shelf


def tree(shelf: Shelf, loaded: Loaded, levels: Sequence[Level], width: int) -> str:
    """The whole tree, with a stepper above it."""
    group = f"step-{loaded.method}"
    n = len(levels)
    stepper = "".join(
        f'<label><input type="radio" name="{esc(group)}" value="{i}" class="step-{i}"'
        f"{' checked' if i == n else ''}><span>{_level_name(i, n)}</span></label>"
        for i in range(1, n + 1)
    )
    return (
        f'<section class="think" style="--method:{method_colour(loaded.method)}">'
        f'<header class="side-head"><h3>{method(loaded.method)}</h3>'
        f'<span class="bundle">{esc(loaded.name, 60)}</span></header>'
        f'<fieldset class="stepper"><legend>Show the search up to</legend>{stepper}</fieldset>'
        '<p class="muted tree-key">Bold: how likely the code is after the codes before it. Right: '
        "how likely the whole prefix is; the beam keeps the best of those.</p>"
        f'<div class="scroll"><div class="tree"><ul class="level">'
        f"{_children(shelf, loaded, levels, (), 0)}</ul></div></div>"
        f"{_summary(levels, width)}</section>"
    )


def _level_name(level: int, n: int) -> str:
    return "items" if level == n else f"level {level}"


def _children(
    shelf: Shelf, loaded: Loaded, levels: Sequence[Level], prefix: tuple[int, ...], depth: int
) -> str:
    if depth == len(levels):
        return ""
    mine = [b for b in levels[depth].branches if b.prefix[:-1] == prefix]
    parts = []
    for branch in sorted(mine, key=lambda b: not b.kept):
        below = _children(shelf, loaded, levels, branch.prefix, depth + 1) if branch.kept else ""
        kind = "kept" if branch.kept else "dropped"
        nested = f'<ul class="level">{below}</ul>' if below else ""
        card = _card(shelf, loaded, branch, depth, len(levels))
        parts.append(f'<li class="node {kind} depth-{depth + 1}">{card}{nested}</li>')
    return "".join(parts)


def _card(shelf: Shelf, loaded: Loaded, branch: Branch, depth: int, n: int) -> str:
    code = branch.prefix[-1]
    last = depth == n - 1
    chip = (
        f'<span class="chip chip-suffix">{code}</span>'
        if last
        else f'<span class="chip" style="--h:{hue(depth, code)}">{code}</span>'
    )
    step, whole = math.exp(branch.step), math.exp(branch.log_p)
    if branch.row is not None:
        meaning = item_button(shelf.ids[branch.row], shelf.title(branch.row))
    else:
        words = words_for(shelf, loaded, branch.prefix)
        said = esc(", ".join(words), 70) if words else "&nbsp;"
        count = f"{branch.items} item{'s' if branch.items != 1 else ''}"
        meaning = f'<span class="words">{said}</span><span class="count">{count}</span>'
    state = "" if branch.kept else '<span class="state">dropped</span>'
    written = "-".join(map(str, branch.prefix))
    return (
        f'<div class="branch" title="prefix {written}"><div class="branch-head">{chip}'
        f'<span class="step">{percent(step)}</span>{state}'
        f'<span class="whole" title="probability of the whole prefix">{percent(whole)}</span></div>'
        f'<span class="bar" aria-hidden="true"><i style="width:{100 * step:.1f}%"></i></span>'
        f'<div class="meaning">{meaning}</div></div>'
    )


def _summary(levels: Sequence[Level], width: int) -> str:
    n = len(levels)
    rows = "".join(
        f'<tr><th scope="row">{_level_name(i, n)}</th><td>{level.weighed}</td><td>{level.kept}</td>'
        f"<td>{percent(level.outside)}</td></tr>"
        for i, level in enumerate(levels, 1)
    )
    return (
        f'<details class="reading"><summary>The search in numbers, with {width} beams</summary>'
        '<table class="table"><thead><tr><th scope="col">level</th>'
        '<th scope="col">prefixes weighed</th><th scope="col">kept</th>'
        '<th scope="col">given to codes that no item has</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )


def path(shelf: Shelf, rows: Sequence[int], loaded: Loaded) -> str:
    """The history that the search starts from, in one line."""
    shown = rows[-8:]
    parts = [
        f'<li><span class="crumb-title" dir="auto">{esc(shelf.title(row), 50)}</span>'
        f"{chips(loaded.sids[row])}</li>"
        for row in shown
    ]
    more = f"<li>… {len(rows) - len(shown)} before</li>" if len(rows) > len(shown) else ""
    return f'<ol class="crumbs" aria-label="the history">{more}{"".join(parts)}</ol>'
