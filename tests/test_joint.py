"""Joint training: the gradient is really there, and only where it should be."""

from __future__ import annotations

import logging
from typing import Any

import core_toys as toys
import numpy as np
import pytest
import torch
from core_toys import Place

from diger.bundle.reader import Bundle
from diger.config import JointConfig, Recipe, TrainingConfig, load_recipe, recipe_from
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
from diger.training.task import StaticTask, count_updates, paced
from diger.uncertainty.config import NO_UNCERTAINTY, UncertaintyConfig

ITEMS, LEVELS, SIZE, WIDTH = 30, 2, 4, 6
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
    alignment: float = 0.5,
    suffix_size: int = 30,
) -> JointTask:
    tokenizer, x = make_tokenizer(kind)
    codes = tokenizer.assign(x).numpy()
    sids = np.concatenate([codes, assign_suffix(codes, size=suffix_size)[:, None]], axis=1)
    torch.manual_seed(1)
    model = build_backbone(
        toys.make_recipe().backbone,
        sizes=(SIZE,) * LEVELS + (suffix_size,),
        n_items=ITEMS,
        max_history=6,
    )
    return JointTask(
        method=method,
        config=config,
        model=model,
        tokenizer=tokenizer,
        naming=TokenizerConfig(levels=LEVELS, codebook_size=SIZE, width=WIDTH),
        sids=torch.from_numpy(sids),
        content=x,
        popularity=np.arange(ITEMS),
        beam=20,
        alignment=alignment,
    )


def batch() -> Batch:
    generator = torch.Generator().manual_seed(2)
    items = torch.randint(ITEMS, (16, 6), generator=generator)
    return Batch(items, torch.tensor([6, 5, 4, 3] * 4))


def recommendation_gradients(task: JointTask) -> tuple[list[float], float]:
    """Largest of the recommendation loss alone, per codebook and over the tokenizer's rest."""
    no_own = task.config.model_copy(update={"tokenizer_weight": 0.0})
    task.config = no_own
    task.model.eval()  # no dropout
    task.module.zero_grad()
    loss, _ = task.loss(batch())
    loss.backward()
    books = task.tokenizer.codebooks.grad
    per_level = [0.0] * LEVELS if books is None else books.abs().amax((1, 2)).tolist()
    rest = [
        p.grad.abs().max().item()
        for name, p in task.tokenizer.named_parameters()
        if name != "codebooks" and p.grad is not None
    ]
    return per_level, max(rest, default=0.0)


@pytest.mark.parametrize("forward", ["cached", "sampled"])
def test_the_recommendation_loss_reaches_every_codebook(forward):
    task = make_task(config=JointConfig(gradients=GRADIENT_PLACES, forward=forward))
    books, _ = recommendation_gradients(task)
    assert all(value > 0 for value in books)


@pytest.mark.parametrize("place", GRADIENT_PLACES)
def test_each_place_alone_reaches_the_codebooks(place):
    books, _ = recommendation_gradients(make_task(config=JointConfig(gradients=(place,))))
    assert all(value > 0 for value in books)


def test_no_place_is_no_gradient():
    books, _ = recommendation_gradients(make_task(config=JointConfig(gradients=())))
    assert books == [0.0] * LEVELS


def test_places_add_up():
    """What all places send is the sum of what each sends: nothing leaks round a switch."""

    def gradient(places: tuple[str, ...]) -> torch.Tensor:
        quiet = UncertaintyConfig(noise="none", decay="none")
        task = make_task(config=JointConfig(gradients=places, uncertainty=quiet))
        recommendation_gradients(task)
        return task.tokenizer.codebooks.grad.clone()

    # The label's gradient and the inputs' meet in no product at first order.
    together = gradient(GRADIENT_PLACES)
    apart = sum(gradient((place,)) for place in GRADIENT_PLACES)
    torch.testing.assert_close(together, apart, atol=1e-6, rtol=1e-4)


def test_the_encoder_learns_only_if_asked_to():
    frozen = make_task(kind="rqvae")
    books, encoder = recommendation_gradients(frozen)
    assert all(value > 0 for value in books) and encoder == 0
    trained = make_task(kind="rqvae", config=EVERYWHERE.model_copy(update={"train_encoder": True}))
    _, encoder = recommendation_gradients(trained)
    assert encoder > 0


# An encoder that may learn is there, so that nothing reaching it means something.
QUIET = EVERYWHERE.model_copy(update={"uncertainty": NO_UNCERTAINTY, "train_encoder": True})


def test_detached_sends_exactly_nothing():
    books, encoder = recommendation_gradients(make_task("detached", QUIET, kind="rqvae"))
    assert books == [0.0] * LEVELS and encoder == 0


@pytest.mark.parametrize("method", ["differentiable", "ste"])
def test_the_others_send_something_to_the_same_tokenizer(method):
    books, encoder = recommendation_gradients(make_task(method, QUIET, kind="rqvae"))
    assert all(value > 0 for value in books) and encoder > 0


def test_static_trains_the_recommender_and_nothing_else():
    task = make_task()
    static = StaticTask(model=task.model, sids=task.module.sids, group=task.group, beam=20)
    static.loss(batch())[0].backward()
    trained = {id(p) for group in static.parameter_groups(1e-3, 0.0) for p in group["params"]}
    assert trained == {id(p) for p in task.model.parameters()}
    assert all(p.grad is None for p in task.tokenizer.parameters())


def test_detached_learns_by_its_own_losses():
    task = make_task("detached", JointConfig(uncertainty=NO_UNCERTAINTY))
    loss, _ = task.loss(batch())
    loss.backward()
    assert task.tokenizer.codebooks.grad.abs().max() > 0


@pytest.mark.parametrize("method", ["differentiable", "detached", "ste"])
def test_all_methods_say_the_same_loss_on_the_same_sids(method):
    """Forward is hard: the recommendation loss is that of the static task, to the last digits."""
    task = make_task(method, EVERYWHERE if method == "differentiable" else QUIET)
    task.model.eval()
    static = StaticTask(
        model=task.model, sids=task.module.sids, group=task.group, beam=20, alignment=0.5
    )
    _, parts = static.loss(batch())
    _, joint = task.loss(batch())
    for name in parts:
        assert joint[name] == pytest.approx(parts[name], abs=1e-5), name


def test_a_mixture_is_one_hot_in_value_and_soft_in_gradient():
    tokenizer, x = make_tokenizer()
    scale = calibrate(tokenizer, x, 0.6)
    soft = soft_codes(tokenizer, x, scale=scale, noise="gumbel")
    for level, mixture in enumerate(soft.mixture):
        one_hot = torch.nn.functional.one_hot(soft.codes[:, level], SIZE).float()
        torch.testing.assert_close(mixture.detach(), one_hot, atol=1e-6, rtol=0)
    weights = torch.randn(SIZE, generator=torch.Generator().manual_seed(3))
    (soft.mixture[0] @ weights).sum().backward()
    touched = tokenizer.codebooks.grad[0].abs().amax(-1)
    assert (touched > 0).all()  # every codeword, not only winners


def test_ste_moves_only_codewords_that_won():
    tokenizer, x = make_tokenizer()
    scale = calibrate(tokenizer, x, 0.6)
    soft = soft_codes(tokenizer, x[:1], scale=scale, noise="none", winner_only=True)
    soft.mixture[0].sum().backward()
    touched = tokenizer.codebooks.grad[0].abs().amax(-1) > 0
    assert touched.nonzero().flatten().tolist() == soft.codes[:1, 0].tolist()


@pytest.mark.parametrize("confidence", [0.4, 0.7, 0.95])
def test_the_scale_makes_gumbel_samples_agree_as_often_as_asked(confidence):
    tokenizer, _ = make_tokenizer()
    torch.manual_seed(5)
    x = torch.randn(4000, WIDTH) / WIDTH**0.5
    scale = calibrate(tokenizer, x, confidence)
    soft = soft_codes(tokenizer, x, scale=scale, noise="gumbel", fixed=tokenizer.assign(x))
    sampled = soft_codes(tokenizer, x, scale=scale, noise="gumbel")
    agree = (sampled.codes[:, 0] == sampled.plain[:, 0]).float().mean().item()
    assert agree == pytest.approx(confidence, abs=0.03)
    assert torch.equal(soft.codes, tokenizer.assign(x))


def test_codes_are_assigned_without_noise():
    task = make_task()
    before = task.module.sids.clone()
    for _ in range(3):
        task.refresh()
    assert torch.equal(task.module.sids, before)
    task.module.eval()
    assert torch.equal(task.ranker().sids, before)


def test_refresh_follows_the_codebooks_and_keeps_suffixes():
    task = make_task()
    before = task.module.sids.clone()
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


def test_what_the_noise_explores_is_watched():
    """At full noise the share of other codes drawn is what the confidence leaves."""
    noisy = UncertaintyConfig(decay="none")
    torch.manual_seed(0)
    for forward in ("cached", "sampled"):
        task = make_task(
            config=JointConfig(forward=forward, confidence=0.6, uncertainty=noisy),
        )
        explored = [task.loss(batch())[1]["explored_1"] for _ in range(40)]
        assert sum(explored) / 40 == pytest.approx(0.4, abs=0.06)
    quiet = make_task(config=JointConfig(uncertainty=NO_UNCERTAINTY))
    assert quiet.loss(batch())[1]["explored"] == 0


def test_a_scale_out_of_reach_is_said(caplog):
    tokenizer, x = make_tokenizer()
    with torch.no_grad():
        tokenizer.codebooks[1] = tokenizer.codebooks[1, :1]  # one codeword four times
    with caplog.at_level(logging.WARNING):
        calibrate(tokenizer, x, 0.8)
    assert (
        "level 2: no scale gives a mean top probability of 0.80, the nearest is 0.25" in caplog.text
    )
    assert "level 1" not in caplog.text


def test_a_settled_tokenizer_holds_still():
    task = make_task(config=EVERYWHERE.model_copy(update={"settle": 0.5}))
    task.begin_update(4, 10)
    loss, parts = task.loss(batch())
    loss.backward()
    assert task.tokenizer.codebooks.grad is not None and "loss_vq" in parts
    task.module.zero_grad()
    task.begin_update(5, 10)
    loss, parts = task.loss(batch())
    loss.backward()
    assert task.tokenizer.codebooks.grad is None and "loss_vq" not in parts


def test_the_tokenizer_has_its_own_rate_and_no_weight_decay():
    task = make_task(config=JointConfig(learning_rate=3e-4))
    groups = task.parameter_groups(1e-2, 0.05)
    own = [g for g in groups if any(p is task.tokenizer.codebooks for p in g["params"])]
    assert [(g["lr"], g["weight_decay"]) for g in own] == [(3e-4, 0.0)]
    listed = [id(p) for g in groups for p in g["params"]]
    assert len(listed) == len(set(listed))


def test_rates_are_rescaled_to_the_length_of_the_run():
    config = JointConfig(learning_rate=2e-5, updates=1000)
    slow = paced(config, 4000)
    assert slow.learning_rate == pytest.approx(5e-6)
    assert slow.uncertainty.sdud.learning_rate == pytest.approx(1e-2 / 4)
    # as much of the old usage is left after four times the updates
    assert slow.uncertainty.frqud.momentum**4 == pytest.approx(0.99)
    assert paced(config, 1000) == config
    often = config.model_copy(update={"refresh": 50})
    assert paced(often, 4000).refresh == 200 and paced(often, 10).refresh == 1
    assert paced(JointConfig(learning_rate=2e-5), 4000) == JointConfig(learning_rate=2e-5)
    assert count_updates(65, TrainingConfig(epochs=3, batch_size=64)) == 6


# --- watching ---


def test_drift_by_hand():
    start = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    watch = SidWatch(start, np.array([10, 1, 1, 1]), 4)
    assert watch.head.tolist() == [True, False, False, False]
    first = start.copy()
    first[1] = (2, 1)
    row, levels = watch.epoch(first, start)
    assert row["drift"] == 0.25 and row["drift_epoch"] == 0.25
    assert row["drift_head"] == 0 and row["drift_tail"] == pytest.approx(1 / 3)
    assert [level["drift"] for level in levels] == [0.25, 0.0]
    second = first.copy()
    second[0] = (0, 3)
    row, levels = watch.epoch(second, first)
    assert row["drift"] == 0.5 and row["drift_epoch"] == 0.25 and row["drift_head"] == 1
    assert levels[1]["counts"] == [1, 2, 0, 1] and levels[1]["epoch"] == 2


def test_collapse_and_standstill_are_named(caplog):
    start = np.stack([np.arange(40) % 20, np.arange(40) // 20], axis=1)
    watch = SidWatch(start, np.ones(40), 20)
    collapsed = start.copy()
    collapsed[:, 0] = 0
    with caplog.at_level(logging.WARNING):
        watch.epoch(collapsed, start)
    assert "collapse: level 1 is down to 1.0 effective codes from 20.0" in caplog.text
    caplog.clear()
    still = SidWatch(start, np.ones(40), 20)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            still.epoch(start, start)
    assert "no item has changed its SID after 3 epochs" in caplog.text


def test_a_collapse_is_named_once_also_after_a_resume(caplog):
    start = np.stack([np.arange(40) % 20, np.arange(40) // 20], axis=1)
    collapsed = start.copy()
    collapsed[:, 0] = 0
    with caplog.at_level(logging.WARNING):
        _, records = SidWatch(start, np.ones(40), 20).epoch(collapsed, start)
        resumed = SidWatch(start, np.ones(40), 20)
        resumed.restore(records)
        resumed.epoch(collapsed, collapsed)
    assert caplog.text.count("collapse") == 1


# --- whole runs ---


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("joint"))


def joint(place: Place, method: str = "differentiable", **changes: Any) -> Recipe:
    values: dict[str, Any] = {"learning_rate": 1e-2, **changes}
    if method != "differentiable":
        values["uncertainty"] = {"noise": "none", "decay": "none"}
    return place.recipe(method=method, joint=values)


def test_a_run_goes_at_the_pace_of_its_recipe(place):
    rates = []
    for updates in (0, 8, 2):
        recipe = joint(place, "detached", updates=updates)
        recipe = recipe.model_copy(  # one update
            update={"training": TrainingConfig(epochs=1, batch_size=10_000, max_history=6)}
        )
        history = Bundle.open(place.train(f"for-{updates}", recipe)).history
        assert history is not None
        rates.append(history["tokenizer_learning_rate"].iloc[0])
    assert rates[1:] == [pytest.approx(8 * rates[0]), pytest.approx(2 * rates[0])]


def test_a_joint_bundle_tells_what_happened(place):
    path = place.train("joint", joint(place))
    bundle = Bundle.open(path)
    assert bundle.config["arm"] == {
        "method": "differentiable",
        "decay": "frqud",
        "noise": "gumbel",
    }
    history, levels = bundle.history, bundle.frame("levels.parquet")
    for column in (
        "drift",
        "agreement",
        "explored",
        "noise_scale",
        "hot_share",
        "tokenizer_gradient_norm",
    ):
        assert history[column].notna().all(), column
    assert (history["tokenizer_gradient_norm"] > 0).all()
    assert set(levels["epoch"]) == {0, 1, 2, 3} and set(levels["level"]) == {1, 2}
    codes = bundle.frame("codes.parquet")
    assert (codes.groupby(["epoch", "level"])["items"].sum() == place.dataset.n_items).all()
    items = bundle.items
    moved = (items[["code_1", "code_2"]].to_numpy() != items[["start_code_1", "start_code_2"]]).any(
        axis=None
    )
    assert moved == (history.set_index("epoch")["drift"][bundle.config["selected_epoch"]] > 0)


def test_a_joint_bundle_recommends_by_its_own_sids(place):
    import diger

    path = place.train("joint-load", joint(place))
    model = diger.load(path)
    assert len(model.recommend(["i1", "i2"], k=5)) == 5
    codes = model.tokenizer.assign(
        torch.from_numpy(model.bundle.tensors("content.safetensors")["vectors"])
    )
    assert torch.equal(codes, model.sids[:, :-1])


def test_arms_of_a_seed_start_alike(place):
    one = Bundle.open(place.train("a", joint(place)))
    two = Bundle.open(place.train("b", joint(place, "detached")))
    static = Bundle.open(place.train("c", place.recipe()))
    start = [f"start_code_{i}" for i in (1, 2)]
    assert one.items[start].equals(two.items[start])
    assert (one.items[start].to_numpy() == static.items[["code_1", "code_2"]].to_numpy()).all()


def test_learned_sids_can_be_frozen_under_a_fresh_recommender(place):
    learned = place.train("learned", joint(place))
    fresh = Bundle.open(place.train("fresh", place.recipe(), sids_from=learned))
    columns = ["code_1", "code_2", "suffix"]
    assert fresh.items[columns].equals(Bundle.open(learned).items[columns])
    assert fresh.config["arm"]["method"] == "static"


def test_joint_training_can_start_from_a_trained_recommender(place):
    static = place.train("first", place.recipe())
    path = place.train("second", joint(place), start_from=static)
    start = Bundle.open(static).history["loss_codes"]
    after = Bundle.open(path).history["loss_codes"]
    assert after.iloc[0] < start.iloc[0]


# --- what is refused ---


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"method": "detached", "joint": {"uncertainty": {"noise": "gumbel"}}},
            'method "detached" has no noise, .*noise = "gumbel", decay = "frqud"',
        ),
        (
            {"method": "ste", "joint": {"uncertainty": {"noise": "none", "decay": "tau-anneal"}}},
            'method "ste" has no noise, .*decay = "tau-anneal"',
        ),
        (
            {"method": "differentiable", "joint": {"gradients": []}},
            r"joint.gradients = \[\] sends the tokenizer no recommendation gradient; name a place",
        ),
        (
            {
                "method": "ste",
                "joint": {"gradients": ["alignment"]},
                "training": {"alignment": 0.0},
            },
            "no recommendation gradient .there is no alignment loss here",
        ),
        (
            {
                "method": "differentiable",
                "backbone": {"kind": "t5"},
                "joint": {"gradients": ["alignment"]},
            },
            "no recommendation gradient .there is no alignment loss here",
        ),
        (
            {"method": "differentiable", "joint": {"uncertainty": {"noise": "none"}}},
            'decay "frqud" needs noise to decay',
        ),
        ({"method": "differentiable", "joint": {"temperature": 0.0}}, "joint.temperature: .*0"),
        (
            {
                "method": "differentiable",
                "joint": {"uncertainty": {"frqud": {"threshold": -1.0}}},
            },
            r"joint.uncertainty.frqud.threshold: .*-1",
        ),
        ({"method": "static", "joint": {}}, 'method "static" trains no SIDs'),
        (
            {"method": "differentiable", "joint": {"learning_rte": 1.0}},
            "unknown key joint.learning_rte; did you mean learning_rate",
        ),
    ],
)
def test_what_does_not_go_together_is_said(tables, message):
    with pytest.raises(DigerError, match=message):
        recipe_from(tables, "r", "recipe r")


def test_another_method_does_not_inherit_noise(tmp_path):
    (tmp_path / "still.toml").write_text('extends = "differentiable"\nmethod = "detached"\n')
    recipe = load_recipe(str(tmp_path / "still.toml"))
    assert recipe.arm == {"method": "detached", "decay": "none", "noise": "none"}
    assert recipe.joint.updates == load_recipe("differentiable").joint.updates


def test_sids_from_a_file_have_no_tokenizer_to_train():
    tables = {"method": "differentiable", "tokenizer": {"kind": "file", "file": {"path": "x"}}}
    with pytest.raises(DigerError, match="needs a tokenizer to train"):
        recipe_from(tables, "r", "recipe r")


def test_weights_of_another_shape_are_refused(place):
    static = place.train("small", place.recipe())
    wider = place.recipe(
        backbone={**toys.RECIPE["backbone"], "d_model": 32},
        method="differentiable",
        joint={},
    )
    with pytest.raises(DigerError, match="is of another shape than the recipe's"):
        place.train("wider", wider, start_from=static)
