"""Metrics by kind of user and target."""

import numpy as np
import pandas as pd
import pytest

from diger.errors import DigerError
from diger.evaluation.slices import slice_metrics


def frame(**columns):
    n = len(next(iter(columns.values())))
    base = {
        "split": ["test"] * n,
        "user": np.arange(n),
        "target": [0] * n,
        "rank": pd.array([1] * n, dtype="Int32"),
        "history_length": [3] * n,
        "target_popularity": [1] * n,
        "cold": [False] * n,
    }
    return pd.DataFrame(base | columns)


def test_bin_edges():
    popularity = [0, 1, 4, 5, 9, 10, 19, 20, 49, 50, 999]
    found = slice_metrics(frame(target_popularity=popularity, cold=[p == 0 for p in popularity]))
    by_popularity = found[found["slice"] == "target popularity"]
    assert dict(zip(by_popularity["label"], by_popularity["users"], strict=True)) == {
        "0 (cold)": 1,
        "1-4": 2,
        "5-9": 2,
        "10-19": 2,
        "20-49": 2,
        "50-199": 1,
        "200-999": 1,
    }
    lengths = slice_metrics(frame(history_length=[1, 2, 4, 5, 9, 10, 19, 20, 99, 100]))
    by_length = lengths[lengths["slice"] == "history length"]
    assert by_length["label"].tolist() == ["up to 4", "5-9", "10-19", "20-99", "100+"]
    assert by_length["users"].tolist() == [3, 2, 2, 2, 1]


def test_metrics_by_hand():
    ranks = frame(
        rank=pd.array([1, 7, None, 3], dtype="Int32"),
        target_popularity=[60, 60, 0, 2],
        cold=[False, False, True, False],
    )
    found = slice_metrics(ranks, ks=(5,)).set_index(["slice", "label"])
    assert found.loc[("target popularity", "50-199"), "recall@5"] == 0.5
    assert found.loc[("target popularity", "1-4"), "ndcg@5"] == 0.5
    assert found.loc[("cold target", "yes"), "recall@5"] == 0
    assert found.loc[("cold target", "no"), "mrr@5"] == pytest.approx((1 + 1 / 3) / 3)


def test_counts_sum_to_the_users_and_empty_slices_are_left_out():
    generator = np.random.default_rng(0)
    popularity = generator.integers(0, 30, 200)
    ranks = frame(
        split=["validation"] * 80 + ["test"] * 120,
        rank=pd.array(generator.integers(1, 40, 200), dtype="Int32"),
        history_length=generator.integers(2, 40, 200),
        target_popularity=popularity,
        cold=popularity == 0,
    )
    found = slice_metrics(ranks)
    sums = found.groupby(["split", "slice"])["users"].sum()
    assert set(sums["validation"]) == {80} and set(sums["test"]) == {120}
    assert (found["users"] > 0).all() and "50-199" not in set(found["label"])
    assert found["split"].drop_duplicates().tolist() == ["validation", "test"]


def test_no_users_gives_an_empty_table_with_its_columns():
    found = slice_metrics(frame(history_length=[1]).iloc[:0], ks=[10])
    columns = ["split", "slice", "label", "users", "recall@10", "ndcg@10", "mrr@10"]
    assert found.columns.tolist() == columns and not len(found)


def test_bad_tables():
    with pytest.raises(DigerError, match="no column cold"):
        slice_metrics(frame(history_length=[1]).drop(columns="cold"))
    with pytest.raises(DigerError, match="history_length must be >= 0, got -1"):
        slice_metrics(frame(history_length=[-1]))
