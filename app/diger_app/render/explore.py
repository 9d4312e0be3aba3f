"""Looking around in SIDs: one item under each method, and codes from the top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diger.charts.methods import method_colour
from diger.explain.layout import squarify
from diger.explain.prefixes import Neighbours, children, neighbours, rows_under
from diger_app.render.text import (
    arm,
    beside,
    chips,
    esc,
    hue,
    item_button,
)
from diger_app.service import words_for
from diger_app.shelf import Loaded, Shelf

TREEMAP_RATIO = 1.9  # width to height of the box, as in the style sheet
_LISTED = 60


def item(shelf: Shelf, row: int, models: Sequence[Loaded], gap: str = "") -> str:
    """An item's SID under each model, what shares its prefixes, and its content neighbours."""
    found = [neighbours(one.codes, row, shelf.popularity) for one in models]
    content, cosines = _content(shelf, row)
    near = set(content)
    both = _company(found[0]) & _company(found[1]) if len(found) == 2 else set()
    columns = [
        _item_column(shelf, row, one, n, near, both) for one, n in zip(models, found, strict=True)
    ]
    if gap:
        columns.append(f'<section class="side side-missing">{gap}</section>')
    columns.append(_content_column(shelf, content, cosines, found, models))
    return (
        f"{_item_head(shelf, row)}"
        f'<div class="columns columns-{len(columns)}">{"".join(columns)}</div>'
    )


def _company(found: Sequence[Neighbours]) -> set[int]:
    return {int(row) for one in found for row in one.rows}


def _item_head(shelf: Shelf, row: int) -> str:
    record = shelf.items.iloc[row]
    categories = record.get("categories")
    tags = ""
    if isinstance(categories, list | tuple | np.ndarray):
        tags = "".join(f'<span class="tag">{esc(one, 40)}</span>' for one in list(categories)[:8])
    description = record.get("description")
    text = f'<p dir="auto">{esc(description, 320)}</p>' if isinstance(description, str) else ""
    events = int(shelf.popularity[row])
    cold = "never seen in training" if not events else f"{events} training events"
    return (
        f'<div class="item-head"><h3 dir="auto">{esc(shelf.title(row))}</h3>{_add(shelf, row)}'
        f'<p class="muted">{esc(shelf.ids[row], 80)} · {cold}</p>{text}<div>{tags}</div></div>'
    )


def _add(shelf: Shelf, row: int) -> str:
    title = esc(shelf.title(row))
    return (
        f'<button type="button" class="button add" data-add="{esc(shelf.ids[row])}" '
        f'data-title="{title}">+ Add to the history</button>'
    )


def _item_column(
    shelf: Shelf,
    row: int,
    loaded: Loaded,
    found: Sequence[Neighbours],
    near: set[int],
    both: set[int],
) -> str:
    levels = loaded.codes.shape[1]
    body = []
    by_depth = {one.depth: one for one in found}
    for depth in range(levels, 0, -1):
        prefix = loaded.codes[row, :depth].tolist()
        one = by_depth.get(depth)
        words = ", ".join(words_for(shelf, loaded, prefix))
        said = f'<span class="words">{esc(words, 80)}</span>' if words else ""
        if one is None:
            listed = '<li class="muted">nothing else</li>'
        else:
            listed = "".join(_neighbour(shelf, int(r), near, both) for r in one.rows)
            if one.total > len(one.rows):
                listed += (
                    f'<li><button type="button" class="more" data-prefix="'
                    f'{"-".join(map(str, prefix))}">all {one.total}</button></li>'
                )
        only = "" if depth == levels else ", not more"
        body.append(
            f'<div class="ring"><h4>{chips(prefix, suffix=False)} <span>shares '
            f"{depth} code{'s' if depth > 1 else ''}{only}</span></h4>{said}"
            f'<ul class="names">{listed}</ul></div>'
        )
    moved = ""
    if loaded.start is not None:
        before = loaded.start[row].tolist()
        if before != loaded.codes[row].tolist():
            moved = f'<p class="muted">before joint training: {chips(before, suffix=False)}</p>'
        else:
            moved = '<p class="muted">kept its codes in joint training</p>'
    return (
        f'<section class="side" style="--method:{method_colour(loaded.method)}">'
        f'<header class="side-head"><h3>{arm(loaded.method)}</h3>'
        f'<span class="bundle">{esc(loaded.name, 60)}</span></header>'
        f'<div class="side-body"><p class="own-sid">{chips(loaded.sids[row])}</p>{moved}'
        f"{''.join(body)}</div></section>"
    )


def _neighbour(shelf: Shelf, row: int, near: set[int], both: set[int]) -> str:
    flags = ""
    if row in both:
        flags += '<span class="flag flag-both">both</span>'
    if row in near:
        flags += '<span class="flag">near in content</span>'
    return f"<li>{item_button(shelf.ids[row], shelf.title(row))}{flags}</li>"


def _content(shelf: Shelf, row: int) -> tuple[list[int], list[float]]:
    space = shelf.space
    if space is None or not space.units[row].any():
        return [], []
    rows, cosines = space.nearest(space.units[row], 12, leave_out=row)
    return [int(r) for r in rows], [float(c) for c in cosines]


def _content_column(
    shelf: Shelf,
    content: Sequence[int],
    cosines: Sequence[float],
    found: Sequence[Sequence[Neighbours]],
    models: Sequence[Loaded],
) -> str:
    depth_of = [{int(r): one.depth for one in f for r in one.rows} for f in found]
    lines = []
    for row, cosine in zip(content, cosines, strict=True):
        flags = "".join(
            _sharing(one.method, depth[row])
            for one, depth in zip(models, depth_of, strict=True)
            if row in depth
        )
        lines.append(
            f"<li>{item_button(shelf.ids[row], shelf.title(row))}{flags}"
            f'<span class="muted number">{cosine:.2f}</span></li>'
        )
    body = (
        f'<ul class="names">{"".join(lines)}</ul>'
        if lines
        else '<p class="muted">this item has no text, so it has no neighbours in content</p>'
    )
    return (
        '<section class="side side-plain"><header class="side-head"><h3>nearest in content</h3>'
        '<span class="bundle">cosine, before any code</span></header>'
        f'<div class="side-body">{body}</div></section>'
    )


def _sharing(name: str, depth: int) -> str:
    return beside(name, depth, f"shares {depth} code{'s' if depth > 1 else ''} in {name}")


def browse(shelf: Shelf, loaded: Loaded, prefix: Sequence[int]) -> str:
    """The codes under a prefix as a treemap, or its items where no code is left."""
    prefix = list(prefix)[: loaded.codes.shape[1]]
    under = rows_under(loaded.codes, prefix)
    if not len(under):
        prefix, under = [], np.arange(len(loaded.codes))
    below = children(loaded.codes, prefix)
    head = _breadcrumb(shelf, loaded, prefix, len(under))
    note = ""
    if len(below) > _LISTED:
        rest = sum(len(rows) for _, rows in below[_LISTED:])
        note = (
            f'<p class="footnote">The {_LISTED} fullest of {len(below)} codes are drawn; the '
            f"others hold {rest} items.</p>"
        )
        below = below[:_LISTED]
    if not below:
        return head + _items_list(shelf, under)
    tiles = squarify([len(rows) for _, rows in below], TREEMAP_RATIO, 1.0)
    drawn = []
    for (code, rows), tile in zip(below, tiles, strict=True):
        path = [*prefix, code]
        words = ", ".join(words_for(shelf, loaded, path))
        first = rows[np.argsort(-shelf.popularity[rows], kind="stable")[:3]]
        examples = "; ".join(shelf.title(int(r)) for r in first)
        count = f"{len(rows)} item{'s' if len(rows) > 1 else ''}"
        share = tile.width * tile.height / TREEMAP_RATIO
        size = "large" if share > 0.03 else "medium" if share > 0.012 else "small"
        drawn.append(
            f'<li style="--x:{100 * tile.x / TREEMAP_RATIO:.3f}%;--y:{100 * tile.y:.3f}%;'
            f"--w:{100 * tile.width / TREEMAP_RATIO:.3f}%;--t:{100 * tile.height:.3f}%;"
            f'--h:{hue(len(prefix), code)}"><button type="button" class="tile tile-{size}" '
            f'data-prefix="{"-".join(map(str, path))}" '
            f'title="{esc(f"{count}: {examples}")}"><b>{code}</b>'
            f'<span class="words">{esc(words or examples, 90)}</span>'
            f'<span class="count">{count}</span></button></li>'
        )
    return f'{head}<ul class="treemap">{"".join(drawn)}</ul>{note}'


def _breadcrumb(shelf: Shelf, loaded: Loaded, prefix: Sequence[int], count: int) -> str:
    steps = ['<li><button type="button" class="crumb" data-prefix="">all items</button></li>']
    for depth in range(1, len(prefix) + 1):
        path = prefix[:depth]
        words = ", ".join(words_for(shelf, loaded, path, 2))
        code = f'<span class="chip" style="--h:{hue(depth - 1, path[-1])}">{path[-1]}</span>'
        steps.append(
            f'<li><button type="button" class="crumb" data-prefix="{"-".join(map(str, path))}"'
            f"{' aria-current=true' if depth == len(prefix) else ''}>{code} {esc(words, 50)}"
            f"</button></li>"
        )
    level = len(prefix) + 1
    last = level > loaded.codes.shape[1]
    what = f"{count:,} item{'s' if count != 1 else ''}" + ("" if last else f", by code {level}")
    return (
        f'<nav class="breadcrumb" aria-label="prefix" data-here="{"-".join(map(str, prefix))}">'
        f"<ol>{''.join(steps)}</ol>"
        f'<p class="muted">{arm(loaded.method)} {what}</p></nav>'
    )


def _items_list(shelf: Shelf, rows: np.ndarray) -> str:
    order = rows[np.argsort(-shelf.popularity[rows], kind="stable")][:200]
    lines = "".join(
        f"<li>{item_button(shelf.ids[r], shelf.title(r))}"
        f'<span class="muted number">{int(shelf.popularity[r])} events</span></li>'
        for r in map(int, order)
    )
    return f'<ul class="names names-wide">{lines}</ul>'
