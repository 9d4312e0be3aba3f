"""Text that came from data, made safe for the place it is shown in.

A bundle may come from a stranger: a title can carry terminal escapes, Markdown or a spreadsheet
formula. One function a place: the terminal and error messages, Markdown, CSV cells.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Backslash escapes: emphasis, code, links, HTML, tables, strike-through, headings, maths,
# mentions and bare addresses.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~#!&$@:])")

# What a spreadsheet takes for the start of a formula, the full-width forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

# Characters that reorder what is shown around them, so that text can pose as other text.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object, limit: int | None = None) -> str:
    r"""`text` on one line: control and direction-changing characters written as escapes.

    With `limit`, longer text is cut there and ends in an ellipsis.

    >>> printable("a\x1b[31mb\nc")
    'a\\x1b[31mb\\nc'
    """
    shown = "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _REORDERING
        else character
        for character in str(text)
    )
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def markdown(text: object) -> str:
    r"""`text` as literal characters within a line of Markdown (GitHub's and the Hub's flavour).

    >>> markdown("<b>*x*</b> a|b")
    '\\<b\\>\\*x\\*\\</b\\> a\\|b'
    """
    one_line = printable(" ".join(str(text).split()))
    return re.sub(r"(?i)\b(www)\.", r"\1\\.", _MARKDOWN.sub(r"\\\1", one_line))


def csv_cell(text: object) -> str:
    r"""`text` for a CSV cell, prefixed with an apostrophe where a spreadsheet would run it.

    Control characters are escaped, so a leading tab or line break cannot hide a formula.

    >>> csv_cell("=1+1"), csv_cell("\t=1"), csv_cell("plain")
    ("'=1+1", '\\t=1', 'plain')
    """
    cell = printable(text)
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA_STARTS) else cell


def and_list(words: Sequence[str]) -> str:
    """The words as a list within a sentence.

    >>> and_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
