"""`codes.svg`: how many items have each code, level by level, drawn by hand for the model card.

No plotting library, and equal counts give equal bytes. A bundle may come from a stranger, and an
SVG can carry scripts and links: `check_picture` accepts only the few shapes that are drawn here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from diger.bundle import schema
from diger.bundle.documents import is_number
from diger.errors import DigerError
from diger.tokenizer.stats import perplexity

_NAMESPACE = "http://www.w3.org/2000/svg"
_SHAPES = frozenset(("svg", "title", "g", "path", "line", "text"))
_ATTRIBUTES = frozenset(("viewBox", "width", "height", "role", "d", "x", "y"))
_ATTRIBUTES |= {"x1", "x2", "y1", "y2", "fill", "fill-opacity", "stroke", "stroke-width"}
_ATTRIBUTES |= {"stroke-dasharray", "font-family", "font-size", "text-anchor"}
_MAX_BYTES = 1_000_000

# Mid tones, for the card is read on white and on black.
_BARS, _START, _INK, _RULE = "#4c78a8", "#e0812b", "#808080", "#9a9a9a"
_WIDTH, _COLUMNS, _GAP, _LEFT = 760, 4, 26, 34
_PLOT, _HEAD, _FOOT, _LEGEND = 104, 40, 22, 24  # heights within a row of panels, and the legend's


def codes_at(codes: pd.DataFrame, selected: object) -> tuple[int, pd.DataFrame]:
    """The epoch that a bundle's weights are from (else the last one there is), and its rows.

    Args:
        codes: `codes.parquet`, not empty.
        selected: `selected_epoch` of `config.json`.
    """
    known = is_number(selected) and bool((codes["epoch"] == selected).any())
    epoch = int(selected) if known and is_number(selected) else int(codes["epoch"].max())
    return epoch, codes[codes["epoch"] == epoch]


def codes_svg(codes: pd.DataFrame, config: Mapping[str, Any]) -> str:
    """A picture of `codes.parquet`: one panel a level, codes from the most to the least used.

    Bars are items per code at the selected epoch, the dashed line is even use; where the codes
    moved in training, a second line is their use at the start.
    """
    if codes.empty:
        raise DigerError("codes.parquet has no rows, so there is no code usage to draw")
    epoch, now = codes_at(codes, config.get("selected_epoch"))
    start = codes[codes["epoch"] == 0] if epoch != 0 else codes.iloc[:0]
    levels = sorted(int(level) for level in now["level"].unique())
    columns = min(len(levels), _COLUMNS)
    width = (_WIDTH - _GAP * (columns - 1)) / columns
    row = _HEAD + _PLOT + _FOOT
    height = row * -(-len(levels) // columns) + _LEGEND
    panels = [
        _panel(
            level,
            _counts(now, level),
            _counts(start, level),
            (i % columns) * (width + _GAP),
            (i // columns) * row,
            width,
        )
        for i, level in enumerate(levels)
    ]
    legend = "bars: items per code, most used first; dashed: even use"
    legend += "; line: at the start of joint training" if len(start) else ""
    return (
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="12">\n'
        f"<title>Items per code at each level, epoch {epoch}</title>\n"
        + "\n".join(panels)
        + f"\n{_text(_LEFT, height - 6, legend)}\n</svg>\n"
    )


def check_picture(data: bytes) -> None:
    """Refuse a picture that is anything but plain shapes and words."""
    # Declarations come before entities, and entities could make a small file enormous.
    if len(data) > _MAX_BYTES or b"<!" in data or b"<?" in data:
        raise DigerError(f"{schema.PICTURE} is not a plain SVG picture")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        raise DigerError(f"{schema.PICTURE} is not a plain SVG picture") from None
    for element in root.iter():
        namespace, _, shape = str(element.tag).rpartition("}")
        if namespace != "{" + _NAMESPACE or shape not in _SHAPES:
            raise DigerError(f"{schema.PICTURE} holds more than plain shapes and words")
        for name, value in element.attrib.items():
            if name not in _ATTRIBUTES or not re.fullmatch(r"[\w\s.,#()%-]*", value):
                raise DigerError(f"{schema.PICTURE} holds more than plain shapes and words")


def _counts(codes: pd.DataFrame, level: int) -> np.ndarray:
    """Items per code of a level, (codes,), in descending order."""
    return np.sort(codes.loc[codes["level"] == level, "items"].to_numpy(np.int64))[::-1]


def _panel(
    level: int, counts: np.ndarray, start: np.ndarray, left: float, top: float, width: float
) -> str:
    """One level's panel, `width` wide, with its upper left corner at (left, top)."""
    x0, x1 = left + _LEFT, left + width
    y0, y1 = top + _HEAD, top + _HEAD + _PLOT
    highest = max(1, int(counts.max()), int(start.max(initial=0)))
    even = y1 - _PLOT * counts.mean() / highest
    parts = [
        _text(x0, top + 16, f"level {level}", size=13),
        _text(
            x0,
            top + 31,
            f"{int((counts > 0).sum()):,} of {len(counts):,} codes, "
            f"{perplexity(counts):,.0f} effective",
            size=11,
        ),
        f'<path fill="{_BARS}" fill-opacity="0.85" d="{_steps(counts, highest, x0, x1, y1)}'
        f'L{_n(x1)},{_n(y1)}Z"/>',
    ]
    if len(start):
        steps = _steps(start, highest, x0, x1, y1)
        parts.append(f'<path fill="none" stroke="{_START}" stroke-width="1.5" d="{steps}"/>')
    parts += [
        f'<line x1="{_n(x0)}" x2="{_n(x1)}" y1="{_n(even)}" y2="{_n(even)}" stroke="{_RULE}" '
        'stroke-dasharray="4 3"/>',
        f'<line x1="{_n(x0)}" x2="{_n(x1)}" y1="{_n(y1)}" y2="{_n(y1)}" stroke="{_INK}"/>',
        _text(x0 - 5, y0 + 9, f"{highest:,}", size=11, anchor="end"),
        _text(x0 - 5, y1, "0", size=11, anchor="end"),
        _text(x0, y1 + 15, "1", size=11),
        _text(x1, y1 + 15, f"{len(counts):,}", size=11, anchor="end"),
    ]
    return "<g>\n" + "\n".join(parts) + "\n</g>"


def _steps(counts: np.ndarray, highest: int, x0: float, x1: float, y1: float) -> str:
    """A staircase over `counts` between x0 and x1, from the baseline y1, as path data."""
    edges = np.flatnonzero(np.diff(counts)) + 1  # codes of equal use are one step
    path = f"M{_n(x0)},{_n(y1)}"
    for begin, end in zip([0, *edges], [*edges, len(counts)], strict=True):
        x = x0 + (x1 - x0) * int(end) / len(counts)
        path += f"V{_n(y1 - _PLOT * int(counts[begin]) / highest)}H{_n(x)}"
    return path


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "start") -> str:
    place = f'x="{_n(x)}" y="{_n(y)}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {place} fill="{_INK}">{words}</text>'


def _n(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
