"""Codes of an item's own: among items that share all codes but the last, each takes another one.

Where two items of such a group collide, the group's last codes are assigned anew so that all differ
and the summed squared error is least (the assignment problem, solved by scipy's variant of
Jonker and Volgenant). Groups without a collision keep their codes. A group with more items than
there are codes cannot be told apart this way: the items that its codes serve worst stay where they
were, and the suffix tells them apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diger.tokenizer.base import Tokenizer


@torch.no_grad()
def distinct_codes(tokenizer: Tokenizer, x: Tensor, codes: Tensor) -> Tensor:
    """Codes long (items, levels) with as few equal rows as the last level allows.

    Args:
        tokenizer: gives the codebooks and the similarity.
        x: content (items, dim).
        codes: long (items, levels), as assigned without regard to others.
    """
    from scipy.optimize import linear_sum_assignment  # here: a loaded model needs none of it

    table = codes.cpu().numpy().copy()
    prefix = np.unique(table[:, :-1], axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort([table[:, -1], prefix])
    same = (prefix[order][1:] == prefix[order][:-1]) & (
        table[order, -1][1:] == table[order, -1][:-1]
    )
    crowded = np.unique(prefix[order][1:][same])
    members = np.split(order, np.flatnonzero(np.diff(prefix[order])) + 1)
    for group in crowded:
        rows = members[group]
        at = torch.from_numpy(rows).to(codes.device)
        cost = -last_level_logits(tokenizer, x[at], codes[at]).cpu().numpy()
        chosen, code = linear_sum_assignment(cost)  # with more items than codes, some are left out
        table[rows[chosen], -1] = code
    return torch.from_numpy(table).to(codes.device)


@torch.no_grad()
def last_level_logits(tokenizer: Tokenizer, x: Tensor, codes: Tensor) -> Tensor:
    """Logits (n, codebook_size) of the last code for content x (n, dim), given the codes before it.

    `codes` is long (n, levels); its last column is not read.
    """
    last = tokenizer.levels - 1
    residual = tokenizer.latent(x)
    for level in range(last):
        residual = residual - tokenizer.codebooks[level, codes[:, level]]
    return tokenizer.level_logits(residual, last)
