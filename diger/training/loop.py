"""The training loop: epochs over length-bucketed batches, validation, early stop, exact resume.

The order of batches is a function of (seed, epoch), the learning rate of the update; all else that
matters is in the saved state, so a run that was stopped at any moment ends with the same weights as
one that was not (same machine, same threads). State is saved at least once a minute and at every
epoch's end; Ctrl-C saves and leaves. The best epoch is the one with the highest validation ndcg@10,
a first metric of 0 included, and its (averaged) weights are what the caller gets back. What several
processes must agree on goes through `diger.training.distributed`.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diger.config import EvaluationConfig, TrainingConfig
from diger.data.batches import training_order, varied
from diger.data.dataset import Dataset
from diger.errors import DigerError, Stopped
from diger.evaluation.metrics import summary
from diger.evaluation.ranking import rank_split
from diger.files import replacing
from diger.recommender.products import autocast
from diger.training import distributed
from diger.training.state import Progress, load_state, save_state
from diger.training.task import Task, count_targets, count_updates, training_histories

# Ctrl-C during training: the batch is finished, the state saved, then the run stops.


class Interrupted(Stopped):
    """Ctrl-C, after the state was saved."""


@contextmanager
def ctrl_c(patient: bool = False) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C (or SIGTERM) was pressed; the first press waits for the batch to end.

    A second press stops at once, unless `patient`: a launcher of several processes may send two
    signals for one press, and kills those that take too long in any case.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed and not patient:
            raise KeyboardInterrupt
        pressed = True

    try:
        before = {s: signal.signal(s, press) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals go elsewhere
        yield lambda: False
        return
    try:
        yield lambda: pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


SAVE_EVERY_SECONDS = 60.0
FINAL_RATE = 0.02  # of the peak learning rate, where the cosine ends


@dataclass(frozen=True, eq=False)
class FitResult:
    """What training leaves beside the weights in the module.

    Attributes:
        history: one row an epoch: losses, learning rate, gradient norm, validation, seconds.
        best_epoch: the epoch whose weights are in the module.
        seconds: training and validation, over all sittings.
        peak_memory_bytes: of the process (resident set) on a CPU, of the allocator on a GPU; the
            most of all sittings.
        records: of the codebooks, one an epoch and level; empty without joint training.
    """

    history: pd.DataFrame
    best_epoch: int
    seconds: float
    peak_memory_bytes: int
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class EpochEvent:
    """Told to the caller during training, for a progress line.

    Attributes:
        epoch: the current epoch, from 1.
        epochs: the most there will be.
        done: batches done in this epoch.
        total: batches in an epoch.
        row: the epoch's row of the history once it is finished, else None.
        best_epoch: best so far, 0 for none.
        resumed: the run goes on from a saved state.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    row: dict[str, float] | None = None
    best_epoch: int = 0
    resumed: bool = False

    @property
    def line(self) -> str:
        """A finished epoch in words, with a star where it is the best so far; else nothing."""
        if self.row is None:
            return ""
        line = f"epoch {self.epoch:>3}/{self.epochs}  loss {self.row['loss']:.4f}"
        if "validation_ndcg@10" in self.row:
            line += (
                f"  validation recall@10 {self.row['validation_recall@10']:.4f}"
                f"  ndcg@10 {self.row['validation_ndcg@10']:.4f}"
                f"{' *' if self.best_epoch == self.epoch else ''}"
            )
        return f"{line}  {self.row['seconds']:.1f} s"


def learning_rate_at(update: int, total: int, warmup: float) -> float:
    """Share of the peak at an update (from 0): linear warm-up, then cosine to `FINAL_RATE`."""
    warm = max(1, round(total * warmup))
    if update < warm:
        return (update + 1) / warm
    along = (update - warm) / max(1, total - warm)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


def fit(
    task: Task,
    dataset: Dataset,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    *,
    seed: int,
    device: torch.device,
    folder: Path,
    identity: str,
    on_event: Callable[[EpochEvent], None] = lambda event: None,
) -> FitResult:
    """Train `task.module`; on return it holds the weights of the best epoch, in evaluation mode.

    Args:
        task: what is trained.
        dataset: gives training histories and validation targets; the test split is not touched.
        training: the optimisation.
        evaluation: how validation ranks.
        seed: of dropout and batch order.
        device: where everything lies.
        folder: existing folder for the saved state; a state found there is continued.
        identity: fingerprint of all that decides the run; a state with another is refused.
        on_event: progress.

    Raises:
        DigerError: nothing to train or validate on, a loss that is not finite, a foreign state.
        Interrupted: Ctrl-C; the state is saved and the same call goes on from it.
    """
    run = _Run(task, dataset, training, evaluation, seed, device, folder, identity, on_event)
    with ctrl_c(patient=distributed.processes() > 1) as stop:
        while not run.finished():
            run.begin_epoch()
            for rows in run.order[run.progress.batch :]:
                run.update(rows)
                stopping, due = distributed.anywhere(stop(), run.save_is_due())
                if stopping or due:
                    run.save()
                if stopping:
                    raise Interrupted(run.stopped())
            row = run.end_epoch()
            if run.epoch % training.validate_every == 0 or run.epoch == training.epochs:
                row |= run.validate()
            run.close_epoch(row)
            if distributed.anywhere(stop())[0] and not run.finished():
                raise Interrupted(run.stopped())
    return run.result()


class _Run:
    """A task in training: what `fit` does, in steps; the arguments are `fit`'s."""

    def __init__(
        self,
        task: Task,
        dataset: Dataset,
        training: TrainingConfig,
        evaluation: EvaluationConfig,
        seed: int,
        device: torch.device,
        folder: Path,
        identity: str,
        on_event: Callable[[EpochEvent], None],
    ) -> None:
        self.task, self.module, self.dataset = task, task.module, dataset
        self.training, self.evaluation = training, evaluation
        self.seed, self.device, self.folder = seed, device, folder
        self.identity, self.on_event = identity, on_event
        self.histories = training_histories(
            task.prefix_examples, dataset, training.max_history, device
        )
        self.lengths = self.histories.length.cpu().numpy()
        self.updates = count_updates(len(self.lengths), training)
        self.averaged, self.norm_groups = task.averaged(), task.norm_groups()
        self.optimizer = torch.optim.AdamW(
            task.parameter_groups(training.learning_rate, training.weight_decay),
            betas=(0.9, 0.99),
            fused=True,
        )
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.average = [p.detach().clone() for p in self.averaged] if training.ema else None
        self.judges = _sample(dataset.validation_at, training.validation_users)
        distributed.start_alike(self.module, seed)
        self.state_path, self.best_path = folder / "state.safetensors", folder / "best.safetensors"
        self.progress = Progress()
        self.resumed = self.state_path.exists()
        if self.resumed:
            self.progress = load_state(
                self.state_path, self.module, self.optimizer, self.average, identity
            )
            task.restored(self.progress.records)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def epoch(self) -> int:
        """The current epoch, from 1."""
        return self.progress.epoch + 1

    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        done, patience = self.training.epochs, self.training.patience
        return self.progress.epoch >= done or self.progress.since_best >= patience

    def begin_epoch(self) -> None:
        """Lay out the epoch's batches and start its clock."""
        self.order = training_order(self.lengths, self.training.batch_size, self.seed, self.epoch)
        self.tick = self.saved = time.perf_counter()
        self.module.train()

    def update(self, rows: np.ndarray) -> None:
        """One optimiser step on the histories in `rows`."""
        progress, task = self.progress, self.task
        scale = learning_rate_at(progress.update, self.updates, self.training.warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * scale
        task.begin_update(progress.update, self.updates)
        whole = self.histories.batch(torch.as_tensor(rows, device=self.device))
        jitter, short = self.training.jitter, self.training.short
        if jitter or short:
            whole = varied(whole, jitter, short, (self.seed, self.epoch, progress.batch))
        batch, present = distributed.share(whole)
        targets = count_targets(task, whole.lengths)
        mine = targets if batch is whole else count_targets(task, batch.lengths)
        share = present * mine / targets
        with autocast(self.device, self.training.precision):
            loss, parts = task.loss(batch)
        parts = distributed.weighted_sum({"loss": loss.item(), **parts}, share)
        self._check("loss", parts["loss"])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        distributed.sum_gradients(self.trained, share)
        norms = {
            name: nn.utils.clip_grad_norm_(group, self.training.clip).item()
            for name, group in self.norm_groups.items()
        }
        for norm in norms.values():
            self._check("gradient", norm)
        self.optimizer.step()
        progress.update += 1
        progress.batch += 1
        task.end_update(progress.update)
        if self.average is not None:
            # Early on the average would mostly remember the initial weights.
            decay = min(self.training.ema, (1 + progress.update) / (10 + progress.update))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.averaged], 1 - decay)
        _add(progress.sums, {"loss": parts.pop("loss"), **norms, **parts}, targets)
        total = len(self.order)
        self.on_event(EpochEvent(self.epoch, self.training.epochs, progress.batch, total))

    def _check(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise DigerError(
                f"the {what} became {value} in epoch {self.epoch}, update {self.progress.update}; "
                'lower training.learning_rate, or use precision = "fp32"'
            )

    def save_is_due(self) -> bool:
        """Whether the last state is old."""
        return time.perf_counter() - self.saved > SAVE_EVERY_SECONDS

    def save(self) -> None:
        """Save all that matters, in the middle of an epoch; its clock goes on."""
        spent = self._lap()
        self.progress.seconds += spent
        _add(self.progress.sums, {"seconds": spent}, 1)
        self._write()
        self.saved = self.tick

    def end_epoch(self) -> dict[str, float]:
        """The epoch's row of the history, before its validation."""
        columns, records = self.task.end_epoch()
        spent = self._lap()
        self.progress.seconds += spent
        self.progress.records += records
        earlier = self.progress.sums.pop("seconds", [0.0, 0.0])[0]
        row: dict[str, float] = {"epoch": self.epoch, "updates": self.progress.update}
        row |= {name: total / weight for name, (total, weight) in self.progress.sums.items()}
        # Worked out, for a run that stopped after an epoch's last batch has not set it.
        scale = learning_rate_at(self.progress.update - 1, self.updates, self.training.warmup)
        row |= {"learning_rate": self.peaks[0] * scale, "seconds": earlier + spent}
        row |= {
            f"{group['name']}_learning_rate": peak * scale
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True)
            if "name" in group
        }
        return row | columns

    def validate(self) -> dict[str, float]:
        """Validation metrics of the averaged weights, which are kept where they are the best."""
        self.module.eval()
        columns: dict[str, float] = {}
        found = -1.0
        if distributed.is_first():
            with _weights(self.averaged, self.average):
                metrics = self._rank()
                found = metrics["ndcg@10"]
                if found > self.progress.best:
                    _save_weights(self.module, self.best_path)
            columns = {f"validation_{k}": v for k, v in metrics.items()}
        (found,) = distributed.of_first(found)
        if found > self.progress.best:
            self.progress.best, self.progress.best_epoch = found, self.epoch
            self.progress.since_best = 0
        else:
            self.progress.since_best += 1
        return columns

    def _rank(self) -> dict[str, float]:
        ranks = rank_split(
            self.task.ranker(),
            self.dataset,
            "validation",
            max_history=self.training.max_history,
            batch_size=self.evaluation.batch_size,
            device=self.device,
            users=self.judges,
        )
        return summary(ranks.frame["rank"])

    def close_epoch(self, row: dict[str, float]) -> None:
        """Save the finished epoch and tell of it."""
        progress = self.progress
        progress.seconds += self._lap()
        progress.epoch, progress.batch, progress.sums = self.epoch, 0, {}
        progress.history.append(row)
        self._write()
        total = len(self.order)
        event = EpochEvent(progress.epoch, self.training.epochs, total, total, row)
        self.on_event(replace(event, best_epoch=progress.best_epoch, resumed=self.resumed))

    def stopped(self) -> str:
        """What to tell who stopped the run."""
        epoch = self.epoch if self.progress.batch else self.progress.epoch
        return (
            f"stopped in epoch {epoch}; all is kept in {self.folder}, run the same command to go on"
        )

    def result(self) -> FitResult:
        """Load the best epoch's weights and sum up."""
        progress = self.progress
        self.module.load_state_dict(load_file(self.best_path, device=str(self.device)))
        distributed.wait()  # the first process may remove the folder as soon as it returns
        self.task.restored(progress.records)
        self.module.eval()
        return FitResult(
            pd.DataFrame(progress.history),
            progress.best_epoch,
            progress.seconds,
            max(progress.peak_memory, peak_memory(self.device)),
            progress.records,
        )

    def _lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        spent, self.tick = now - self.tick, now
        return spent

    def _write(self) -> None:
        self.progress.peak_memory = max(self.progress.peak_memory, peak_memory(self.device))
        save_state(
            self.state_path,
            self.module,
            self.optimizer,
            self.average,
            self.progress,
            self.identity,
        )


def peak_memory(device: torch.device) -> int:
    """Most memory held so far in bytes: the GPU allocator's, or the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has no such count
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _sample(at: np.ndarray, size: int) -> np.ndarray | None:
    """Rows of `size` users with a target, the same ones for every run on the dataset."""
    users = np.flatnonzero(at >= 0)
    if size == 0 or size >= len(users):
        return None
    return np.sort(np.random.default_rng(0).permutation(users)[:size])


def _add(sums: dict[str, list[float]], values: dict[str, float], weight: int) -> None:
    """Add weighted values to running [sum, weight] pairs; not every batch has every value."""
    for key, value in values.items():
        total, so_far = sums.get(key, (0.0, 0.0))
        sums[key] = [total + value * weight, so_far + weight]


def _save_weights(module: nn.Module, path: Path) -> None:
    weights = {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary)


@contextmanager
def _weights(parameters: list[nn.Parameter], average: list[Tensor] | None) -> Iterator[None]:
    """The running average in the parameters' place, for a while."""
    if average is None:
        yield
        return
    own = [p.data for p in parameters]
    for parameter, mean in zip(parameters, average, strict=True):
        parameter.data = mean
    try:
        yield
    finally:
        for parameter, data in zip(parameters, own, strict=True):
            parameter.data = data
