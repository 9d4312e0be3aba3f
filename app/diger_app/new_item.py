"""A new item, from its text: SID, company and recommendations under one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diger.content.encoder import item_text
from diger.errors import DigerError
from diger.explain.newcomer import Ranking, content_vector, place, rank_with
from diger.explain.prefixes import shared_depth
from diger_app.service import history_rows
from diger_app.shelf import Loaded, Shelf
from diger_app.view import MAX_TEXT, View


@dataclass(frozen=True, eq=False)
class NewItem:
    """A new item under one model.

    Attributes:
        loaded: the model.
        sid: its codes and the suffix it would get.
        beside: (depth, rows) of the items that share most leading codes, deepest first.
        near: rows nearest in content, and their cosines.
        ranking: with the history of the view; None without a history.
        cold: how many known items have no training events.
    """

    loaded: Loaded
    sid: tuple[int, ...]
    beside: tuple[tuple[int, np.ndarray], ...]
    near: tuple[np.ndarray, np.ndarray]
    ranking: Ranking | None
    cold: int


def new_item(shelf: Shelf, name: str, view: View) -> NewItem:
    """Name, place and rank a new item with the title and description of a view.

    Raises:
        DigerError: no text or too much, no text encoder, no tokenizer in the bundle, or an
            unusable history.
    """
    title, description = view.title.strip(), view.description.strip()
    if not title and not description:
        raise DigerError("a new item needs a title or a description; type one")
    if max(len(title), len(description)) > MAX_TEXT:
        raise DigerError(f"title and description may have {MAX_TEXT} characters each; shorten them")
    loaded = shelf.load(name)
    model = loaded.model
    vector = content_vector(model, item_text({"title": title, "description": description}))
    sid = place(model, vector)
    cold = np.flatnonzero(shelf.popularity == 0)
    ranking = None
    if view.history:
        history = history_rows(shelf, view.history)
        known = cold if view.only_new else np.arange(len(shelf.ids))
        if view.leave_out_seen:
            known = np.setdiff1d(known, history)
        ranking = rank_with(
            model, sid, history, k=view.k, width=max(view.beam, view.k), among=known.tolist()
        )
    space = shelf.space
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.float32))
    return NewItem(
        loaded=loaded,
        sid=sid,
        beside=_beside(loaded, sid[:-1], shelf.popularity),
        near=nothing if space is None else space.nearest(vector, 8),
        ranking=ranking,
        cold=len(cold),
    )


def _beside(
    loaded: Loaded, codes: Sequence[int], popularity: np.ndarray, most: int = 8
) -> tuple[tuple[int, np.ndarray], ...]:
    depth = shared_depth(loaded.codes, codes)
    found = []
    for d in range(len(codes), 0, -1):
        rows = np.flatnonzero(depth == d)
        if len(rows):
            order = rows[np.argsort(-popularity[rows], kind="stable")]
            found.append((d, order[:most]))
    return tuple(found)
