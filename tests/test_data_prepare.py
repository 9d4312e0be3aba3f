"""Ordering, filtering, numbering and splitting, against numbers worked by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from diger.data.dataset import Dataset
from diger.data.log import k_core
from diger.data.prepare import Prepared, prepare, to_seconds
from diger.data.readers import open_reader
from diger.data.report import data_report
from diger.data.split import resolve_cuts, temporal
from diger.errors import DigerError


def source(folder: Path, events: str, items: list[dict], time: str = "timestamp") -> Path:
    """A simple-format folder; `events` is `user item time` triples, separated by semicolons."""
    folder.mkdir(exist_ok=True)
    rows = [f"user_id\titem_id\t{time}"]
    rows += ["\t".join(event.split()) for event in events.split(";")]
    (folder / "interactions.tsv").write_text("\n".join(rows) + "\n")
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def made(folder: Path, **options) -> Prepared:
    return prepare(open_reader(folder), name="toy", **options)


def histories(data: Dataset) -> dict[str, list[str]]:
    ids = data.items["item_id"].to_numpy()
    return {
        user: ids[data.events[data.offsets[u] : data.offsets[u + 1]]].tolist()
        for u, user in enumerate(data.user_ids)
    }


def test_order_numbering_and_leave_one_out(tmp_path):
    # x: q at 1, then p and r both at 5 in file order. y: s has no item record.
    folder = source(
        tmp_path,
        "x p 5; y s 1; x r 5; x q 1; y p 0",
        [{"item_id": "r", "title": "R"}, {"item_id": "unused"}, {"item_id": "q"}, {"item_id": "p"}],
    )
    prepared = made(folder)
    data, counts = prepared.dataset, prepared.counts
    assert histories(data) == {"x": ["q", "p", "r"], "y": ["p", "s"]}
    assert data.items["item_id"].tolist() == ["r", "q", "p", "s"]  # item file, then s
    assert data.items["title"].tolist() == ["R", None, None, None]
    assert data.items["categories"].tolist() == [[], [], [], []]
    assert data.times.tolist() == [1, 5, 5, 0, 1]
    assert data.train_end.tolist() == [1, 5]
    assert data.validation_at.tolist() == [1, -1]
    assert data.test_at.tolist() == [2, -1]
    assert (counts.items_without_record, counts.item_records_unused) == (1, 1)
    assert data.info.time_unit == "seconds"
    assert data.info.source == f"{tmp_path.name} (simple files)"
    assert not data.info.text_may_be_published


def test_repeats_stay_unless_dropped(tmp_path):
    folder = source(tmp_path, "x a 9; x b 2; x a 1; x c 5", [{"item_id": "a"}])
    assert histories(made(folder).dataset) == {"x": ["a", "b", "c", "a"]}
    prepared = made(folder, drop_repeats=True)
    assert histories(prepared.dataset) == {"x": ["a", "b", "c"]}  # the first, in time, stays
    assert prepared.counts.repeats_dropped == 1


def test_k_core_is_iterated_until_stable():
    # Item 2 has one event; without it user 2 has one, and without that item 1 has only one.
    users, items = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 3, 0, 3, 1, 2])
    assert k_core(users, items, 2).tolist() == [True, True, True, True, False, False]
    assert k_core(users, items, 1).all()
    assert not k_core(users, items, 3).any()


def test_k_core_has_the_definition_s_property_on_random_data():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 400), rng.integers(0, 50, 400)
    kept = k_core(users, items, 5)
    assert 0 < kept.sum() < 400
    for ids in (users[kept], items[kept]):
        assert np.unique(ids, return_counts=True)[1].min() >= 5
    # Largest such set: no removed user together with any removed events could stay; compare with
    # taking out one event at a time.
    left = set(range(400))
    while True:
        count_u = np.bincount(users[list(left)], minlength=60)
        count_i = np.bincount(items[list(left)], minlength=50)
        weak = next((e for e in left if count_u[users[e]] < 5 or count_i[items[e]] < 5), None)
        if weak is None:
            break
        left.remove(weak)
    assert set(np.flatnonzero(kept)) == left


def test_core_on_a_source(tmp_path):
    folder = source(
        tmp_path, "u a 1; v b 1; u b 2; w c 1; v a 2", [{"item_id": i} for i in ("c", "b", "a")]
    )
    prepared = made(folder, core=2)
    assert histories(prepared.dataset) == {"u": ["a", "b"], "v": ["b", "a"]}
    assert prepared.dataset.items["item_id"].tolist() == ["b", "a"]
    assert prepared.counts.events_outside_core == 1
    assert prepared.counts.item_records_unused == 1
    with pytest.raises(DigerError, match="nothing is left of 5 events; lower --k-core"):
        made(folder, core=3)


def test_temporal_split_by_hand():
    #        u0: all three parts | u1: none in validation | u2: starts in validation | u3: late
    times = np.array([1, 2, 10, 12, 20, 3, 21, 22, 11, 13, 25, 30, 31])
    offsets = np.array([0, 5, 8, 11, 13])
    split = temporal(offsets, times, 10, 20)
    assert split.train_end.tolist() == [2, 6, 8, 11]
    # u2's first validation event has no history, and only the first counts.
    assert split.validation_at.tolist() == [2, -1, -1, -1]
    # u0 is tested on 20 (at the cut), u2 on 25 with 11 and 13 as history, u3 has no history.
    assert split.test_at.tolist() == [4, 6, 10, -1]


def test_temporal_split_has_no_training_event_at_or_after_the_cut(tmp_path):
    rng = np.random.default_rng(1)
    times = rng.permutation(200)
    events = ";".join(f"u{rng.integers(9)} i{rng.integers(20)} {t}" for t in times)
    data = made(source(tmp_path, events, [{"item_id": "i0"}]), split="temporal").dataset
    assert data.info.preparation["validation_cut"] == 160.0
    assert data.info.preparation["test_cut"] == 180.0
    assert sorted(data.times[data.training_mask()]) == list(range(160))
    for at, low, high in ((data.validation_at, 160, 180), (data.test_at, 180, 200)):
        targets = data.times[at[at >= 0]]
        assert len(targets) and ((targets >= low) & (targets < high)).all()


def test_quantile_cuts():
    times = np.arange(10, 0, -1)  # 1..10
    assert resolve_cuts(times, (0.8, 0.9)) == (9, 10)
    assert resolve_cuts(times, (0.7, 0.9)) == (8, 10)
    assert resolve_cuts(np.array([1, 1, 1, 2, 2]), (0.2, 0.6)) == (1, 2)
    assert resolve_cuts(times, (4, 7.5)) == (4, 7.5)
    with pytest.raises(DigerError, match="two quantiles or two times"):
        resolve_cuts(times, (0.5, 7))


def test_temporal_split_errors(tmp_path):
    folder = source(tmp_path, "x a 1; x b 2; x c 3", [{"item_id": "a"}])
    with pytest.raises(DigerError, match="must come before the test cut"):
        made(folder, split="temporal", cuts=(3, 3))
    with pytest.raises(DigerError, match=r"leave no test targets \(times run from 1 to 3\)"):
        made(folder, split="temporal", cuts=(2, 9))
    with pytest.raises(DigerError, match="leave no training events"):
        made(folder, split="temporal", cuts=(1, 2))
    with pytest.raises(DigerError, match="did you mean temporal"):
        made(folder, split="temporl")
    positions = source(tmp_path / "positions", "x a 0; x b 1", [{"item_id": "a"}], "position")
    with pytest.raises(DigerError, match="needs a timestamp column"):
        made(positions, split="temporal")


def test_times_are_seconds_whatever_the_unit():
    seconds = np.array([1_300_000_000.25, 1_400_000_000.5])
    for unit in (1, 1e3, 1e6, 1e9):
        np.testing.assert_allclose(to_seconds(seconds * unit), seconds, rtol=1e-12)
    mixed = np.array([1.4e9, 1.4e12, 1.4e15, 1.4e18])
    assert to_seconds(mixed).tolist() == [1.4e9, 1.4e9, 1.4e9, 1.4e9]
    assert to_seconds(np.array([-1.0, 0.0, 7.0])).tolist() == [-1.0, 0.0, 7.0]  # a clock of its own
    for mark in (1e30, 9_999_999_999_999, 99_999_999_999, 0, -1):
        with pytest.raises(DigerError, match=r"1 timestamps are no Unix time between .* \("):
            to_seconds(np.array([1.4e9, 1.4e9, mark]))


def test_a_stray_line_in_milliseconds_moves_no_other(tmp_path):
    events = "x a 1400000000; x b 1400000200000; x c 1400000300"
    data = made(source(tmp_path, events, [{"item_id": "a"}])).dataset
    assert histories(data) == {"x": ["a", "b", "c"]}
    assert data.times.tolist() == [1400000000, 1400000200, 1400000300]


def test_fractions_of_a_second_order_events_and_are_then_dropped(tmp_path):
    data = made(source(tmp_path, "x b 7.5; x a 7.25; x c 8", [{"item_id": "a"}])).dataset
    assert histories(data) == {"x": ["a", "b", "c"]}
    assert data.times.tolist() == [7, 7, 8]


# name: users, items, events, training examples, cold test targets, seen test targets
REAL = {
    "beauty": (22_363, 12_101, 198_502, 131_413, 138, 0),
    "yelp": (30_431, 20_033, 316_354, 225_061, 73, 2_027),
    "scientific": (8_317, 4_344, 58_492, 33_541, 73, 0),
}


@pytest.mark.skipif("DIGER_DATA" not in os.environ, reason="DIGER_DATA (real data) is not set")
@pytest.mark.parametrize("name", REAL)
def test_known_truths_of_real_data(tmp_path, name):
    reader = open_reader(Path(os.environ["DIGER_DATA"]) / name)
    data = Dataset.load(prepare(reader, name=name).dataset.save(tmp_path / name))
    report = data_report(data)
    sizes = (report.users, report.items, report.events, report.training_examples)
    assert REAL[name] == (*sizes, report.cold_test_targets, report.seen_test_targets)
