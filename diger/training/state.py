"""Stopping and going on: everything a run needs to continue as if nothing had happened.

One safetensors file, replaced atomically: weights, their running average, optimiser moments and
random state as tensors, counters and the history so far as JSON in its metadata. No pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from diger.errors import DigerError
from diger.files import replacing
from diger.training import distributed


@dataclass
class Progress:
    """Where a run stands; plain numbers, kept as JSON.

    Attributes:
        epoch: epochs finished.
        batch: batches of the current epoch finished.
        update: optimiser steps done.
        best: best validation ndcg@10 so far; below 0 when there was no validation yet.
        best_epoch: the epoch it belongs to, 0 for none.
        since_best: validations since then.
        seconds: spent training, over all sittings.
        peak_memory: most memory held in any sitting that saved, in bytes.
        sums: running [sum, weight] of each of the current epoch's logged values.
        history: one dict an epoch.
        records: of the codebooks, one dict an epoch and level; empty without joint training.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    best: float = -1.0
    best_epoch: int = 0
    since_best: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


def save_state(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: list[Tensor] | None,
    progress: Progress,
    identity: str,
) -> None:
    """Write the state to `path`, whole or not at all.

    Of several processes the first one writes, with the random state of each; all must call.
    """
    device = next(module.parameters()).device
    random = {"cpu": distributed.gather(torch.get_rng_state())}
    if device.type == "cuda":
        random["cuda"] = distributed.gather(torch.cuda.get_rng_state(device))
    if not distributed.is_first():
        return
    tensors = {f"model.{k}": v for k, v in module.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in slots.items()}
    if average is not None:
        tensors |= {f"average.{i}": t for i, t in enumerate(average)}
    for kind, states in random.items():
        tensors |= {_random(kind, rank): state for rank, state in enumerate(states)}
    # Tied tensors may share memory; safetensors wants each to stand alone.
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    notes = {"progress": json.dumps(progress.__dict__), "identity": identity}
    with replacing(path) as temporary:
        save_file(tensors, temporary, notes)


def load_state(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: list[Tensor] | None,
    identity: str,
) -> Progress:
    """Bring everything back to where `save_state` left it."""
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata()
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DigerError(
            f"the saved state {path} cannot be read ({error}); start over with --restart"
        ) from None
    if metadata.get("identity") != identity:
        raise DigerError(
            f"{path.parent} holds an unfinished run with another recipe, seed, device, data or "
            "number of processes; finish that one with its own settings, give another --out, or "
            "discard it with --restart"
        )
    part = lambda prefix: {  # noqa: E731
        k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
    }
    module.load_state_dict(part("model."))
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer.").items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    if average is not None:
        for i, tensor in enumerate(average):
            tensor.copy_(tensors[f"average.{i}"])
    torch.set_rng_state(tensors[_random("cpu", distributed.rank())])
    device = next(module.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[_random("cuda", distributed.rank())], device)
    return Progress(**json.loads(metadata["progress"]))


def _random(kind: str, rank: int) -> str:
    """Where the random state of a process is kept."""
    return f"random.{kind}.{rank}" if rank else f"random.{kind}"
