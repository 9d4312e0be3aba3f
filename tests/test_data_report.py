"""The data report, every number worked by hand on one small log."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from diger.data.dataset import Dataset
from diger.data.prepare import ReadingCounts
from diger.data.report import data_report, report_table


@pytest.fixture
def data() -> Dataset:
    # u0: 0 1 0 | 2 | 1   u1: 1 0 | 1 | 3   u2: 2 0 (training only); item 4 has no events
    return Dataset.create(
        name="toy",
        split="leave-one-out",
        items=pd.DataFrame(
            {
                "item_id": list("abcde"),
                "title": ["A", None, "C", None, ""],
                "description": [None] * 5,
                "brand": [None] * 5,
                "categories": [[], ["x"], [], [], []],
            }
        ),
        user_ids=["u0", "u1", "u2"],
        offsets=np.array([0, 5, 9, 11]),
        events=np.array([0, 1, 0, 2, 1, 1, 0, 1, 3, 2, 0]),
        times=None,
        train_end=np.array([3, 7, 11]),
        validation_at=np.array([3, 7, -1]),
        test_at=np.array([4, 8, -1]),
    )


def test_report(data):
    report = data_report(data)
    assert (report.users, report.items, report.events) == (3, 5, 11)
    # Pairs: u0 {0 1 2}, u1 {0 1 3}, u2 {0 2}: 8 of 15.
    assert report.density == pytest.approx(8 / 15)
    assert (report.repeated_events, report.users_with_repeats) == (3, 2)
    assert (report.training_events, report.training_examples) == (7, 4)
    assert report.length_mean == pytest.approx(11 / 3)
    assert report.length_quantiles == pytest.approx((2, 3, 4, 4.5, 4.9, 5))
    assert (report.items_without_text, report.items_without_title) == (2, 3)
    assert report.items_not_in_training == 2  # d is only a test target, e has no event
    assert report.validation_targets == 2
    assert (report.cold_validation_targets, report.seen_validation_targets) == (0, 1)
    assert report.test_targets == 2
    assert (report.cold_test_targets, report.seen_test_targets) == (1, 1)


def test_table_shows_the_shares_and_what_was_left_out(data):
    counts = ReadingCounts(1234, 5, 6, 0, 7, 0, 0, 0)
    console = Console(file=io.StringIO(), width=100)
    console.print(report_table(data_report(data), counts))
    text = console.file.getvalue()
    for part in ("toy (leave-one-out)", "50.0%", "1,234", "events outside the core"):
        assert part in text
    assert "repeats dropped" not in text
