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
    """From dataset, left, right, history, k, beam, leave out seen and decoding."""
    dataset, left, right, held, k, beam, seen, decoding = values
    ids, target = history_ids(held)
    dataset = text(dataset, 120)
    try:
        left, right = _pair(library.shelf(dataset), text(left, 200), text(right, 200))
    except DigerError:
        left = right = ""  # the panel asks for the dataset again, and says what is wrong
    return View(
        dataset=dataset,
        left=left,
        right=right,
        history=ids,
        target=target,
        k=whole(k, 1, MAX_K, 10),
        beam=whole(beam, 1, MAX_BEAM, 50),
        leave_out_seen=seen is True,
        decoding=choice(decoding, DECODINGS),
    )


def think_view(library: Library, values: tuple[Any, ...]) -> View:
    """From the base, the side and the tree's beams."""
    *base, side, beam = values
    return replace(
        base_view(library, tuple(base)),
        side=choice(side, SIDES),
        tree_beam=whole(beam, 1, MAX_TREE_BEAM, 5),
    )


def explore_view(library: Library, values: tuple[Any, ...]) -> View:
    """From dataset, left, right, what is shown, side, the item looked up and the prefix."""
    dataset, left, right, what, side, look, prefix = values
    item = look.get("id") if isinstance(look, Mapping) else ""
    return replace(
        base_view(library, (dataset, left, right, None, None, None, None, None)),
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


def _pair(shelf: Shelf, left: str, right: str) -> tuple[str, str]:
    """The chosen pair; an empty second model is a choice, not a gap to fill."""
    chosen_left, chosen_right = shelf.pair(left, right)
    return chosen_left, chosen_right if right else ""
