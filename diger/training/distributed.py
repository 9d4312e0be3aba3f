"""One run in several processes: `torchrun --nproc-per-node 2 -m diger train ...`.

Each process holds the whole dataset, sees the same global batches and works on every n-th history
of one. Losses are means over targets, so gradients are summed weighted by each process's share of
the batch's targets. Items are tokenised for the whole batch in every process: candidates and
frequencies of the alignment loss, the tokenizer's own losses and code usage are the whole batch's,
and only the work on histories is divided. An update then equals that of one process up to rounding,
except that each process draws dropout and noise for itself. The first process validates, ranks and
writes; the others wait for it. Everything here does nothing where there is one process.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from diger.data.batches import Batch
from diger.errors import DigerError, Stopped
from diger.training.environment import pick_device
from diger.training.launcher import launched, number

# The others wait while the first one embeds a catalogue or ranks a split.
PATIENCE = timedelta(days=1)


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if _together() else 0


def processes() -> int:
    """How many processes the run has."""
    return distributed.get_world_size() if _together() else 1


def is_first() -> bool:
    """Whether this is the process that validates, ranks, writes and speaks."""
    return rank() == 0


@contextmanager
def joined(name: str) -> Iterator[torch.device]:
    """Join the processes that a launcher started, if one did, and give the device of this one.

    Ctrl-C (a `Stopped`) is told by the first process alone; so are warnings.

    Args:
        name: of the device, as in `pick_device`; of several GPUs each process takes its own.
    """
    if not launched():
        yield pick_device(name)
        return
    device = _own_device(name)
    # Optimisers load this on their first step. Loaded while the processes are joined, it keeps the
    # group beyond its end, and a thread of the group can then abort the closing interpreter.
    importlib.import_module("torch._dynamo")
    nccl = device.type == "cuda" and distributed.is_nccl_available()
    distributed.init_process_group("nccl" if nccl else "gloo", timeout=PATIENCE)
    log = logging.getLogger("diger")
    level = log.level
    if not is_first():
        log.setLevel(logging.ERROR)
    try:
        yield device
    except Stopped:
        if is_first():
            raise
        raise SystemExit(130) from None
    finally:
        log.setLevel(level)
        distributed.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through the block, then the others: what it left, they find."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def wait() -> None:
    """Go on when every process is here."""
    _sum(torch.zeros(1))


def share(batch: Batch) -> tuple[Batch, bool]:
    """This process's part of a global batch, and whether it has one.

    With fewer histories than processes, some have none. All must take part in every exchange, so
    these work on one that is not theirs, and their share of the targets is 0.
    """
    if processes() == 1:
        return batch, True
    present = rank() < len(batch.lengths)
    mine = slice(rank(), None, processes()) if present else slice(0, 1)
    lengths = batch.lengths[mine]
    items = batch.items[mine, : int(lengths.max())].contiguous()
    starts = None if batch.starts is None else batch.starts[mine, : items.shape[1]]
    return Batch(items, lengths, starts, whole=batch), present


def sum_gradients(parameters: Sequence[nn.Parameter], weight: float) -> None:
    """Put into every gradient the sum over the processes of each one's times its weight."""
    if processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients]) * weight
    _reduce(flat)
    for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(total.view_as(gradient))


def weighted_sum(values: Mapping[str, float], weight: float) -> dict[str, float]:
    """Of each value, the sum over the processes of each one's times its weight."""
    if processes() == 1:
        return dict(values)
    own = torch.tensor(list(values.values()), dtype=torch.float64) * weight
    return dict(zip(values, _sum(own).tolist(), strict=True))


def anywhere(*flags: bool) -> list[bool]:
    """Of each flag, whether it is set in any process."""
    if processes() == 1:
        return list(flags)
    return [count > 0 for count in _sum(torch.tensor(flags, dtype=torch.float64)).tolist()]


def of_first(*values: float) -> list[float]:
    """The first process's values."""
    if processes() == 1:
        return list(values)
    return _sum(torch.tensor(values, dtype=torch.float64) * is_first()).tolist()


def alike(value: Tensor) -> Tensor:
    """The first process's tensor in all: rounding may differ between devices of two kinds."""
    if processes() == 1:
        return value
    shared = value.to(_device()).contiguous()
    with _others_are_there():
        distributed.broadcast(shared, src=0)
    return shared.to(value.device)


def gather(value: Tensor) -> list[Tensor]:
    """Every process's tensor, all of one shape and type, in the order of their ranks."""
    if processes() == 1:
        return [value]
    own = value.to(_device())
    everyone = [torch.empty_like(own) for _ in range(processes())]
    with _others_are_there():
        distributed.all_gather(everyone, own)
    return [one.to(value.device) for one in everyone]


def start_alike(module: nn.Module, seed: int) -> None:
    """The first process's weights in all, and a stream of random numbers for each."""
    # A prime apart: CPU generators know 32 bits of a seed.
    torch.manual_seed(seed + 1_000_003 * rank())
    if processes() == 1:
        return
    with _others_are_there():
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, src=0)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _own_device(name: str) -> torch.device:
    local, here = number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local < here:
        torch.cuda.set_device(local)  # first, or all would open the first GPU
    device = pick_device(name)
    if device.type not in ("cpu", "cuda"):
        raise DigerError(f"several processes train on cpu or cuda, not on {device.type}")
    if device.type == "cpu":
        return device
    if device.index is not None:
        raise DigerError(
            f"{os.environ['WORLD_SIZE']} processes cannot all have {device}; give --device cuda, "
            "and each takes its own GPU"
        )
    if local >= here:
        raise DigerError(
            f"process {local + 1} of this machine has no GPU (it has {here}); start "
            f"--nproc-per-node {here}, or train with --device cpu"
        )
    return torch.device("cuda", local)


def _device() -> torch.device:
    """Where tensors must lie to be exchanged."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _sum(values: Tensor) -> Tensor:
    """The sum over processes of a small tensor, on the CPU."""
    if not _together():
        return values
    values = values.to(_device())
    _reduce(values)
    return values.cpu()


def _reduce(values: Tensor) -> None:
    with _others_are_there():
        distributed.all_reduce(values)


@contextmanager
def _others_are_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise DigerError(
            f"process {rank()} lost another one, which has ended; its own message says why"
        ) from None
