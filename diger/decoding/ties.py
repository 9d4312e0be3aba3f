"""The best of many scores, with ties decided by a rule and not by the sort's mood."""

from __future__ import annotations

from torch import Tensor


def best(scores: Tensor, width: int, tie_break: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `width` best of (B, n) scores and their columns, best first.

    Ties go to the smaller `tie_break` (B, n), by default to the smaller column. Sorting every row
    twice would cost more than the model that made the scores; it is done only for the rows in
    which equal scores sit inside or straddle the cut.
    """
    n = scores.shape[1]
    width = min(width, n)
    top, place = scores.topk(min(width + 1, n), dim=1)
    tied = (top[:, 1:] == top[:, :-1]) & top[:, 1:].isfinite()
    rows = tied.any(1).nonzero().squeeze(1)
    top, place = top[:, :width], place[:, :width]
    if rows.numel():
        some = scores[rows]
        if tie_break is None:
            chosen = some.argsort(dim=1, descending=True, stable=True)[:, :width]
        else:
            order = tie_break[rows].argsort(dim=1, stable=True)
            by_score = some.gather(1, order).argsort(dim=1, descending=True, stable=True)
            chosen = order.gather(1, by_score)[:, :width]
        top, place = top.clone(), place.clone()
        place[rows] = chosen
        top[rows] = some.gather(1, chosen)
    return top, place
