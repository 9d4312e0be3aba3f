"""What the training loop trains: a module, its loss on a batch, and how it is ranked.

The loop knows nothing of methods. Frozen SIDs, SASRec, and later joint training are each a task.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from diger.decoding.trie import Trie
from diger.evaluation.rankers import SasrecRanker, SidRanker
from diger.evaluation.ranking import Ranker
from diger.recommender.base import Batch, CodeView, Recommender
from diger.recommender.sasrec import Sasrec


class Task(Protocol):
    """Anything the loop can train."""

    @property
    def module(self) -> nn.Module:
        """All that is trained."""

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for AdamW; each `lr` is the peak that the schedule scales."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """What to minimise, in nats, and the parts worth logging."""

    def ranker(self) -> Ranker:
        """How validation ranks, with the module as it is now."""


def decayed_groups(
    module: nn.Module, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW groups: weight decay on matrices, none on norms, biases and positions' offsets."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [
        {"params": matrices, "lr": learning_rate, "weight_decay": weight_decay},
        {"params": vectors, "lr": learning_rate, "weight_decay": 0.0},
    ]


class StaticTask:
    """A SID recommender on frozen SIDs: two-stage training, method `static`."""

    def __init__(
        self,
        *,
        model: Recommender,
        sids: Tensor,
        group: Tensor,
        beam: int,
        smoothing: float = 0.0,
        alignment: float = 0.0,
    ) -> None:
        self.module = model
        self.alignment = alignment
        self.sids = sids
        self.trie = Trie.build(sids).to(sids.device)
        model.know_catalogue(self.trie)
        self.group = group
        self.beam = beam
        self.smoothing = smoothing
        self.model = model

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """One learning rate for everything."""
        return decayed_groups(self.module, learning_rate, weight_decay)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy per code position, plus the alignment loss in its share."""
        unique, index = torch.unique(batch.items, return_inverse=True)
        view = CodeView(self.sids[unique])
        codes, alignment = self.model.loss(view, index, batch.lengths, self.smoothing)
        parts = {f"loss_{i + 1}": value for i, value in enumerate(codes.detach().tolist())}
        total = codes.mean()
        parts["loss_codes"] = total.item()
        if alignment is not None and self.alignment:
            total = total + self.alignment * alignment / len(codes)
            parts["loss_alignment"] = alignment.item()
        return total, parts

    def ranker(self) -> Ranker:
        """Constrained beam search."""
        return SidRanker(self.model, self.sids, self.trie, "beam", self.beam, self.group)


class SasrecTask:
    """SASRec with full cross-entropy."""

    def __init__(self, *, model: Sasrec, smoothing: float = 0.0) -> None:
        self.module = model
        self.model = model
        self.smoothing = smoothing

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """One learning rate for everything."""
        return decayed_groups(self.module, learning_rate, weight_decay)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy an event."""
        return self.model.loss(batch.items, batch.lengths, self.smoothing), {}

    def ranker(self) -> Ranker:
        """Every item scored."""
        return SasrecRanker(self.model)
