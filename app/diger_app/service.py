"""What the app can do, as functions of a view: the page and the API both call these.

Results are plain frozen values without HTML. Recommendations are cached by everything they depend
on, so going back and forth between views, or sixteen people on one example, costs one search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diger.errors import DigerError
from diger.explain.prefixes import shared_depth
from diger.explain.spelling import Written, spell
from diger.explain.tree import Level, beam_tree
from diger.memory import Memory
from diger.tokenizer.suffix import parse_sid
from diger_app.shelf import Loaded, Shelf
from diger_app.view import MAX_HISTORY, View

_TOO_LONG = f"the history has {{}} items and the app reads {MAX_HISTORY}; give the latest"


@dataclass(frozen=True)
class Recommended:
    """One line of a list.

    Attributes:
        row: item row, None for a SID that no item has (free decoding).
        sid: codes and suffix; empty for a model without SIDs.
        log_p: log-probability in nats over the full codebook; for SASRec over the catalogue, for
            popularity the item's share of all training events.
        depth: leading codes shared with some item of the history, at most.
        sharers: positions in the history (from 0) of the items that share that many.
    """

    row: int | None
    sid: tuple[int, ...]
    log_p: float
    depth: int
    sharers: tuple[int, ...]

    @property
    def probability(self) -> float:
        """exp(log_p)."""
        return math.exp(min(self.log_p, 0.0))


@dataclass(frozen=True)
class Side:
    """One model's answer.

    Attributes:
        name, method: the bundle.
        listed: the first k.
        target_rank: rank of the true next item among the SIDs decoded; None where it is not there
            or not known.
        sids: whether the model writes SIDs.
        decoded: items or SIDs listed in all, at least k where the catalogue allows.
        invalid: how many of those no item has.
        read: events of the history that the model read.
    """

    name: str
    method: str
    sids: bool
    listed: tuple[Recommended, ...]
    target_rank: int | None
    decoded: int
    invalid: int
    read: int


_cache = Memory(most=512)


def history_rows(shelf: Shelf, ids: Sequence[str]) -> list[int]:
    """Item rows of a history.

    Raises:
        DigerError: an empty or endless history, or an item the catalogue does not have.
    """
    if not ids:
        raise DigerError("the history is empty; add at least one item")
    if len(ids) > MAX_HISTORY:
        raise DigerError(_TOO_LONG.format(len(ids)))
    rows, unknown = shelf.rows_of(list(ids))
    if unknown:
        raise DigerError(
            f"there is no item {unknown[0][:80]!r} in {shelf.key}; search for it by its title"
        )
    return rows


def checked_history(history: object) -> tuple[str, ...]:
    """A history as a program gave it; DigerError where it is no list of ids, or an endless one."""
    if not isinstance(history, list) or not all(isinstance(one, str) for one in history):
        raise DigerError("history must be a list of item ids")
    if len(history) > MAX_HISTORY:
        raise DigerError(_TOO_LONG.format(len(history)))
    return tuple(history)


def checked_number(name: str, value: object, low: int, high: int) -> int:
    """A number as a program gave it; DigerError where it is none or out of bounds."""
    if not isinstance(value, int | float) or value != value or not low <= value <= high:
        raise DigerError(
            f"the value of {name} must be a number from {low} to {high}, got {str(value)[:40]}"
        )
    return int(value)


def recommend(shelf: Shelf, name: str, view: View) -> Side:
    """What the bundle `name` recommends in a view.

    Raises:
        DigerError: an unusable history or bundle.
    """
    rows = tuple(history_rows(shelf, view.history))
    loaded = shelf.load(name)
    decoding = view.decoding
    if (decoding == "free" and not loaded.writes_sids) or (
        decoding == "hybrid" and not loaded.has_item_head
    ):
        decoding = "beam"
    seen = view.leave_out_seen and decoding != "free"
    width = max(view.beam, view.k)
    key = ("recommend", shelf.key, loaded.source.bundle.hash, rows, width, decoding, seen)
    found = _cache.get(key, lambda: _decode(loaded, shelf, rows, width, decoding, seen))
    target = shelf.rows.get(view.target)
    ranks = [i for i, one in enumerate(found, 1) if target is not None and one.row == target]
    return Side(
        name=loaded.name,
        method=loaded.method,
        sids=loaded.writes_sids,
        listed=found[: view.k],
        target_rank=ranks[0] if ranks else None,
        decoded=len(found),
        invalid=sum(one.row is None for one in found),
        read=min(len(rows), loaded.model.recipe.training.max_history),
    )


def tree(shelf: Shelf, name: str, view: View) -> list[Level]:
    """The beam of the bundle `name`, level by level.

    Raises:
        DigerError: an unusable history or bundle.
    """
    rows = tuple(history_rows(shelf, view.history))
    loaded = shelf.load(name)
    model = loaded.model
    shown = rows[-model.recipe.training.max_history :]
    key = ("tree", shelf.key, loaded.source.bundle.hash, shown, view.tree_beam)
    assert model.sids is not None and model.network is not None
    return _cache.get(
        key,
        lambda: beam_tree(model.network, model.sids, model.trie, shown, view.tree_beam),  # type: ignore[arg-type]
    )


def spelling(shelf: Shelf, name: str, view: View) -> tuple[Recommended, list[Written]] | None:
    """The first recommendation of the bundle `name` and how its SID is written, code by code.

    None where there is none: a model without SIDs, or one that first wrote a SID of no item.
    """
    loaded = shelf.load(name)
    model = loaded.model
    listed = recommend(shelf, name, view).listed
    if not listed or not loaded.writes_sids or listed[0].row is None:
        return None
    first = listed[0]
    rows = tuple(history_rows(shelf, view.history))[-model.recipe.training.max_history :]
    key = ("spelling", shelf.key, loaded.source.bundle.hash, rows, first.sid)
    assert model.sids is not None
    made = _cache.get(key, lambda: spell(model.network, model.sids, rows, first.sid))  # type: ignore[arg-type]
    return first, made


def words_for(shelf: Shelf, loaded: Loaded, prefix: Sequence[int], limit: int = 3) -> list[str]:
    """What a prefix means: the telling terms of the items under it; empty without item text."""
    terms = shelf.terms
    if terms is None or not prefix:
        return []
    key = ("words", shelf.key, loaded.source.bundle.hash, tuple(prefix), limit)

    def make() -> list[str]:
        wanted = np.asarray(prefix)
        under = (loaded.codes[:, : len(wanted)] == wanted[: loaded.codes.shape[1]]).all(axis=1)
        return terms.describe(np.flatnonzero(under), limit)

    return _cache.get(key, make)


def _decode(
    loaded: Loaded, shelf: Shelf, rows: Sequence[int], width: int, decoding: str, seen: bool
) -> tuple[Recommended, ...]:
    events = max(int(shelf.popularity.sum()), 1)
    listed = loaded.model.recommend(
        [shelf.ids[row] for row in rows],
        width,
        beam=width,
        decoding=decoding,  # type: ignore[arg-type]
        leave_out_seen=seen,
    )
    history = loaded.codes[list(rows)]
    found = []
    for one in listed:
        sid = parse_sid(one.sid) if one.sid else ()
        depth = shared_depth(history, sid[:-1])
        deepest = int(depth.max())
        score = one.score
        if loaded.method == "popularity":  # the score is the number of training events
            score = math.log(max(score, 1e-9) / events)
        sharers = tuple(int(i) for i in np.flatnonzero(depth == deepest)) if deepest else ()
        row = None if one.item_id is None else shelf.rows[one.item_id]
        found.append(Recommended(row, sid, score, deepest, sharers))
    return tuple(found)
