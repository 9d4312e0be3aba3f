"""What every recommender backbone offers, and what it is given.

A backbone turns a history of items into a memory, and a memory with a prefix of codes into logits
for the next code. Beam search, the exact oracle and the training loop know nothing else, so the
causal item-level backbone and the paper's T5 over code tokens stand behind the same three calls.

Items come in as a `CodeView`: hard codes and, in joint training, a mixture over codewords that
carries the gradient. A batch tokenises each distinct item once and refers to it by position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diger.config import GradientPlace
from diger.tokenizer.trie import Trie

GRADIENT_PLACES: tuple[str, ...] = get_args(GradientPlace)


@dataclass(frozen=True, eq=False)
class CodeView:
    """The SIDs of a set of items as the recommender sees them.

    Attributes:
        codes: LongTensor (n, length): hard codes, suffix last.
        mixture: per level, a float tensor (n, codebook size) whose value is the one-hot of the
            hard code and whose gradient is the soft assignment's; None when nothing is to be
            learnt through the codes. The suffix never has one.
        places: where the gradient of the mixture is let through, of `GRADIENT_PLACES`.
        frequency: LongTensor (n,): how often each is a target of the whole batch, for a process
            that works on a share of it; None where the targets given are all.
    """

    codes: Tensor
    mixture: tuple[Tensor, ...] | None = None
    places: frozenset[str] = frozenset(GRADIENT_PLACES)
    frequency: Tensor | None = None

    def soft(self, place: str) -> bool:
        """Whether the tokenizer is to learn at `place`."""
        return self.mixture is not None and place in self.places

    def padded(self, n: int) -> CodeView:
        """With rows of zeros up to `n`, which no history refers to."""
        more = n - len(self.codes)
        mixture = self.mixture and tuple(F.pad(m, (0, 0, 0, more)) for m in self.mixture)
        return replace(self, codes=F.pad(self.codes, (0, 0, 0, more)), mixture=mixture)


class Losses(NamedTuple):
    """What a batch costs.

    Attributes:
        codes: (length,) mean cross-entropy in nats at each code position, suffix included.
        alignment: scalar, the item-level auxiliary loss of backbones that have one, else None.
    """

    codes: Tensor
    alignment: Tensor | None = None


class Recommender(nn.Module, ABC):
    """A model of the next item's SID given a history.

    Attributes:
        sizes: how many codes each position of a SID can take, suffix last.
        prefix_examples: a training history has one target, its last event, so that every event
            needs an example of its own; otherwise each event but the first is a target.
    """

    sizes: tuple[int, ...]
    prefix_examples: ClassVar[bool] = False

    @classmethod
    def build(
        cls, config: Any, *, sizes: tuple[int, ...], n_items: int, max_history: int
    ) -> Recommender:
        """One for SIDs of `sizes`, see `diger.recommender.build`; made from torch's random state.

        `config` is of the class's `Settings`, a `BackboneConfig`.
        """
        return cls(sizes=sizes, config=config, max_history=max_history)  # type: ignore[call-arg]

    @abstractmethod
    def encode(self, view: CodeView, index: Tensor, lengths: Tensor) -> Any:
        """The memory of histories `index` (B, T), positions in `view`, with `lengths` (B,)."""

    @abstractmethod
    def next_code_logits(self, memory: Any, prefix: Tensor) -> Tensor:
        """Logits (B, W, sizes[l]) of the code after each prefix (B, W, l)."""

    def logits_at(self, memory: Any, prefix: Tensor, trie: Trie, node: Tensor) -> Tensor:
        """`next_code_logits`, told at which nodes (B, W) of a trie the prefixes end; -1: at none.

        A search knows them; a backbone that would look them up need not.
        """
        return self.next_code_logits(memory, prefix)

    @abstractmethod
    def loss(
        self,
        view: CodeView,
        index: Tensor,
        lengths: Tensor,
        smoothing: float = 0.0,
        starts: Tensor | None = None,
    ) -> Losses:
        """Losses of histories `index` (B, T), positions in `view`, with `lengths` (B,).

        Means over every target of the batch: each event of a history but its first, or with
        `prefix_examples` its last, given the events before it. `smoothing` is the label smoothing
        of the cross-entropy over codes. `starts` as in `Batch`: an event is then given those of its
        piece only.
        """

    def item_inputs(self, sids: Tensor) -> Tensor | None:
        """What `encode_inputs` reads of items: vectors (items, d) of SIDs (items, length).

        A model that serves a catalogue makes them once. None where items are not read as vectors.
        """
        return None

    def encode_inputs(self, inputs: Tensor, lengths: Tensor) -> Any:
        """`encode` for histories (B, T, d) of `item_inputs`, with `lengths` (B,)."""
        raise NotImplementedError

    def item_keys(self, sids: Tensor) -> Tensor | None:
        """Vectors (items, d) that `item_query` scores whole items by, made of SIDs (items, length).

        None for a backbone without an item-level head.
        """
        return None

    def item_query(self, memory: Any) -> Tensor:
        """What stands for each history (B, d); logits of items are its products with the keys."""
        raise NotImplementedError

    def know_catalogue(self, trie: Trie) -> None:
        """Told the catalogue's SIDs before training, after loading, and whenever they change."""

    def forget_unreached(self, sids: Tensor) -> None:
        """Told the SIDs (items, length) after training: memory of any other may be dropped."""

    @property
    def length(self) -> int:
        """Codes in a SID, the suffix included."""
        return len(self.sizes)


def encode_items(model: Recommender, sids: Tensor, items: Tensor, lengths: Tensor) -> Any:
    """The memory of histories of item rows (B, T), each distinct item tokenised once.

    Args:
        model: the recommender.
        sids: LongTensor (items, length), the catalogue's SIDs.
        items: LongTensor (B, T) item rows, padded at the end.
        lengths: LongTensor (B,).
    """
    unique, index = torch.unique(items, return_inverse=True)
    return model.encode(CodeView(sids[unique]), index, lengths)


def code_cross_entropy(
    logits: Tensor,
    codes: Tensor,
    mixture: Tensor | None,
    smoothing: float = 0.0,
    real: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy in nats of logits (N, K) for hard codes (N,), of those that are `real`.

    With a mixture (N, K), one-hot in value, the same figure, whose gradient also moves the labels:
    toward codes that the recommender finds easy to predict.
    """
    wanted = codes if real is None else masked(codes, real)
    loss = F.cross_entropy(logits, wanted, label_smoothing=smoothing)
    if mixture is not None:
        # The value of this term is exactly 0; only the label's gradient is added.
        labels = (mixture - mixture.detach()) * logits.detach().log_softmax(-1)
        each = labels.sum(-1)
        loss = loss - (each.mean() if real is None else (each * real).sum() / real.sum())
    return loss


def masked(labels: Tensor, real: Tensor) -> Tensor:
    """Labels (N,) that `torch.nn.functional.cross_entropy` passes over where not `real` (N,)."""
    return labels.where(real, -100)


def check_prefix(prefix: Tensor, sizes: Sequence[int]) -> int:
    """The position that `prefix` (..., l) asks for.

    Raises:
        ValueError: the prefix is already a whole SID.
    """
    position = prefix.shape[-1]
    if position >= len(sizes):
        raise ValueError(f"a SID has {len(sizes)} codes; no code follows a prefix of {position}")
    return position


def last_positions(hidden: Tensor, lengths: Tensor) -> Tensor:
    """The hidden state (B, d) at the last event of each history in (B, T, d)."""
    return hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1]
