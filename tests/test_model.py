"""From a run to its bundle and back: files, figures that can be recomputed, recommendations."""

from __future__ import annotations

import dataclasses
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
from diger.config import Recipe, validate
from diger.errors import DigerError
from diger.evaluation import beyond_accuracy
from diger.evaluation.metrics import corrected_summary, summary
from diger.evaluation.rankers import MODES
from diger.evaluation.ranking import SPLITS, TOP, rank_split
from diger.model import Model, load_model
from diger.training.export import result

KINDS = ("static", "half", "sasrec", "popularity", "published")
WITHOUT_SIDS = ("sasrec", "popularity")
HISTORY = ["i3", "i4", "i5"]


def published_place(folder: Path) -> Place:
    """Text may travel; one title is missing; two examples come with the data."""
    titles = [None if i == 7 else f"Title {i}" for i in range(toys.N_ITEMS)]
    examples = [
        {"title": "Early", "story": "the first ones", "items": ["i0", "i1"]},
        {"title": "Late", "story": "the last ones", "items": ["i20", "i21", "i22"]},
    ]
    return Place(folder, toys.make_dataset(publish=True, titles=titles, examples=examples))


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Any:
    """Kind of bundle to (place, bundle path), each made once."""
    base = tmp_path_factory.getbasetemp()

    def get(kind: str) -> tuple[Place, Path]:
        place, static = toys.static_run(base)
        if kind == "static":
            return place, static
        if kind == "half":
            return place, toys.shared(base, kind, lambda _: place.train("half", half=True))
        if kind == "published":

            def publish(folder: Path) -> tuple[Place, Path]:
                place = published_place(folder)
                return place, place.train("published")

            return toys.shared(base, kind, publish)
        recipe = place.recipe(**(toys.SASREC if kind == "sasrec" else toys.POPULARITY))
        return place, toys.shared(base, kind, lambda _: place.train(kind, recipe))

    return get


@pytest.fixture
def model(made) -> Model:
    return diger.load(made("static")[1])


def numbered(frame: pd.DataFrame, prefix: str) -> np.ndarray:
    return frame[[c for c in frame.columns if c.startswith(prefix)]].to_numpy()


# --- what is in a bundle --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_has_the_files_of_its_kind(made, kind):
    bundle = Bundle.open(made(kind)[1])
    with_sids = {"codes.parquet", "levels.parquet", "content.safetensors"}
    expected = (
        ALLOWED - {"codes.svg", "examples.parquet"} - (with_sids if kind in WITHOUT_SIDS else set())
    )
    if kind == "popularity":
        expected -= {"history.parquet"}
    if kind == "published":
        expected |= {"examples.parquet"}
    assert set(bundle.manifest.files) == expected
    assert bundle.kind == "complete"
    assert not list(bundle.path.parent.glob("*.partial"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_says_how_it_was_made(made, kind):
    place, path = made(kind)
    bundle = Bundle.open(path)
    config, info = bundle.config, place.dataset.info
    method = kind if kind in WITHOUT_SIDS else "static"
    assert config["name"] == path.name
    assert config["arm"] == {"method": method, "decay": "none", "noise": "none"}
    assert config["dataset"]["fingerprint"] == info.fingerprint
    assert config["dataset"]["text_fingerprint"] == info.text_fingerprint
    if kind not in WITHOUT_SIDS:
        vectors = np.load(place.vectors)
        assert config["content"]["vectors_sha256"] == hashlib.sha256(vectors.tobytes()).hexdigest()
    assert config["dataset"]["items"] == toys.N_ITEMS
    assert config["dataset"]["text_may_be_published"] is (kind == "published")
    assert (config["seed"], config["precision"]) == (0, "half" if kind == "half" else "single")
    assert validate(Recipe, config["recipe"], "here").method == method
    assert config["peak_memory_bytes"] > 1e6
    assert {"tokenizer", "training", "evaluation"} <= set(config["seconds"])
    assert all(seconds >= 0 for seconds in config["seconds"].values())
    assert config["hardware"]["torch"] == torch.__version__
    assert config["code_version"]
    if kind == "popularity":
        assert (config["selected_epoch"], config["parameters"]) == (0, 0)
    else:
        assert 1 <= config["selected_epoch"] <= 3
        tensors = bundle.tensors("model.safetensors")
        weights = sum(v.size for k, v in tensors.items() if k.startswith("recommender."))
        assert config["parameters"] == weights


@pytest.mark.parametrize("kind", KINDS)
def test_items_and_history(made, kind):
    place, path = made(kind)
    bundle, data = Bundle.open(path), place.dataset
    items = bundle.items
    assert items["item_id"].tolist() == data.items["item_id"].tolist()
    np.testing.assert_array_equal(items["training_popularity"], data.training_popularity())
    if kind in WITHOUT_SIDS:
        assert "suffix" not in items
    else:
        sids = np.column_stack([numbered(items, "code_"), items["suffix"]])
        assert len(np.unique(sids, axis=0)) == toys.N_ITEMS
        assert bundle.config["tokenizer"]["sizes"] == [4, 4, 16]
        codes = bundle.codes
        for level in (1, 2):
            counts = codes[codes["level"] == level].sort_values("code")["items"]
            found = np.bincount(items[f"code_{level}"], minlength=4)
            assert counts.tolist() == found.tolist()
        assert bundle.levels["level"].tolist() == [1, 2]
    if kind != "popularity":
        history = bundle.history
        assert history["epoch"].tolist() == [1, 2, 3]
        selected = bundle.config["selected_epoch"]
        assert history["validation_ndcg@10"].argmax() + 1 == selected


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_and_lists_belong_together(made, kind):
    place, path = made(kind)
    bundle, data = Bundle.open(path), place.dataset
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


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_can_be_computed_again_from_the_ranks(made, kind):
    place, path = made(kind)
    bundle = Bundle.open(path)
    results = bundle.metrics["results"]
    assert [r["split"] for r in results[:2]] == ["validation", "test"]
    for entry in results[:2]:
        part = bundle.ranks[bundle.ranks["split"] == entry["split"]]
        assert entry["users"] == len(part)
        assert entry["metrics"] == summary(part["rank"])
        corrected = corrected_summary(part["group_first"], part["group_size"])
        assert entry["collision_corrected"] == corrected
    lists = numbered(bundle.topk, "item_")
    popularity = place.dataset.training_popularity()
    assert results[1]["beyond_accuracy"] == beyond_accuracy.summary(lists, popularity)


def test_the_decoding_is_named(made):
    results = {k: Bundle.open(made(k)[1]).metrics["results"] for k in KINDS}
    for kind, listed in results.items():
        first = "exact, every item scored"
        if kind not in WITHOUT_SIDS:
            first = "constrained beam search, 20 beams"
        assert [r["decoding"] for r in listed[:2]] == [first, first]
        # As published figures are decoded: beside the headline, never in its place.
        others = [] if kind in WITHOUT_SIDS else [("test", "unconstrained beam search, 20 beams")]
        assert [(r["split"], r["decoding"]) for r in listed[2:]] == others


def test_the_figures_of_free_decoding_can_be_had_again(made, model):
    place, _ = made("static")
    entry = model.bundle.metrics["results"][2]
    again = result(ranked_again(model, place, "test", decoding="free"), place.dataset)
    assert json.loads(json.dumps(again)) == entry


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["static", "half", "sasrec", "popularity"])
def test_no_text_leaves_a_dataset_that_keeps_it(made, kind):
    bundle = Bundle.open(made(kind)[1])
    assert bundle.examples is None
    assert set(bundle.items.columns) <= {"item_id", "training_popularity", "suffix"} | {
        "code_1",
        "code_2",
    }
    everything = [bundle.frame(f).to_csv() for f in bundle.manifest.files if f.endswith("parquet")]
    everything += [
        str(bundle.tensor_metadata(f)) for f in bundle.manifest.files if f.endswith("safetensors")
    ]
    everything += [f.read_bytes().decode("utf-8", "replace") for f in bundle.path.iterdir()]
    assert not [text for text in everything if SECRET in text.lower()]


def test_text_that_may_be_published_travels(made):
    place, path = made("published")
    bundle = Bundle.open(path)
    assert bundle.items["title"][3] == "Title 3"
    assert SECRET in bundle.items["description"][0]
    examples = bundle.examples
    assert examples["name"].tolist()[:2] == ["Early", "Late"]
    assert examples["history"][1].tolist() == [20, 21, 22]
    assert examples["target"].isna().tolist()[:2] == [True, True]
    users = {f"test user {u}": row for row, u in enumerate(place.dataset.user_ids)}
    drawn = examples.iloc[2:]
    assert 1 <= len(drawn) <= 8
    for name, history, target in zip(drawn["name"], drawn["history"], drawn["target"], strict=True):
        row = users[name]
        at = place.dataset.test_at[row]
        assert target == place.dataset.events[at]
        assert history.tolist() == place.dataset.events[place.dataset.offsets[row] : at].tolist()


def test_publishable_text_without_any_example(tmp_path):
    """No examples came along and no history has a typical length: a bundle all the same."""
    walks = [[i % 20, (i + 1) % 20, (i + 2) % 20, (i + 3) % 20] for i in range(30)]
    place = Place(tmp_path / "place", toys.make_dataset(walks, publish=True))
    bundle = Bundle.open(place.train("short", place.recipe(training={"epochs": 1})))
    assert bundle.examples is None or len(bundle.examples) == 0
    assert "title" in bundle.items


# --- SIDs from a file -----------------------------------------------------------------------------


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


# --- loaded models rank as they were measured -----------------------------------------------------


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


@pytest.mark.parametrize("kind", KINDS)
def test_the_loaded_model_has_the_figures_of_its_bundle(made, kind):
    place, path = made(kind)
    model = load_model(path)
    model.check_dataset(place.dataset)
    for entry, split in zip(model.bundle.metrics["results"], SPLITS, strict=False):
        ranks = ranked_again(model, place, split)
        assert json.loads(json.dumps(result(ranks, place.dataset))) == entry
        stored = model.bundle.ranks
        stored = stored[stored["split"] == split].reset_index(drop=True)
        pd.testing.assert_frame_equal(ranks.frame.reset_index(drop=True), stored, check_dtype=False)
    assert ranks.top.tolist() == numbered(model.bundle.topk, "item_").tolist()


def test_half_precision_is_in_the_file_and_in_the_figures(made):
    (_, whole), (_, half) = made("static"), made("half")
    ours, theirs = (Bundle.open(p).tensors("model.safetensors") for p in (half, whole))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if name.startswith("recommender."):
            assert tensor.dtype == np.float16
            np.testing.assert_array_equal(tensor, theirs[name].astype(np.float16))
        else:  # rounding a codebook could change a code
            np.testing.assert_array_equal(tensor, theirs[name])
    assert Bundle.open(half).tensors("content.safetensors")["vectors"].dtype == np.float16
    assert half.joinpath("model.safetensors").stat().st_size < (
        whole.joinpath("model.safetensors").stat().st_size
    )


@pytest.mark.parametrize("kind", KINDS)
def test_recommend_is_the_rankers_list(made, kind):
    place, path = made(kind)
    model, data = load_model(path), place.dataset
    lists = numbered(model.bundle.topk, "item_")
    for user, row in zip(model.bundle.topk["user"][:6], lists, strict=False):
        history = data.events[data.offsets[user] : data.test_at[user]]
        ids = [str(model.item_ids[i]) for i in history]
        found = model.recommend(ids, k=TOP)
        assert [r.item_id for r in found] == [f"i{i}" for i in row]
        scores = [r.score for r in found]
        assert scores == sorted(scores, reverse=True)


def test_decodings_agree_where_the_beam_holds_all(made, model):
    place, _ = made("static")
    exact = ranked_again(model, place, "test", decoding="exact")
    beam = ranked_again(model, place, "test", decoding="beam", beam=toys.N_ITEMS)
    assert (exact.decoding, beam.decoding) == (
        "exact, every item scored",
        f"constrained beam search, {toys.N_ITEMS} beams",
    )
    assert exact.top.tolist() == beam.top.tolist()
    assert exact.frame["rank"].tolist() == beam.frame["rank"].tolist()
    by_beam, by_score = (
        model.recommend(HISTORY, k=20, beam=toys.N_ITEMS, decoding=d) for d in ("beam", "exact")
    )
    assert [r.item_id for r in by_beam] == [r.item_id for r in by_score]
    np.testing.assert_allclose([r.score for r in by_beam], [r.score for r in by_score], atol=1e-5)


# --- recommend ------------------------------------------------------------------------------------


def test_what_a_recommendation_holds(model):
    found = model.recommend(HISTORY, k=5)
    assert len(found) == 5
    for one in found:
        row = model.rows([one.item_id])[0]
        assert one.sid == model.sid_of(row)
        assert one.title is None  # this bundle may carry no text
        assert one.probability == pytest.approx(math.exp(one.score)) and 0 < one.probability < 1


def test_only_the_latest_items_count(model):
    longest = model.recipe.training.max_history
    story = [f"i{i}" for i in range(12)]
    assert model.recommend(story) == model.recommend(story[-longest:])
    assert model.recommend(story) != model.recommend(story[-longest + 3 :])


def test_k_beyond_the_catalogue_lists_it_whole(made):
    for kind in KINDS:
        found = load_model(made(kind)[1]).recommend(HISTORY, k=1000)
        assert sorted(r.item_id for r in found) == sorted(f"i{i}" for i in range(toys.N_ITEMS))


@pytest.mark.parametrize("kind", ["static", "sasrec", "popularity"])
@pytest.mark.parametrize("decoding", ["beam", "exact"])
def test_leaving_out_what_was_seen_only_leaves_that_out(made, kind, decoding):
    model = load_model(made(kind)[1])
    seen = ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i0"]  # more than the model looks at
    everything = model.recommend(seen, k=26, decoding=decoding)
    found = model.recommend(seen, k=10, decoding=decoding, beam=26, leave_out_seen=True)
    assert [r.item_id for r in found] == [r.item_id for r in everything if r.item_id not in seen][
        :10
    ]
    rest = model.recommend(seen, k=26, decoding=decoding, leave_out_seen=True)
    assert {r.item_id for r in rest} == {f"i{i}" for i in range(8, 26)}


def test_free_decoding_may_leave_the_catalogue(model):
    found = model.recommend(HISTORY, k=20, beam=200, decoding="free")
    known = {model.sid_of(row): str(model.item_ids[row]) for row in range(model.n_items)}
    for one in found:
        assert known.get(one.sid) == one.item_id
    exact = {r.item_id: r.score for r in model.recommend(HISTORY, k=26, decoding="exact")}
    for one in found:
        if one.item_id is not None:
            assert one.score == pytest.approx(exact[one.item_id], abs=1e-5)


def test_missing_titles_are_none(made):
    model = load_model(made("published")[1])
    found = {r.item_id: r.title for r in model.recommend(HISTORY, k=26)}
    assert found["i3"] == "Title 3"
    assert found["i7"] is None
    assert model.title_of(7) is None and model.title_of(3) == "Title 3"
    text = json.dumps([dataclasses.asdict(r) for r in model.recommend(HISTORY, k=26)])
    assert "NaN" not in text


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
        ((HISTORY, -3), {}, "k must be >= 1, got -3"),
        ((HISTORY, 10), {"beam": 9}, "a beam of 9 cannot fill a list of 10"),
        ((HISTORY, 1), {"beam": 0}, "a beam of 0 cannot fill"),
        ((HISTORY,), {"decoding": "greedy"}, "decoding must be one of beam, free, exact"),
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
    for ask in (
        lambda: model.trie,
        lambda: model.item_scores(torch.tensor([[1]]), torch.tensor([1])),
        lambda: model.search(torch.tensor([[1]]), torch.tensor([1]), 5),
    ):
        with pytest.raises(DigerError, match="sasrec model: it has no semantic IDs"):
            ask()


def test_the_bundles_tokenizer_gives_its_items_their_codes(model):
    vectors = model.bundle.tensors("content.safetensors")["vectors"]
    codes = model.tokenizer.assign(vectors).numpy()
    np.testing.assert_array_equal(codes, numbered(model.items, "code_"))


def test_new_items_need_the_encoder_that_made_the_vectors(made, model):
    with pytest.raises(DigerError) as caught:  # these came from a file of the user's own
        model.assign(["a new item"])
    assert str(caught.value).isprintable()
    with pytest.raises(DigerError, match="has no tokenizer"):
        load_model(made("sasrec")[1]).assign(["a new item"])


def test_search_shows_how_the_beam_grew(model):
    result = model.search(torch.tensor([[3, 4, 5]]), torch.tensor([3]), 8, keep_trace=True)
    assert [step.prefixes.shape[-1] for step in result.trace] == [1, 2, 3]
    assert result.items[0].tolist() == [
        int(r.item_id[1:]) for r in model.recommend(HISTORY, k=8, beam=8)
    ]
    for mode in MODES:
        assert model.ranker(mode).decoding


# --- what cannot be loaded ------------------------------------------------------------------------


def test_another_dataset_is_refused(model):
    other = toys.make_dataset(toys.walks(seed=1))
    with pytest.raises(DigerError, match="toy-static-s0 was trained on toy with fingerprint"):
        model.check_dataset(other)


def test_a_bundle_with_results_only_cannot_recommend(tmp_path):
    path = bundle_toys.write_bundle(tmp_path / "results", complete=False)
    with pytest.raises(DigerError, match="holds results only"):
        diger.load(path)


def test_no_bundle_there(tmp_path):
    with pytest.raises(DigerError, match="no such bundle folder"):
        diger.load(tmp_path / "nowhere")


def test_a_whole_bundle_that_makes_no_model_is_refused(tmp_path):
    """Valid as a bundle, but its configuration and weights fit no model of ours."""
    path = bundle_toys.write_bundle(tmp_path / "foreign")
    with pytest.raises(DigerError) as caught:
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
