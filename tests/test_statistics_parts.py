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


def paired(seeds=3):
    """The baseline finds nobody; the arm finds at rank 1 those with a short history."""
    user = np.arange(400)
    cold = user % 2 == 0
    users = pd.DataFrame({"user": user, "target": user % 4, "cold": cold})
    users["history_length"] = np.where(user < 300, 3, 12)
    users["target_popularity"] = np.where(cold, 0, 60)
    arm = np.tile(np.where(user < 300, 1.0, np.nan), (seeds, 1))
    return Paired(tuple(range(seeds)), users, np.full_like(arm, np.nan), arm, ())


def test_slices_by_hand():
    frame = slice_differences(paired(), "recall@10", first_codes=np.array([7, 7, 8, 9]))
    by = frame.set_index(["slice", "label"])
    found = by[["users", "difference", "verdict"]]
    assert found.loc[("history length", "up to 4")].tolist() == [300, 1.0, "better"]
    assert found.loc[("history length", "10-19")].tolist() == [100, 0.0, "under 200 users"]
    assert found.loc[("cold target", "cold")].tolist()[:2] == [200, 0.75]
    assert by.loc[("first code", "7-…"), "users"] == 200
    assert ("target popularity", "5-9") not in by.index  # nobody there: left out, not zero
    for kind, part in frame.groupby("slice"):
        assert part["users"].sum() == 400, kind


def test_slices_of_too_few_seeds_get_no_verdict_and_no_interval():
    frame = slice_differences(paired(seeds=2), "ndcg@10")
    big = frame[frame["users"] >= 200]
    assert set(big["verdict"]) == {"too few seeds"} and big["low"].isna().all()


def test_won_and_lost_by_hand():
    baseline = np.array([[1.0, 1.0, np.nan, 11.0]])
    arm = np.array([[2.0, 11.0, 10.0, np.nan]])
    one = Paired((0,), paired().users[:4], baseline, arm, ())
    frame = won_and_lost(one, 10).set_index("outcome")
    assert dict(frame["users"]) == {"both": 1, "won": 1, "lost": 1, "neither": 1}
    assert frame.loc["won", "share"] == 0.25


def test_overlap_by_hand():
    a = np.array([[1, 2, 3], [4, 5, -1], [7, -1, -1]])
    b = np.array([[3, 9, 1], [4, -1, -1], [8, 7, 6]])
    assert overlap_at_k(a, b, 3) == pytest.approx([2 / 3, 1 / 3, 1 / 3])
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
    assert frame["share"].loc["all", 1] == frame["share"].loc["all", 2] == 0.25
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
    rows = frame[["item_id", "level", "sid_a"]].to_numpy().tolist()
    assert rows == [["i1", 1, "0-2-0"], ["i2", 2, "1-1-0"]]
    with pytest.raises(DigerError, match="levels"):
        changed_items(items(start=None), items(sids=SIDS[:, 1:], start=None))


def test_tpme_by_hand():
    columns = ["seconds", "parameters", "memory_bytes"]
    rows = [[10, 5, 4], [20, 5, 2], [30, 5, 4], [np.nan, 900, 1]]
    costs = pd.DataFrame(rows, columns=columns, dtype=float)
    # 0.45 f(time) + 0.45 f(memory); the parameters are all the same and the last row is not known.
    assert tpme(costs).tolist()[:3] == pytest.approx([0.45, 0.225, 0.9])
    assert np.isnan(tpme(costs).iloc[3])
    with pytest.raises(DigerError, match="memory_bytes"):
        tpme(costs[columns[:2]])


def test_the_pareto_front_by_hand():
    quality = np.array([1.0, 2.0, 3.0, 3.0, np.nan])
    cost = np.array([1.0, 3.0, 2.0, 2.0, 0.0])
    # Two equal rows do not beat each other; a NaN is on no front.
    assert pareto(quality, cost).tolist() == [True, False, True, True, False]


def test_bands_only_where_every_seed_has_a_value():
    rows = [(0, 1, 1.0), (0, 2, 2.0), (0, 3, 9.0), (1, 1, 3.0), (1, 2, np.nan)]
    frame = pd.DataFrame(rows, columns=["seed", "epoch", "x"]).assign(arm="a", method="static")
    found = bands(frame, "x")
    assert found["epoch"].tolist() == [1]
    assert found[["mean", "low", "high", "seeds"]].iloc[0].tolist() == [2.0, 1.0, 3.0, 2]
