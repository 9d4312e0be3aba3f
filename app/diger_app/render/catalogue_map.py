"""The map of the catalogue: what stands where it is stands in one SVG path a colour, so that
thousands of points stay light; what moved in joint training is a circle that can fly.

Positions and rows also travel as numbers, for the script that zooms, pans and finds the point
nearest to a finger or a pointer (`static/map.js`); titles only where they are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diger.charts.methods import method_colour
from diger.explain.moved import Move, moved_share, moves
from diger.explain.places import places
from diger_app.render.text import (
    arm,
    attribute_json,
    chips,
    empty,
    esc,
    hue,
    item_button,
    percent,
)
from diger_app.service import words_for
from diger_app.shelf import Loaded, Shelf

_SIZE = 1000
_LABELS = 12
_TITLES = 5000  # titles are sent along up to this many points
_SMALLEST_LABELLED = 6
_LISTED = 40


@dataclass(frozen=True)
class Shown:
    """What the map shows.

    Attributes:
        loaded: the model whose codes colour it.
        joint: a model that was trained jointly from these codes, or `loaded` itself if it was:
            between its start and its end items fly. None where nothing moved.
        turn: the column to change to, for the others to fly; empty where there is none.
        row: the item looked up.
        history, listed: rows of the history, and of what `loaded` recommends after it.
    """

    loaded: Loaded
    joint: Loaded | None = None
    turn: str = ""
    row: int | None = None
    history: Sequence[int] = ()
    listed: Sequence[int] = ()


def catalogue_map(shelf: Shelf, shown: Shown) -> str:
    """The map, and beside it the items that moved."""
    made = shelf.map
    if made is None:
        return empty("No map", "The bundles of this dataset carry no content vectors.")
    rows, position = made
    loaded, joint = shown.loaded, shown.joint
    start = loaded.codes if joint is None or joint.start is None else joint.start
    end = loaded.codes if joint is None else joint.codes
    before = _pixels(places(position, start[rows]))
    after = _pixels(places(position, end[rows], start[rows]))
    flies = (before != after).any(axis=1)
    drawn = _Drawn(rows, before, after, start[rows, 0], end[rows, 0], flies)
    points = {"rows": rows.tolist(), "xy": before.ravel().tolist()}
    points["flown"] = {int(i): after[i].tolist() for i in np.flatnonzero(flies)}
    if len(rows) <= _TITLES:
        points["titles"] = [shelf.title(int(r))[:80] for r in rows]
    side = "after" if joint is loaded else "before"
    key = "" if joint is None else joint.name
    here = "" if shown.row is None else f' data-here="{shown.row}"'
    moved = _moved(shelf, shown, int(flies.sum()))
    return (
        f"{_head(shelf, shown, len(rows))}"
        f'<div class="map-room"><div class="map" data-side="{side}" data-key="{esc(key)}"{here} '
        f'data-points="{attribute_json(points)}" tabindex="0" role="group" '
        'aria-label="map; arrow keys move it, plus and minus zoom">'
        f'<svg viewBox="0 0 {_SIZE} {_SIZE}" role="img" aria-label="Map of {len(rows)} items, '
        f'coloured by the first code of their SID">{drawn.dots()}{_rings(drawn, loaded, shown)}'
        f"{_labels(shelf, loaded, drawn)}{_marks(shelf, drawn, shown)}"
        '<g class="map-names" aria-hidden="true"></g></svg>'
        '<div class="zoom-tools" role="group" aria-label="zoom">'
        '<button type="button" class="button" data-zoom="in" aria-label="larger">+</button>'
        '<button type="button" class="button" data-zoom="out" aria-label="smaller">−</button>'
        '<button type="button" class="button" data-zoom="fit">all</button></div>'
        f'<output class="map-tip" aria-live="polite"></output></div>{moved}</div>'
    )


def _pixels(position: np.ndarray) -> np.ndarray:
    """Positions in the unit square as whole numbers of the drawing, y downward."""
    xy = np.rint(position * _SIZE).astype(int)
    xy[:, 1] = _SIZE - xy[:, 1]
    return xy


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Rows (n,) with their places (n, 2) and first codes (n,) at the start and at the end."""

    rows: np.ndarray
    before: np.ndarray
    after: np.ndarray
    first: np.ndarray
    last: np.ndarray
    flies: np.ndarray

    def at(self, row: int) -> str | None:
        """The style that puts something where the item is; None for one that is not drawn."""
        found = np.flatnonzero(self.rows == row)
        return self.style(int(found[0])) if len(found) else None

    def style(self, i: int) -> str:
        (x, y), (u, v) = self.before[i], self.after[i]
        return f"--x0:{x}px;--y0:{y}px;--x1:{u}px;--y1:{v}px"

    def dots(self) -> str:
        still = ~self.flies
        paths = "".join(
            f'<path style="--h:{hue(0, code)}" d="'
            + "".join(f"M{x} {y}h0" for x, y in self.before[still & (self.first == code)].tolist())
            + '"/>'
            for code in np.unique(self.first[still]).tolist()
        )
        flying = np.flatnonzero(self.flies).tolist()
        trails = "".join(
            f"M{x} {y}L{u} {v}"
            for (x, y), (u, v) in zip(
                self.before[flying].tolist(), self.after[flying].tolist(), strict=True
            )
        )
        circles = "".join(
            f'<circle class="fly" data-row="{self.rows[i]}" style="{self.style(i)};'
            f'--h:{hue(0, int(self.first[i]))};--h1:{hue(0, int(self.last[i]))}"/>'
            for i in flying
        )
        return (
            f'<g class="dots">{paths}</g><path class="trails" d="{trails}"/>'
            f'<g class="flies">{circles}</g>'
        )


def _head(shelf: Shelf, shown: Shown, drawn: int) -> str:
    of = "" if drawn == len(shelf.ids) else f" of {len(shelf.ids):,}, the most popular"
    marks = ""
    if shown.history:
        marks = (
            '<span class="legend"><i class="key-history"></i>history</span>'
            f'<span class="legend" style="--method:{method_colour(shown.loaded.method)}">'
            '<i class="key-listed"></i>recommended</span>'
        )
    said = (
        f'<p class="muted map-head">{arm(shown.loaded.method)} <span>{drawn:,} items{of}, coloured '
        f"by their first code</span>{marks}</p>"
    )
    if shown.row is None:
        return said
    return said + (
        f'<p class="map-item">{item_button(shelf.ids[shown.row], shelf.title(shown.row))} '
        f'{chips(shown.loaded.sids[shown.row])} <span class="muted">◎ the item, ○ those that share '
        "its first code</span></p>"
    )


def _labels(shelf: Shelf, loaded: Loaded, drawn: _Drawn) -> str:
    """The largest codes by number and words, at the median of their points, not on one another."""
    codes, counts = np.unique(drawn.first, return_counts=True)
    placed: list[tuple[float, float]] = []
    parts = []
    for code, count in sorted(
        zip(codes.tolist(), counts.tolist(), strict=True), key=lambda c: -c[1]
    ):
        x, y = np.median(drawn.before[drawn.first == code], axis=0)
        free = all(abs(x - a) > 200 or abs(y - b) > 50 for a, b in placed)
        if count < _SMALLEST_LABELLED or not free or len(placed) == _LABELS:
            continue
        placed.append((x, y))
        words = words_for(shelf, loaded, [code], 2)
        said = esc(": ".join([str(code), *([", ".join(words)] if words else [])]), 34)
        x = min(max(x, 120), _SIZE - 120)
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}">{said}</text>')
    return f'<g class="map-labels" aria-hidden="true">{"".join(parts)}</g>'


def _rings(drawn: _Drawn, loaded: Loaded, shown: Shown) -> str:
    if shown.row is None:
        return ""
    same = loaded.codes[drawn.rows, 0] == loaded.codes[shown.row, 0]
    rings = "".join(
        f'<circle class="fly" style="{drawn.style(int(i))}"/>' for i in np.flatnonzero(same)
    )
    at = drawn.at(shown.row)
    centre = f'<circle class="here fly" style="{at}"/>' if at else ""
    return f'<g class="rings">{rings}</g>{centre}'


def _marks(shelf: Shelf, drawn: _Drawn, shown: Shown) -> str:
    """The history and the recommendations, numbered in their order."""
    parts = []
    for kind, rows in (("listed", shown.listed), ("history", shown.history)):
        for number, row in enumerate(rows, 1):
            at = drawn.at(row)
            if at is not None:
                parts.append(
                    f'<g class="fly mark-{kind}" style="{at}"><title>{esc(shelf.title(row), 80)}'
                    f"</title><circle/><text>{number}</text></g>"
                )
    return (
        f'<g class="map-marks" style="--method:{method_colour(shown.loaded.method)}">'
        f"{''.join(parts)}</g>"
    )


_PLACES = (
    "A point stands between its text and the middle of the items that share its first codes; near "
    "is alike, and distances between far groups mean nothing."
)


def _moved(shelf: Shelf, shown: Shown, flying: int) -> str:
    """What joint training moved, with why."""
    joint = shown.joint
    if joint is None or joint.start is None:
        return (
            '<aside class="map-moved"><h3>What moved</h3><p class="muted">Fixed names never move. '
            "With a differentiable bundle of this dataset beside it, this says which items changed "
            "their codes in joint training, and toward whom.</p>"
            f'<p class="muted">{_PLACES}</p></aside>'
        )
    total = int((joint.start != joint.codes).any(axis=1).sum())
    shares = "; ".join(
        f"{percent(share)} up to code {level}"
        for level, share in enumerate(moved_share(joint.start, joint.codes), 1)
    )
    listed = moves(joint.start, joint.codes, shelf.popularity, limit=_LISTED)
    turn = (
        f'<button type="button" class="button map-turn" data-turn="{shown.turn}">▶ '
        f"{'Back to the fixed names' if joint is shown.loaded else 'Watch them move'}</button>"
        if shown.turn
        else ""
    )
    more = f" The first {len(listed)}:" if total > len(listed) else ""
    return (
        f'<aside class="map-moved"><h3>{total} of {len(joint.codes):,} items moved</h3>{turn}'
        f'<p class="muted">Their codes changed while {esc(joint.name, 60)} was trained: {shares}. '
        f"Those on the map that changed one of their first two codes fly: {flying}.{more}</p>"
        f"<ol>{''.join(_move(shelf, joint, one) for one in listed)}</ol>"
        f'<p class="muted">{_PLACES}</p></aside>'
    )


def _move(shelf: Shelf, joint: Loaded, one: Move) -> str:
    words = ", ".join(words_for(shelf, joint, one.after[: one.level]))
    to = f' <span class="words" dir="auto">{esc(words, 60)}</span>' if words else ""

    def names(said: str, rows: np.ndarray) -> str:
        if not len(rows):
            return ""
        listed = ", ".join(item_button(shelf.ids[r], shelf.title(r)) for r in map(int, rows[:3]))
        return f'<p><span class="muted">{said}</span> {listed}</p>'

    return (
        f'<li data-row="{one.row}"><p><button type="button" class="item move-name" dir="auto" '
        f'data-goto="{one.row}">{esc(shelf.title(one.row), 100)}</button></p>'
        f"<p>{chips(one.before, suffix=False, match=one.level - 1)} → "
        f"{chips(one.after, suffix=False, match=one.level - 1)}{to}</p>"
        f"{names('now beside', one.joined)}{names('no longer beside', one.left)}</li>"
    )
