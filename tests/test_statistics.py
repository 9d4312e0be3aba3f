"""Intervals, tests and corrections on numbers worked by hand, and against scipy."""

import itertools

import numpy as np
import pytest

from diger.errors import DigerError
from diger.statistics.bootstrap import (
    _unique_columns,
    compare,
    percentile_interval,
    replicates,
    t_test_p,
    two_sided_p,
)
from diger.statistics.randomisation import randomisation_p
from diger.statistics.verdict import holm

A = np.array([[0.0, 1.0], [1.0, 0.0]])  # two seeds, two users
B = np.array([[1.0, 1.0], [1.0, 0.5]])


def test_the_difference_and_the_lift_are_of_the_means():
    found = compare(A, B, (3, 5))
    assert found.baseline == 0.5
    assert found.arm == 0.875
    assert found.difference == 0.375
    assert found.lift == pytest.approx(0.75)
    assert found.per_seed == ((3, 0.5), (5, 0.25))
    assert found.same_sign and found.seeds == 2 and found.users == 2


def test_replicates_have_the_distribution_of_all_draws_of_seeds_and_users():
    # Every pair of seeds with every pair of users, all 16 equally likely.
    exact = np.array(
        [
            (B - A)[np.ix_(seeds, users)].mean()
            for seeds in itertools.product(range(2), repeat=2)
            for users in itertools.product(range(2), repeat=2)
        ]
    )
    a, b = replicates(A, B, 40_000, random_seed=1)
    drawn = b - a
    values = np.unique(np.round(exact, 9))
    assert set(np.round(drawn, 9)) <= set(values)
    for value in values:
        share = np.isclose(exact, value).mean()
        assert np.isclose(drawn, value).mean() == pytest.approx(share, abs=0.01)


def test_pooling_equal_users_changes_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 3, 40)).astype(float)
    kinds, counts = _unique_columns(np.concatenate([a, b]))
    assert counts.sum() == 40 and kinds.shape[1] < 40
    rebuilt = np.repeat(kinds, counts, axis=1)
    assert np.array_equal(
        np.sort(rebuilt.T.tolist(), axis=0), np.sort(np.concatenate([a, b]).T.tolist(), axis=0)
    )
    # Brute force: user by user, seed by seed.
    slow = []
    for _ in range(4000):
        seeds, users = rng.integers(0, 3, 3), rng.integers(0, 40, 40)
        slow.append((b - a)[np.ix_(seeds, users)].mean())
    fast = np.subtract(*replicates(a, b, 4000)[::-1])
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.01)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.07)


def test_the_interval_over_users_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    a = rng.random((1, 500)).repeat(2, axis=0)  # two equal seeds: only users vary
    b = a + rng.normal(0.1, 0.4, (1, 500)).repeat(2, axis=0)
    ours = compare(a, b, (0, 1), samples=20_000).interval
    theirs = stats.bootstrap(
        ((b - a)[0],), np.mean, n_resamples=20_000, method="percentile", rng=rng
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.002)
    assert ours.high == pytest.approx(theirs.high, abs=0.002)


def test_one_seed_has_no_interval_and_no_p():
    found = compare(A[:1], B[:1], (0,))
    assert found.interval is None and found.lift_interval is None and found.p_value is None
    assert found.difference == 0.5


def test_a_baseline_of_zero_has_no_lift():
    found = compare(np.zeros((2, 4)), np.ones((2, 4)), (0, 1))
    assert found.lift is None and found.lift_interval is None
    assert found.interval.low == found.interval.high == 1.0


def test_the_same_runs_always_give_the_same_interval():
    assert compare(A, B, (0, 1)) == compare(A, B, (0, 1))


@pytest.mark.parametrize(
    ("a", "b", "seeds"),
    [(A, B[:1], (0, 1)), (A, B, (0,)), (A[:, :0], B[:, :0], (0, 1)), (A * np.nan, B, (0, 1))],
)
def test_arms_that_do_not_line_up_are_refused(a, b, seeds):
    with pytest.raises(DigerError):
        compare(a, b, seeds)


def test_percentiles_and_p_by_hand():
    found = percentile_interval(np.arange(101.0), 0.9)
    assert (found.low, found.high) == pytest.approx((5.0, 95.0))
    assert found.holds(5.1) and not found.holds(4.9)
    assert two_sided_p(np.ones(99)) == pytest.approx(2 / 100)
    assert two_sided_p(np.array([-1.0, 1.0])) == 1.0
    with pytest.raises(DigerError, match="between 0 and 1"):
        percentile_interval(np.arange(3.0), 1.0)


def test_the_t_test_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for values in ([0.1, 0.3, -0.05], [0.2, 0.21, 0.19, 0.3, 0.1], [1.0, 1.5]):
        ours = t_test_p(np.array(values))
        assert ours == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)
    assert t_test_p(np.zeros(3)) == 1.0 and t_test_p(np.ones(3)) == 0.0


def test_few_seeds_that_differ_as_a_whole_are_no_finding_by_luck():
    """Under no difference, where all spread is between seeds, a true 5 % test rejects 5 %."""
    rng = np.random.default_rng(0)
    users = np.zeros((3, 200))
    found = [
        compare(users, users + rng.normal(0, 1, (3, 1)), (0, 1, 2), samples=200).p_value
        for _ in range(400)
    ]
    assert np.mean([p <= 0.05 for p in found]) < 0.09  # the bootstrap alone: a quarter


def test_random_signs_give_the_p_of_all_sign_patterns():
    # Four users with +1: of 16 sign patterns only ++++ and ---- reach a mean of 1.
    assert randomisation_p(np.ones(4), samples=20_000) == pytest.approx(2 / 16, abs=0.01)
    # +2, +1, -1: |sum| >= 2 for 6 of the 8 patterns.
    p = randomisation_p(np.array([2.0, 1.0, -1.0]), samples=20_000)
    assert p == pytest.approx(6 / 8, abs=0.01)


def test_no_difference_at_all_has_p_one_and_a_clear_one_the_smallest():
    assert randomisation_p(np.zeros(10)) == 1.0
    assert randomisation_p(np.ones(100), samples=999) == 1 / 1000
    with pytest.raises(DigerError):
        randomisation_p(np.array([]))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    with pytest.raises(DigerError, match=r"1\.5"):
        holm([1.5])
