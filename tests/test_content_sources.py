"""Content from several sources: behaviour without leakage, fusing, what stands in for a gap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from core_toys import COLD, CPU, N_ITEMS, make_dataset, make_recipe, walks, write_vectors

import diger
from diger.bundle.reader import Bundle
from diger.bundle.settings import settings
from diger.config import recipe_from
from diger.content.behaviour import behaviour_vectors, pair_counts
from diger.content.fuse import fuse
from diger.content.transform import ContentTransform
from diger.content.vectors import ContentVectors
from diger.errors import DigerError
from diger.tokenizer.build import build_tokenizer
from diger.tokenizer.distinct import distinct_codes
from diger.tokenizer.residual_kmeans import ResidualKMeans
from diger.training.run import train
from diger.training.sids import _refuse_the_silent, load_content


def source(vectors: np.ndarray, missing=()) -> ContentVectors:
    gone = np.zeros(len(vectors), bool)
    gone[list(missing)] = True
    return ContentVectors(np.where(gone[:, None], 0, vectors).astype(np.float32), gone, "x", "1")


def test_pairs_by_hand():
    dataset = make_dataset([[0, 1, 2, 3, 4]], n_items=5)  # 3 and 4 are held out
    counts = pair_counts(dataset, window=2).toarray()
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = expected[1, 2] = expected[2, 1] = 1
    expected[0, 2] = expected[2, 0] = 0.5
    assert counts.tolist() == expected.tolist()


def test_neither_validation_nor_test_events_reach_behaviour():
    histories = walks(users=60)
    before = behaviour_vectors(make_dataset(histories), width=4)
    rng = np.random.default_rng(1)
    changed = [h if len(h) < 3 else [*h[:-2], *rng.integers(N_ITEMS, size=2)] for h in histories]
    after = behaviour_vectors(make_dataset([list(map(int, h)) for h in changed]), width=4)
    assert np.array_equal(before.vectors, after.vectors)
    assert before.missing[COLD] and not before.vectors[COLD].any()
    lengths = np.linalg.norm(before.vectors[~before.missing], axis=1)
    assert lengths == pytest.approx(np.ones(len(lengths)), abs=1e-5)


def test_items_used_together_stand_together():
    vectors = behaviour_vectors(make_dataset(walks(users=300)), width=8).vectors[:COLD]
    near = vectors @ vectors.T
    steps = (np.arange(COLD)[:, None] - np.arange(COLD)) % COLD
    assert near[steps == 1].mean() > near[steps == 12].mean() + 0.3


def test_weights_are_shares_of_the_variance():
    rng = np.random.default_rng(0)
    fused = fuse(
        {"a": source(5 + 10 * rng.normal(size=(50, 3))), "b": source(rng.normal(size=(50, 2)))},
        {"a": 1.0, "b": 3.0},
    )
    power = np.square(fused.vectors).mean(axis=0)
    assert power[:3].sum() == pytest.approx(1) and power[3:].sum() == pytest.approx(3)
    assert fused.vectors.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-5)


def test_what_an_item_lacks_is_estimated_from_what_it_has():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 4))
    b = a @ rng.normal(size=(4, 3))
    whole = fuse({"a": source(a), "b": source(b)}, {"a": 1.0, "b": 1.0})
    gaps = fuse({"a": source(a, [7]), "b": source(b, [8, 9])}, {"a": 1.0, "b": 1.0})
    assert gaps.known[[7, 8, 0]].tolist() == [[False, True], [True, False], [True, True]]
    assert gaps.vectors[[8, 9], 4:] == pytest.approx(whole.vectors[[8, 9], 4:], abs=0.05)
    nothing = fuse({"a": source(a, [7]), "b": source(b, [7])}, {"a": 1.0, "b": 1.0})
    assert nothing.missing[7] and not nothing.vectors[7].any()
    assert whole.told["b"] > 0.99
    chance = {"a": source(a), "b": source(rng.normal(size=(400, 3)))}
    assert fuse(chance, {"a": 1.0, "b": 1.0}).told["b"] < 0.1


def test_a_newcomer_known_by_one_source_stands_where_an_item_without_the_other_does():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 6)), rng.normal(size=(300, 4))
    b[:, 0] += a[:, 0]
    fused = fuse({"a": source(a), "b": source(b, [5])}, {"a": 1.0, "b": 1.0})
    transform = ContentTransform.fit(fused.vectors, fused.missing, 5)
    newcomer = fused.newcomer(transform)
    assert newcomer.transform(a[5:6].astype(np.float32))[0] == pytest.approx(
        transform.transform(fused.vectors[5:6])[0], abs=1e-4
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"sources": {"txt": 1.0}}, "there is no source txt; did you mean text"),
        ({"sources": {"text": 0.0}}, "all weights are zero"),
        ({"sources": {}}, "all weights are zero"),
        ({"sources": {"text": -1.0}}, "content.sources.text: input should be greater than or"),
    ],
)
def test_sources_that_make_no_sense_are_refused_in_the_recipe(content, says):
    with pytest.raises(DigerError, match=says):
        recipe_from({"content": content}, "r", "here")


def test_sources_that_do_not_fit_are_one_line(tmp_path):
    dataset = make_dataset(walks())
    with pytest.raises(DigerError, match=r"only \d+ of 26 items stand beside .* leave `behaviour`"):
        behaviour_vectors(dataset, width=64)
    short = tmp_path / "pictures.npy"
    np.save(short, np.ones((3, 4), np.float32))
    recipe = make_recipe(content={"sources": {str(short): 1.0}})
    with pytest.raises(DigerError, match=r"pictures.npy must have shape \(26 items"):
        load_content(recipe, dataset, tmp_path)
    narrow = tmp_path / "narrow.npy"
    np.save(narrow, np.random.default_rng(0).normal(size=(26, 3)).astype(np.float32))
    recipe = make_recipe(content={"sources": {str(narrow): 1.0}})
    with pytest.raises(DigerError, match=r"have 3 numbers, and tokenizer.width asks for 4; set"):
        load_content(recipe, dataset, tmp_path)


def test_a_bundle_says_which_sources_its_items_had(tmp_path):
    data = tmp_path / "data"
    make_dataset(walks(users=80)).save(data)
    vectors = write_vectors(tmp_path / "vectors.npy")
    sources = {"text": 1.0, "behaviour": 0.5}
    recipe = make_recipe(
        vectors,
        content={"encoder": str(vectors), "sources": sources, "behaviour": {"width": 8}},
        tokenizer={"levels": 2, "codebook_size": 8, "width": 4, "distinct": True},
    )
    bundle = Bundle.open(train(recipe, data, tmp_path / "both", device=CPU))
    noted = bundle.config["content"]["sources"]
    assert [(s["name"], s["weight"], s["items"]) for s in noted] == [
        ("text", 1.0, 26),
        ("behaviour", 0.5, 25),
    ]
    assert "text (weight 1.0, 26 items), behaviour (weight 0.5, 25 items)" in bundle.card
    assert bundle.tensors("content.safetensors")["known"].sum(axis=0).tolist() == [26, 25]
    assert len(np.unique(bundle.items[["code_1", "code_2"]].to_numpy(), axis=0)) == 26
    alone = replace_sources(recipe, {"behaviour": 1.0})
    model = diger.load(train(alone, data, tmp_path / "behaviour", device=CPU))
    with pytest.raises(DigerError, match="made from behaviour alone"):
        model.assign(["a new thing"])


def replace_sources(recipe, sources):
    return recipe.model_copy(
        update={"content": recipe.content.model_copy(update={"sources": sources})}
    )


def test_text_alone_equals_recipes_from_before_there_were_sources():
    old = {"content": {"encoder": "e", "max_tokens": 64}}
    new = recipe_from({"content": {"encoder": "e"}}, "r", "r").model_dump(mode="json")["content"]
    assert settings({"content": new}, "static") == settings(old, "static")
    pictures = [{**new, "sources": {f"{place}pictures.npy": 1.0}} for place in ("", "/my/")]
    assert settings({"content": pictures[0]}, "static") == settings(
        {"content": pictures[1]}, "static"
    )
    both = {**new, "sources": {"text": 1.0, "behaviour": 1.0}}
    assert settings({"content": both}, "static") != settings(old, "static")


def test_distinct_codes_by_hand():
    tokenizer = ResidualKMeans(levels=2, codebook_size=3, width=1)
    tokenizer.codebooks.data = torch.tensor([[[0.0], [10.0], [20.0]], [[0.0], [1.0], [2.0]]])
    x = torch.tensor([[0.1], [0.2], [0.9], [10.0], [10.1], [10.0], [9.9], [20.0]])
    codes = distinct_codes(tokenizer, x, tokenizer.assign(x))
    # 0.2 and 0.9 move up, the cheapest way to make room; four items cannot share three codes.
    assert codes[:3].tolist() == [[0, 0], [0, 1], [0, 2]]
    assert sorted(codes[3:7, 1].tolist())[-1] == 2 and len({*codes[3:7, 1].tolist()}) == 3
    assert codes[7].tolist() == [2, 0]


def test_distinct_leaves_no_collision_where_there_is_room():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32))
    config = recipe_from(
        {"tokenizer": {"levels": 2, "codebook_size": 32, "width": 8, "distinct": True}}, "r", "r"
    ).tokenizer
    _, codes = build_tokenizer(config, x, seed=0)
    assert len(torch.unique(codes, dim=0)) == 200
    _, greedy = build_tokenizer(config.model_copy(update={"distinct": False}), x, seed=0)
    assert torch.equal(codes[:, 0], greedy[:, 0]) and len(torch.unique(greedy, dim=0)) < 200


def test_items_of_which_nothing_is_known_are_the_cause_and_not_the_suffix(tmp_path):
    dataset = make_dataset()
    recipe = make_recipe(write_vectors(tmp_path / "v.npy"), tokenizer={"suffix_size": 2})
    content = load_content(recipe, dataset, tmp_path)
    silent = replace(content, known=np.zeros_like(content.known))
    with pytest.raises(DigerError, match=r"nothing is known of .* behaviour = 1.0"):
        _refuse_the_silent(dataset, np.zeros((dataset.n_items, 2), np.int64), silent, 2)
