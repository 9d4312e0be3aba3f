"""A new item: its codes from its text, its place in the trie, and its chance to be recommended.

Nothing loaded is changed: the trie is built anew with one more item, and the network is copied
shallowly (its weights are shared) before it is told of the larger catalogue.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diger.decoding.beam import constrained_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.errors import DigerError
from diger.recommender.base import Recommender, encode_items
from diger.tokenizer.distinct import last_level_logits
from diger.tokenizer.trie import Trie

if TYPE_CHECKING:
    from diger.model import Model


@dataclass(frozen=True, eq=False)
class Ranking:
    """What is recommended once the new item is in the catalogue.

    Attributes:
        rows: item rows, best first; the new item is row `n_items`.
        scores: their log-probabilities in nats.
        rank: the new item's exact rank among all candidates, from 1.
        log_p: its log-probability.
        candidates: how many items were ranked.
    """

    rows: list[int]
    scores: list[float]
    rank: int
    log_p: float
    candidates: int


def content_vector(model: Model, text: str) -> np.ndarray:
    """The vector float32 (width,) of a new item as the bundle's tokenizer sees it."""
    if not text.strip():
        raise DigerError("a new item needs a title or a description")
    return model.content_of([text])[0]


def place(model: Model, vector: np.ndarray) -> tuple[int, ...]:
    """The SID of a new item with content vector (width,).

    Its suffix is the first that is free; where the codes have none left, the next nearest last code
    that has one is taken.
    """
    sids, room = _sids(model), _network(model).sizes[-1]
    x = torch.from_numpy(vector[None])
    codes = model.tokenizer.assign(x)
    *first, nearest = codes[0].tolist()
    beside = sids[(sids[:, :-2] == torch.tensor(first, device=sids.device)).all(dim=1)]
    taken = set(map(tuple, beside[:, -2:].tolist()))
    others = last_level_logits(model.tokenizer, x, codes)[0].argsort(descending=True).tolist()
    for code in (nearest, *others):
        for suffix in range(room):
            if (code, suffix) not in taken:
                return (*first, code, suffix)
    raise DigerError(
        f"all {len(taken)} SIDs that begin with {'-'.join(map(str, first))} are taken by other "
        "items; change the text"
    )


@torch.inference_mode()
def rank_with(
    model: Model,
    sid: Sequence[int],
    history: Sequence[int],
    *,
    k: int,
    width: int,
    among: Sequence[int] | None = None,
) -> Ranking:
    """Recommendations after `history` (item rows) with a new item of `sid` in the catalogue.

    Args:
        model: a model with SIDs.
        sid: the new item's, as from `place`.
        history: not empty; the latest events the model was trained for are used.
        k: how many to return.
        width: beams.
        among: rows that compete with the new item, all by default: the items without training
            events for a cold start.
    """
    if not history:
        raise DigerError("the history is empty; add at least one item")
    sids = _sids(model)
    new = len(sids)
    table = torch.cat([sids, torch.tensor([list(sid)], device=sids.device)])
    everything = Trie.build(table).to(sids.device)
    network = copy.copy(_network(model))
    network.know_catalogue(everything)
    trie = everything
    if among is not None:
        trie = Trie.build(table, np.array([*among, new], dtype=np.int64)).to(sids.device)
    shown = list(history)[-model.recipe.training.max_history :]
    items = torch.tensor([shown], device=sids.device)
    lengths = torch.tensor([len(shown)], device=sids.device)
    memory = encode_items(network, sids, items, lengths)
    found = constrained_beam_search(network, memory, 1, trie, max(width, k))
    real = found.items[0] >= 0
    exact = item_log_probabilities(network, memory, 1, trie, new + 1)[0]
    log_p = float(exact[new])
    return Ranking(
        rows=found.items[0][real][:k].tolist(),
        scores=found.scores[0][real][:k].tolist(),
        rank=1 + int((exact > exact[new]).sum()),
        log_p=log_p,
        candidates=trie.n_items,
    )


def _sids(model: Model) -> Tensor:
    if model.sids is None:
        raise DigerError(f"{model.bundle.name} is a {model.method} model: it has no semantic IDs")
    return model.sids


def _network(model: Model) -> Recommender:
    network = model.network
    if not isinstance(network, Recommender):
        raise DigerError(f"{model.bundle.name} is a {model.method} model: it has no semantic IDs")
    return network
