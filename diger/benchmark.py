"""How fast training and decoding are, against the arithmetic floor and the usual alternative.

The floor is the floating-point work of the model's matrix products over what this machine reaches
on one large product. The alternative is what people run today for this task: a T5 encoder-decoder
over code tokens, one example a prefix (the library's model at the published size), timed over a few
steps in the same process and scaled to the same number of targets.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from diger.bundle.writer import write_file
from diger.config import JointConfig, Recipe
from diger.data.batches import training_order
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.evaluation.ranking import rank_split
from diger.model import Model
from diger.recommender.base import Recommender
from diger.recommender.build import build_backbone
from diger.text import printable
from diger.tokenizer.residual_kmeans import ResidualKMeans, fill_codebooks
from diger.training.joint import JointTask
from diger.training.loop import peak_memory
from diger.training.task import StaticTask, Task, count_targets, training_histories

SAMPLE_BATCHES = 40
ALTERNATIVE_STEPS = 2


@dataclass(frozen=True)
class Measurement:
    """One line of the benchmark."""

    what: str  # was timed
    value: float  # in `unit`
    unit: str  # seconds, GFLOP/s, ...
    note: str  # how it was measured


def benchmark(
    recipe: Recipe, dataset: Dataset, device: torch.device, alternative: bool = True
) -> Iterator[Measurement]:
    """Measure one after another; random SIDs, since speed does not depend on what they mean.

    The recipe gives the model and the batch size, the dataset the histories; `alternative` times
    the T5 as well (needs transformers).
    """
    peak = matmul_rate(device)
    yield Measurement("matrix products", peak / 1e9, "GFLOP/s", "fp32, 1024 x 1024")
    task = _task(recipe, dataset, device)
    longest = recipe.training.max_history
    histories = training_histories(task.prefix_examples, dataset, longest, device)
    lengths = histories.length.cpu().numpy()
    order = training_order(lengths, recipe.training.batch_size, 0, 1)
    targets = count_targets(task, histories.length)
    step = _stepper(task, recipe, device)
    batches = [histories.batch(torch.as_tensor(rows, device=device)) for rows in order]
    sample = batches[:: max(1, len(batches) // SAMPLE_BATCHES)]
    share = sum(count_targets(task, b.lengths) for b in sample) / targets
    with FlopCounterMode(display=False) as counter:
        for batch in sample:
            step(batch)
    flops = counter.get_total_flops() / share
    training = _timed(lambda: [step(batch) for batch in sample], device) / share
    note = f"{flops / 1e12:.2f} TFLOP over the rate above"
    yield Measurement("training floor", flops / peak, "s an epoch", note)
    note = f"{targets:,} targets, {len(sample)} batches, scaled"
    yield Measurement("training", training, "s an epoch", note)
    share_of_rate = 100 * flops / peak / training
    yield Measurement("training, share of the floor's rate", share_of_rate, "%", "higher is better")
    task.model.eval()
    users = min(2048, dataset.n_users)
    at = np.flatnonzero(dataset.test_at >= 0)
    chosen = at[:: max(1, len(at) // users)]
    ranking = partial(
        rank_split,
        task.ranker(),
        dataset,
        "test",
        max_history=recipe.training.max_history,
        batch_size=recipe.evaluation.batch_size,
        device=device,
        users=chosen,
    )
    seconds = _timed(ranking, device) * len(at) / len(chosen)
    note = f"{recipe.evaluation.beam} beams, {len(chosen):,} of {len(at):,} users, scaled"
    yield Measurement("ranking the test split", seconds, "s", note)
    yield Measurement("peak memory", peak_memory(device) / 2**20, "MiB", "whole process so far")
    joint = _joint_task(recipe, dataset, device)
    step = _stepper(joint, recipe, device)
    step(sample[0])
    together = _timed(lambda: [step(batch) for batch in sample], device) / share
    together += _timed(joint.refresh, device)
    note = f"{together / training:.2f} times static; one new assignment of all SIDs in it"
    yield Measurement("joint training", together, "s an epoch", note)
    yield Measurement("peak memory", peak_memory(device) / 2**20, "MiB", "joint training with it")
    if alternative:
        yield from _alternative(recipe, targets, device)


def matmul_rate(device: torch.device, size: int = 1024) -> float:
    """Floating-point operations a second of a square fp32 product."""
    a, b = torch.randn(2, size, size, device=device)
    _timed(lambda: a @ b, device)
    times = [_timed(lambda: a @ b, device) for _ in range(20)]
    return 2 * size**3 / float(np.median(times))


def _task(recipe: Recipe, dataset: Dataset, device: torch.device) -> StaticTask:
    config = recipe.tokenizer
    rng = np.random.default_rng(0)
    codes = rng.integers(0, config.codebook_size, (dataset.n_items, config.levels))
    suffix = np.arange(dataset.n_items) % config.suffix_size
    sids = torch.from_numpy(np.concatenate([codes, suffix[:, None]], axis=1)).to(device)
    sizes = (*(config.codebook_size,) * config.levels, config.suffix_size)
    torch.manual_seed(0)
    model = build_backbone(
        recipe.backbone,
        sizes=sizes,
        n_items=dataset.n_items,
        max_history=recipe.training.max_history,
    )
    assert isinstance(model, Recommender)
    model.to(device).train()
    group = torch.arange(dataset.n_items, device=device)
    return StaticTask(model=model, sids=sids, group=group, beam=recipe.evaluation.beam)


def _joint_task(recipe: Recipe, dataset: Dataset, device: torch.device) -> JointTask:
    """As `_task`, with random content; by the recipe's [joint] table, if any."""
    static = _task(recipe, dataset, device)
    naming = recipe.tokenizer
    content = torch.randn(dataset.n_items, naming.width, device=device)
    tokenizer = ResidualKMeans(
        levels=naming.levels, codebook_size=naming.codebook_size, width=naming.width
    ).to(device)
    fill_codebooks(tokenizer, content, seed=0, iterations=3)
    return JointTask(
        method="differentiable",
        config=recipe.joint or JointConfig(),
        model=static.model,
        tokenizer=tokenizer,
        naming=naming.model_copy(update={"kind": "residual-kmeans"}),
        sids=static.sids,
        content=content,
        popularity=dataset.training_popularity(),
        beam=recipe.evaluation.beam,
        alignment=recipe.training.alignment,
    )


def _stepper(task: Task, recipe: Recipe, device: torch.device) -> Callable[..., None]:
    optimizer = torch.optim.AdamW(task.parameter_groups(1e-4, 0.0), fused=True)
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=recipe.training.precision == "bf16"
    )

    def step(batch: object) -> None:
        with autocast:
            loss, _ = task.loss(batch)  # type: ignore[arg-type]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.module.parameters(), recipe.training.clip)
        optimizer.step()

    return step


def _alternative(recipe: Recipe, targets: int, device: torch.device) -> Iterator[Measurement]:
    """T5, 6 + 6 layers, d 128, ff 512, 4 heads of 64; 256 examples of up to 50 x 4 code tokens."""
    try:
        from transformers import T5Config, T5ForConditionalGeneration
    except ImportError:
        return
    config = T5Config(
        vocab_size=1 + 4 * recipe.tokenizer.codebook_size,
        d_model=128,
        d_ff=512,
        d_kv=64,
        num_heads=4,
        num_layers=6,
        num_decoder_layers=6,
        dropout_rate=0.1,
    )
    config.decoder_start_token_id = 0
    model: nn.Module = T5ForConditionalGeneration(config)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    length = recipe.training.max_history * 4
    tokens = torch.randint(1, config.vocab_size, (256, length), device=device)
    labels = torch.randint(1, config.vocab_size, (256, 4), device=device)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    step()
    seconds = _timed(lambda: [step() for _ in range(ALTERNATIVE_STEPS)], device)
    seconds /= ALTERNATIVE_STEPS
    note = f"{seconds:.1f} s a step of 256 examples padded to {length} tokens, scaled"
    epoch = seconds * math.ceil(targets / 256)
    yield Measurement("T5 over code tokens, same targets", epoch, "s an epoch", note)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


# How long one recommendation takes: `latency.json`, which the dashboard shows beside the quality.
#
# One request at a time, as a person clicking would send it: the history of 10 items, drawn by
# training popularity with a fixed seed, the recipe's beams, the ten best items.

HISTORY = 10
WARM_UP = 5


@dataclass(frozen=True)
class Latency:
    """One bundle's times."""

    bundle: str  # its name
    p50_ms: float  # milliseconds that half of the requests stayed under
    p95_ms: float  # that 95 % stayed under
    requests: int  # how many were timed, after a few that were not
    hardware: str  # what it ran on, in words


def measure(
    model: Model,
    name: str,
    hardware: str,
    requests: int = 100,
    watch: Callable[[Sequence[list[str]]], Iterable[list[str]]] = lambda histories: histories,
) -> Latency:
    """Time `requests` recommendations, one after another.

    `watch` passes the histories on, and may show how far it is.
    """
    if requests < 1:
        raise DigerError(f"a latency needs at least 1 request, got {requests}")
    weight = model.items["training_popularity"].to_numpy(np.float64) + 1.0
    ids = model.items["item_id"].to_numpy()
    drawn = np.random.default_rng(0).choice(
        ids, size=(requests + WARM_UP, HISTORY), p=weight / weight.sum()
    )
    times = []
    for history in watch(drawn.tolist()):
        began = time.perf_counter()
        model.recommend(history, 10)
        times.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(times[WARM_UP:], [50, 95])
    return Latency(name, round(float(p50), 2), round(float(p95), 2), requests, hardware)


def merge(path: Path, measured: Iterable[Latency]) -> None:
    """Write what was measured into the list at `path`, in place of older times of those bundles."""
    new = [asdict(entry) for entry in measured]
    kept: Any = []
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = None
        if not isinstance(kept, list) or not all(isinstance(entry, dict) for entry in kept):
            raise DigerError(
                f"{printable(path)} is no list of latencies; remove it, or give another --out"
            )
        names = {entry["bundle"] for entry in new}
        kept = [entry for entry in kept if entry.get("bundle") not in names]
    listed = sorted(kept + new, key=lambda entry: str(entry.get("bundle")))
    write_file((json.dumps(listed, indent=2) + "\n").encode(), path)
