"""What the training loop trains: a module, its loss on a batch, and how it is ranked.

The loop knows nothing of methods. Frozen SIDs, SASRec, and later joint training are each a task.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from diger.config import JointConfig, TrainingConfig
from diger.data.batches import Batch, Histories
from diger.data.dataset import Dataset
from diger.evaluation.rankers import Mode, SasrecRanker, SidRanker
from diger.evaluation.ranking import Ranker
from diger.recommender.base import CodeView, Losses, Recommender
from diger.recommender.sasrec import Sasrec
from diger.tokenizer.trie import Trie


class Task(Protocol):
    """Anything the loop can train."""

    @property
    def module(self) -> nn.Module:
        """All that is trained."""

    @property
    def prefix_examples(self) -> bool:
        """Whether an example has one target, its last event (see `Recommender`)."""

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for AdamW; each `lr` is the peak that the schedule scales."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """What to minimise, in nats, and the parts worth logging."""

    def ranker(self) -> Ranker:
        """How validation ranks, with the module as it is now."""

    def norm_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters whose gradients are clipped together, by the name of their norm's column."""

    def averaged(self) -> list[nn.Parameter]:
        """Parameters of which a running average is evaluated and kept."""

    def begin_update(self, update: int, updates: int) -> None:
        """Told before each update: how many were done, of how many."""

    def end_update(self, update: int) -> None:
        """Told after each update: how many were done."""

    def end_epoch(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Before an epoch's validation: columns for the history, and records of the codebooks."""

    def restored(self, records: list[dict[str, Any]]) -> None:
        """Told after the module's state was loaded, with the records of the epochs so far."""


class PlainTask:
    """What tasks without a second component answer: one optimisation, nothing to watch."""

    module: nn.Module

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """One learning rate for everything."""
        return decayed_groups(self.module, learning_rate, weight_decay)

    def norm_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters together."""
        return {"gradient_norm": list(self.module.parameters())}

    def averaged(self) -> list[nn.Parameter]:
        """All parameters."""
        return list(self.module.parameters())

    def begin_update(self, update: int, updates: int) -> None:
        """Nothing to do."""

    def end_update(self, update: int) -> None:
        """Nothing to do."""

    def end_epoch(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Nothing to report."""
        return {}, []

    def restored(self, records: list[dict[str, Any]]) -> None:
        """Nothing to do."""


def training_histories(
    prefix_examples: bool, dataset: Dataset, max_history: int, device: torch.device
) -> Histories:
    """What is learned from: whole histories, or with `prefix_examples` one example a target."""
    make = Histories.of_prefixes if prefix_examples else Histories.of_training
    return make(dataset, max_history, device)


def count_targets(task: Task, lengths: Tensor) -> int:
    """Targets in training histories of `lengths` (B,)."""
    return len(lengths) if task.prefix_examples else int(lengths.sum()) - len(lengths)


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


def recommendation_loss(losses: Losses, alignment: float) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy per code position, plus the alignment loss in its share; and the parts."""
    parts = {f"loss_{i + 1}": value for i, value in enumerate(losses.codes.detach().tolist())}
    total = losses.codes.mean()
    parts["loss_codes"] = total.item()
    if losses.alignment is not None and alignment:
        total = total + alignment * losses.alignment / len(losses.codes)
        parts["loss_alignment"] = losses.alignment.item()
    return total, parts


class StaticTask(PlainTask):
    """A SID recommender on frozen SIDs: two-stage training, method `static`."""

    def __init__(
        self,
        *,
        model: Recommender,
        sids: Tensor,
        group: Tensor,
        beam: int,
        decoding: Mode = "beam",
        smoothing: float = 0.0,
        alignment: float = 0.0,
    ) -> None:
        self.module = model
        self.prefix_examples = model.prefix_examples
        self.alignment = alignment
        self.sids = sids
        self.trie = Trie.build(sids).to(sids.device)
        model.know_catalogue(self.trie)
        self.group = group
        self.beam = beam
        self.decoding = decoding
        self.smoothing = smoothing
        self.model = model

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy per code position, plus the alignment loss in its share."""
        unique, index = batch.distinct()
        view = CodeView(self.sids[unique], frequency=batch.frequency(unique))
        losses = self.model.loss(view, index, batch.lengths, self.smoothing, batch.starts)
        return recommendation_loss(losses, self.alignment)

    def ranker(self) -> Ranker:
        """As the recipe says: beam search, or with the item-level head."""
        return SidRanker(self.model, self.sids, self.trie, self.decoding, self.beam, self.group)


class SasrecTask(PlainTask):
    """SASRec with full cross-entropy."""

    prefix_examples = False

    def __init__(self, *, model: Sasrec, smoothing: float = 0.0) -> None:
        self.module = model
        self.model = model
        self.smoothing = smoothing

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy an event."""
        return self.model.loss(batch.items, batch.lengths, self.smoothing, batch.starts), {}

    def ranker(self) -> Ranker:
        """Every item scored."""
        return SasrecRanker(self.model)


# Rates that hold for runs of any length.
#
# What is set per update (the tokenizer's and sigma's learning rates, the momentum of code usage,
# the updates between two refreshes) does something else in a run with more updates: at one rate,
# codewords move as far as there are updates to move them. A recipe therefore says for how many
# updates its rates are, and a run with more or fewer goes slower or faster in proportion. Warm-up
# and schedules go by shares of the run as it is.


def count_updates(histories: int, training: TrainingConfig) -> int:
    """Updates of a whole run, with the last, smaller batch of each epoch."""
    return training.epochs * math.ceil(histories / training.batch_size)


def paced(config: JointConfig, updates: int) -> JointConfig:
    """`config` with its rates rescaled from `config.updates` updates to `updates`.

    >>> config = JointConfig(learning_rate=2e-5, updates=1000)
    >>> paced(config, 4000).learning_rate
    5e-06
    """
    if not config.updates:
        return config
    factor = config.updates / updates
    return config.model_copy(
        update={
            "learning_rate": config.learning_rate * factor,
            "offsets": config.offsets * factor,
            "mixing": config.mixing * factor,
            "refresh": max(1, round(config.refresh / factor)) if config.refresh else 0,
            "uncertainty": config.uncertainty.paced(factor),
        }
    )
