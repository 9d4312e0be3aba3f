"""The map of the catalogue: one SVG path a colour, so that thousands of points stay light.

A point is a line of no length with a round cap. Positions and rows also travel as numbers, for the
script that finds the point nearest to a finger or a pointer; titles only where they are few.
"""

from __future__ import annotations

import numpy as np

from diger_app.render.text import attribute_json, chips, empty, esc, hue, method
from diger_app.service import words_for
from diger_app.shelf import Loaded, Shelf

_SIZE = 1000
_LABELS = 9
_TITLES = 1500  # titles are sent along up to this many points
_SMALLEST_LABELLED = 6


def catalogue_map(shelf: Shelf, loaded: Loaded, row: int | None) -> str:
    """The map coloured by the first code under `loaded`; item `row` and its company are marked."""
    made = shelf.map
    if made is None:
        return empty("No map", "The bundles of this dataset carry no content vectors.")
    rows, position = made
    xy = np.rint(position * _SIZE).astype(int)
    first = loaded.codes[rows, 0]
    paths = "".join(
        f'<path style="--h:{hue(0, code)}" d="{_dots(xy[first == code])}"/>'
        for code in np.unique(first).tolist()
    )
    mark, said = _marked(shelf, loaded, rows, xy, row)
    points = {"rows": rows.tolist(), "xy": xy.ravel().tolist()}
    if len(rows) <= _TITLES:
        points["titles"] = [shelf.title(int(r))[:80] for r in rows]
    of = "" if len(rows) == len(shelf.ids) else f", the most popular of {len(shelf.ids)}"
    return (
        f'<p class="muted map-head">{method(loaded.method)} {len(rows)} items{of}; near on the map '
        "is near in content, colour and number are the first code. Press a point to look at its "
        f"item.</p>{said}"
        f'<div class="map" data-points="{attribute_json(points)}">'
        f'<svg viewBox="0 0 {_SIZE} {_SIZE}" role="img" aria-label="Map of {len(rows)} items, '
        f'coloured by the first code of their SID"><g class="dots">{paths}</g>{mark}'
        f"{_labels(shelf, loaded, first, xy)}</svg>"
        '<output class="map-tip" aria-live="polite"></output></div>'
    )


def _dots(xy: np.ndarray) -> str:
    return "".join(f"M{x} {_SIZE - y}h0" for x, y in xy.tolist())


def _labels(shelf: Shelf, loaded: Loaded, first: np.ndarray, xy: np.ndarray) -> str:
    """The largest codes by number and words, at the median of their points, not on one another."""
    codes, counts = np.unique(first, return_counts=True)
    placed: list[tuple[float, float]] = []
    parts = []
    for code, count in sorted(
        zip(codes.tolist(), counts.tolist(), strict=True), key=lambda c: -c[1]
    ):
        x, y = np.median(xy[first == code], axis=0)
        y = _SIZE - y
        free = all(abs(x - a) > 230 or abs(y - b) > 60 for a, b in placed)
        if count < _SMALLEST_LABELLED or not free or len(placed) == _LABELS:
            continue
        placed.append((x, y))
        words = words_for(shelf, loaded, [code], 2)
        said = esc(" ".join([str(code), *([", ".join(words)] if words else [])]), 34)
        x = min(max(x, 120), _SIZE - 120)
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" style="--h:{hue(0, code)}">{said}</text>')
    return f'<g class="map-labels" aria-hidden="true">{"".join(parts)}</g>'


def _marked(
    shelf: Shelf, loaded: Loaded, rows: np.ndarray, xy: np.ndarray, row: int | None
) -> tuple[str, str]:
    if row is None:
        return "", ""
    said = (
        f'<p class="map-item"><b dir="auto">{esc(shelf.title(row))}</b> {chips(loaded.sids[row])} '
        f'<span class="muted">◎ the item, ○ those that share its first code</span></p>'
    )
    same = loaded.codes[rows, 0] == loaded.codes[row, 0]
    rings = "".join(
        f'<circle cx="{x}" cy="{_SIZE - y}" r="9"/>' for x, y in xy[same & (rows != row)].tolist()
    )
    here = np.flatnonzero(rows == row)
    if not len(here):
        said += '<p class="muted">This item is not on the map.</p>'
        return f'<g class="rings">{rings}</g>', said
    x, y = xy[here[0]].tolist()
    y = _SIZE - y
    centre = (
        f'<g class="here"><circle cx="{x}" cy="{y}" r="22"/><circle cx="{x}" cy="{y}" r="10"/></g>'
    )
    return f'<g class="rings">{rings}</g>{centre}', said
