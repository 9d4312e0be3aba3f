"""How a model spells a SID after a history: at each level the code, its chance, and the runners-up.

Scored as the search scores: log-softmax over the full codebook, choices within the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diger.recommender.base import Recommender, encode_items


@dataclass(frozen=True)
class Written:
    """One code of a SID.

    Attributes:
        prefix: the codes up to and with this one.
        step: log-probability in nats of the code given those before it.
        rank: its place among the codes that an item has after the same prefix, from 1.
        others: (code, log-probability) of the best of those others.
        items: how many items of the catalogue begin with the prefix.
    """

    prefix: tuple[int, ...]
    step: float
    rank: int
    others: tuple[tuple[int, float], ...]
    items: int


@torch.inference_mode()
def spell(
    model: Recommender,
    sids: Tensor,
    history: Sequence[int],
    sid: Sequence[int],
    *,
    others: int = 2,
) -> list[Written]:
    """The codes of `sid`, suffix last, one after another.

    Args:
        model: the recommender.
        sids: LongTensor (items, length), the catalogue's SIDs.
        history: item rows, oldest first; not empty, no longer than the model was trained for.
        sid: what is spelt; an item of the catalogue has it.
        others: how many runners-up to report a level.
    """
    items = torch.tensor([list(history)], device=sids.device)
    memory = encode_items(model, sids, items, torch.tensor([len(history)], device=sids.device))
    below = sids
    written = []
    for level, code in enumerate(sid):
        before = torch.tensor([[list(sid[:level])]], dtype=torch.long, device=sids.device)
        logits = model.next_code_logits(memory, before.reshape(1, 1, level))
        log_p = logits.float().log_softmax(-1)[0, 0]
        choices = below[:, level].unique()
        order = choices[log_p[choices].argsort(descending=True, stable=True)].tolist()
        rank = 1 + order.index(int(code))
        rest = [(one, float(log_p[one])) for one in order if one != code][:others]
        below = below[below[:, level] == code]
        prefix = tuple(int(one) for one in sid[: level + 1])
        written.append(Written(prefix, float(log_p[code]), rank, tuple(rest), len(below)))
    return written
