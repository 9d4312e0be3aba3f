"""Bundles written, read back and listed."""

import doctest
import json
import subprocess
import sys

import bundle_toys as toys
import numpy as np
import pandas as pd
import pytest

from diger import text
from diger.bundle import BrokenBundle, Bundle, BundleWriter, list_bundles
from diger.bundle.tables import sids, topk_rows
from diger.bundle.tensors import pack, unpack
from diger.errors import DigerError
from diger.tokenizer.suffix import format_sid


def test_imports_without_torch():
    modules = [
        "diger.bundle",
        "diger.bundle.report",
        "diger.bundle.tables",
        "diger.evaluation.metrics",
        "diger.evaluation.slices",
        "diger.evaluation.beyond_accuracy",
    ]
    code = f"import sys, {', '.join(modules)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", [text])
def test_examples_in_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_round_trip(tmp_path):
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one"))
    assert bundle.kind == "complete" and bundle.require_complete() is bundle
    assert bundle.name == "toys-static-s0"
    assert bundle.config == toys.config() | {"format": 1}
    assert bundle.metrics == toys.metrics()
    pd.testing.assert_frame_equal(bundle.ranks, toys.ranks())
    assert bundle.ranks["rank"].isna().tolist() == [False, True, False, True, False, False]
    np.testing.assert_array_equal(sids(bundle.items), toys.SIDS)
    assert sids(bundle.items, "start")[3].tolist() == [2, 2, 1, 0]
    assert format_sid(sids(bundle.items)[1]) == "1-0-3-1"
    assert topk_rows(bundle.topk).tolist()[0] == [3, 0, -1]
    assert [list(c) for c in bundle.items["categories"]][2] == ["toys", "outdoor"]
    assert bundle.history["loss"].tolist() == [3.0, 2.5, 2.0]
    assert bundle.codes["items"].sum() == 18 and bundle.levels["drift"].tolist() == [0.1]
    assert list(bundle.examples["history"][0]) == [0, 3, 1]
    weights = bundle.tensors("model.safetensors")
    assert weights["a"].dtype == np.float16 and weights["b"].tolist() == [0, 1, 2, 3, 4, 5]
    assert bundle.tensor_metadata("model.safetensors") == {"also": "é", "made by": "a test"}
    assert bundle.card.startswith("---\n")


def test_equal_content_gives_equal_bundles(tmp_path):
    one = Bundle.open(toys.write_bundle(tmp_path / "one"))
    two = Bundle.open(toys.write_bundle(tmp_path / "two"))
    assert one.hash == two.hash and one.manifest == two.manifest
    assert Bundle.open(toys.write_bundle(tmp_path / "three", seed=1)).hash != one.hash


def test_results_only(tmp_path):
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one", complete=False))
    assert bundle.kind == "results-only"
    with pytest.raises(DigerError, match=r"toys-static-s0 holds results only: without model\.safe"):
        bundle.require_complete()
    with pytest.raises(DigerError, match=r"it has no model\.safetensors"):
        bundle.tensors("model.safetensors")


def test_absent_tables_are_none(tmp_path):
    with BundleWriter(tmp_path / "one") as writer:
        writer.json("config.json", toys.config())
        writer.json("metrics.json", {"results": []})
        writer.text("README.md", "card")
    bundle = Bundle.open(tmp_path / "one")
    some = (bundle.items, bundle.ranks, bundle.topk, bundle.history)
    assert all(table is None for table in (*some, bundle.codes, bundle.levels, bundle.examples))
    with pytest.raises(DigerError, match=r"one: it has no ranks\.parquet"):
        bundle.frame("ranks.parquet")


def test_json_takes_numpy_and_has_no_nan(tmp_path):
    metrics = toys.metrics()
    metrics["results"][0]["metrics"] = {"recall@10": np.float32(0.5), "ndcg@10": float("nan")}
    with BundleWriter(tmp_path / "one") as writer:
        writer.json("config.json", toys.config(seed=np.int64(3)))
        writer.json("metrics.json", metrics)
        writer.text("README.md", "card")
    bundle = Bundle.open(tmp_path / "one")
    assert bundle.config["seed"] == 3
    assert bundle.metrics["results"][0]["metrics"] == {"recall@10": 0.5, "ndcg@10": None}


def test_existing_bundle_needs_force(tmp_path):
    path = toys.write_bundle(tmp_path / "one")
    before = Bundle.open(path).hash
    with pytest.raises(DigerError, match="already exists"):
        toys.write_bundle(path, seed=1)
    assert Bundle.open(path).hash == before
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
    with pytest.raises(DigerError, match="not a bundle"):
        toys.write_bundle(tmp_path / "thesis", force=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DigerError, match="is a file"):
        toys.write_bundle(tmp_path / "file", force=True)
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    with pytest.raises(DigerError, match="symbolic link"):
        toys.write_bundle(tmp_path / "link", force=True)
    with pytest.raises(DigerError, match="begin with a dot"):
        toys.write_bundle(tmp_path / ".hidden")


def test_parent_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DigerError, match="cannot be written"):
        toys.write_bundle(tmp_path / "file" / "one")


@pytest.mark.parametrize("name", ["model.pkl", "../config.json", "metric.json", "manifest.json"])
def test_only_known_names_are_written(tmp_path, name):
    with BundleWriter(tmp_path / "one", force=True) as writer:
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
        ({"seed": "0"}, "seed must be int"),
        ({"dataset": {"simulated": None}}, r"dataset\.simulated must be bool, got nothing"),
        ({"backbone": "gpt"}, "backbone must be one of"),
        ({"recipe": {"name": "demo", "made": object()}}, "recipe: made is a object"),
    ],
)
def test_configuration_is_checked_on_writing(tmp_path, change, message):
    with pytest.raises(DigerError, match=message):
        toys.write_bundle(tmp_path / "one", **change)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="cold"), r"ranks\.parquet: column cold is missing \(it has spl"),
        (lambda f: f.assign(rank=[0, 1, 1, 1, 1, 1]), "rank must be >= 1, got 0"),
        (lambda f: f.assign(rank=[1.5] * 6), "rank must hold whole numbers or nothing"),
        (lambda f: f.assign(user=["x"] * 6), "user must hold whole numbers, not"),
        (lambda f: f.assign(cold=[0] * 6), "cold must hold true or false"),
        (lambda f: f.assign(target=[0, 6, 0, 0, 0, 0]), "item row 6 of a catalogue of 6"),
        (lambda f: f.assign(split=["test", None] * 3), "split has no value in row 1"),
    ],
)
def test_tables_are_checked_on_writing(tmp_path, monkeypatch, change, message):
    wrong = change(toys.ranks())
    monkeypatch.setattr(toys, "ranks", lambda: wrong)
    with pytest.raises(DigerError, match=message):
        toys.write_bundle(tmp_path / "one")
    assert not list(tmp_path.iterdir())


def test_ranks_as_floats_become_nullable_integers(tmp_path, monkeypatch):
    frame = toys.ranks()
    floats = frame.assign(rank=frame["rank"].to_numpy(dtype=float, na_value=np.nan))
    monkeypatch.setattr(toys, "ranks", lambda: floats)
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one"))
    pd.testing.assert_frame_equal(bundle.ranks, frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(item_id="same"), "item_id same occurs twice"),
        (lambda f: f.drop(columns="code_2"), "code_2 is missing between its neighbours"),
        (lambda f: f.drop(columns="suffix"), "codes and suffix come together"),
        (lambda f: f.drop(columns="start_code_3"), "2 levels at the start but 3 now"),
        (lambda f: f.assign(review="text"), "column review is not one it may have"),
    ],
)
def test_items_are_checked_on_writing(tmp_path, monkeypatch, change, message):
    wrong = change(toys.items())
    monkeypatch.setattr(toys, "items", lambda text=True: wrong)
    with pytest.raises(DigerError, match=message):
        toys.write_bundle(tmp_path / "one")


def test_text_travels_only_where_it_may(tmp_path):
    private = {"text_may_be_published": False}
    with pytest.raises(DigerError, match=r"leave out title, categories, examples\.parquet"):
        toys.write_bundle(tmp_path / "one", dataset=private)
    bundle = Bundle.open(toys.write_bundle(tmp_path / "one", text=False, dataset=private))
    assert "title" not in bundle.items.columns and bundle.examples is None


def test_a_model_over_sids_needs_its_vectors(tmp_path):
    def write(*names):
        with BundleWriter(tmp_path / "one") as writer:
            writer.json("config.json", toys.config())
            writer.json("metrics.json", toys.metrics())
            writer.frame("items.parquet", toys.items())
            writer.text("README.md", "card")
            for name in names:
                writer.tensors(name, {"x": np.zeros(1)})

    with pytest.raises(DigerError, match=r"needs content\.safetensors"):
        write("model.safetensors")
    with pytest.raises(DigerError, match=r"content\.safetensors without model"):
        write("content.safetensors")
    write("model.safetensors", "content.safetensors")


def test_what_is_missing_is_named(tmp_path):
    with (
        pytest.raises(DigerError, match=r"a bundle needs README\.md, metrics\.json"),
        BundleWriter(tmp_path / "one") as writer,
    ):
        writer.json("config.json", toys.config())
    assert not list(tmp_path.iterdir())


def test_torch_tensors_and_bfloat16():
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.0, -2.5, 3.140625, 0.0])
    shared = torch.arange(4.0).reshape(2, 2)
    tensors = {
        "bf16": values.to(torch.bfloat16),
        "fp16": values.half(),
        "tied": shared,
        "also tied": shared.T,
        "numpy": np.arange(3),
        "scalar": torch.tensor(7, requires_grad=False),
    }
    arrays = unpack(pack(tensors, {"k": "v"}), "model.safetensors")
    assert arrays["bf16"].dtype == np.float32 and arrays["bf16"].tolist() == values.tolist()
    assert arrays["fp16"].dtype == np.float16
    assert arrays["also tied"].tolist() == [[0, 2], [1, 3]]
    assert arrays["scalar"].shape == () and arrays["scalar"] == 7
    plain = {"w": np.arange(6.0).reshape(2, 3).T}
    assert pack({"w": torch.from_numpy(plain["w"])}) == pack(plain)


def test_tensors_that_cannot_be_stored():
    with pytest.raises(DigerError, match="dtype object"):
        pack({"x": np.array([object()])})
    with pytest.raises(DigerError, match="is a list, not an array"):
        pack({"x": [1, 2]})
    with pytest.raises(DigerError, match="metadata must be text"):
        pack({"x": np.zeros(1)}, {"epoch": 3})


def test_list_shows_broken_ones_beside_the_rest(tmp_path):
    toys.write_bundle(tmp_path / "b-good")
    toys.write_bundle(tmp_path / "c-changed")
    (tmp_path / "c-changed" / "ranks.parquet").write_bytes(b"x")
    (tmp_path / "a-half").mkdir()
    (tmp_path / "a-half" / "config.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("not a bundle")
    (tmp_path / ".hidden").mkdir()
    found = list_bundles(tmp_path)
    assert [type(b) for b in found] == [BrokenBundle, Bundle, BrokenBundle]
    assert found[0].reason == "no manifest.json: not a bundle, or never finished"
    assert found[2].reason.startswith("ranks.parquet has 1 bytes where its manifest says")
    with pytest.raises(DigerError, match="cannot be listed"):
        list_bundles(tmp_path / "nowhere")


def test_json_on_disk_is_readable(tmp_path):
    path = toys.write_bundle(tmp_path / "one")
    text = (path / "config.json").read_text(encoding="utf-8")
    assert text.endswith("}\n") and json.loads(text)["dataset"]["title"] == "Toys & games"


def test_rows_of_zeros_are_left_out_and_put_back():
    table = np.zeros((1000, 8), np.float16)
    table[[3, 500, 999]] = 1
    full = np.ones((1000, 8), np.float16)
    few = full.copy()
    few[:100] = 0
    tensors = {
        "table": table,
        "full": full,
        "few": few,
        "none": np.zeros((5, 2)),
        "empty": table[:0],
    }
    torch = pytest.importorskip("torch")
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
