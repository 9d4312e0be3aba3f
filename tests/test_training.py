"""Batches, the loop, and what comes out of it: the best epoch, averaged weights, honest stops."""

from __future__ import annotations

import math
import re
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import core_toys as toys
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diger.config import EvaluationConfig, TrainingConfig
from diger.data.batches import Batch, Histories, evaluation_order, training_order
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.evaluation.ranking import Ranked, Ranker, ranked_from_list
from diger.recommender import products
from diger.recommender.build import build_backbone
from diger.tokenizer.suffix import assign_suffix
from diger.training import environment
from diger.training.loop import FINAL_RATE, FitResult, fit, learning_rate_at
from diger.training.run import identity
from diger.training.task import PlainTask, SasrecTask, StaticTask, decayed_groups


def all_different(lengths: list[int]) -> tuple[Any, list[list[int]]]:
    """A dataset in which every event is another item, and its histories."""
    rows = iter(range(sum(lengths)))
    histories = [[next(rows) for _ in range(n)] for n in lengths]
    return toys.make_dataset(histories, n_items=sum(lengths)), histories


def contents(histories: Histories) -> list[list[int]]:
    batch = histories.batch(torch.arange(len(histories)))
    pairs = zip(batch.items, batch.lengths, strict=True)
    return [items[:length].tolist() for items, length in pairs]


def test_every_training_event_but_a_users_first_is_a_target_once():
    dataset, events = all_different([1, 2, 3, 4, 5, 9])
    training = [h if len(h) < 3 else h[:-2] for h in events]
    for longest in (2, 4, 50):
        found = contents(Histories.of_training(dataset, longest, toys.CPU))
        assert all(2 <= len(window) <= longest + 1 for window in found)
        targets = sorted(item for window in found for item in window[1:])
        assert targets == sorted(item for h in training for item in h[1:])
    nine = training[-1]
    assert contents(Histories.of_training(dataset, 4, toys.CPU))[-2:] == [nine[2:], nine[:3]]


def test_no_held_out_item_enters_a_batch():
    dataset, events = all_different([3, 4, 5, 7, 9, 4])
    held_out = {item for h in events for item in h[-2:]}
    histories = Histories.of_training(dataset, 3, toys.CPU)
    seen = set()
    for epoch in range(3):
        for rows in training_order(histories.length.numpy(), 2, 0, epoch):
            batch = histories.batch(torch.from_numpy(rows))
            seen |= set(batch.items.flatten().tolist())  # the padding as well
    assert seen and not seen & held_out


def test_nothing_to_learn_from_is_said():
    with pytest.raises(DigerError, match="toy: no user has two training events"):
        Histories.of_training(toys.make_dataset([[0, 1, 2], [3]], n_items=4), 5, toys.CPU)


LENGTHS = np.array([2, 9, 2, 5, 5, 5, 3, 2, 7, 7, 4, 2, 3, 6])


@pytest.mark.parametrize("batch_size", [1, 4, 6, 14, 50])
def test_an_epoch_holds_every_history_once_in_batches_of_like_length(batch_size):
    for epoch in range(5):
        order = training_order(LENGTHS, batch_size, 7, epoch)
        assert len(order) == math.ceil(len(LENGTHS) / batch_size)  # as the schedule counts
        assert sorted(np.concatenate(order)) == list(range(len(LENGTHS)))
        assert all(1 <= len(rows) <= batch_size for rows in order)
        spans = sorted((LENGTHS[rows].min(), LENGTHS[rows].max()) for rows in order)
        assert all(high <= low for (_, high), (low, _) in pairwise(spans))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in training_order(LENGTHS, 4, seed, epoch)]

    first = order(1, 1)
    np.random.seed(99)
    torch.manual_seed(99)
    assert order(1, 1) == first
    assert order(1, 2) != first and order(2, 1) != first


def test_evaluation_order_is_complete_and_short_first():
    lengths = torch.tensor([3, 1, 2, 1, 5])
    assert [rows.tolist() for rows in evaluation_order(lengths, 2)] == [[1, 3], [2, 0], [4]]


class Scripted(PlainTask):
    """A task whose validations end as written: the rank of every user's target, 0 for a miss.

    `weights` and `validated` are the parameter before every update and at every validation.
    """

    prefix_examples, decoding = False, "fixed"

    def __init__(self, script: list[int], loss: Callable[[Tensor], Tensor] | None = None) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.script = list(script)
        self.weights, self.validated = [], []
        self._loss = loss or (lambda weight: (weight - 3).square().sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        self.weights.append(self.module.weight.item())
        return self._loss(self.module.weight), {"lengths": float(batch.lengths.sum())}

    def ranker(self) -> Ranker:
        self.validated.append(self.module.weight.item())
        assert not self.module.training
        self.place = self.script.pop(0)
        return self

    def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
        items = torch.full((len(targets), 20), -1)
        if self.place:
            items[:, : self.place] = (targets[:, None] + torch.arange(self.place, 0, -1) - 1) % 26
        return ranked_from_list(items, -torch.arange(20.0).expand(len(targets), -1), targets)


def run(task: Any, folder: Path, dataset: Any = None, **training: Any) -> FitResult:
    settings = {"epochs": 3, "batch_size": 8, "ema": 0.0, "learning_rate": 0.1, "max_history": 6}
    on_event = training.pop("on_event", lambda event: None)
    folder.mkdir(exist_ok=True)
    return fit(
        task,
        dataset or toys.make_dataset(),
        TrainingConfig(**settings | training),
        EvaluationConfig(),
        seed=0,
        device=toys.CPU,
        folder=folder,
        identity="x",
        on_event=on_event,
    )


@pytest.mark.parametrize(
    ("script", "patience", "best", "epochs"),
    [
        ([5, 2, 3, 2, 2], 10, 2, 5),  # an equal metric is not better
        ([0, 0, 0, 0, 0], 10, 1, 5),  # the first epoch is kept even when its metric is zero
        ([0, 0, 0, 9, 9], 2, 1, 3),
        ([0, 0, 9, 0, 0], 2, 3, 5),
        ([11, 12, 10, 13, 0], 9, 3, 5),  # ranks beyond 10 are all a zero
    ],
)
def test_best_epoch_and_patience(tmp_path, script, patience, best, epochs):
    task = Scripted(script)
    result = run(task, tmp_path, epochs=5, patience=patience)
    assert (result.best_epoch, len(result.history)) == (best, epochs)
    # Without an average the weights themselves are validated and kept.
    assert task.validated[0] == task.weights[int(result.history["updates"][0])]
    assert task.module.weight.item() == task.validated[best - 1]
    assert len(set(task.validated)) == epochs and not task.module.training


def test_validation_every_other_epoch_and_always_the_last(tmp_path):
    task = Scripted([3, 2, 1])
    history = run(task, tmp_path, epochs=5, validate_every=2).history
    assert history["validation_ndcg@10"].notna().tolist() == [False, True, False, True, True]


def test_the_average_is_what_is_validated_and_kept(tmp_path):
    task = Scripted([0, 9, 1])
    result = run(task, tmp_path, ema=0.9)
    # weights[u] is the weight after u updates; the last is not noted, for no batch follows it.
    average, at, expected = 0.0, 0, []
    for updates in result.history["updates"][:2]:
        while at < updates:
            at += 1
            decay = min(0.9, (1 + at) / (10 + at))
            average += (1 - decay) * (task.weights[at] - average)
        expected.append(average)
    np.testing.assert_allclose(task.validated[:2], expected, rtol=1e-5)
    assert (result.best_epoch, task.module.weight.item()) == (3, task.validated[2])
    # Training went on from the weights themselves, not from their average.
    assert abs(task.weights[int(result.history["updates"][0])] - task.validated[0]) > 1e-3


def test_history_holds_means_over_targets_and_the_rate(tmp_path):
    history = run(Scripted([1, 1, 1]), tmp_path).history
    histories = Histories.of_training(toys.make_dataset(), 6, toys.CPU)
    order = training_order(histories.length.numpy(), 8, 0, 1)
    assert history["updates"][0] == len(order)
    sums = [int(histories.length[rows].sum()) for rows in order]
    weights = [s - len(rows) for s, rows in zip(sums, order, strict=True)]
    assert history["lengths"][0] == pytest.approx(np.average(sums, weights=weights))
    total = 3 * math.ceil(len(histories) / 8)
    rates = [0.1 * learning_rate_at(updates - 1, total, 0.05) for updates in history["updates"]]
    np.testing.assert_allclose(history["learning_rate"], rates)


def test_learning_rate_by_hand():
    rates = [learning_rate_at(update, 12, 0.25) for update in range(13)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])  # three updates of warm-up
    halfway = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * 3 / 9))
    assert rates[6] == pytest.approx(halfway)
    assert all(a >= b for a, b in pairwise(rates[2:]))
    assert rates[12] == learning_rate_at(99, 12, 0.25) == FINAL_RATE
    assert learning_rate_at(0, 1, 0.0) == 1


def test_events_count_batches_and_carry_finished_rows(tmp_path):
    events: list[Any] = []
    history = run(Scripted([2, 1, 3]), tmp_path, on_event=events.append).history
    rows = [event for event in events if event.row is not None]
    assert [event.best_epoch for event in rows] == [1, 2, 2]
    assert [event.row["updates"] for event in rows] == history["updates"].tolist()
    batches = [event for event in events if event.row is None]
    assert Counter(e.epoch for e in batches) == Counter({e.epoch: e.total for e in batches})
    assert all(1 <= e.done <= e.total and e.epochs == 3 for e in events)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path, bad):
    task = Scripted([1, 1, 1], lambda weight: weight.sum() + (bad if weight.item() < -0.3 else 0))
    with pytest.raises(DigerError, match=rf"became {bad} in epoch 1.*learning_rate"):
        run(task, tmp_path)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path):
    # The square root's slope at 0 is infinite while the loss is not.
    task = Scripted([0, 0, 0], lambda weight: weight.abs().sqrt().sum())
    with pytest.raises(DigerError, match="gradient"):
        run(task, tmp_path, epochs=1, batch_size=999)


def test_decayed_groups_hold_every_parameter_once():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[2].bias.requires_grad_(False)
    decayed, plain = decayed_groups(model, 0.5, 0.1)
    assert [(g["lr"], g["weight_decay"]) for g in (decayed, plain)] == [(0.5, 0.1), (0.5, 0.0)]
    assert all(p.ndim > 1 for p in decayed["params"]) and all(p.ndim == 1 for p in plain["params"])
    found = {id(p) for group in (decayed, plain) for p in group["params"]}
    assert found == {id(p) for p in model.parameters() if p.requires_grad}


def build(sizes: tuple[int, ...] = (), **changes: Any) -> Any:
    backbone = toys.make_recipe(**changes).backbone
    torch.manual_seed(0)
    return build_backbone(backbone, sizes=sizes, n_items=toys.N_ITEMS, max_history=6)


def static_task() -> StaticTask:
    codes = np.column_stack([np.arange(toys.N_ITEMS) // 5 % 4, np.arange(toys.N_ITEMS) % 4])
    sids = torch.from_numpy(np.column_stack([codes, assign_suffix(codes, size=4)]))
    group = torch.from_numpy(np.unique(codes, axis=0, return_inverse=True)[1])
    return StaticTask(model=build((4, 4, 4)), sids=sids, group=group, beam=20)


def sasrec_task() -> SasrecTask:
    return SasrecTask(model=build(**toys.SASREC))


@pytest.mark.parametrize("make", [static_task, sasrec_task], ids=["static", "sasrec"])
def test_the_loss_falls(tmp_path, make):
    history = run(make(), tmp_path, epochs=8, learning_rate=1e-2, ema=0.9).history
    assert history["loss"].iloc[-1] < 0.95 * history["loss"].iloc[0]
    assert history.filter(like="validation_").notna().all(axis=None)


@pytest.mark.parametrize("alignment", [0.0, 0.6])
def test_the_loss_is_the_mean_over_code_positions_and_the_alignment(tmp_path, alignment):
    task = static_task()
    task.alignment = alignment
    row = run(task, tmp_path, epochs=1).history.iloc[0]
    assert row["loss_codes"] == pytest.approx(row[["loss_1", "loss_2", "loss_3"]].mean())
    aligned = alignment and alignment * row["loss_alignment"] / 3  # against a whole SID
    assert row["loss"] == pytest.approx(row["loss_codes"] + aligned)


def test_the_test_split_has_no_say_and_validation_targets_are_not_trained_on(tmp_path):
    weights, histories = [], []
    for name, at in (("base", None), ("test", -1), ("validation", -2)):
        walks = toys.walks()
        for walk in walks:
            if at is not None and len(walk) >= 3:
                walk[at] = (walk[at] + 7) % toys.N_ITEMS
        task = static_task()
        result = run(task, tmp_path / name, toys.make_dataset(walks), epochs=2)
        histories.append(result.history.drop(columns="seconds"))
        weights.append(list(task.module.state_dict().values()))
    base, test, validation = histories
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert base.equals(test)
    assert base["loss"].equals(validation["loss"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_with_one_seed_are_equal_and_leave_single_precision_weights(
    tmp_path, precision, monkeypatch
):
    monkeypatch.setattr(products, "has_bfloat16", lambda: True)
    states = []
    for name in ("a", "b"):
        task = static_task()
        history = run(task, tmp_path / name, epochs=2, ema=0.9, precision=precision).history
        assert np.isfinite(history["loss"]).all()
        states.append(task.module.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert all(t.dtype == torch.float32 for t in states[0].values())


def test_a_processor_without_bf16_trains_in_fp32(tmp_path, monkeypatch):
    histories = {}
    for name, there, precision in (("a", False, "bf16"), ("b", True, "fp32"), ("c", True, "bf16")):
        monkeypatch.setattr(products, "has_bfloat16", lambda there=there: there)
        found = run(static_task(), tmp_path / name, precision=precision)
        histories[name] = found.history["loss"]
    assert histories["a"].equals(histories["b"]) and not histories["a"].equals(histories["c"])


def test_identity_is_all_that_decides_the_weights():
    recipe, dataset = toys.make_recipe(), toys.make_dataset()
    base = identity(recipe, dataset, 0, toys.CPU)
    renamed = recipe.model_copy(update={"name": "other", "about": "words"})
    assert base == identity(renamed, dataset, 0, toys.CPU)
    other_data = toys.make_dataset(toys.walks(seed=1))
    assert base != identity(recipe, dataset, 1, toys.CPU)
    assert base != identity(recipe, dataset, 0, torch.device("cuda"))
    assert base != identity(recipe, other_data, 0, toys.CPU)
    for changes in ({"training": {"epochs": 4}}, {"tokenizer": {"beta": 0.3}}):
        assert base != identity(toys.make_recipe(**changes), dataset, 0, toys.CPU)


PARTS = ["items", "user_ids", "offsets", "events", "times", "train_end", "validation_at", "test_at"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_without_targets_is_noticed_before_training(tmp_path, split):
    place = toys.Place(tmp_path / "place")
    parts = {name: getattr(place.dataset, name) for name in PARTS}
    parts[f"{split}_at"] = np.full(place.dataset.n_users, -1)
    Dataset.create(name="toy", split="temporal", **parts).save(place.data, force=True)
    with pytest.raises(DigerError, match=f"no user has a {split} target"):
        place.train("out", on_event=pytest.fail)


def test_the_version_of_the_code_tells_changed_sources_apart(tmp_path):
    package = Path(environment.__file__).parents[1]
    digest = environment.code_digest(package)
    assert environment.code_version().endswith(f"src.{digest}") and len(digest) == 8
    copy = tmp_path / "diger"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "notes.txt").write_text("no code")
    assert environment.code_digest(copy) == digest  # wherever it lies
    for name in ("training/loop.py", "recipes/fast.toml"):
        text = (copy / name).read_bytes()
        (copy / name).write_bytes(text + b"# changed\n")
        assert environment.code_digest(copy) != digest
        (copy / name).write_bytes(text)
    (copy / "training" / "loop.py").rename(copy / "training" / "loops.py")
    assert environment.code_digest(copy) != digest


def test_without_git_the_version_still_has_its_digest(monkeypatch):
    monkeypatch.setattr(environment, "_commit", lambda root: "")
    found = environment.code_version.__wrapped__()
    assert re.fullmatch(r"[0-9][0-9.a-z]*\+src\.[0-9a-f]{8}", found)
