"""Joint training: the gradient is really there, and only where it should be."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import core_toys as toys
import numpy as np
import pytest
import torch
from core_toys import Place

import diger
from diger.bundle.reader import Bundle
from diger.config import JointConfig, TrainingConfig, load_recipe, recipe_from
from diger.data.batches import Batch
from diger.errors import DigerError
from diger.recommender.base import GRADIENT_PLACES
from diger.recommender.build import build_backbone
from diger.tokenizer.config import TokenizerConfig
from diger.tokenizer.residual_kmeans import ResidualKMeans
from diger.tokenizer.rqvae import RQVAE
from diger.tokenizer.soft import calibrate, soft_codes
from diger.tokenizer.suffix import assign_suffix
from diger.training.drift import SidWatch
from diger.training.joint import JointTask
from diger.training.renaming import Shuffled, nearest_codes, one_each
from diger.training.task import StaticTask, count_updates, paced
from diger.uncertainty.config import NO_UNCERTAINTY, UncertaintyConfig

ITEMS, LEVELS, SIZE, WIDTH = 30, 2, 4, 6
CODES, START_CODES = ["code_1", "code_2"], ["start_code_1", "start_code_2"]
EVERYWHERE = JointConfig(gradients=GRADIENT_PLACES)


def make_tokenizer(kind: str = "residual-kmeans") -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(ITEMS, WIDTH)
    x = x / x.square().sum(1).mean().sqrt()
    shape = {"levels": LEVELS, "codebook_size": SIZE, "width": WIDTH}
    if kind == "rqvae":
        tokenizer = RQVAE(dim=WIDTH, hidden=(8,), **shape)
        tokenizer.fit(x, epochs=1, lr=1e-3, weight_decay=0, batch_size=30, seed=0, progress=False)
    else:
        tokenizer = ResidualKMeans(**shape)
        tokenizer.fit(x, seed=0)
    return tokenizer, x


def make_task(
    method: str = "differentiable",
    config: JointConfig = EVERYWHERE,
    kind: str = "residual-kmeans",
    suffix_size: int = 30,
    renaming: Any = None,
) -> JointTask:
    tokenizer, x = make_tokenizer(kind)
    codes = tokenizer.assign(x).numpy()
    sids = np.concatenate([codes, assign_suffix(codes, size=suffix_size)[:, None]], axis=1)
    torch.manual_seed(1)
    sizes = (SIZE,) * LEVELS + (suffix_size,)
    backbone = toys.make_recipe().backbone
    return JointTask(
        method=method,
        config=config,
        model=build_backbone(backbone, sizes=sizes, n_items=ITEMS, max_history=6),
        tokenizer=tokenizer,
        naming=TokenizerConfig(levels=LEVELS, codebook_size=SIZE, width=WIDTH),
        sids=torch.from_numpy(sids),
        content=x,
        popularity=np.arange(ITEMS),
        beam=20,
        alignment=0.5,
        renaming=renaming,
    )


def batch() -> Batch:
    generator = torch.Generator().manual_seed(2)
    items = torch.randint(ITEMS, (16, 6), generator=generator)
    return Batch(items, torch.tensor([6, 5, 4, 3] * 4))


def static_twin(task: JointTask) -> StaticTask:
    """The static task on the same recommender and SIDs."""
    sids = task.module.sids
    return StaticTask(model=task.model, sids=sids, group=task.group, beam=20, alignment=0.5)


def reached(task: JointTask) -> list[bool]:
    """Whether the recommendation loss alone moves each codebook, and the tokenizer's rest."""
    task.config = task.config.model_copy(update={"tokenizer_weight": 0.0})
    task.model.eval()  # no dropout
    task.module.zero_grad()  # of the tokenizer's own fit
    task.loss(batch())[0].backward()
    named = task.tokenizer.named_parameters()
    gradients = {name: p.grad.abs() for name, p in named if p.grad is not None}
    books = gradients.pop("codebooks", torch.zeros(LEVELS, 1, 1))
    return [*(books.amax((1, 2)) > 0).tolist(), any((g > 0).any() for g in gradients.values())]


ALONE = [((place,), "cached") for place in GRADIENT_PLACES]


@pytest.mark.parametrize(
    ("places", "forward"),
    [(GRADIENT_PLACES, "cached"), (GRADIENT_PLACES, "sampled"), ((), "cached"), *ALONE],
)
def test_every_place_alone_and_together_reaches_every_codebook(places, forward):
    task = make_task(config=JointConfig(gradients=places, forward=forward))
    assert reached(task) == [bool(places)] * LEVELS + [False]


def test_places_add_up():
    """What all places send is the sum of what each sends: nothing leaks round a switch."""

    def gradient(places: tuple[str, ...]) -> torch.Tensor:
        task = make_task(config=JointConfig(gradients=places, uncertainty=NO_UNCERTAINTY))
        assert all(reached(task)[:LEVELS])
        return task.tokenizer.codebooks.grad.clone()

    # The label's gradient and the inputs' meet in no product at first order.
    apart = sum(gradient((place,)) for place in GRADIENT_PLACES)
    torch.testing.assert_close(gradient(GRADIENT_PLACES), apart, atol=1e-6, rtol=1e-4)


# An encoder that may learn is there, so that nothing reaching it means something.
QUIET = EVERYWHERE.model_copy(update={"uncertainty": NO_UNCERTAINTY, "train_encoder": True})


@pytest.mark.parametrize("method", ["differentiable", "ste", "detached"])
def test_detached_sends_exactly_nothing_and_the_others_something(method):
    task = make_task(method, QUIET, kind="rqvae")
    assert reached(task) == [method != "detached"] * (LEVELS + 1)


def test_the_encoder_learns_only_if_asked_to():
    assert reached(make_task(kind="rqvae")) == [True] * LEVELS + [False]


def test_static_trains_the_recommender_and_nothing_else():
    task = make_task()
    static = static_twin(task)
    static.loss(batch())[0].backward()
    trained = {id(p) for group in static.parameter_groups(1e-3, 0.0) for p in group["params"]}
    assert trained == {id(p) for p in task.model.parameters()}
    assert all(p.grad is None for p in task.tokenizer.parameters())


@pytest.mark.parametrize("method", ["differentiable", "detached", "ste"])
def test_all_methods_say_the_same_loss_on_the_same_sids(method):
    """Forward is hard: the recommendation loss is that of the static task, to the last digits."""
    task = make_task(method, EVERYWHERE if method == "differentiable" else QUIET)
    task.model.eval()
    _, parts = static_twin(task).loss(batch())
    _, joint = task.loss(batch())
    for name in parts:
        assert joint[name] == pytest.approx(parts[name], abs=1e-5), name


@pytest.mark.parametrize("noise", ["none", "gumbel"])
@pytest.mark.parametrize("winner_only", [False, True])
def test_a_mixture_is_hard_in_value_and_moves_every_codeword_or_the_winner(winner_only, noise):
    tokenizer, x = make_tokenizer()
    scale = calibrate(tokenizer, x, 0.6)
    soft = soft_codes(tokenizer, x[:1], scale=scale, noise=noise, winner_only=winner_only)
    for codes, mixture in zip(soft.codes.T, soft.mixture, strict=True):
        one_hot = torch.nn.functional.one_hot(codes, SIZE).float()
        torch.testing.assert_close(mixture.detach(), one_hot, atol=1e-6, rtol=0)
    weights = torch.randn(SIZE, generator=torch.Generator().manual_seed(3))
    (soft.mixture[0] @ weights).sum().backward()
    touched = tokenizer.codebooks.grad[0].abs().amax(-1).nonzero().flatten().tolist()
    assert touched == (soft.codes[:, 0].tolist() if winner_only else list(range(SIZE)))


@pytest.mark.parametrize("what", ["offsets", "mixing"])
def test_items_themselves_move_by_the_recommendation_loss_and_start_where_they_are(what):
    config = QUIET.model_copy(update={what: 1e-2, "tokenizer_weight": 0.0, "offset_weight": 0.0})
    task = make_task(config=config)
    assert torch.equal(task.module.items(), task.module.content)
    unique, _ = batch().distinct()
    task.model.eval()
    task.loss(batch())[0].backward()
    gradient = getattr(task.module, what).grad
    if what == "offsets":  # of the items in the batch, and of no other
        moved = gradient.abs().amax(1) > 0
        assert moved[unique].all() and moved.sum() == len(unique) < ITEMS
    else:
        assert gradient.norm() > 0
    rates = {g["name"]: g["lr"] for g in task.parameter_groups(1e-2, 0.0) if "name" in g}
    assert rates[what] == 1e-2 and what + "_gradient_norm" in task.norm_groups()
    silent = make_task("detached", config)
    silent.loss(batch())[0].backward()
    assert not (getattr(silent.module, what).grad > 0).any()


def test_balance_pushes_from_a_code_that_is_used_too_much():
    quiet = {"uncertainty": NO_UNCERTAINTY, "tokenizer_weight": 0.0, "balance": 1.0}
    task = make_task(config=JointConfig(gradients=(), **quiet))
    crowded, rest = 0, slice(1, None)
    task.module.usage[:, crowded], task.module.usage[:, rest] = 0.97, 0.01
    before = task.module.usage.clone()
    unique, _ = batch().distinct()
    x = task.module.content[unique]
    found = soft_codes(task.tokenizer, x, scale=task.module.scale, noise="none")
    term = task._balance(found.mixture, unique, batch())
    term.backward()
    step = task.tokenizer.codebooks.detach() - 0.05 * task.tokenizer.codebooks.grad
    share = [
        ((task.tokenizer.level_logits(x, 0)) * task.module.scale[0]).softmax(-1)[:, crowded].mean()
    ]
    with torch.no_grad():
        task.tokenizer.codebooks.copy_(step)
    share.append(
        (task.tokenizer.level_logits(x, 0) * task.module.scale[0]).softmax(-1)[:, 0].mean()
    )
    assert share[1] < share[0]
    assert not torch.equal(task.module.usage, before)  # the running mean goes along


def test_shuffled_changes_as_many_codes_as_told_and_none_after():
    tokenizer, x = make_tokenizer()
    changes = ((0.2, 0.5), (0.0, 0.2))
    dealt = Shuffled(changes, tokenizer, x, tokenizer.assign(x), distinct=False)
    task = make_task("shuffled", JointConfig(uncertainty=NO_UNCERTAINTY), renaming=dealt)
    task.loss(batch())[0].backward()
    assert task.tokenizer.codebooks.grad is None
    for most in ((6, 15), (0, 6), (0, 0)):
        before = task.module.sids[:, :-1].clone()
        task.end_epoch()
        after = task.module.sids[:, :-1]
        changed = (after != before).sum(0).tolist()
        assert all(found <= told for found, told in zip(changed, most, strict=True))
        assert (sum(changed) > 0) == (sum(most) > 0)
        # Codes change hands: each is used as often as before.
        assert all(
            torch.equal(a.sort()[0], b.sort()[0]) for a, b in zip(after.T, before.T, strict=True)
        )


def test_nearest_codes_are_the_nearest_and_each_item_gets_its_own():
    tokenizer, x = make_tokenizer()
    found = nearest_codes(tokenizer, x, SIZE**LEVELS)  # wide enough to find them all
    where = tokenizer.lookup(found.flatten(0, 1)).reshape(ITEMS, -1, WIDTH)
    far = (x[:, None] - where).square().sum(-1)
    assert (far.diff(dim=1) >= -1e-5).all()
    own = torch.tensor([[0, 0], [0, 1], [1, 0]])
    wanted = torch.tensor([[0, 1], [1, 1], [0, 1]])  # the first and the third want the second's
    value = torch.tensor([[-3.0, -1.0], [-1.0, -2.0], [-5.0, -1.0]])
    codes = one_each(torch.stack([own, wanted], dim=1), value)
    # The third gains most by it; the second makes room, the first has nowhere to go.
    assert codes.tolist() == [[0, 0], [1, 1], [0, 1]]


@pytest.mark.parametrize("welcome", [True, False])
def test_reassignment_is_kept_where_validation_expects_no_less(place, monkeypatch, caplog, welcome):
    """The rule by itself: a judge that likes the change keeps it, one that does not refuses it."""
    from diger.training.renaming import Reassigned

    caplog.set_level(logging.INFO)
    judged = iter([1.0, 0.5 if welcome else 2.0] * 9)
    monkeypatch.setattr(Reassigned, "_judged", lambda *_: next(judged))
    joint = {"nearest": 4, "uncertainty": {"noise": "none", "decay": "none"}}
    own = {"codebook_size": 16, "distinct": True}
    recipe = place.recipe(
        method="reassigned", joint=joint, tokenizer=own, training={"epochs": 2, "patience": 2}
    )
    out = place.train(f"reassigned-{welcome}", recipe)
    items = Bundle.open(out).items
    moved = (items[CODES].to_numpy() != items[START_CODES].to_numpy()).any(1).mean()
    assert (moved > 0) == welcome
    assert not items.duplicated(CODES).any() and (items["suffix"] == 0).all()
    assert ("kept" if welcome else "refused") in caplog.text


def test_refresh_follows_the_codebooks_and_keeps_suffixes():
    task = make_task()
    before = task.module.sids.clone()
    task.refresh()
    assert torch.equal(task.module.sids, before)  # codes are assigned without noise
    assert torch.equal(task.ranker().sids, before)
    with torch.no_grad():
        task.tokenizer.codebooks += 0.3 * torch.randn_like(task.tokenizer.codebooks)
    task.refresh()
    after = task.module.sids
    assert torch.equal(after[:, :-1], task.tokenizer.assign(task.module.content))
    stayed = (after[:, :-1] == before[:, :-1]).all(1)
    assert 0 < stayed.sum() < ITEMS
    assert torch.equal(after[stayed], before[stayed])
    assert len(torch.unique(after, dim=0)) == ITEMS
    assert task.trie.find(after).min() >= 0  # the trie follows


def test_codes_that_outgrow_the_suffix_are_named(caplog):
    task = make_task(suffix_size=8)
    with torch.no_grad():
        task.tokenizer.codebooks.zero_()  # everything falls on code 0
    message = r"after epoch 0: 30 items share the codes 0-0 .* room for 8.*joint.learning_rate"
    with caplog.at_level(logging.WARNING), pytest.raises(DigerError, match=message):
        task.refresh()
    assert "collapse: level 1 is down to 1.0" in caplog.text  # of 4 codes, a tenth is no code


@pytest.mark.parametrize(("forward", "confidence"), [("cached", 0.6), ("sampled", 0.9)])
def test_noise_explores_as_much_as_the_confidence_leaves(forward, confidence):
    noisy = UncertaintyConfig(decay="none")
    config = JointConfig(forward=forward, confidence=confidence, uncertainty=noisy)
    task = make_task(config=config)
    torch.manual_seed(0)
    explored = [task.loss(batch())[1]["explored_1"] for _ in range(40)]
    assert sum(explored) / 40 == pytest.approx(1 - confidence, abs=0.06)


def test_a_scale_out_of_reach_is_said(caplog):
    tokenizer, x = make_tokenizer()
    with torch.no_grad():
        tokenizer.codebooks[1] = tokenizer.codebooks[1, :1]  # one codeword four times
    with caplog.at_level(logging.WARNING):
        calibrate(tokenizer, x, 0.8)
    assert re.search(r"level 2: no scale .* 0\.80, the nearest is 0\.25", caplog.text)
    assert "level 1" not in caplog.text


@pytest.mark.parametrize("method", ["differentiable", "detached"])
def test_every_method_trains_the_tokenizer_until_it_settles(method):
    task = make_task(method, QUIET.model_copy(update={"settle": 0.5}))
    for update, learns in ((4, True), (5, False)):
        task.module.zero_grad()
        task.begin_update(update, 10)
        loss, parts = task.loss(batch())
        loss.backward()
        assert (task.tokenizer.codebooks.grad is not None) == ("loss_vq" in parts) == learns


def test_the_tokenizer_has_its_own_rate_and_no_weight_decay():
    task = make_task(config=JointConfig(learning_rate=3e-4))
    groups = task.parameter_groups(1e-2, 0.05)
    own = [g for g in groups if any(p is task.tokenizer.codebooks for p in g["params"])]
    assert [(g["lr"], g["weight_decay"]) for g in own] == [(3e-4, 0.0)]
    listed = [id(p) for g in groups for p in g["params"]]
    assert len(listed) == len(set(listed))


def test_rates_are_rescaled_to_the_length_of_the_run():
    config = JointConfig(learning_rate=2e-5, updates=1000, refresh=50)
    slow = paced(config, 4000)
    assert slow.learning_rate == pytest.approx(5e-6)
    assert slow.uncertainty.sdud.learning_rate == pytest.approx(1e-2 / 4)
    # as much of the old usage is left after four times the updates
    assert slow.uncertainty.frqud.momentum**4 == pytest.approx(0.99)
    assert (slow.refresh, paced(config, 10).refresh) == (200, 1)
    for same in (config, config.model_copy(update={"updates": 0})):
        assert paced(same, 1000) == same
    assert count_updates(65, TrainingConfig(epochs=3, batch_size=64)) == 6


def test_drift_by_hand():
    start = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    watch = SidWatch(start, np.array([10, 1, 1, 1]), 4)
    assert watch.head.tolist() == [True, False, False, False]
    first = start.copy()
    first[1] = (2, 1)
    row, levels = watch.epoch(first, start)
    assert row["drift"] == row["drift_epoch"] == 0.25
    # of 13 training events 10 are on first code 0, 2 on 1, 1 on 2
    shares, ones = np.array([10, 1, 1, 1]) / 13, np.array([10, 2, 1]) / 13
    assert row["target_entropy_1"] == pytest.approx(-np.sum(ones * np.log(ones)))
    both = row["target_entropy_1"] + row["target_entropy_2"]
    assert both == pytest.approx(-np.sum(shares * np.log(shares)))
    assert row["drift_head"] == 0 and row["drift_tail"] == pytest.approx(1 / 3)
    assert [level["drift"] for level in levels] == [0.25, 0.0]
    second = first.copy()
    second[0] = (0, 3)
    row, levels = watch.epoch(second, first)
    assert row["drift"] == 0.5 and row["drift_epoch"] == 0.25 and row["drift_head"] == 1
    assert levels[1]["counts"] == [1, 2, 0, 1] and levels[1]["epoch"] == 2


def test_collapse_is_named_once_also_after_a_resume_and_standstill_too(caplog):
    caplog.set_level(logging.WARNING)
    start = np.stack([np.arange(40) % 20, np.arange(40) // 20], axis=1)
    collapsed = start.copy()
    collapsed[:, 0] = 0
    _, records = SidWatch(start, np.ones(40), 20).epoch(collapsed, start)
    assert "collapse: level 1 is down to 1.0 effective codes from 20.0" in caplog.text
    resumed = SidWatch(start, np.ones(40), 20)
    resumed.restore(records)
    resumed.epoch(collapsed, collapsed)
    assert caplog.text.count("collapse") == 1
    caplog.clear()
    still = SidWatch(start, np.ones(40), 20)
    for _ in range(3):
        still.epoch(start, start)
    assert "no item has changed its SID after 3 epochs" in caplog.text


JOINT = {"method": "differentiable", "joint": {"learning_rate": 1e-2, "updates": 30}}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return toys.static_run(tmp_path_factory.getbasetemp())[0]


@pytest.fixture(scope="module")
def static(tmp_path_factory) -> Path:
    """The bundle of a static run."""
    return toys.static_run(tmp_path_factory.getbasetemp())[1]


@pytest.fixture(scope="module")
def learned(place) -> Path:
    """The bundle of a joint run."""
    return place.train("joint-learned", place.recipe(**JOINT))


def test_a_joint_bundle_tells_what_happened_and_recommends_by_its_own_sids(place, learned):
    bundle = Bundle.open(learned)
    arm = {"method": "differentiable", "decay": "frqud", "noise": "gumbel"}
    assert bundle.config["arm"] == arm
    history, levels = bundle.history, bundle.frame("levels.parquet")
    told = ["drift", "agreement", "explored", "noise_scale", "hot_share"]
    assert history[told].notna().all(axis=None)
    assert (history["tokenizer_gradient_norm"] > 0).all()
    pace = history["tokenizer_learning_rate"] / history["learning_rate"]  # of one schedule
    np.testing.assert_allclose(pace, 30 / history["updates"].iloc[-1])
    assert set(levels["epoch"]) == {0, 1, 2, 3} and set(levels["level"]) == {1, 2}
    codes = bundle.frame("codes.parquet")
    assert (codes.groupby(["epoch", "level"])["items"].sum() == place.dataset.n_items).all()
    codes, start = (bundle.items[columns].to_numpy() for columns in (CODES, START_CODES))
    drift = history.set_index("epoch")["drift"][bundle.config["selected_epoch"]]
    assert (codes != start).any() == (drift > 0)

    model = diger.load(learned)
    assert len(model.recommend(["i1", "i2"], k=5)) == 5
    vectors = torch.from_numpy(model.bundle.tensors("content.safetensors")["vectors"])
    assert torch.equal(model.tokenizer.assign(vectors), model.sids[:, :-1])


def test_a_bundle_whose_items_moved_knows_where_they_are(place):
    moving = {**JOINT["joint"], "offsets": 1e-1, "mixing": 1e-2, "balance": 1.0}
    moving |= {"gradients": ("labels",)}
    path = place.train("joint-moving", place.recipe(method="differentiable", joint=moving))
    model, history = diger.load(path), Bundle.open(path).history
    assert history["loss_offsets"].iloc[-1] > 0 and "loss_balance" in history
    vectors = torch.from_numpy(model.bundle.tensors("content.safetensors")["vectors"])
    assert torch.equal(model.tokenizer.assign(vectors), model.sids[:, :-1])
    assert len(model.recommend(["i1", "i2"], k=5)) == 5


def test_arms_of_a_seed_start_alike(place, learned, static):
    one = Bundle.open(learned).items[START_CODES]
    detached = place.recipe(method="detached", joint={"uncertainty": NO_UNCERTAINTY.model_dump()})
    assert one.equals(Bundle.open(place.train("joint-detached", detached)).items[START_CODES])
    assert (one.to_numpy() == Bundle.open(static).items[CODES].to_numpy()).all()


def test_learned_sids_can_be_frozen_under_a_fresh_recommender(place, learned):
    fresh = Bundle.open(place.train("joint-fresh", place.recipe(), sids_from=learned))
    columns = [*CODES, "suffix"]
    assert fresh.items[columns].equals(Bundle.open(learned).items[columns])
    assert fresh.config["arm"]["method"] == "static"


def test_joint_training_can_start_from_a_trained_recommender(place, static):
    path = place.train("joint-second", place.recipe(**JOINT), start_from=static)
    start, after = (Bundle.open(p).history["loss_codes"].iloc[0] for p in (static, path))
    assert after < start


ALIGNMENT = {"gradients": ["alignment"]}
UNALIGNED = "no recommendation gradient .there is no alignment loss here"
FROM_FILE = {"kind": "file", "file": {"path": "x"}}


@pytest.mark.parametrize(
    ("method", "joint", "others", "message"),
    [
        ("detached", {"uncertainty": {"noise": "gumbel"}}, {}, 'no noise, .*"gumbel", .*"frqud"'),
        ("differentiable", {"gradients": []}, {}, "no recommendation gradient; name a place"),
        ("ste", ALIGNMENT, {"training": {"alignment": 0.0}}, UNALIGNED),
        ("differentiable", ALIGNMENT, {"backbone": {"kind": "t5"}}, UNALIGNED),
        ("differentiable", {"uncertainty": {"noise": "none"}}, {}, '"frqud" needs noise to decay'),
        ("differentiable", {"temperature": 0.0}, {}, "joint.temperature: .*0"),
        ("static", {}, {}, 'method "static" trains no SIDs'),
        ("shuffled", {}, {}, "joint.changes and method"),
        ("reassigned", {"nearest": 4}, {}, "codes of its own; write tokenizer.distinct"),
        ("shuffled", {"changes": [[0.1]]}, {}, "needs 3 shares, one a level"),
        ("detached", {"balance": 1.0}, {}, "no recommendation gradient to balance"),
        ("differentiable", {}, {"tokenizer": FROM_FILE}, "needs a tokenizer to train"),
    ],
)
def test_what_does_not_go_together_is_said(method, joint, others, message):
    with pytest.raises(DigerError, match=message):
        recipe_from({"method": method, "joint": joint, **others}, "r", "recipe r")


def test_another_method_does_not_inherit_noise(tmp_path):
    (tmp_path / "still.toml").write_text('extends = "differentiable"\nmethod = "detached"\n')
    recipe = load_recipe(str(tmp_path / "still.toml"))
    assert recipe.arm == {"method": "detached", "decay": "none", "noise": "none"}
    assert recipe.joint.updates == load_recipe("differentiable").joint.updates


def test_weights_of_another_shape_are_refused(place, static):
    backbone = {**toys.RECIPE["backbone"], "d_model": 32}
    wider = place.recipe(backbone=backbone, method="differentiable", joint={})
    with pytest.raises(DigerError, match="of another shape"):
        place.train("joint-wider", wider, start_from=static)
