"""The one string that stands for an item: `title. brand. categories. description`.

The order is deliberate: encoders read a fixed number of tokens, and the parts that tell most in
the fewest words come first. Parts that are empty or unknown are skipped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

PARTS = ("title", "brand", "categories", "description")


def item_text(row: Mapping[str, Any] | pd.Series) -> str:
    """Text of one item, its parts joined by full stops; the empty string where it has none.

    `row` maps column names to values: strings, lists of strings (joined by commas), or None / NaN
    for unknown. HTML entities are decoded (also doubly encoded ones, common in scraped catalogues)
    and runs of white space become one space.

    >>> item_text({"title": "Soap &amp; Co", "brand": None, "categories": ["Bath", "Hand"]})
    'Soap & Co. Bath, Hand'
    """
    parts = (_as_text(row.get(name)) for name in PARTS)
    return ". ".join(part for part in parts if part)


def catalogue_texts(items: pd.DataFrame) -> list[str]:
    """`item_text` of every row of a catalogue, in row order."""
    columns = [name for name in PARTS if name in items.columns]
    return [item_text(row) for row in items[columns].to_dict("records")]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        # The closing full stop goes, as the join brings its own.
        return " ".join(_unescape(value).split()).rstrip(" .")
    if isinstance(value, Iterable):  # a list, or the array that parquet returns for one
        return ", ".join(part for part in map(_as_text, value) if part)
    if value is None or value is pd.NA or value != value:  # NaN is not equal to itself
        return ""
    return str(value)  # a number as a title


def _unescape(text: str) -> str:
    while (decoded := html.unescape(text)) != text:
        text = decoded
    return text
