"""The beam as a tree: at each level, which prefixes were weighed, kept and dropped.

The search is run again with its trace kept, and the candidates that its beams had at each level
are scored as the search scored them: log-softmax over the full codebook, within the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diger.decoding.beam import constrained_beam_search
from diger.recommender.base import Recommender, encode_items
from diger.tokenizer.trie import Trie


@dataclass(frozen=True)
class Branch:
    """One prefix that was weighed.

    Attributes:
        prefix: its codes.
        log_p: log-probability of the whole prefix in nats.
        step: log-probability of its last code given the others.
        kept: whether it stayed in the beam.
        items: how many items of the catalogue lie below it.
        row: the item, at the last level.
    """

    prefix: tuple[int, ...]
    log_p: float
    step: float
    kept: bool
    items: int
    row: int | None


@dataclass(frozen=True)
class Level:
    """One level of the search.

    Attributes:
        branches: those kept, best first, then the best of those dropped.
        weighed: how many prefixes of the catalogue the beam chose from.
        kept: how many it kept.
        outside: probability that the level's kept parents together gave to codes that no item has,
            as a share of the parents' own probability.
    """

    branches: tuple[Branch, ...]
    weighed: int
    kept: int
    outside: float


@torch.inference_mode()
def beam_tree(
    model: Recommender,
    sids: Tensor,
    trie: Trie,
    history: Sequence[int],
    width: int,
    *,
    dropped: int = 4,
) -> list[Level]:
    """Levels of the beam search after `history` (item rows, oldest first), suffix last.

    Args:
        model: the recommender.
        sids: LongTensor (items, length), the catalogue's SIDs.
        trie: the same as a trie.
        history: not empty, no longer than the model was trained for.
        width: beams.
        dropped: how many of the dropped prefixes to report at each level.
    """
    device = trie.item.device
    items = torch.tensor([list(history)], device=device)
    memory = encode_items(model, sids, items, torch.tensor([len(history)], device=device))
    found = constrained_beam_search(model, memory, 1, trie, width, keep_trace=True)
    levels = []
    parents = torch.zeros(1, 0, dtype=torch.long, device=device)
    nodes = torch.zeros(1, dtype=torch.long, device=device)
    scores = torch.zeros(1, device=device)
    for depth, beam in enumerate(found.trace):
        log_p = model.next_code_logits(memory, parents[None]).float().log_softmax(-1)[0]
        child, owner = trie.children(depth, nodes)
        code = trie.code[depth][child].long()
        step = log_p[owner, code]
        total = scores[owner] + step
        alive = beam.scores[0].isfinite()
        kept_nodes = beam.nodes[0][alive]
        is_kept = torch.isin(child, kept_nodes)
        order = torch.argsort(total, descending=True, stable=True)
        order = torch.cat([order[is_kept[order]], order[~is_kept[order]][:dropped]])
        last = depth == trie.length - 1
        branches = tuple(
            Branch(
                prefix=(*parents[owner[i]].tolist(), int(code[i])),
                log_p=float(total[i]),
                step=float(step[i]),
                kept=bool(is_kept[i]),
                items=int(trie.below[depth][child[i]]),
                row=int(trie.item[child[i]]) if last else None,
            )
            for i in order.tolist()
        )
        inside = float(total.double().exp().sum() / scores.double().exp().sum())
        levels.append(Level(branches, len(child), len(kept_nodes), max(0.0, 1 - inside)))
        parents, nodes, scores = beam.prefixes[0][alive], kept_nodes, beam.scores[0][alive]
    return levels
