"""Intervals, tests and corrections on numbers worked by hand, and against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from diger.errors import DigerError
from diger.statistics.bootstrap import (
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
    assert (found.baseline, found.arm, found.difference) == (0.5, 0.875, 0.375)
    assert found.lift == pytest.approx(0.75)
    assert found.per_seed == ((3, 0.5), (5, 0.25))
    assert found.same_sign and found.seeds == 2 and found.users == 2
    assert found == compare(A, B, (3, 5)), "the same runs always give the same interval"


def test_replicates_have_the_distribution_of_all_draws_of_seeds_and_users():
    """Every draw of seeds and users is equally likely, and equal users, pooled, are still two."""
    a, b = A[:, [0, 1, 1]], B[:, [0, 1, 1]]
    drawn_seeds, drawn_users = (itertools.product(range(n), repeat=n) for n in b.shape)
    draws = itertools.product(drawn_seeds, drawn_users)
    exact = np.array([(b - a)[np.ix_(seeds, users)].mean() for seeds, users in draws])
    before, after = replicates(a, b, 40_000, random_seed=1)
    values = np.unique(np.round(exact, 9))
    assert set(np.round(after - before, 9)) <= set(values)
    for value in values:
        share = np.isclose(exact, value).mean()
        assert np.isclose(after - before, value).mean() == pytest.approx(share, abs=0.01)


def test_the_interval_over_users_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    a = rng.random((1, 500)).repeat(2, axis=0)  # two equal seeds: only users vary
    b = a + rng.normal(0.1, 0.4, (1, 500)).repeat(2, axis=0)
    ours = compare(a, b, (0, 1), samples=20_000).interval
    theirs = stats.bootstrap(
        ((b - a)[0],), np.mean, n_resamples=20_000, method="percentile", rng=rng
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_what_cannot_be_said_is_none():
    one_seed = compare(A[:1], B[:1], (0,))
    assert one_seed.difference == 0.5
    assert (one_seed.interval, one_seed.lift_interval, one_seed.p_value) == (None, None, None)
    of_zero = compare(np.zeros((2, 4)), np.ones((2, 4)), (0, 1))
    assert of_zero.lift is None and of_zero.lift_interval is None
    assert of_zero.interval.low == of_zero.interval.high == 1.0


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
    for values in ([0.1, 0.3, -0.05], [1.0, 1.5]):
        theirs = stats.ttest_1samp(values, 0.0).pvalue
        assert t_test_p(np.array(values)) == pytest.approx(theirs)
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
    # +2, +1, -1: |sum| >= 2 for 6 of the 8 patterns.
    p = randomisation_p(np.array([2.0, 1.0, -1.0]), samples=20_000)
    assert p == pytest.approx(6 / 8, abs=0.01)
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


def test_the_interval_is_the_one_that_p_goes_with():
    rng = np.random.default_rng(0)
    users = rng.random((3, 500))
    for shifts in ((0.02, 0.02, 0.021), (0.0, 0.03, 0.01), (-0.03, 0.02, 0.04)):
        found = compare(users, users + np.array(shifts)[:, None], (0, 1, 2))
        assert found.interval.holds(0) == (found.p_value > 0.05)
        student = stats.ttest_1samp(shifts, 0).confidence_interval()
        assert found.interval.low <= student.low + 1e-9
