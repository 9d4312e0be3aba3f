"""From a run to its bundle and back: files, figures that can be recomputed, recommendations."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import bundle_toys
import core_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from core_toys import SECRET, Place

import diger
from diger.bundle.reader import Bundle
from diger.bundle.schema import ALLOWED
from diger.bundle.tables import TOP
from diger.config import Recipe, validate
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.evaluation import beyond_accuracy
from diger.evaluation.metrics import corrected_summary, summary
from diger.evaluation.ranking import SPLITS, rank_split
from diger.model import Model, load_model
from diger.training.export import result

KINDS = ("static", "half", "sasrec", "popularity", "published")
WITHOUT_SIDS = ("sasrec", "popularity")
HISTORY = ["i3", "i4", "i5"]


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Any:
    """Kind of bundle to (place, bundle path), each made once."""
    base = tmp_path_factory.getbasetemp()

    def publish(folder: Path) -> tuple[Place, Path]:
        titles = [None if i == 7 else f"Title {i}" for i in range(toys.N_ITEMS)]
        examples = [
            {"title": "Early", "story": "the first ones", "items": ["i0", "i1"]},
            {"title": "Late", "story": "the last ones", "items": ["i20", "i21", "i22"]},
        ]
        data = toys.make_dataset(publish=True, titles=titles, examples=examples)
        place = Place(folder, data)
        return place, place.train("published")

    def get(kind: str) -> tuple[Place, Path]:
        if kind == "published":
            return toys.shared(base, kind, publish)
        place, static = toys.static_run(base)
        if kind == "static":
            return place, static
        changes = {"half": {}, "sasrec": toys.SASREC, "popularity": toys.POPULARITY}[kind]

        def make(_: Path) -> Path:
            return place.train(kind, place.recipe(**changes), half=kind == "half")

        return place, toys.shared(base, kind, make)

    return get


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def bundle(made, kind) -> Bundle:
    return Bundle.open(made(kind)[1])


@pytest.fixture
def data(made, kind) -> Dataset:
    return made(kind)[0].dataset


@pytest.fixture
def model(made) -> Model:
    return diger.load(made("static")[1])


def numbered(frame: pd.DataFrame, prefix: str) -> np.ndarray:
    return frame[[c for c in frame.columns if c.startswith(prefix)]].to_numpy()


def test_a_bundle_has_the_files_of_its_kind(bundle, kind):
    expected = ALLOWED - {"codes.svg", "examples.parquet"}
    if kind in WITHOUT_SIDS:
        expected -= {"codes.parquet", "levels.parquet", "content.safetensors"}
    if kind == "popularity":
        expected -= {"history.parquet"}
    if kind == "published":
        expected |= {"examples.parquet"}
    assert set(bundle.manifest.files) == expected
    assert bundle.kind == "complete"
    assert not list(bundle.path.parent.glob("*.partial"))


def test_the_configuration_says_how_it_was_made(made, bundle, kind):
    config, info = bundle.config, made(kind)[0].dataset.info
    method = kind if kind in WITHOUT_SIDS else "static"
    assert config["name"] == bundle.path.name
    assert config["arm"] == {"method": method, "decay": "none", "noise": "none"}
    told = config["dataset"]
    assert told["fingerprint"] == info.fingerprint
    assert told["text_fingerprint"] == info.text_fingerprint
    assert told["text_may_be_published"] is (kind == "published")
    if kind not in WITHOUT_SIDS:
        vectors = np.load(made(kind)[0].vectors)
        assert config["content"]["vectors_sha256"] == hashlib.sha256(vectors.tobytes()).hexdigest()
    assert (config["seed"], config["precision"]) == (0, "half" if kind == "half" else "single")
    assert validate(Recipe, config["recipe"], "here").method == method
    assert config["peak_memory_bytes"] > 1e6
    assert {"tokenizer", "training", "evaluation"} <= set(config["seconds"])
    assert config["hardware"]["torch"] == torch.__version__ and config["code_version"]
    if kind == "popularity":
        assert (config["selected_epoch"], config["parameters"]) == (0, 0)
    else:
        assert bundle.history["epoch"].tolist() == [1, 2, 3]
        best = bundle.history["validation_ndcg@10"].argmax() + 1
        assert config["selected_epoch"] == best
        tensors = bundle.tensors("model.safetensors")
        weights = sum(v.size for k, v in tensors.items() if k.startswith("recommender."))
        assert config["parameters"] == weights


def test_items_and_codes(bundle, data, kind):
    items, codes = bundle.items, bundle.codes
    assert items["item_id"].tolist() == data.items["item_id"].tolist()
    np.testing.assert_array_equal(items["training_popularity"], data.training_popularity())
    assert ("suffix" in items) == (kind not in WITHOUT_SIDS)
    if kind not in WITHOUT_SIDS:
        sids = np.column_stack([numbered(items, "code_"), items["suffix"]])
        assert len(np.unique(sids, axis=0)) == toys.N_ITEMS
        assert bundle.config["tokenizer"]["sizes"] == [4, 4, 16]
        for level in (1, 2):
            counts = codes[codes["level"] == level].sort_values("code")["items"]
            assert counts.tolist() == np.bincount(items[f"code_{level}"], minlength=4).tolist()
        assert bundle.levels["level"].tolist() == [1, 2]


def test_ranks_and_lists_belong_together(bundle, data, kind):
    ranks, topk = bundle.ranks, bundle.topk
    for split, at in (("validation", data.validation_at), ("test", data.test_at)):
        users = np.flatnonzero(at >= 0)
        part = ranks[ranks["split"] == split]
        assert part["user"].tolist() == users.tolist()
        assert part["target"].tolist() == data.events[at[users]].tolist()
        assert part["history_length"].tolist() == (at[users] - data.offsets[users]).tolist()
    test = ranks[ranks["split"] == "test"].reset_index(drop=True)
    assert test["cold"].sum() == 1  # the toy's cold item
    assert topk["user"].tolist() == test["user"].tolist()
    lists = numbered(topk, "item_")
    assert lists.shape[1] == TOP
    for target, rank, row in zip(test["target"], test["rank"], lists, strict=True):
        assert len(set(row)) == TOP  # 26 items: every list is full
        if kind == "popularity":  # ties count against the target, so it may stand before its rank
            assert target not in row or list(row).index(target) < rank
        elif pd.isna(rank) or rank > TOP:
            assert target not in row
        else:
            assert row[rank - 1] == target


def test_metrics_can_be_computed_again_from_the_ranks(bundle, data, kind):
    results = bundle.metrics["results"]
    # Other ways to decode stand beside the headline, never in its place.
    beams = [f"{word} beam search, 20 beams" for word in ("constrained", "unconstrained")]
    exact = ["exact, every item scored"]
    expected = exact * 2
    if kind not in WITHOUT_SIDS:
        expected = [beams[0], *beams, "hybrid, 50 beams reranked by the item-level head"]
    assert [r["split"] for r in results] == ["validation", *["test"] * (len(expected) - 1)]
    assert [r["decoding"] for r in results] == expected
    for entry in results[:2]:
        part = bundle.ranks[bundle.ranks["split"] == entry["split"]]
        assert entry["users"] == len(part)
        assert entry["metrics"] == summary(part["rank"])
        corrected = corrected_summary(part["group_first"], part["group_size"])
        assert entry["collision_corrected"] == corrected
    lists = numbered(bundle.topk, "item_")
    found = beyond_accuracy.summary(lists, data.training_popularity(), [TOP])
    assert found.items() <= results[1]["beyond_accuracy"].items()


@pytest.mark.parametrize("kind", ["static", "half", "sasrec", "popularity"])
def test_no_text_leaves_a_dataset_that_keeps_it(bundle):
    assert bundle.examples is None
    known = {"item_id", "training_popularity", "suffix", "code_1", "code_2"}
    assert set(bundle.items.columns) <= known
    names = bundle.manifest.files
    everything = [bundle.frame(f).to_csv() for f in names if f.endswith("parquet")]
    everything += [str(bundle.tensor_metadata(f)) for f in names if f.endswith("safetensors")]
    everything += [f.read_bytes().decode("utf-8", "replace") for f in bundle.path.iterdir()]
    assert not [text for text in everything if SECRET in text.lower()]


@pytest.mark.parametrize("kind", ["published"])
def test_text_that_may_be_published_travels(bundle, data):
    assert bundle.items["title"][3] == "Title 3"
    assert SECRET in bundle.items["description"][0]
    examples = bundle.examples
    assert examples["name"].tolist()[:2] == ["Early", "Late"]
    assert examples["history"][1].tolist() == [20, 21, 22]
    assert examples["target"].isna().tolist()[:2] == [True, True]
    users = {f"test user {u}": row for row, u in enumerate(data.user_ids)}
    drawn = examples.iloc[2:]
    assert 1 <= len(drawn) <= 8
    for name, history, target in zip(drawn["name"], drawn["history"], drawn["target"], strict=True):
        row = users[name]
        at = data.test_at[row]
        assert target == data.events[at]
        assert history.tolist() == data.events[data.offsets[row] : at].tolist()


def test_publishable_text_without_any_example(tmp_path):
    """No examples came along and no history has a typical length: a bundle all the same."""
    walks = [[(i + step) % 20 for step in range(4)] for i in range(30)]
    place = Place(tmp_path / "place", toys.make_dataset(walks, publish=True))
    bundle = Bundle.open(place.train("short", place.recipe(training={"epochs": 1})))
    assert bundle.examples is None and "title" in bundle.items


@pytest.mark.parametrize("suffix", [False, True])
def test_a_bundle_of_sids_from_a_file(tmp_path, suffix):
    """No text, no vectors: as with a catalogue of which only ids and SIDs are known."""
    place = Place(tmp_path / "place")
    sids = [[i // 5 % 4, i % 4, *([i // 4] if suffix else [])] for i in range(toys.N_ITEMS)]
    file = tmp_path / "sids.json"
    file.write_text(json.dumps({f"i{i}": sid for i, sid in enumerate(sids)}))
    tokenizer = {"kind": "file", "codebook_size": 4, "levels": 2, "suffix_size": 16}
    recipe = toys.make_recipe(
        tokenizer={**tokenizer, "file": {"path": str(file), "suffix": suffix}},
        training={"epochs": 1},
    )
    out = place.train("from-file", recipe)
    bundle = Bundle.open(out)
    assert numbered(bundle.items, "code_").tolist() == [sid[:2] for sid in sids]
    if suffix:
        assert bundle.items["suffix"].tolist() == [sid[2] for sid in sids]
    found = diger.load(out).recommend(HISTORY, k=3)
    assert len(found) == 3 and found[0].sid.count("-") == 2


def ranked_again(model: Model, place: Place, split: str, **options: Any):
    return rank_split(
        model.ranker(**options),
        place.dataset,
        split,
        max_history=model.recipe.training.max_history,
        batch_size=model.recipe.evaluation.batch_size,
        device=toys.CPU,
        group=model.groups,
    )


def test_the_loaded_model_has_the_figures_of_its_bundle(made, kind):
    place, path = made(kind)
    model = load_model(path)
    model.check_dataset(place.dataset)
    results, stored = model.bundle.metrics["results"], model.bundle.ranks
    for entry, split in zip(results, SPLITS, strict=False):
        ranks = ranked_again(model, place, split)
        assert json.loads(json.dumps(result(ranks, place.dataset))) == entry
        part = stored[stored["split"] == split].reset_index(drop=True)
        pd.testing.assert_frame_equal(ranks.frame.reset_index(drop=True), part, check_dtype=False)
    assert ranks.top[:, :TOP].tolist() == numbered(model.bundle.topk, "item_").tolist()
    for entry, decoding in zip(results[2:], ("free", "hybrid"), strict=False):
        again = ranked_again(model, place, "test", decoding=decoding)
        assert json.loads(json.dumps(result(again, place.dataset))) == entry


def test_half_precision_is_in_the_file(made):
    (_, whole), (_, half) = made("static"), made("half")
    ours, theirs = (Bundle.open(p).tensors("model.safetensors") for p in (half, whole))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        # Rounding a codebook could change a code.
        dtype = np.float16 if name.startswith("recommender.") else theirs[name].dtype
        assert tensor.dtype == dtype
        np.testing.assert_array_equal(tensor, theirs[name].astype(dtype))
    assert Bundle.open(half).tensors("content.safetensors")["vectors"].dtype == np.float16


def test_recommend_is_the_rankers_list(bundle, data):
    model = load_model(bundle.path)
    lists = numbered(bundle.topk, "item_")
    for user, row in zip(bundle.topk["user"][:6], lists, strict=False):
        history = data.events[data.offsets[user] : data.test_at[user]]
        found = model.recommend([f"i{i}" for i in history], k=TOP)
        assert [r.item_id for r in found] == [f"i{i}" for i in row]
        scores = [r.score for r in found]
        assert scores == sorted(scores, reverse=True)
    everything = model.recommend(HISTORY, k=1000)
    assert sorted(r.item_id for r in everything) == sorted(model.item_ids)


def test_decodings_agree_where_the_beam_holds_all(made, model):
    place, _ = made("static")
    exact = ranked_again(model, place, "test", decoding="exact")
    beam = ranked_again(model, place, "test", decoding="beam", beam=toys.N_ITEMS)
    assert exact.decoding == "exact, every item scored"
    assert beam.decoding == f"constrained beam search, {toys.N_ITEMS} beams"
    assert exact.top.tolist() == beam.top.tolist()
    assert exact.frame["rank"].tolist() == beam.frame["rank"].tolist()


def test_what_a_recommendation_holds(model):
    found = model.recommend(HISTORY, k=5)
    assert len(found) == 5
    for one in found:
        assert one.sid == model.sid_of(model.rows([one.item_id])[0])
        assert one.title is None  # this bundle may carry no text
        assert one.probability == pytest.approx(math.exp(one.score)) and 0 < one.probability < 1


def test_only_the_latest_items_count(model):
    longest = model.recipe.training.max_history
    story = [f"i{i}" for i in range(12)]
    assert model.recommend(story) == model.recommend(story[-longest:])
    assert model.recommend(story) != model.recommend(story[-longest + 3 :])


@pytest.mark.parametrize("decoding", ["beam", "hybrid", "exact"])
@pytest.mark.parametrize("kind", ["static", "sasrec", "popularity"])
def test_leaving_out_what_was_seen_only_leaves_that_out(bundle, decoding):
    model = load_model(bundle.path)
    seen = [*(f"i{i}" for i in range(8)), "i0"]  # more than the model looks at

    def listed(**options: Any) -> list[str]:
        return [r.item_id for r in model.recommend(seen, decoding=decoding, **options)]

    unseen = [item for item in listed(k=26) if item not in seen]
    assert listed(k=10, beam=26, leave_out_seen=True) == unseen[:10]
    assert set(listed(k=26, leave_out_seen=True)) == set(unseen) and len(unseen) == 18


def test_free_decoding_may_leave_the_catalogue(model):
    found = model.recommend(HISTORY, k=20, beam=200, decoding="free")
    known = {model.sid_of(row): str(model.item_ids[row]) for row in range(model.n_items)}
    exact = {r.item_id: r.score for r in model.recommend(HISTORY, k=26, decoding="exact")}
    for one in found:
        assert known.get(one.sid) == one.item_id
        if one.item_id is not None:
            assert one.score == pytest.approx(exact[one.item_id], abs=1e-5)


def test_scores_without_sids(made):
    sasrec = load_model(made("sasrec")[1]).recommend(HISTORY, k=26)
    assert sum(r.probability for r in sasrec) == pytest.approx(1, abs=1e-4)
    assert {r.sid for r in sasrec} == {None}
    place, path = made("popularity")
    counts = place.dataset.training_popularity()
    found = load_model(path).recommend(HISTORY, k=26)
    order = np.lexsort((np.arange(toys.N_ITEMS), -counts))
    assert [(r.item_id, r.score) for r in found] == [(f"i{i}", counts[i]) for i in order]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "the history is empty"),
        ((HISTORY, 0), {}, "k must be >= 1, got 0"),
        ((HISTORY, 10), {"beam": 9}, "a beam of 9 cannot fill a list of 10"),
        ((HISTORY,), {"decoding": "greedy"}, "decoding must be one of beam, hybrid, free"),
        ((HISTORY,), {"decoding": "free", "leave_out_seen": True}, "free decoding knows no catal"),
        ((["i3", "i99"],), {}, r"no item 'i99' in toy-static-s0; did you mean i\d+\?"),
        ((["\x1b[31m\n" * 100],), {}, "no item"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(model, arguments, options, message):
    with pytest.raises(DigerError, match=message) as caught:
        model.recommend(*arguments, **options)
    assert str(caught.value).isprintable()


def test_models_without_sids_say_so(made):
    model = load_model(made("sasrec")[1])
    assert (model.method, model.sids, model.groups) == ("sasrec", None, None)
    batch = torch.tensor([[1]]), torch.tensor([1])
    for ask in (
        lambda: model.trie,
        lambda: model.item_scores(*batch),
        lambda: model.search(*batch, 5),
    ):
        with pytest.raises(DigerError, match="sasrec model: it has no semantic IDs"):
            ask()
    with pytest.raises(DigerError, match="has no tokenizer"):
        model.assign(["a new item"])


def test_the_bundles_tokenizer_gives_its_items_their_codes(model):
    vectors = model.bundle.tensors("content.safetensors")["vectors"]
    codes = model.tokenizer.assign(vectors).numpy()
    np.testing.assert_array_equal(codes, numbered(model.items, "code_"))
    with pytest.raises(DigerError) as caught:  # the vectors came from a file of the user's own
        model.assign(["a new item"])
    assert str(caught.value).isprintable()


def test_search_shows_how_the_beam_grew(model):
    found = model.search(torch.tensor([[3, 4, 5]]), torch.tensor([3]), 8, keep_trace=True)
    assert [step.prefixes.shape[-1] for step in found.trace] == [1, 2, 3]
    listed = model.recommend(HISTORY, k=8, beam=8)
    assert [f"i{i}" for i in found.items[0].tolist()] == [r.item_id for r in listed]


def test_what_cannot_be_loaded_is_refused(model, tmp_path):
    with pytest.raises(DigerError, match="toy-static-s0 was trained on toy with fingerprint"):
        model.check_dataset(toys.make_dataset(toys.walks(seed=1)))
    results = bundle_toys.write_bundle(tmp_path / "results", complete=False)
    # Valid as a bundle, but its configuration and weights fit no model of ours.
    foreign = bundle_toys.write_bundle(tmp_path / "foreign")
    for path, message in (
        (results, "holds results only"),
        (tmp_path / "nowhere", "no such bundle folder"),
        (foreign, "."),
    ):
        with pytest.raises(DigerError, match=message) as caught:
            diger.load(path)
        assert "\n" not in str(caught.value)


def test_telling_takes_half_the_popularity_off(made):
    for kind in ("static", "sasrec"):
        model = load_model(made(kind)[1])
        exact = {
            one.item_id: one.score for one in model.recommend(HISTORY, 100, decoding="telling")
        }
        popular = dict(zip(model.item_ids, model.popularity.tolist(), strict=True))
        ranks = [score - 0.5 * np.log(popular[i] + 1) for i, score in exact.items()]
        assert ranks == sorted(ranks, reverse=True) and len(exact) == model.n_items
        left = model.recommend(HISTORY, 100, decoding="telling", leave_out_seen=True)
        assert len(left) == model.n_items - len(set(HISTORY))
