"""What the catalogue alone says about the next code: a prior inside the decoder's logits.

Of the 256 codes that could follow a prefix, a catalogue of 12,000 items has a handful. Left to
itself a decoder must learn by heart which: most of its loss, and of its capacity, goes into the
trie. So the logits of a code c after a prefix p get the term

    log(n(p c) + alpha) - log(n(p) + alpha K),

n counting items of the catalogue below a prefix (items, not events: nothing about users enters),
K codes at that position, alpha a small pseudo-count. The softmax still runs over the full
codebook and invalid codes keep a chance, so the model can be decoded freely, and a new item only
needs the trie built again. Where a prefix is in no SID the term is the same for all codes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diger.tokenizer.trie import Trie


class CataloguePrior:
    """The term above for one catalogue; rebuilt whenever SIDs change."""

    def __init__(self, trie: Trie, sizes: tuple[int, ...], alpha: float = 0.01) -> None:
        self.trie = trie
        self.sizes = sizes
        self.alpha = alpha

    def __call__(self, depth: int, node: Tensor) -> Tensor:
        """Log-prior (..., sizes[depth]) of the code after the prefixes `node` (...) at `depth`.

        A node of -1 stands for a prefix that no SID has.
        """
        trie, size = self.trie, self.sizes[depth]
        known = node >= 0
        node = node.clamp(min=0)
        if depth == 0:
            total = torch.full(node.shape, float(trie.n_items), device=node.device)
        else:
            total = trie.below[depth - 1][node].float()
        total = torch.where(known, total, 0.0)
        floor = (total + self.alpha * size).log()[..., None]
        # One column more than there are codes takes what is written for absent children.
        logs = torch.full((*node.shape, size + 1), self.alpha, device=node.device).log() - floor
        step = torch.arange(trie.most_children[depth], device=node.device)
        real = (step < trie.n_children[depth][node][..., None]) & known[..., None]
        child = torch.where(real, trie.first_child[depth][node][..., None] + step, 0)
        code = torch.where(real, trie.code[depth][child], size)
        value = (trie.below[depth][child].float() + self.alpha).log() - floor
        return logs.scatter(-1, code, value)[..., :size]
