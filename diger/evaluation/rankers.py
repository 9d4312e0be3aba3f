"""The rankers: how each kind of model turns a batch of histories into a ranked list.

Labels matter: published figures decode without constraint, ours within the catalogue, and a
comparison of SID arms needs the same decoding on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from diger.data.batches import Batch
from diger.decoding.beam import BeamResult, constrained_beam_search, free_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.decoding.hybrid import WIDTH, hybrid_search
from diger.errors import DigerError
from diger.evaluation.ranking import Ranked, ranked_from_list, ranked_from_scores
from diger.recommender.base import Recommender, encode_items
from diger.recommender.sasrec import Sasrec
from diger.tokenizer.trie import Trie

Mode = Literal["beam", "hybrid", "free", "exact"]
MODES: tuple[Mode, ...] = get_args(Mode)
EXACT = "exact, every item scored"


@dataclass(frozen=True, eq=False)
class SidRanker:
    """Ranks with a SID recommender: beam search within the catalogue, without, or every score.

    "hybrid" has the beam, at least `WIDTH` wide, reranked by the item-level head.
    """

    model: Recommender  # in evaluation mode
    sids: Tensor  # LongTensor (items, length), the SID of every item row
    trie: Trie  # the same SIDs
    mode: Mode
    beam: int  # beams kept, where there are any
    group: Tensor | None = None  # LongTensor (items,) collision group of each item

    @property
    def decoding(self) -> str:
        """The label that goes with every figure made this way."""
        if self.mode == "exact":
            return EXACT
        if self.mode == "hybrid":
            return f"hybrid, {max(self.beam, WIDTH)} beams reranked by the item-level head"
        kind = "constrained" if self.mode == "beam" else "unconstrained"
        return f"{kind} beam search, {self.beam} beams"

    @cached_property
    def keys(self) -> Tensor:
        """(items, d) of the item-level head, as the model is when it is first asked."""
        with torch.inference_mode():
            keys = self.model.item_keys(self.sids)
        if keys is None:
            raise DigerError("hybrid decoding needs an item-level head, and this backbone has none")
        return keys

    def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
        """See `Ranker`."""
        with torch.inference_mode():
            memory = encode_items(self.model, self.sids, batch.items, batch.lengths)
        size = len(batch.lengths)
        if self.mode == "exact":
            scores = item_log_probabilities(self.model, memory, size, self.trie, len(self.sids))
            return ranked_from_scores(scores, targets, self.group, seen)
        result: BeamResult
        if self.mode == "hybrid":
            width = max(self.beam, WIDTH)  # all of it, to tell where a target of low rank stands
            result = hybrid_search(self.model, memory, size, self.trie, self.keys, width)
        else:
            search = constrained_beam_search if self.mode == "beam" else free_beam_search
            result = search(self.model, memory, size, self.trie, self.beam)
        return ranked_from_list(result.items, result.scores, targets, self.group, seen)


@dataclass(frozen=True, eq=False)
class SasrecRanker:
    """Ranks with SASRec: every item is scored."""

    model: Sasrec
    decoding: ClassVar[str] = EXACT

    def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
        """See `Ranker`."""
        with torch.inference_mode():
            scores = self.model.scores(batch.items, batch.lengths).float()
        return ranked_from_scores(scores, targets, seen=seen)


@dataclass(frozen=True, eq=False)
class PopularityRanker:
    """The same list for everyone: items by their number of training events."""

    popularity: Tensor  # (items,)
    decoding: ClassVar[str] = EXACT

    def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
        """Rank for any histories; they are not looked at."""
        scores = self.popularity.float().expand(len(targets), -1)
        return ranked_from_scores(scores, targets, seen=seen)
