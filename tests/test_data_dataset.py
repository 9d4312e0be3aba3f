"""`Dataset`: invariants, the folder on disk, and what it says when something is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diger.data.dataset import Dataset
from diger.errors import DigerError

FINGERPRINT = "c4b44bf02e67238fac2f81be503716933c2f7f64370c858a7fe7d470a420e27a"
TEXT_FINGERPRINT = "6af6f7fa8160eb649dcae8a29433db68e6d141ca2a9c009959ca03d6bb611295"
FILES = {"items.parquet", "interactions.parquet", "users.parquet", "dataset.json"}


def toy(**changes) -> Dataset:
    """Two users: u0 had items 0 1 2 1 (leave-one-out), u1 had 2 0 (training only)."""
    parts = {
        "name": "toy",
        "split": "leave-one-out",
        "items": pd.DataFrame(
            {
                "item_id": ["a", "b", "c"],
                "title": ["Tea", None, "Jam é"],
                "description": [None, None, "sweet"],
                "brand": [None, "Acme", None],
                "categories": [["food", "hot"], [], ["food"]],
                "price": [1.5, np.nan, 3.0],
            }
        ),
        "user_ids": ["u0", "u1"],
        "offsets": np.array([0, 4, 6]),
        "events": np.array([0, 1, 2, 1, 2, 0]),
        "times": np.array([10, 20, 20, 30, 5, 6]),
        "train_end": np.array([2, 6]),
        "validation_at": np.array([2, -1]),
        "test_at": np.array([3, -1]),
        "time_unit": "seconds",
        "licence": "CC0-1.0",
        "preparation": {"k_core": 0, "format": "simple", "drop_repeats": False},
    }
    return Dataset.create(**{**parts, **changes})


def test_counts_and_training_popularity():
    data = toy()
    assert (data.n_users, data.n_items, data.n_events) == (2, 3, 6)
    # Training events: u0 has 0 1, u1 has 2 0.
    assert data.training_popularity().tolist() == [2, 1, 1]
    info = data.info
    assert (info.n_training_events, info.n_validation_users, info.n_test_users) == (4, 1, 1)


@pytest.mark.parametrize("times", [np.array([10, 20, 20, 30, 5, 6]), None])
def test_save_and_load_give_the_same_back(tmp_path, times):
    data = toy(times=times)
    folder = data.save(tmp_path / "deep" / "toy")
    assert {p.name for p in folder.iterdir()} == FILES
    assert [p.name for p in folder.parent.iterdir()] == ["toy"]  # nothing temporary left
    back = Dataset.load(folder)
    assert back.info == data.info
    pd.testing.assert_frame_equal(back.items, data.items)
    assert back.user_ids.tolist() == ["u0", "u1"]
    for name in ("offsets", "events", "train_end", "validation_at", "test_at"):
        np.testing.assert_array_equal(getattr(back, name), getattr(data, name), strict=True)
    if times is None:
        assert back.times is None and back.info.time_unit is None
    else:
        np.testing.assert_array_equal(back.times, data.times, strict=True)


def test_fingerprints_are_fixed_and_cover_what_they_say():
    data = toy()
    # Written down once: a change here means that old bundles no longer find their data.
    assert data.info.fingerprint == FINGERPRINT
    assert data.info.text_fingerprint == TEXT_FINGERPRINT
    renamed = toy(user_ids=["x", "y"], name="other", times=None)
    assert renamed.info.fingerprint == data.info.fingerprint
    other_split = toy(validation_at=np.array([-1, -1]))
    assert other_split.info.fingerprint != data.info.fingerprint
    items = data.items.assign(title=["Tea", None, "Jam"])
    assert toy(items=items).info.fingerprint == data.info.fingerprint
    assert toy(items=items).info.text_fingerprint != data.info.text_fingerprint


def test_fingerprint_does_not_depend_on_parquet_encoding(tmp_path):
    folder = toy().save(tmp_path / "toy")
    for name in FILES - {"dataset.json"}:
        table = pq.read_table(folder / name)
        pq.write_table(table, folder / name, compression="gzip", use_dictionary=False)
    assert Dataset.load(folder).info == toy().info


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_ids": ["u", "u"]}, "user_id 'u' occurs twice"),
        ({"user_ids": ["u", ""]}, "user row 1: the user_id is ''"),
        ({"user_ids": ["u"]}, "offsets has shape"),
        ({"offsets": np.array([0, 3, 3])}, "offsets must run"),
        ({"train_end": np.array([5, 6])}, "user row 0: train_end"),
        ({"validation_at": np.array([1, -1])}, "user row 0: validation_at"),
        ({"test_at": np.array([3, 4])}, "user row 1: test_at"),
        ({"test_at": np.array([2, -1])}, "does not precede"),
        ({"times": np.array([10, 20, 19, 30, 5, 6])}, "user row 0: events are not in order"),
        ({"times": np.array([10])}, "times has shape"),
        ({"name": "a b"}, "dataset name 'a b'"),
        ({"item_id": ["a", "a", "c"]}, "item_id 'a' occurs twice"),
        ({"item_id": ["a", None, "c"]}, "item row 1: the item_id is None"),
        ({"title": ["Tea", 3, None]}, "item row 1: title is 3, not text"),
        ({"title": ["Tea", "\ud800", None]}, "item row 1: title has a broken character"),
        ({"categories": ["food", [], []]}, "item row 0: categories is 'food', not a list"),
        ({"categories": [[None], [], []]}, "categories has an empty entry"),
        ({"categories": None}, "no column categories; did you mean category"),
    ],
)
def test_create_refuses_broken_parts(changes, message):
    items = toy().items.assign(category="")
    ((name, value),) = changes.items()
    if name in items:
        cells = {} if value is None else {name: pd.Series(value, dtype=object)}
        changes = {"items": items.drop(columns=name).assign(**cells)}
    with pytest.raises(DigerError, match=message) as caught:
        toy(**changes)
    assert "\n" not in str(caught.value)


def test_save_replaces_a_dataset_only_and_only_with_force(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    folder = toy().save(tmp_path / "toy")
    with pytest.raises(DigerError, match="add --force"):
        toy().save(folder)
    (folder / "content").mkdir()
    toy(name="newer").save(folder, force=True)
    assert Dataset.load(folder).name == "newer" and not (folder / "content").exists()
    (folder / "notes.txt").write_text("precious")
    for name, message in (
        ("file", "is a file"),
        ("mine", "not empty and not a diger-dataset folder"),
        ("toy", r"holds notes\.txt"),
    ):
        with pytest.raises(DigerError, match=message):
            toy().save(tmp_path / name, force=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


def test_save_into_an_empty_folder_and_through_a_link(tmp_path):
    (tmp_path / "empty").mkdir()
    toy().save(tmp_path / "empty")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    toy(name="newer").save(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert Dataset.load(tmp_path / "empty").name == "newer"


def test_a_failed_save_leaves_nothing_and_keeps_the_old(tmp_path):
    folder = toy().save(tmp_path / "toy")
    mixed = toy().items.assign(price=pd.Series([1, "two", None], dtype=object))
    with pytest.raises(DigerError, match="price mixes types"):
        toy(items=mixed).save(folder, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["toy"]
    assert Dataset.load(folder).info == toy().info


def rewrite(path: Path, change) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def set_column(name: str, values: list):
    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(name)
        return table.set_column(at, name, pa.array(values))

    return change


def damage(file: str, column: str, values: list):
    return lambda folder: rewrite(folder / file, set_column(column, values))


EVENTS, ITEMS, USERS = "interactions.parquet", "items.parquet", "users.parquet"
JSON = "dataset.json"
DAMAGES = {
    "folder gone": (lambda f: f.rename(f.with_name("x")), "no dataset folder"),
    "file gone": (lambda f: (f / USERS).unlink(), "users.parquet is missing"),
    "json gone": (lambda f: (f / JSON).unlink(), "dataset.json is missing"),
    "json broken": (
        lambda f: (f / JSON).write_text('{"format":\n "di'),
        "is not JSON.*line 2 column 2",
    ),
    "json a list": (lambda f: (f / JSON).write_text("[]"), "is not a JSON object"),
    "json not UTF-8": (lambda f: (f / JSON).write_bytes(b'{"a": "\xff'), "in UTF-8"),
    "json too deep": (lambda f: (f / JSON).write_text("[" * 200_000), "is not JSON.*recursion"),
    "other format": (lambda f: edit_info(f, format="other"), "not a dataset of ours"),
    "other version": (lambda f: edit_info(f, format_version=2), "has format version 2"),
    "unknown key": (lambda f: edit_info(f, shape=1), "shape: Extra inputs"),
    "truncated": (lambda f: os.truncate(f / ITEMS, 300), "items.parquet is not a whole parquet"),
    "column gone": (
        lambda f: rewrite(f / ITEMS, lambda t: t.drop_columns(["brand"])),
        "items.parquet has no column brand",
    ),
    "other type": (damage(EVENTS, "item", [0.5] * 6), "column item holds double, not integers"),
    "empty cell": (damage(EVENTS, "item", [0, 1, None, 1, 2, 0]), "column item has empty cells"),
    "event changed": (damage(EVENTS, "item", [0, 1, 2, 2, 2, 0]), "not match the fingerprint"),
    "out of range": (damage(EVENTS, "item", [0, 1, 2, 9, 2, 0]), "item rows from 0 to 2"),
    "text changed": (damage(ITEMS, "title", ["Tea", None, "H"]), "match the text_fingerprint"),
    "other users": (damage(USERS, "n_events", [3, 3]), "do not belong together"),
    "negative count": (damage(USERS, "n_events", [-1, 7]), "do not belong together"),
}


def edit_info(folder: Path, **changes) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("kind", DAMAGES)
def test_load_says_what_is_wrong(tmp_path, kind):
    folder = toy().save(tmp_path / "toy")
    harm, message = DAMAGES[kind]
    harm(folder)
    with pytest.raises(DigerError, match=message) as caught:
        Dataset.load(folder)
    said = str(caught.value)
    assert "\n" not in said and str(tmp_path) in said and "prepare" in said


def test_the_data_package_imports_without_torch():
    code = (
        "import sys, diger.data.dataset, diger.data.prepare, diger.data.report\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
