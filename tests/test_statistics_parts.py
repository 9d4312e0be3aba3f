"""Slices, lists, SID changes, costs and curves, on numbers worked by hand."""

import numpy as np
import pandas as pd
import pytest

from diger.bundle.tables import items_frame
from diger.errors import DigerError
from diger.statistics.curves import bands, pareto, tpme
from diger.statistics.paired import Paired
from diger.statistics.sids import changed_items, changes, flows
from diger.statistics.slices import overlap_at_k, slice_differences, won_and_lost


def paired(n=400, seeds=2):
    users = pd.DataFrame(
        {
            "user": np.arange(n),
            "target": np.arange(n) % 4,
            "history_length": np.where(np.arange(n) < 300, 3, 12),
            "target_popularity": np.where(np.arange(n) % 2 == 0, 0, 60),
            "cold": np.arange(n) % 2 == 0,
        }
    )
    # The baseline finds nobody; the arm finds at rank 1 those with a short history.
    arm = np.where(np.arange(n) < 300, 1.0, np.nan)
    return Paired(
        seeds=tuple(range(seeds)),
        users=users,
        baseline=np.full((seeds, n), np.nan),
        arm=np.tile(arm, (seeds, 1)),
        alone=(),
    )


def test_slices_by_hand():
    frame = slice_differences(paired(), "recall@10", first_codes=np.array([7, 7, 8, 9]))
    by = frame.set_index(["slice", "label"])
    short = by.loc[("history length", "up to 4")]
    assert (short["users"], short["difference"], short["verdict"]) == (300, 1.0, "better")
    long = by.loc[("history length", "10-19")]
    assert (long["users"], long["difference"], long["verdict"]) == (100, 0.0, "under 200 users")
    cold = by.loc[("cold target", "cold")]
    assert (cold["users"], cold["difference"]) == (200, 0.75)
    assert by.loc[("first code", "7-…"), "users"] == 200
    assert ("target popularity", "5-9") not in by.index  # nobody there: left out, not zero
    for kind, part in frame.groupby("slice"):
        assert part["users"].sum() == 400, kind


def test_slices_of_one_seed_get_no_verdict_and_no_interval():
    frame = slice_differences(paired(seeds=1), "ndcg@10")
    big = frame[frame["users"] >= 200]
    assert set(big["verdict"]) == {"one seed"} and big["low"].isna().all()


def test_won_and_lost_by_hand():
    one = Paired(
        seeds=(0,),
        users=paired(4).users,
        baseline=np.array([[1.0, 1.0, np.nan, 11.0]]),
        arm=np.array([[2.0, 11.0, 10.0, np.nan]]),
        alone=(),
    )
    frame = won_and_lost(one, 10).set_index("outcome")
    assert dict(frame["users"]) == {"both": 1, "won": 1, "lost": 1, "neither": 1}
    assert frame.loc["won", "share"] == 0.25


def test_overlap_by_hand():
    a = np.array([[1, 2, 3], [4, 5, -1], [7, -1, -1]])
    b = np.array([[3, 9, 1], [4, -1, -1], [8, 7, 6]])
    assert overlap_at_k(a, b, 3) == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    assert overlap_at_k(a, b, 1) == pytest.approx([0, 1, 0])
    with pytest.raises(DigerError):
        overlap_at_k(a, b, 4)


SIDS = np.array([[0, 1, 0], [0, 2, 0], [1, 1, 0], [2, 2, 0]])
START = np.array([[0, 1, 0], [1, 2, 0], [1, 2, 0], [2, 2, 1]])


def items(sids=SIDS, start=START):
    names = [f"i{i}" for i in range(4)]
    return items_frame(names, np.array([6, 2, 1, 1]), sids=sids, start_sids=start)


def test_changes_by_hand():
    frame = changes(items()).set_index(["part", "level"])
    assert frame.loc[("all", 0), "changed"] == 2  # the suffix of the last item does not count
    assert frame.loc[("all", 1), "share"] == 0.25
    assert frame.loc[("all", 2), "share"] == 0.25
    assert frame.loc[("head", 0), "items"] == 1 and frame.loc[("head", 0), "share"] == 0
    assert frame.loc[("tail", 0), "share"] == pytest.approx(2 / 3)
    with pytest.raises(DigerError, match="were fixed"):
        changes(items(start=None))


def test_flows_by_hand():
    frame = flows(items()).set_index(["start", "now"])["items"]
    assert dict(frame) == {("0", "0"): 1, ("1", "0"): 1, ("1", "1"): 1, ("other", "other"): 1}
    assert flows(items(), most=1)["items"].sum() == 4


def test_changed_items_are_those_with_other_codes():
    frame = changed_items(items(start=None), items(sids=START, start=None))
    assert list(frame["item_id"]) == ["i1", "i2"]
    assert list(frame["level"]) == [1, 2]
    assert list(frame["sid_a"]) == ["0-2-0", "1-1-0"]
    with pytest.raises(DigerError, match="levels"):
        changed_items(items(start=None), items(sids=SIDS[:, 1:], start=None))


def test_tpme_by_hand():
    costs = pd.DataFrame(
        {
            "seconds": [10.0, 20.0, 30.0, np.nan],
            "parameters": [5.0, 5.0, 5.0, 900.0],
            "memory_bytes": [4.0, 2.0, 4.0, 1.0],
        }
    )
    # 0.45 f(time) + 0.45 f(memory); the parameters are all the same and the last row is not known.
    assert tpme(costs).tolist()[:3] == pytest.approx([0.45, 0.225, 0.9])
    assert np.isnan(tpme(costs).iloc[3])
    with pytest.raises(DigerError, match="memory_bytes"):
        tpme(costs[["seconds", "parameters"]])


def test_the_pareto_front_by_hand():
    quality = np.array([1.0, 2.0, 3.0, 3.0, np.nan])
    cost = np.array([1.0, 3.0, 2.0, 2.0, 0.0])
    # Two equal rows do not beat each other; a NaN is on no front.
    assert pareto(quality, cost).tolist() == [True, False, True, True, False]


def test_bands_only_where_every_seed_has_a_value():
    frame = pd.DataFrame(
        {
            "arm": "a",
            "method": "static",
            "seed": [0, 0, 0, 1, 1],
            "epoch": [1, 2, 3, 1, 2],
            "x": [1.0, 2.0, 9.0, 3.0, np.nan],
        }
    )
    found = bands(frame, "x")
    assert found["epoch"].tolist() == [1]
    assert found[["mean", "low", "high", "seeds"]].iloc[0].tolist() == [2.0, 1.0, 3.0, 2]
