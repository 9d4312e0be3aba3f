"""Hybrid decoding: the beam proposes, the item-level head has a say in the order.

Published hybrids put a dense head beside the generative one and gain over their own SIDs
(LIGER, Yang et al. 2024; COBRA, Yang et al. 2025). Here the head is the alignment loss's, whose
item vectors are made of codes alone, so an item new to the catalogue is ranked like any other.
Only what the beam found is scored: the cost does not grow with the catalogue.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diger.decoding.beam import BeamResult, best, constrained_beam_search
from diger.recommender.base import Recommender
from diger.tokenizer.trie import Trie

# Beside a SID's log-probability. Of 0, .25, .5, 1 and 2 the best or next to it on the validation
# split of every dataset looked at (docs/hybrid.md).
WEIGHT = 0.5

# The beam is wider than the list, or there would be nothing to bring up from below.
WIDTH = 50


@torch.inference_mode()
def hybrid_search(
    model: Recommender,
    memory: Any,
    batch_size: int,
    trie: Trie,
    keys: Tensor,
    width: int,
    **options: Any,
) -> BeamResult:
    """Beam search at least `WIDTH` wide, and the `width` best of it in the order of both heads.

    `keys` are `model.item_keys` of the catalogue; all else as in `constrained_beam_search`.
    """
    wide = max(width, WIDTH)
    found = constrained_beam_search(model, memory, batch_size, trie, wide, **options)
    return rerank(found, model.item_query(memory), keys, width)


@torch.inference_mode()
def rerank(result: BeamResult, query: Tensor, keys: Tensor, width: int | None = None) -> BeamResult:
    """A beam in the order of both heads, its `width` best.

    The probability that the beam holds is dealt out anew, in proportion to p(SID) * s ** `WEIGHT`,
    s being the softmax of the item-level logits: scores stay log-probabilities in nats that add up
    to what the beam search gave its whole beam. (The softmax runs over the catalogue; its
    denominator is the same for all items, so it is never computed.)

    Args:
        result: of constrained beam search, (B, W).
        query: (B, d) of the histories, see `Recommender.item_head`.
        keys: (items, d) of the catalogue.
        width: results returned; all by default.
    """
    found = result.scores.isfinite()
    logits = (keys[result.items.clamp(min=0)] @ query[..., None]).squeeze(-1).float()
    both = (result.scores + WEIGHT * logits).masked_fill(~found, -torch.inf)
    mass = result.scores.logsumexp(1, keepdim=True)
    both = torch.where(found, both.log_softmax(1) + mass, -torch.inf)
    score, place = best(both, both.shape[1] if width is None else width, result.items)
    sids = result.sids.gather(1, place[..., None].expand(-1, -1, result.sids.shape[-1]))
    return BeamResult(result.items.gather(1, place), score, sids, result.trace)
