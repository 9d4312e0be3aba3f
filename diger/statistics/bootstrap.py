"""The interval of a difference between two arms: bootstrap over seeds, then users.

Every user was ranked by every run, so seeds and users are crossed, and a replicate draws seeds with
replacement and, independently, users with replacement, the same for all seeds drawn (Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 2007). Both arms keep the same seeds and users
in every replicate: the comparison is paired.

That alone is too narrow where whole seeds differ and there are few of them, because a handful of
seeds cannot show how far apart others might lie. So p is the larger one of the bootstrap's and of a
t-test over the seeds' differences, which knows how few they are, and the interval is the one that
goes with this p: from the lower of the two lower ends to the higher of the two upper ones, the
values that one of the two tests does not reject. 0 is outside exactly where p is below 0.05 (up to
the one replicate added to the count).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from diger.errors import DigerError

SAMPLES = 4000
LEVEL = 0.95
_CHUNK = 250  # replicates drawn at once, to bound memory


@dataclass(frozen=True)
class Interval:
    """What a test at 1 - `level` does not reject."""

    low: float
    high: float
    level: float

    def holds(self, value: float) -> bool:
        """Whether `value` lies within, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Difference:
    """How an arm differs from its baseline.

    Attributes:
        baseline, arm: means over seeds and users.
        difference: `arm - baseline`.
        lift: `arm / baseline - 1`; None where the baseline is 0.
        interval: of the difference; None with one seed.
        lift_interval: of the lift; None with one seed, or where a replicate's baseline was 0.
        p_value: two-sided, the larger of two: by turning the interval around, twice the share of
            replicates on the far side of 0 (one added to both counts); and of a one-sample t-test
            over the seeds' differences. None with one seed.
        per_seed: (seed, difference) of every seed.
        users: how many.
    """

    baseline: float
    arm: float
    difference: float
    lift: float | None
    interval: Interval | None
    lift_interval: Interval | None
    p_value: float | None
    per_seed: tuple[tuple[int, float], ...]
    users: int

    @property
    def seeds(self) -> int:
        """How many seeds both arms have."""
        return len(self.per_seed)

    @property
    def same_sign(self) -> bool:
        """Whether every seed's difference points the same way, none being 0."""
        signs = {np.sign(value) for _, value in self.per_seed}
        return len(signs) == 1 and 0.0 not in signs


def compare(
    baseline: np.ndarray,
    arm: np.ndarray,
    seeds: tuple[int, ...],
    *,
    samples: int = SAMPLES,
    level: float = LEVEL,
    random_seed: int = 0,
) -> Difference:
    """Compare two arms, paired by seed and user.

    Args:
        baseline: (seeds, users) values of a metric.
        arm: (seeds, users) of the same seeds and users in the same order.
        seeds: the seeds' numbers.
        samples: bootstrap replicates.
        level: of the intervals.
        random_seed: of the replicates, so that the same runs always give the same interval.
    """
    a, b = np.asarray(baseline, np.float64), np.asarray(arm, np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != len(seeds) or 0 in a.shape:
        raise DigerError(
            f"two arms are compared over the same seeds and users: got {a.shape} and {b.shape} "
            f"values for {len(seeds)} seeds"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DigerError("a user's metric is not a finite number")
    means_a, means_b = a.mean(axis=1), b.mean(axis=1)
    mean_a, mean_b = float(means_a.mean()), float(means_b.mean())
    interval = lift_interval = p_value = None
    if len(seeds) > 1:
        resampled_a, resampled_b = replicates(a, b, samples, random_seed)
        differences = resampled_b - resampled_a
        over_seeds = t_interval(means_b - means_a, level)
        interval = _hull(percentile_interval(differences, level), over_seeds)
        p_value = max(two_sided_p(differences), t_test_p(means_b - means_a))
        if (resampled_a > 0).all():
            relative = Interval(over_seeds.low / mean_a, over_seeds.high / mean_a, level)
            ratios = percentile_interval(resampled_b / resampled_a - 1, level)
            lift_interval = _hull(ratios, relative)
    return Difference(
        baseline=mean_a,
        arm=mean_b,
        difference=mean_b - mean_a,
        lift=mean_b / mean_a - 1 if mean_a > 0 else None,
        interval=interval,
        lift_interval=lift_interval,
        p_value=p_value,
        per_seed=tuple(zip(seeds, (means_b - means_a).tolist(), strict=True)),
        users=a.shape[1],
    )


def replicates(
    baseline: np.ndarray, arm: np.ndarray, samples: int, random_seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap means of both arms, (samples,) each, from (seeds, users) values of both.

    Users with the same values in every run are drawn as one category of a multinomial: exactly the
    same distribution, for a fraction of the draws, because most users are missed by every run.
    """
    rng = np.random.default_rng(random_seed)
    n_seeds, n_users = baseline.shape
    kinds, counts = _unique_columns(np.concatenate([baseline, arm]))
    share = counts / n_users
    of_seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=samples) / n_seeds
    means = np.empty((2, samples))
    for first in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - first)
        # Means of every run over the users of each replicate: (size, 2 * seeds).
        of_users = rng.multinomial(n_users, share, size=size) @ kinds.T / n_users
        weights = of_seeds[first : first + size]
        means[0, first : first + size] = (of_users[:, :n_seeds] * weights).sum(axis=1)
        means[1, first : first + size] = (of_users[:, n_seeds:] * weights).sum(axis=1)
    return means[0], means[1]


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> Interval:
    """The middle `level` of the values."""
    if not 0 < level < 1:
        raise DigerError(f"an interval's level must be between 0 and 1, got {level}")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), level)


def two_sided_p(differences: np.ndarray) -> float:
    """Twice the smaller share of replicates at or beyond 0, never 0 itself.

    >>> two_sided_p(np.array([1.0, 2.0, 3.0, -1.0]))
    0.8
    """
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(differences)))


def t_test_p(differences: np.ndarray) -> float:
    """Two-sided p of a mean of 0, by Student's t with one degree of freedom a value, less one.

    >>> round(t_test_p(np.array([1.0, 2.0, 3.0])), 3)
    0.074
    """
    count = len(differences)
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(count - 1, -abs(mean) / (spread / math.sqrt(count))))


def t_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    """Student's interval of a mean, for two values or more.

    >>> found = t_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(found.low, 2), round(found.high, 2)
    (-0.48, 4.48)
    """
    count, mean = len(differences), float(differences.mean())
    spread = float(differences.std(ddof=1)) / math.sqrt(count)
    half = float(stdtrit(count - 1, (1 + level) / 2)) * spread
    return Interval(mean - half, mean + half, level)


def _hull(a: Interval, b: Interval) -> Interval:
    return Interval(min(a.low, b.low), max(a.high, b.high), a.level)


def _unique_columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct columns (rows, kinds) of (rows, users) values, and how often each occurs."""
    # Columns as opaque bytes: one sort, whatever the number of rows. -0.0 and 0.0 are one value.
    columns = np.ascontiguousarray(values.T + 0.0)
    opaque = columns.view(np.dtype((np.void, columns.dtype.itemsize * columns.shape[1]))).ravel()
    _, first, counts = np.unique(opaque, return_index=True, return_counts=True)
    return columns[first].T, counts
