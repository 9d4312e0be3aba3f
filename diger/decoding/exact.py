"""The exact log-probability of every item: the oracle that beam search is judged by.

Every node of the trie is scored once for each history, so it costs about as many decoder steps as
there are distinct prefixes: for samples, tests and small catalogues, not for the daily evaluation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diger.recommender.base import Recommender
from diger.tokenizer.trie import Trie


@torch.inference_mode()
def item_log_probabilities(
    model: Recommender,
    memory: Any,
    batch_size: int,
    trie: Trie,
    n_rows: int,
    chunk: int | None = None,
) -> Tensor:
    """Log-probability in nats of every item, (B, n_rows); -inf for rows not in the trie.

    Scores are those of beam search: sums of log-softmax over the full codebook at each position.

    Args:
        model: gives the logits of the next code.
        memory: what `model.encode` made of the histories.
        batch_size: number of histories B in `memory`.
        trie: the catalogue.
        n_rows: width of the answer, more than the largest item row in the trie.
        chunk: prefixes scored at once, which bounds memory at B x chunk x codebook size. By default
            on a CPU so few that what a layer hands the next is still in its cache.
    """
    device = trie.item.device
    if chunk is None:
        chunk = max(1, (4096 if device.type == "cpu" else 65536) // batch_size)
    scores = torch.zeros(batch_size, 1, device=device)
    prefixes = torch.zeros(1, 0, dtype=torch.long, device=device)
    for depth in range(trie.length):
        counts = trie.n_children[depth]
        _, parents = trie.children(depth, torch.arange(len(counts), device=device))
        code = trie.code[depth].long()
        below = torch.empty(batch_size, len(code), device=device)
        for start in range(0, len(prefixes), chunk):
            block = prefixes[start : start + chunk]
            node = torch.arange(start, start + len(block), device=device).expand(batch_size, -1)
            log_p = model.logits_at(memory, block.expand(batch_size, -1, -1), trie, node)
            log_p = log_p.float().log_softmax(-1)
            first = int(trie.first_child[depth][start])
            children = slice(first, first + int(counts[start : start + chunk].sum()))
            below[:, children] = log_p[:, parents[children] - start, code[children]]
        scores = scores[:, parents] + below
        prefixes = torch.cat([prefixes[parents], code[:, None]], dim=1)
    answer = torch.full((batch_size, n_rows), -torch.inf, device=device)
    answer[:, trie.item] = scores
    return answer
