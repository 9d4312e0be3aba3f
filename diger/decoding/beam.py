"""Beam search over SIDs, constrained to the catalogue or free.

An item's score is the sum of log-softmax over the *full* codebook at each position; the catalogue
mask is applied after it, without renormalising, so scores mean the same in both modes and
probabilities of all items need not add up to one. Ties go to the smaller item row, at every depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diger.recommender.base import Recommender
from diger.tokenizer.trie import Trie

# The best of many scores, with ties decided by a rule and not by the sort's mood.


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


@dataclass(frozen=True, eq=False)
class BeamResult:
    """What a beam search found, best first.

    Attributes:
        items: LongTensor (B, W) item rows; -1 where there is none (an invalid SID, or fewer items
            than beams).
        scores: (B, W) log-probabilities in nats; -inf where there is none.
        sids: LongTensor (B, W, length), the codes generated.
        trace: per depth, what the beam held, if asked for.
    """

    items: Tensor
    scores: Tensor
    sids: Tensor
    trace: tuple[BeamDepth, ...] = ()


@dataclass(frozen=True, eq=False)
class BeamDepth:
    """The beam after one more code: prefixes (B, W, l); scores, nodes, parent beams (B, W)."""

    prefixes: Tensor
    scores: Tensor
    nodes: Tensor
    parents: Tensor


@torch.inference_mode()
def constrained_beam_search(
    model: Recommender,
    memory: Any,
    batch_size: int,
    trie: Trie,
    width: int,
    *,
    exclude: Tensor | None = None,
    keep_trace: bool = False,
) -> BeamResult:
    """The best items of the catalogue by beam search along the trie.

    Every prefix kept has at least one item below it, so no result is invalid, none comes twice,
    and there are `min(width, items)` of them.

    Args:
        model: gives the logits of the next code.
        memory: what `model.encode` made of the histories.
        batch_size: number of histories B in `memory`.
        trie: the catalogue.
        width: beams kept at each depth and results returned, at least 1.
        exclude: LongTensor (B, n) of item rows to leave out (padding -1). The beam is widened by
            `n`, so that leaving items out never shortens the list. For serving only.
        keep_trace: keep what the beam held at every depth, for "watch it think".
    """
    if width < 1:
        raise ValueError(f"beam width must be >= 1, got {width}")
    device = trie.item.device
    search_width = width if exclude is None else width + exclude.shape[1]
    node = torch.zeros(batch_size, 1, dtype=torch.long, device=device)
    score = torch.zeros(batch_size, 1, device=device)
    prefix = torch.zeros(batch_size, 1, 0, dtype=torch.long, device=device)
    trace = []
    for depth in range(trie.length):
        log_p = model.logits_at(memory, prefix, trie, node).float().log_softmax(-1)
        count = trie.n_children[depth][node]  # (B, W)
        step = torch.arange(int(count.max()), device=device)
        real = step < count[..., None]  # (B, W, C)
        child = torch.where(real, trie.first_child[depth][node][..., None] + step, 0)
        code = trie.code[depth][child].long()
        total = score[..., None] + log_p.gather(2, code)
        total = total.masked_fill(~real, -torch.inf).flatten(1)
        tie_break = trie.first_row[depth][child].flatten(1)
        score, place = best(total, search_width, tie_break)
        parent = place // len(step)
        node = child.flatten(1).gather(1, place)
        code = code.flatten(1).gather(1, place)
        prefix = torch.cat([_take(prefix, parent), code[..., None]], dim=-1)
        # A slot with no candidate left points at node 0 and stays at -inf from here on.
        node = torch.where(score.isfinite(), node, 0)
        if keep_trace:
            trace.append(BeamDepth(prefix, score, node, parent))
    items = torch.where(score.isfinite(), trie.item[node].long(), -1)
    if exclude is not None:
        seen = (items[..., None] == exclude[:, None, :]).any(-1) & (items >= 0)
        score = score.masked_fill(seen, -torch.inf)
        score, place = score.sort(dim=1, descending=True, stable=True)
        score, place = score[:, :width], place[:, :width]
        items = torch.where(score.isfinite(), items.gather(1, place), -1)
        prefix = _take(prefix, place)
    return BeamResult(items, score, prefix, tuple(trace))


@torch.inference_mode()
def free_beam_search(
    model: Recommender, memory: Any, batch_size: int, trie: Trie, width: int
) -> BeamResult:
    """Beam search over every possible SID: what the model would say with no catalogue in hand.

    SIDs that no item has come back with item -1; the published evaluation decodes like this.
    """
    if width < 1:
        raise ValueError(f"beam width must be >= 1, got {width}")
    device = trie.item.device
    node = torch.zeros(batch_size, 1, dtype=torch.long, device=device)  # -1: left the catalogue
    score = torch.zeros(batch_size, 1, device=device)
    prefix = torch.zeros(batch_size, 1, 0, dtype=torch.long, device=device)
    for depth in range(trie.length):
        log_p = model.logits_at(memory, prefix, trie, node).float().log_softmax(-1)
        total = (score[..., None] + log_p).flatten(1)
        # No item row stands behind an invalid SID: ties go to the earlier beam, the smaller code.
        score, place = best(total, width)
        parent, code = place // log_p.shape[-1], place % log_p.shape[-1]
        node = trie.child(depth, node.gather(1, parent), code)
        prefix = torch.cat([_take(prefix, parent), code[..., None]], dim=-1)
    items = torch.where(node >= 0, trie.item[node.clamp(min=0)].long(), -1)
    return BeamResult(items, score, prefix)


def _take(prefix: Tensor, parent: Tensor) -> Tensor:
    return prefix.gather(1, parent[..., None].expand(-1, -1, prefix.shape[-1]))
