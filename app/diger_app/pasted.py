"""A pasted list of titles or ids: what is known, what may be meant, what is not known."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from diger_app.title_index import TitleIndex
from diger_app.view import MAX_HISTORY

_BULLET = re.compile(r"^\s*(?:[-*•–]|\d{1,4}[.)])\s+")
_MAX_LINE = 300


@dataclass
class Pasted:
    """What a pasted text came to.

    Attributes:
        rows: item rows found for certain, in order.
        offers: lines that may mean some items, with the rows of those.
        unknown: lines that are like nothing here.
        cut: lines beyond the limit, not read.
    """

    rows: list[int] = field(default_factory=list)
    offers: list[tuple[str, list[int]]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    cut: int = 0


def read_pasted(text: str, index: TitleIndex, limit: int = MAX_HISTORY) -> Pasted:
    """Read one item a line (or a comma-separated list of items); bullets and numbers are dropped.

    At most `limit` lines are read.
    """
    result = Pasted()
    lines = [line for line in text.splitlines() if line.strip()]
    result.cut = max(0, len(lines) - limit)
    for line in lines[:limit]:
        _read_line(line[:_MAX_LINE], index, result)
    return result


def _read_line(line: str, index: TitleIndex, result: Pasted) -> None:
    bare = _BULLET.sub("", line).strip()
    # As it stands, for an id with blanks or a title that begins like a bullet.
    row = next((row for row in map(index.exact, (line, bare)) if row is not None), None)
    if row is not None:
        result.rows.append(row)
        return
    # A line of several items, if every one of them is certain; titles may hold commas themselves.
    for separator in ("\t", ";", ","):
        parts = [part.strip() for part in bare.split(separator) if part.strip()]
        rows = [index.exact(part) for part in parts]
        if len(parts) > 1 and all(one is not None for one in rows):
            result.rows += [one for one in rows if one is not None]
            return
    near = index.offers(bare)
    if near:
        result.offers.append((bare, near))
    else:
        result.unknown.append(bare)
