"""Ranking metrics and beyond-accuracy figures, worked by hand."""

import doctest
import math

import numpy as np
import pandas as pd
import pytest

from diger.errors import DigerError
from diger.evaluation import beyond_accuracy as beyond
from diger.evaluation import metrics
from diger.evaluation.metrics import (
    corrected_per_user,
    corrected_summary,
    per_user,
    summary,
)

NONE = float("nan")


@pytest.mark.parametrize("module", [metrics, beyond])
def test_examples_in_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_five_users_by_hand():
    ranks = np.array([1, 2, 5, 11, NONE])
    found = summary(ranks)
    assert [found[f"recall@{k}"] for k in (1, 5, 10, 20)] == [1 / 5, 3 / 5, 3 / 5, 4 / 5]
    ndcg = (1 + 1 / math.log2(3) + 1 / math.log2(6)) / 5  # a rank of exactly k is a hit
    assert found["ndcg@5"] == pytest.approx(ndcg)
    assert found["mrr@20"] == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 11) / 5)


def test_summary_names_and_generators():
    found = summary([2], ks=(k for k in (1, 5)))
    assert list(found) == ["recall@1", "recall@5", "ndcg@1", "ndcg@5", "mrr@1", "mrr@5"]
    assert found["recall@1"] == 0 and found["recall@5"] == 1 and found["mrr@5"] == 0.5
    assert len(summary([1])) == 12
    assert all(math.isnan(v) for v in summary([]).values())


@pytest.mark.parametrize(
    "ranks",
    [
        pd.Series(pd.array([1, None, 3], dtype="Int32")),
        pd.array([1, None, 3], dtype="Int64"),
        pd.Series([1, NONE, 3]),
        np.array([1, NONE, 3], dtype=np.float32),
    ],
)
def test_nullable_columns(ranks):
    assert per_user(ranks, "ndcg@3").tolist() == [1, 0, 0.5]


def test_whole_number_columns():
    assert per_user(pd.Series([1, 3]), "mrr@3").tolist() == [1, 1 / 3]


@pytest.mark.parametrize(
    ("ranks", "metric", "message"),
    [
        ([0, 1], "recall@1", "must be >= 1, got 0"),
        ([1], "recall@0", "k >= 1"),
        ([1], "precision@5", "must be recall@k"),
        ([[1]], "recall@1", "one number a user"),
    ],
)
def test_bad_input(ranks, metric, message):
    with pytest.raises(DigerError, match=message):
        per_user(ranks, metric)


def test_correction_by_hand():
    # A group of three on positions 4, 5, 6 with k = 5: two of three places hit.
    assert corrected_per_user([4], [3], "recall@5").tolist() == pytest.approx([2 / 3])
    expected = (1 / math.log2(5) + 1 / math.log2(6)) / 3
    assert corrected_per_user([4], [3], "ndcg@5").tolist() == pytest.approx([expected])
    assert corrected_per_user([4], [3], "mrr@5").tolist() == pytest.approx([(1 / 4 + 1 / 5) / 3])
    # A collapsed codebook: 1000 items on one SID that is always decoded first.
    assert corrected_per_user([1], [1000], "recall@10").tolist() == [0.01]
    # Out of reach, exactly at the edge, and not decoded.
    edge = corrected_per_user([6, 5, NONE], [2, 2, 4], "recall@5")
    assert edge.tolist() == [0, 0.5, 0]


@pytest.mark.parametrize("metric", ["recall@10", "ndcg@10", "mrr@10"])
def test_correction_is_the_mean_over_all_orders(metric):
    generator = np.random.default_rng(0)
    first = generator.integers(1, 15, 50).astype(float)
    size = generator.integers(1, 9, 50)
    brute = [
        np.mean(per_user(np.arange(f, f + s), metric)) for f, s in zip(first, size, strict=True)
    ]
    np.testing.assert_allclose(corrected_per_user(first, size, metric), brute)


def test_without_collisions_nothing_changes():
    ranks = pd.array([1, 4, None, 12, 30], dtype="Int32")
    plain, corrected = summary(ranks), corrected_summary(ranks, np.ones(5, int))
    assert corrected == pytest.approx(plain)
    with pytest.raises(DigerError, match="needs a group size"):
        corrected_per_user([1, 2], [1], "recall@5")


TOPK = np.array([[0, 1, 2], [0, 3, -1], [0, 1, -1]])
POPULARITY = np.array([50, 7, 7, 1, 0, 50])


def test_head_is_a_fifth_rounded_up_with_ties_by_row():
    assert beyond.head_items(POPULARITY).tolist() == [True, False, False, False, False, True]
    assert beyond.head_items(np.zeros(5)).tolist() == [True, False, False, False, False]
    assert beyond.head_items(np.zeros(10)).sum() == 2 and beyond.head_items(np.zeros(11)).sum() == 3


def test_beyond_accuracy_by_hand():
    assert beyond.coverage_at_k(TOPK, 6, 1) == 1 / 6
    assert beyond.coverage_at_k(TOPK, 6, 3) == 4 / 6
    assert beyond.head_share_at_k(TOPK, POPULARITY, 2) == 3 / 6
    assert beyond.head_share_at_k(TOPK, POPULARITY, 3) == 3 / 7  # empty slots do not count
    assert beyond.mean_popularity_at_k(TOPK, POPULARITY, 2) == (3 * 50 + 7 + 7 + 1) / 6
    assert beyond.summary(TOPK, POPULARITY, ks=(1,)) == {
        "coverage@1": 1 / 6,
        "head_share@1": 1.0,
        "mean_popularity@1": 50.0,
    }


def test_beyond_accuracy_edges():
    empty = np.full((2, 3), -1)
    assert beyond.coverage_at_k(empty, 6, 3) == 0
    assert math.isnan(beyond.head_share_at_k(empty, POPULARITY, 3))
    with pytest.raises(DigerError, match="at least 4"):
        beyond.coverage_at_k(TOPK, 6, 4)
    with pytest.raises(DigerError, match="item row 3 of a catalogue of 3"):
        beyond.coverage_at_k(TOPK, 3, 2)
