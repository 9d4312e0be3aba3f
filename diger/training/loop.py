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
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diger.config import EvaluationConfig, TrainingConfig
from diger.data.batches import training_order
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.evaluation.metrics import summary
from diger.evaluation.ranking import rank_split
from diger.training import distributed
from diger.training.interrupt import Interrupted, ctrl_c
from diger.training.pace import count_updates
from diger.training.state import Progress, load_state, save_state
from diger.training.task import Task, count_targets, training_histories

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
    histories = training_histories(task.prefix_examples, dataset, training.max_history, device)
    lengths = histories.length.cpu().numpy()
    updates = count_updates(len(lengths), training)
    module = task.module
    averaged, norm_groups = task.averaged(), task.norm_groups()
    optimizer = torch.optim.AdamW(
        task.parameter_groups(training.learning_rate, training.weight_decay),
        betas=(0.9, 0.99),
        fused=True,
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    average = [p.detach().clone() for p in averaged] if training.ema else None
    judges = _sample(dataset.validation_at, training.validation_users)
    distributed.start_alike(module, seed)
    state_path, best_path = folder / "state.safetensors", folder / "best.safetensors"
    progress = Progress()
    resumed = state_path.exists()
    if resumed:
        progress = load_state(state_path, module, optimizer, average, identity)
        task.restored(progress.records)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16")

    def save() -> None:
        progress.peak_memory = max(progress.peak_memory, peak_memory(device))
        save_state(state_path, module, optimizer, average, progress, identity)

    def finished() -> bool:
        return progress.epoch >= training.epochs or progress.since_best >= training.patience

    def validate() -> dict[str, float]:
        ranks = rank_split(
            task.ranker(),
            dataset,
            "validation",
            max_history=training.max_history,
            batch_size=evaluation.batch_size,
            device=device,
            users=judges,
        )
        return summary(ranks.frame["rank"])

    with ctrl_c(patient=distributed.processes() > 1) as stop:
        while not finished():
            epoch = progress.epoch + 1
            order = training_order(lengths, training.batch_size, seed, epoch)
            tick = saved = time.perf_counter()
            module.train()
            for rows in order[progress.batch :]:
                scale = learning_rate_at(progress.update, updates, training.warmup)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * scale
                task.begin_update(progress.update, updates)
                whole = histories.batch(torch.as_tensor(rows, device=device))
                batch, present = distributed.share(whole)
                targets = count_targets(task, whole.lengths)
                mine = targets if batch is whole else count_targets(task, batch.lengths)
                share = present * mine / targets
                with autocast:
                    loss, parts = task.loss(batch)
                parts = distributed.weighted_sum({"loss": loss.item(), **parts}, share)
                value = parts["loss"]
                if not math.isfinite(value):
                    raise DigerError(
                        f"the loss became {value} in epoch {epoch}, update {progress.update}; "
                        'lower training.learning_rate, or use precision = "fp32"'
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                distributed.sum_gradients(trained, share)
                norms = {
                    name: nn.utils.clip_grad_norm_(group, training.clip).item()
                    for name, group in norm_groups.items()
                }
                bad = next((n for n in norms.values() if not math.isfinite(n)), None)
                if bad is not None:
                    raise DigerError(
                        f"the gradient became {bad} in epoch {epoch}, update "
                        f"{progress.update}; lower training.learning_rate, or use "
                        'precision = "fp32"'
                    )
                optimizer.step()
                progress.update += 1
                progress.batch += 1
                task.end_update(progress.update)
                if average is not None:
                    # Early on the average would mostly remember the initial weights.
                    decay = min(training.ema, (1 + progress.update) / (10 + progress.update))
                    torch._foreach_lerp_(average, [p.detach() for p in averaged], 1 - decay)
                _add(progress.sums, {"loss": value, **norms, **parts}, targets)
                on_event(EpochEvent(epoch, training.epochs, progress.batch, len(order)))
                now = time.perf_counter()
                stopping, due = distributed.anywhere(stop(), now - saved > SAVE_EVERY_SECONDS)
                if stopping or due:
                    progress.seconds += now - tick
                    _add(progress.sums, {"seconds": now - tick}, 1)
                    tick = saved = now
                    save()
                    if stopping:
                        raise Interrupted(_stopped(folder, epoch))
            columns, records = task.end_epoch()
            spent = time.perf_counter() - tick
            seconds = progress.sums.pop("seconds", [0.0, 0.0])[0] + spent
            row: dict[str, float] = {"epoch": epoch, "updates": progress.update}
            row |= {name: total / weight for name, (total, weight) in progress.sums.items()}
            # Worked out, for a run that stopped after an epoch's last batch has not set it.
            rate = peaks[0] * learning_rate_at(progress.update - 1, updates, training.warmup)
            row |= {"learning_rate": rate, "seconds": seconds}
            share = rate / peaks[0]
            row |= {
                f"{group['name']}_learning_rate": peak * share
                for group, peak in zip(optimizer.param_groups, peaks, strict=True)
                if "name" in group
            }
            row |= columns
            progress.records += records
            last = epoch == training.epochs
            tick = time.perf_counter()
            if epoch % training.validate_every == 0 or last:
                module.eval()
                found = -1.0
                if distributed.is_first():
                    with _weights(averaged, average):
                        metrics = validate()
                        found = metrics["ndcg@10"]
                        if found > progress.best:
                            _save_weights(module, best_path)
                    row |= {f"validation_{k}": v for k, v in metrics.items()}
                (found,) = distributed.of_first(found)
                if found > progress.best:
                    progress.best, progress.best_epoch, progress.since_best = found, epoch, 0
                else:
                    progress.since_best += 1
            progress.seconds += spent + time.perf_counter() - tick
            progress.epoch, progress.batch, progress.sums = epoch, 0, {}
            progress.history.append(row)
            save()
            event = EpochEvent(epoch, training.epochs, len(order), len(order), row)
            on_event(replace(event, best_epoch=progress.best_epoch, resumed=resumed))
            if distributed.anywhere(stop())[0] and not finished():
                raise Interrupted(_stopped(folder, epoch))
    module.load_state_dict(load_file(best_path, device=str(device)))
    distributed.wait()  # the first process may remove the folder as soon as it returns
    task.restored(progress.records)
    module.eval()
    return FitResult(
        pd.DataFrame(progress.history),
        progress.best_epoch,
        progress.seconds,
        max(progress.peak_memory, peak_memory(device)),
        progress.records,
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


def _stopped(folder: Path, epoch: int) -> str:
    return f"stopped in epoch {epoch}; all is kept in {folder}, run the same command to go on"


def _save_weights(module: nn.Module, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    save_file({k: v.detach().cpu().clone() for k, v in module.state_dict().items()}, temporary)
    temporary.replace(path)


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
