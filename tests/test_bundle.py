"""Bundles written, read back and listed."""

import doctest
import subprocess
import sys

import bundle_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch

from diger import text
from diger.bundle import BrokenBundle, Bundle, BundleWriter, list_bundles
from diger.bundle.documents import Config
from diger.bundle.tables import sids, topk_rows
from diger.bundle.tensors import pack, unpack
from diger.errors import DigerError
from diger.tokenizer.suffix import format_sid


def test_imports_without_torch():
    modules = (
        "diger.bundle, diger.bundle.report, diger.bundle.tables, diger.evaluation.metrics, "
        "diger.evaluation.slices, diger.evaluation.beyond_accuracy"
    )
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def write_few(path, metrics=None, **options):
    """The least that a bundle may hold, and what is given."""
    with BundleWriter(path) as writer:
        writer.json("config.json", toys.config(**options.pop("config", {})))
        writer.json("metrics.json", metrics or {"results": []})
        writer.text("README.md", "card")
        for name, tensors in options.get("tensors", {}).items():
            writer.tensors(name, tensors)
        if "items" in options:
            writer.frame("items.parquet", options["items"])
    return Bundle.open(path)


def test_examples_in_docstrings():
    found = doctest.testmod(text)
    assert found.attempted and not found.failed


def test_round_trip(tmp_path):
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one"))
    assert bundle.kind == "complete" and bundle.require_complete() is bundle
    assert bundle.config == toys.config() | {"format": 2}
    assert bundle.metrics == toys.metrics()
    pd.testing.assert_frame_equal(bundle.ranks, toys.ranks())
    np.testing.assert_array_equal(sids(bundle.items), toys.SIDS)
    assert sids(bundle.items, "start")[3].tolist() == [2, 2, 1, 0]
    assert format_sid(sids(bundle.items)[1]) == "1-0-3-1"
    assert topk_rows(bundle.topk).tolist()[0] == [3, 0, -1]
    assert list(bundle.items["categories"][2]) == ["toys", "outdoor"]
    assert bundle.history["loss"].tolist() == [3.0, 2.5, 2.0]
    assert bundle.codes["items"].sum() == 18 and bundle.levels["drift"].tolist() == [0.1]
    assert list(bundle.examples["history"][0]) == [0, 3, 1]
    weights = bundle.tensors("model.safetensors")
    assert weights["a"].dtype == np.float16 and weights["b"].tolist() == [0, 1, 2, 3, 4, 5]
    assert bundle.tensor_metadata("model.safetensors") == {"also": "é", "made by": "a test"}
    assert bundle.card.startswith("---\n")
    again = Bundle.open(toys.write_bundle(tmp_path / "two"))
    assert bundle.hash == again.hash and bundle.manifest == again.manifest
    assert Bundle.open(toys.write_bundle(tmp_path / "three", seed=1)).hash != bundle.hash


def test_ranks_are_stored_without_what_follows(tmp_path):
    items = toys.items(text=False)
    short = toys.ranks().drop(columns=["target_popularity", "cold"])
    counts = items["training_popularity"].to_numpy()[short["target"]].astype(np.int32)
    whole = short.assign(target_popularity=counts, cold=counts == 0)
    for name, frames in (("both", (items, whole)), ("alone", (whole,))):
        with BundleWriter(tmp_path / name) as writer:
            writer.json("config.json", toys.config())
            writer.json("metrics.json", {"results": []})
            for frame in frames:
                writer.frame("items.parquet" if frame is items else "ranks.parquet", frame)
            writer.text("README.md", "card")
    found = {
        name: set(pd.read_parquet(tmp_path / name / "ranks.parquet").columns)
        for name in ("both", "alone")
    }
    assert found == {"both": set(short), "alone": set(whole)}
    for name in found:  # the whole table is what earlier versions wrote
        pd.testing.assert_frame_equal(Bundle.open(tmp_path / name).ranks, whole)


def test_results_only(tmp_path):
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one", complete=False))
    assert bundle.kind == "results-only"
    with pytest.raises(DigerError, match=r"toys-static-s0 holds results only: without model\.safe"):
        bundle.require_complete()
    with pytest.raises(DigerError, match=r"it has no model\.safetensors"):
        bundle.tensors("model.safetensors")


def test_json_takes_numpy_and_has_no_nan(tmp_path):
    metrics = toys.metrics()
    metrics["results"][0]["metrics"] = {"recall@10": np.float32(0.5), "ndcg@10": float("nan")}
    bundle = write_few(tmp_path / "one", metrics, config={"seed": np.int64(3)})
    assert bundle.items is None and bundle.examples is None
    with pytest.raises(DigerError, match=r"one: it has no ranks\.parquet"):
        bundle.frame("ranks.parquet")
    assert bundle.config["seed"] == 3
    assert bundle.metrics["results"][0]["metrics"] == {"recall@10": 0.5, "ndcg@10": None}


def test_existing_bundle_needs_force(tmp_path):
    path = toys.write_bundle(tmp_path / "one")
    with pytest.raises(DigerError, match="already exists"):
        toys.write_bundle(path, seed=1)
    assert Bundle.open(path).config["seed"] == 0
    toys.write_bundle(path, seed=1, force=True)
    assert Bundle.open(path).config["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_the_second_of_two_writers_does_not_replace_the_first(tmp_path):
    path = tmp_path / "one"
    with pytest.raises(DigerError, match="already exists"), BundleWriter(path) as slow:
        slow.json("config.json", toys.config())
        slow.json("metrics.json", toys.metrics())
        slow.text("README.md", "slow")
        toys.write_bundle(path)
    assert Bundle.open(path).kind == "complete"
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_force_replaces_nothing_but_bundles(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    for name, message in (
        ("thesis", "not a bundle"),
        ("file", "is a file"),
        ("link", "symbolic link"),
        (".hidden", "begin with a dot"),
        ("file/one", "cannot be written"),
    ):
        with pytest.raises(DigerError, match=message):
            toys.write_bundle(tmp_path / name, force=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_only_known_names_are_written_and_once(tmp_path):
    with BundleWriter(tmp_path / "one") as writer:
        for name in ("model.pkl", "../config.json", "manifest.json"):
            with pytest.raises(DigerError, match="is not one of"):
                writer.json(name, {})
        writer.json("config.json", toys.config())
        with pytest.raises(DigerError, match="already written"):
            writer.json("config.json", toys.config())
        writer.json("metrics.json", toys.metrics())
        writer.text("README.md", "card")
    with pytest.raises(DigerError, match="not open"):
        writer.text("README.md", "card")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": {"method": "differentiabel", "decay": "none", "noise": "none"}}, "did you mean"),
        ({"seed": "0"}, "seed cannot be '0'"),
        ({"dataset": {"simulated": None}}, r"dataset\.simulated is missing"),
        ({"backbone": "gpt"}, "backbone must be one of"),
        ({"recipe": {"name": "demo", "made": object()}}, "recipe: made is a object"),
    ],
)
def test_configuration_is_checked_on_writing(tmp_path, change, message):
    with pytest.raises(DigerError, match=message):
        toys.write_bundle(tmp_path / "one", **change)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("ranks", lambda f: f.drop(columns="cold"), "column cold is missing .it has spl"),
        ("ranks", lambda f: f.assign(rank=[0, 1, 1, 1, 1, 1]), "rank must be >= 1, got 0"),
        ("ranks", lambda f: f.assign(user=["x"] * 6), "user must hold whole numbers, not"),
        ("ranks", lambda f: f.assign(cold=[0] * 6), "cold must hold true or false"),
        ("ranks", lambda f: f.assign(target=[0, 6, 0, 0, 0, 0]), "item row 6 of a catalogue of 6"),
        ("ranks", lambda f: f.assign(split=["test", None] * 3), "split has no value in row 1"),
        ("items", lambda f: f.assign(item_id="same"), "item_id same occurs twice"),
        ("items", lambda f: f.drop(columns="code_2"), "code_2 is missing between its neighbours"),
        ("items", lambda f: f.drop(columns="start_code_3"), "2 levels at the start but 3 now"),
        ("items", lambda f: f.assign(review="text"), "column review is not one it may have"),
    ],
)
def test_tables_are_checked_on_writing(tmp_path, monkeypatch, table, change, message):
    wrong = change(getattr(toys, table)())
    monkeypatch.setattr(toys, table, lambda *_: wrong)
    with pytest.raises(DigerError, match=message):
        toys.write_bundle(tmp_path / "one")
    assert not list(tmp_path.iterdir())


def test_ranks_as_floats_become_nullable_integers(tmp_path, monkeypatch):
    frame = toys.ranks()
    floats = frame.assign(rank=frame["rank"].to_numpy(dtype=float, na_value=np.nan))
    monkeypatch.setattr(toys, "ranks", lambda: floats)
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one"))
    pd.testing.assert_frame_equal(bundle.ranks, frame)


def test_text_travels_only_where_it_may(tmp_path):
    private = {"text_may_be_published": False}
    with pytest.raises(DigerError, match=r"leave out title, categories, examples\.parquet"):
        toys.write_bundle(tmp_path / "one", dataset=private)
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one", text=False, dataset=private))
    assert "title" not in bundle.items.columns and bundle.examples is None


def test_a_model_over_sids_needs_its_vectors(tmp_path):
    one = {"x": np.zeros(1)}
    for name, message in (
        ("model.safetensors", r"needs content\.safetensors"),
        ("content.safetensors", r"content\.safetensors without model"),
    ):
        with pytest.raises(DigerError, match=message):
            write_few(tmp_path / "one", tensors={name: one}, items=toys.items())
    both = {"model.safetensors": one, "content.safetensors": one}
    assert write_few(tmp_path / "one", tensors=both, items=toys.items()).kind == "complete"


def test_torch_tensors_and_bfloat16():
    values = torch.tensor([1.0, -2.5, 3.140625, 0.0])
    shared = torch.arange(4.0).reshape(2, 2)
    tensors = {
        "bf16": values.to(torch.bfloat16),
        "tied": shared,
        "also tied": shared.T,
        "scalar": torch.tensor(7),
    }
    arrays = unpack(pack(tensors, {"k": "v"}), "model.safetensors")
    assert arrays["bf16"].dtype == np.float32 and arrays["bf16"].tolist() == values.tolist()
    assert arrays["also tied"].tolist() == [[0, 2], [1, 3]]
    assert arrays["scalar"].shape == () and arrays["scalar"] == 7
    plain = np.arange(6.0).reshape(2, 3).T
    assert pack({"w": torch.from_numpy(plain)}) == pack({"w": plain})


def test_a_tensor_that_cannot_be_stored():
    with pytest.raises(DigerError, match="x has dtype object"):
        pack({"x": np.array([object()])})


def test_list_shows_broken_ones_beside_the_rest(tmp_path):
    toys.write_bundle(tmp_path / "b-good")
    toys.write_bundle(tmp_path / "c-changed")
    (tmp_path / "c-changed" / "ranks.parquet").write_bytes(b"x")
    for name, file in (("a-half", "config.json"), ("notes", "README.md"), (".hidden", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    found = list_bundles(tmp_path)
    assert [type(b) for b in found] == [BrokenBundle, Bundle, BrokenBundle]
    assert found[0].reason == "no manifest.json: not a bundle, or never finished"
    assert found[2].reason.startswith("ranks.parquet has 1 bytes where its manifest says")
    with pytest.raises(DigerError, match="cannot be listed"):
        list_bundles(tmp_path / "nowhere")


def test_rows_of_zeros_are_left_out_and_put_back():
    table = np.zeros((1000, 8), np.float16)
    table[[3, 500, 999]] = 1
    full, few = np.ones((2, 1000, 8), np.float16)
    few[:100] = 0
    tensors = {"table": table, "full": full, "few": few, "none": table[:2], "empty": table[:0]}
    packed = pack(tensors)
    assert len(packed) < table.nbytes + 2 * full.nbytes
    for made in (packed, pack({k: torch.from_numpy(v) for k, v in tensors.items()})):
        found = unpack(made, "model.safetensors")
        assert found.keys() == tensors.keys()
        for name, value in tensors.items():
            assert found[name].dtype == value.dtype and np.array_equal(found[name], value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"t@rows": np.array([True])},
        {"t": np.ones((2, 3)), "t@rows": np.array([True, False, False])},
        {"t": np.ones((1, 3)), "t@rows": np.array([1.0])},
        {"t": np.ones((0, 2**20)), "t@rows": np.zeros(2**10, bool)},
    ],
)
def test_rows_that_do_not_fit_are_refused(tensors):
    with pytest.raises(DigerError, match="t@rows does not fit"):
        unpack(pack(tensors), "model.safetensors")


@pytest.mark.parametrize(
    ("document", "name", "users"),
    [
        ({"dataset": {"name": "toys", "users": 3}}, "toys", 3),
        ({"dataset": {"name": "toys", "users": "many"}}, "toys", None),
        ({"dataset": [], "seed": "x"}, "", None),
        ({"dataset": {"name": "toys"}, "content": {"sources": [{"weight": "x"}]}}, "toys", None),
        ({"dataset": {"name": "toys"}, "seconds": {"training": float("nan")}}, "toys", None),
        ({"name": "\ud800"}, "", None),
        ([], "", None),
    ],
)
def test_a_configuration_is_read_as_far_as_it_is_one(document, name, users):
    about = Config.read(document)
    assert (about.dataset.name, about.dataset.users) == (name, users)
    assert about.content.sources == [] and about.seed is None
