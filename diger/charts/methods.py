"""One colour, mark and dash a method. No Altair, so that a window without charts starts sooner."""

from __future__ import annotations

# One colour and one mark a method, the same in every window, on light, dark and paper.
#
# The colours were searched for: a blue, an orange and five more, each with a contrast of at least
# 3:1 both with white and with the dark theme's ground, as far apart as that allows for people with
# protanopia, deuteranopia and tritanopia (a test measures both). Text never wears them, and colour
# is never the only signal: a method also has a mark and a dash.

METHOD_COLOURS: dict[str, str] = {
    "static": "#1F5EEB",  # blue
    "differentiable": "#D27408",  # orange
    "detached": "#A27FF5",  # violet
    "ste": "#C80F2F",  # crimson
    "shuffled": "#C17BB8",  # pink
    "reassigned": "#A81BA5",  # plum
    "sasrec": "#26A065",  # green
    "popularity": "#687377",  # grey
}
METHOD_MARKS: dict[str, str] = {
    "static": "●",
    "differentiable": "▲",
    "detached": "■",
    "ste": "◆",
    "shuffled": "✕",
    "reassigned": "⬢",
    "sasrec": "✚",
    "popularity": "▼",
}
OTHER_COLOUR, OTHER_MARK = "#737B8B", "○"

# The same marks by Vega's names, and dashes (pixels on, off) for lines.
METHOD_SHAPES: dict[str, str] = {
    "static": "circle",
    "differentiable": "triangle-up",
    "detached": "square",
    "ste": "diamond",
    "shuffled": "M-.9,-.6L-.6,-.9L0,-.3L.6,-.9L.9,-.6L.3,0L.9,.6L.6,.9L0,.3L-.6,.9L-.9,.6L-.3,0Z",
    "reassigned": "M0,-1L.87,-.5L.87,.5L0,1L-.87,.5L-.87,-.5Z",
    "sasrec": "cross",
    "popularity": "triangle-down",
}
METHOD_DASHES: dict[str, list[int]] = {
    "static": [1, 0],
    "differentiable": [1, 0],
    "detached": [8, 3],
    "ste": [3, 3],
    "shuffled": [1, 3],
    "reassigned": [6, 2, 1, 2],
    "sasrec": [10, 3, 2, 3],
    "popularity": [2, 4],
}
OTHER_SHAPE, OTHER_DASH = "circle", [1, 0]


def method_colour(method: str) -> str:
    """The colour of a method; grey for one that is not known."""
    return METHOD_COLOURS.get(method, OTHER_COLOUR)


def method_mark(method: str) -> str:
    """The mark of a method, for where colour is not seen."""
    return METHOD_MARKS.get(method, OTHER_MARK)


def method_shape(method: str) -> str:
    """The mark of a method by Vega's name."""
    return METHOD_SHAPES.get(method, OTHER_SHAPE)


def method_dash(method: str) -> list[int]:
    """The dash of a method's lines, pixels on and off."""
    return METHOD_DASHES.get(method, OTHER_DASH)
