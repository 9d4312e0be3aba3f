"""From what the page's components hold to a `View`; what makes no sense becomes a default.

The page is somebody else's machine: every value may be of any kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diger.errors import DigerError
from diger_app.library import Library
from diger_app.panels.common import history_ids
from diger_app.shelf import Shelf
from diger_app.view import (
    DECODINGS,
    DEFAULT_TREE_BEAM,
    EXPLORE_VIEWS,
    MAX_BEAM,
    MAX_K,
    MAX_TEXT,
    MAX_TREE_BEAM,
    SIDES,
    View,
    from_query,
)


def base_view(library: Library, values: tuple[Any, ...]) -> View:
    """From dataset, the three columns, history, k, beam, leave out seen and decoding."""
    dataset, left, right, third, held, k, beam, seen, decoding = values
    ids, target = history_ids(held)
    dataset = text(dataset, 120)
    try:
        names = text(left, 200), text(right, 200), text(third, 200)
        left, right, third = columns(library.shelf(dataset), *names)
    except DigerError:
        left = right = third = ""  # the panel asks for the dataset again, and says what is wrong
    return View(
        dataset=dataset,
        left=left,
        right=right,
        third=third,
        history=ids,
        target=target,
        k=whole(k, 1, MAX_K, 10),
        beam=whole(beam, 1, MAX_BEAM, 50),
        leave_out_seen=seen is True,
        decoding=choice(decoding, DECODINGS),
    )


def think_view(library: Library, values: tuple[Any, ...]) -> View:
    """From the base and the tree's beams."""
    *base, beam = values
    return replace(
        base_view(library, tuple(base)), tree_beam=whole(beam, 1, MAX_TREE_BEAM, DEFAULT_TREE_BEAM)
    )


def explore_view(library: Library, values: tuple[Any, ...]) -> View:
    """From the base, what is shown, side, the item looked up and the prefix."""
    *base, what, side, look, prefix = values
    item = look.get("id") if isinstance(look, Mapping) else ""
    return replace(
        base_view(library, tuple(base)),
        explore=choice(what, EXPLORE_VIEWS),
        side=choice(side, SIDES),
        item=text(item, 300),
        prefix=read_prefix(prefix),
    )


def new_view(library: Library, values: tuple[Any, ...]) -> View:
    """From the base, title, description and whether only new items compete."""
    *base, title, description, only_new = values
    return replace(
        base_view(library, tuple(base)),
        title=text(title, MAX_TEXT),
        description=text(description, MAX_TEXT),
        only_new=only_new is True,
    )


def read_prefix(value: Any) -> tuple[int, ...]:
    """A SID prefix as written, empty where it is none."""
    return from_query(f"prefix={text(value, 100)}")[0].prefix


def text(value: Any, limit: int) -> str:
    """A text, cut at `limit`; empty for anything else."""
    return value[:limit] if isinstance(value, str) else ""


def whole(value: Any, low: int, high: int, default: int) -> int:
    """A whole number within bounds; the default for anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return default
    return int(min(max(value, low), high))


def choice(value: Any, choices: tuple[str, ...]) -> str:
    """One of the choices, the first for anything else."""
    return value if isinstance(value, str) and value in choices else choices[0]


def columns(shelf: Shelf, left: str, right: str, third: str) -> tuple[str, str, str]:
    """The chosen columns; an empty second or third one is a choice, not a gap to fill."""
    chosen = list(shelf.pair(left, right))
    if not right:
        chosen[1] = ""
    if third in shelf.sources and third not in chosen:
        chosen.append(third)
    chosen = [name for name in chosen if name]
    left, right, third = [*chosen, "", ""][:3]
    return left, right, third
