"""How fast training and ranking are, against the arithmetic floor.

The floor is the floating-point work of the model's matrix products over what this machine reaches
on one large product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from diger.benchmark.clock import Measurement, timed
from diger.config import JointConfig, Recipe
from diger.data.batches import training_order
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.evaluation.ranking import rank_split
from diger.recommender.base import Recommender
from diger.recommender.build import build_backbone
from diger.recommender.products import autocast, linear
from diger.tokenizer.residual_kmeans import ResidualKMeans, fill_codebooks
from diger.training.joint import JointTask
from diger.training.loop import peak_memory
from diger.training.task import StaticTask, Task, count_targets, training_histories

SAMPLE_BATCHES = 40


def training(recipe: Recipe, dataset: Dataset, device: torch.device) -> Iterator[Measurement]:
    """Measure one after another; random SIDs, since speed does not depend on what they mean.

    The recipe gives the model and the batch size, the dataset the histories.
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
    static = timed(lambda: [step(batch) for batch in sample], device, 3)
    note = f"{flops / 1e12:.2f} TFLOP over the rate above"
    yield Measurement("training floor", flops / peak, "s an epoch", note)
    note = f"{targets:,} targets, {len(sample)} batches, scaled"
    epoch = static.measurement("training", "s an epoch", note, 1 / share)
    yield epoch
    share_of_rate = 100 * flops / peak / epoch.value
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
    ranked = timed(ranking, device, 3)
    note = f"{recipe.evaluation.beam} beams, {len(chosen):,} of {len(at):,} users, scaled"
    yield ranked.measurement("ranking the test split", "s", note, len(at) / len(chosen))
    yield Measurement("peak memory", peak_memory(device) / 2**20, "MiB", "whole process so far")
    joint = _joint_task(recipe, dataset, device)
    step = _stepper(joint, recipe, device)
    step(sample[0])
    together = timed(lambda: [step(batch) for batch in sample], device).median / share
    together += timed(joint.refresh, device).median
    note = f"{together / epoch.value:.2f} times static; one new assignment of all SIDs in it"
    yield Measurement("joint training", together, "s an epoch", note)
    yield Measurement("peak memory", peak_memory(device) / 2**20, "MiB", "joint training with it")


def matmul_rate(device: torch.device, size: int = 1024) -> float:
    """Floating-point operations a second of a square fp32 product."""
    a, b = torch.randn(2, size, size, device=device)
    product = partial(linear, a, b)  # as in training: by the faster library
    timed(product, device)
    return 2 * size**3 / timed(product, device, 20).median


def _task(recipe: Recipe, dataset: Dataset, device: torch.device) -> StaticTask:
    config = recipe.tokenizer
    sizes = (*(config.codebook_size,) * config.levels, config.suffix_size)
    room, items = math.prod(sizes), dataset.n_items
    if items > room:
        raise DigerError(f"{items:,} items for {room:,} SIDs of recipe {recipe.name}: take another")
    # No two items alike.
    which = np.random.default_rng(0).choice(room, items, replace=False)
    sids = torch.from_numpy(np.stack(np.unravel_index(which, sizes), axis=1)).to(device)
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

    def step(batch: object) -> None:
        with autocast(device, recipe.training.precision):
            loss, _ = task.loss(batch)  # type: ignore[arg-type]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.module.parameters(), recipe.training.clip)
        optimizer.step()

    return step
