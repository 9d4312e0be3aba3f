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
from diger.recommender.base import Recommender
from diger.recommender.build import build_backbone
from diger.recommender.sasrec import Sasrec
from diger.tokenizer.suffix import assign_suffix
from diger.training import environment
from diger.training.loop import FINAL_RATE, FitResult, fit, learning_rate_at
from diger.training.run import identity
from diger.training.task import PlainTask, SasrecTask, StaticTask, decayed_groups

# --- batches --------------------------------------------------------------------------------------


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


def test_one_example_for_every_earlier_prefix():
    dataset = toys.make_dataset()
    lengths = dataset.train_end - dataset.offsets[:-1]
    histories = Histories.of_training(dataset, 50, toys.CPU)
    assert int(histories.length.sum()) - len(histories) == np.maximum(lengths - 1, 0).sum()


def test_a_batch_is_padded_at_the_end_to_its_longest():
    dataset, events = all_different([4, 6, 7])
    batch = Histories.of_training(dataset, 50, toys.CPU).batch(torch.tensor([2, 0]))
    assert batch.items.shape == (2, 5)
    assert batch.lengths.tolist() == [5, 2]
    assert batch.items[0].tolist() == events[2][:5]
    assert batch.items[1, :2].tolist() == events[0][:2]


def test_evaluation_histories_end_before_their_target():
    dataset, events = all_different([3, 4, 9])
    found = contents(Histories.before(dataset, dataset.test_at, 4, toys.CPU))
    assert found == [h[:-1][-4:] for h in events]
    found = contents(Histories.before(dataset, dataset.validation_at[1:], 4, toys.CPU))
    assert found == [h[:-2][-4:] for h in events[1:]]


def test_nothing_to_learn_from_is_said():
    with pytest.raises(DigerError, match="toy: no user has two training events"):
        Histories.of_training(toys.make_dataset([[0, 1, 2], [3]], n_items=4), 5, toys.CPU)


LENGTHS = np.array([2, 9, 2, 5, 5, 5, 3, 2, 7, 7, 4, 2, 3, 6])


@pytest.mark.parametrize("batch_size", [1, 3, 4, 13, 50])
def test_every_history_comes_once_an_epoch(batch_size):
    for epoch in range(5):
        order = training_order(LENGTHS, batch_size, 7, epoch)
        assert sorted(np.concatenate(order)) == list(range(len(LENGTHS)))
        assert all(1 <= len(rows) <= batch_size for rows in order)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 6, 14, 50])
def test_an_epoch_has_as_many_batches_as_the_schedule_counts(batch_size):
    counts = {len(training_order(LENGTHS, batch_size, 7, epoch)) for epoch in range(20)}
    assert counts == {math.ceil(len(LENGTHS) / batch_size)}


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in training_order(LENGTHS, 4, seed, epoch)]

    first = order(1, 1)
    np.random.seed(99)
    torch.manual_seed(99)
    assert order(1, 1) == first
    assert order(1, 2) != first and order(2, 1) != first


def test_a_batch_holds_histories_of_like_length():
    for epoch in range(5):
        order = training_order(LENGTHS, 4, 0, epoch)
        spans = sorted((LENGTHS[rows].min(), LENGTHS[rows].max()) for rows in order)
        for (_, high), (low, _) in pairwise(spans):
            assert high <= low


def test_evaluation_order_is_complete_and_short_first():
    lengths = torch.tensor([3, 1, 2, 1, 5])
    assert [rows.tolist() for rows in evaluation_order(lengths, 2)] == [[1, 3], [2, 0], [4]]


# --- the loop -------------------------------------------------------------------------------------


class Scripted(PlainTask):
    """A task whose validations end as written: the rank of every user's target, 0 for a miss.

    `weights` and `validated` are the parameter after every update and at every validation.
    """

    prefix_examples = False

    def __init__(self, script: list[int], loss: Callable[[Tensor], Tensor] | None = None) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.script = list(script)
        self.weights: list[float] = []
        self.validated: list[float] = []
        self._loss = loss or (lambda weight: (weight - 3).square().sum())

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        return decayed_groups(self.module, learning_rate, weight_decay)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        self.weights.append(self.module.weight.item())  # before this update
        return self._loss(self.module.weight), {"lengths": float(batch.lengths.sum())}

    def ranker(self) -> Ranker:
        self.validated.append(self.module.weight.item())
        assert not self.module.training
        return _Fixed(self.script.pop(0))


class _Fixed:
    decoding = "fixed"

    def __init__(self, rank: int) -> None:
        self.place = rank

    def rank(self, batch: Batch, targets: Tensor) -> Ranked:
        items = torch.full((len(targets), 20), -1)
        if self.place:
            items[:, : self.place] = (targets[:, None] + torch.arange(self.place, 0, -1) - 1) % 26
        return ranked_from_list(items, -torch.arange(20.0).expand(len(targets), -1), targets)


def run(task: Any, folder: Path, dataset: Any = None, **training: Any) -> FitResult:
    settings = {"epochs": 3, "batch_size": 8, "ema": 0.0, "learning_rate": 0.1} | training
    on_event = settings.pop("on_event", lambda event: None)
    return fit(
        task,
        dataset or toys.make_dataset(),
        TrainingConfig(**settings),
        EvaluationConfig(),
        seed=0,
        device=toys.CPU,
        folder=folder,
        identity="x",
        on_event=on_event,
    )


def test_the_first_epoch_is_kept_even_when_its_metric_is_zero(tmp_path):
    task = Scripted([0, 0, 0, 0, 0])
    result = run(task, tmp_path, epochs=5)
    assert result.best_epoch == 1
    assert task.module.weight.item() == task.validated[0]
    assert len(set(task.validated)) == 5


@pytest.mark.parametrize(
    ("script", "patience", "best", "epochs"),
    [
        ([5, 2, 3, 2, 2], 10, 2, 5),  # an equal metric is not better
        ([5, 4, 3, 2, 1], 1, 5, 5),
        ([0, 0, 0, 9, 9], 2, 1, 3),
        ([0, 0, 9, 0, 0], 2, 3, 5),
        ([1, 2, 2, 2, 2], 1, 1, 2),
        ([11, 12, 10, 13, 0], 9, 3, 5),  # ranks beyond 10 are all a zero
    ],
)
def test_best_epoch_and_patience(tmp_path, script, patience, best, epochs):
    task = Scripted(script)
    result = run(task, tmp_path, epochs=5, patience=patience)
    assert (result.best_epoch, len(result.history)) == (best, epochs)
    assert task.module.weight.item() == task.validated[best - 1]
    assert not task.module.training


def test_validation_every_other_epoch_and_always_the_last(tmp_path):
    task = Scripted([3, 2, 1])
    history = run(task, tmp_path, epochs=5, validate_every=2).history
    assert history["validation_ndcg@10"].notna().tolist() == [False, True, False, True, True]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]


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
    assert result.best_epoch == 3
    assert task.module.weight.item() == task.validated[2]
    # Training went on from the weights themselves, not from their average.
    assert abs(task.weights[int(result.history["updates"][0])] - task.validated[0]) > 1e-3


def test_without_an_average_the_weights_themselves_are_kept(tmp_path):
    task = Scripted([0, 0, 5])
    result = run(task, tmp_path, ema=0.0)
    assert task.validated[0] == task.weights[int(result.history["updates"][0])]
    assert task.module.weight.item() == task.validated[2]


def test_history_holds_means_over_targets_and_the_rate(tmp_path):
    history = run(Scripted([1, 1, 1]), tmp_path).history
    assert list(history.columns[:2]) == ["epoch", "updates"]
    histories = Histories.of_training(toys.make_dataset(), 50, toys.CPU)
    order = training_order(histories.length.numpy(), 8, 0, 1)
    assert history["updates"][0] == len(order)
    sums = [int(histories.length[rows].sum()) for rows in order]
    weights = [s - len(rows) for s, rows in zip(sums, order, strict=True)]
    assert history["lengths"][0] == pytest.approx(np.average(sums, weights=weights))
    total = 3 * math.ceil(len(histories) / 8)
    rates = [0.1 * learning_rate_at(updates - 1, total, 0.05) for updates in history["updates"]]
    np.testing.assert_allclose(history["learning_rate"], rates)
    assert (history["seconds"] > 0).all()


def test_learning_rate_by_hand():
    rates = [learning_rate_at(update, 12, 0.25) for update in range(12)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])  # three updates of warm-up
    assert rates[3] == pytest.approx(1)
    halfway = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * 3 / 9))
    assert rates[6] == pytest.approx(halfway)
    assert all(a >= b for a, b in pairwise(rates[2:]))
    assert learning_rate_at(12, 12, 0.25) == learning_rate_at(99, 12, 0.25) == FINAL_RATE
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
    with pytest.raises(DigerError, match=rf"the loss became {bad} in epoch 1.*learning_rate"):
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
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert decayed["lr"] == plain["lr"] == 0.5
    assert all(p.ndim > 1 for p in decayed["params"]) and all(p.ndim == 1 for p in plain["params"])
    found = {id(p) for group in (decayed, plain) for p in group["params"]}
    assert found == {id(p) for p in model.parameters() if p.requires_grad}


# --- models on the toy ----------------------------------------------------------------------------


def static_task(seed: int = 0) -> StaticTask:
    codes = np.column_stack([np.arange(toys.N_ITEMS) // 5 % 4, np.arange(toys.N_ITEMS) % 4])
    sids = np.column_stack([codes, assign_suffix(codes, size=4)])
    recipe = toys.make_recipe()
    torch.manual_seed(seed)
    model = build_backbone(recipe.backbone, sizes=(4, 4, 4), n_items=toys.N_ITEMS, max_history=6)
    assert isinstance(model, Recommender)
    group = np.unique(codes, axis=0, return_inverse=True)[1]
    return StaticTask(
        model=model, sids=torch.from_numpy(sids), group=torch.from_numpy(group), beam=20
    )


def sasrec_task() -> SasrecTask:
    backbone = toys.make_recipe(**toys.SASREC).backbone
    torch.manual_seed(0)
    model = build_backbone(backbone, sizes=(), n_items=toys.N_ITEMS, max_history=6)
    assert isinstance(model, Sasrec)
    return SasrecTask(model=model)


@pytest.mark.parametrize("make", [static_task, sasrec_task], ids=["static", "sasrec"])
def test_the_loss_falls(tmp_path, make):
    settings = {"max_history": 6, "learning_rate": 1e-2, "ema": 0.9}
    history = run(make(), tmp_path, epochs=8, **settings).history
    assert history["loss"].iloc[-1] < 0.95 * history["loss"].iloc[0]
    assert history.filter(like="validation_").notna().all(axis=None)


def test_the_static_loss_is_the_mean_over_code_positions(tmp_path):
    history = run(static_task(), tmp_path, epochs=1, max_history=6).history
    parts = history[["loss_1", "loss_2", "loss_3"]].mean(axis=1)
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-5)  # no weight on the alignment
    np.testing.assert_allclose(history["loss_codes"], parts, rtol=1e-5)


def test_the_alignment_loss_counts_against_a_whole_sid(tmp_path):
    task = static_task()
    task.alignment = 0.6
    row = run(task, tmp_path, epochs=1, max_history=6).history.iloc[0]
    assert row["loss"] == pytest.approx(row["loss_codes"] + 0.6 * row["loss_alignment"] / 3)


def test_the_test_split_has_no_say(tmp_path):
    walks = toys.walks()
    other = [w if len(w) < 3 else [*w[:-1], (w[-1] + 7) % toys.N_ITEMS] for w in walks]
    weights, histories = [], []
    for name, events in (("a", walks), ("b", other)):
        (tmp_path / name).mkdir()
        task = static_task()
        histories.append(
            run(task, tmp_path / name, toys.make_dataset(events), epochs=2, max_history=6).history
        )
        weights.append(list(task.module.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert histories[0].drop(columns="seconds").equals(histories[1].drop(columns="seconds"))


def test_validation_targets_are_not_trained_on(tmp_path):
    walks = toys.walks()
    other = [w if len(w) < 3 else [*w[:-2], (w[-2] + 7) % toys.N_ITEMS, w[-1]] for w in walks]
    losses = []
    for name, events in (("a", walks), ("b", other)):
        (tmp_path / name).mkdir()
        data = toys.make_dataset(events)
        losses.append(
            run(static_task(), tmp_path / name, data, epochs=2, max_history=6).history["loss"]
        )
    assert losses[0].equals(losses[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_leave_single_precision_weights(tmp_path, precision):
    task = static_task()
    history = run(task, tmp_path, epochs=2, max_history=6, precision=precision).history
    assert np.isfinite(history["loss"]).all()
    assert all(t.dtype == torch.float32 for t in task.module.state_dict().values())


def test_runs_with_one_seed_are_equal(tmp_path):
    states = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        task = static_task()
        run(task, tmp_path / name, epochs=2, max_history=6, ema=0.9)
        states.append(task.module.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


# --- what a run is --------------------------------------------------------------------------------


def test_identity_is_all_that_decides_the_weights():
    dataset = toys.make_dataset()
    recipe = toys.make_recipe()
    base = identity(recipe, dataset, 0, toys.CPU)
    assert base == identity(recipe, dataset, 0, toys.CPU)
    renamed = recipe.model_copy(update={"name": "other", "about": "words"})
    assert base == identity(renamed, dataset, 0, toys.CPU)
    for other in (
        identity(recipe, dataset, 1, toys.CPU),
        identity(recipe, dataset, 0, torch.device("cuda")),
        identity(recipe, toys.make_dataset(toys.walks(seed=1)), 0, toys.CPU),
        identity(toys.make_recipe(training={"epochs": 4}), dataset, 0, toys.CPU),
        identity(toys.make_recipe(tokenizer={"beta": 0.3}), dataset, 0, toys.CPU),
    ):
        assert other != base


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_without_targets_is_noticed_before_training(tmp_path, split):
    place = toys.Place(tmp_path / "place")
    whole = place.dataset
    arrays = {name: getattr(whole, name) for name in ("user_ids", "offsets", "events", "times")}
    places = {name: getattr(whole, name) for name in ("train_end", "validation_at", "test_at")}
    places[f"{split}_at"] = np.full(whole.n_users, -1)
    dataset = Dataset.create(name="toy", split="temporal", items=whole.items, **arrays, **places)
    dataset.save(place.data, force=True)
    events: list[Any] = []
    with pytest.raises(DigerError, match=f"no user has a {split} target"):
        place.train("out", on_event=events.append)
    assert events == []


def test_sids_that_outgrow_the_suffix_leave_nothing_behind(tmp_path):
    place = toys.Place(tmp_path)
    recipe = place.recipe(tokenizer={"levels": 1, "codebook_size": 2, "suffix_size": 2})
    with pytest.raises(DigerError, match="share the codes"):
        place.train("bundle", recipe)
    assert not list(tmp_path.glob("bundle*"))


# --- the code -------------------------------------------------------------------------------------


def test_the_version_of_the_code_tells_changed_sources_apart(tmp_path):
    package = Path(environment.__file__).parents[1]
    digest = environment.code_digest(package)
    assert environment.code_version().endswith(f"src.{digest}") and len(digest) == 8
    copy = tmp_path / "diger"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, copy, ignore=skip)
    assert environment.code_digest(copy) == digest  # wherever it lies
    for name in ("training/loop.py", "recipes/fast.toml"):
        text = (copy / name).read_bytes()
        (copy / name).write_bytes(text + b"# changed\n")
        assert environment.code_digest(copy) != digest
        (copy / name).write_bytes(text)
    (copy / "notes.txt").write_text("no code")
    assert environment.code_digest(copy) == digest
    (copy / "training" / "loop.py").rename(copy / "training" / "loops.py")
    assert environment.code_digest(copy) != digest


def test_without_git_the_version_still_has_its_digest(monkeypatch):
    monkeypatch.setattr(environment, "_commit", lambda root: "")
    found = environment.code_version.__wrapped__()
    assert re.fullmatch(r"[0-9][0-9.a-z]*\+src\.[0-9a-f]{8}", found)
