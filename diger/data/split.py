"""Training, validation and test: leave-one-out per user, or two cuts in time for everyone.

Leave-one-out tests on each user's last event, so training may use events of one user that lie after
another's test event. The temporal split has no such look into the future: training ends at the
validation cut for everyone. A target needs at least one earlier event of its user as history.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from diger.errors import DigerError


class Split(NamedTuple):
    """Absolute positions in the events, each (users,) int64; -1 is no target. See `Dataset`."""

    train_end: np.ndarray
    validation_at: np.ndarray
    test_at: np.ndarray


def leave_one_out(offsets: np.ndarray) -> Split:
    """Test = a user's last event, validation = the one before, training = the rest.

    Users with fewer than 3 events are for training only. `offsets` is (users + 1,) int64.
    """
    stop = offsets[1:]
    enough = np.diff(offsets) >= 3
    return Split(
        train_end=np.where(enough, stop - 2, stop),
        validation_at=np.where(enough, stop - 2, -1),
        test_at=np.where(enough, stop - 1, -1),
    )


def temporal(
    offsets: np.ndarray, times: np.ndarray, validation_cut: float, test_cut: float
) -> Split:
    """Split at two points in time, the same for all users.

    Training = events before `validation_cut`. A user's validation target is the first event in
    [`validation_cut`, `test_cut`), the test target the first event at or after `test_cut`, each
    with all the user's earlier events as history; -1 where there is no such event or no history.
    `offsets` is (users + 1,) int64; `times` (n,), rising within each user, in the cuts' unit.
    """
    if not validation_cut < test_cut:
        raise DigerError(
            f"the validation cut ({validation_cut:.15g}) must come before the test cut "
            f"({test_cut:.15g}); move them apart with --cuts"
        )
    start, stop = offsets[:-1], offsets[1:]
    train_end = start + _count_before(offsets, times, validation_cut)
    test_from = start + _count_before(offsets, times, test_cut)
    validation = (train_end < test_from) & (train_end > start)
    test = (test_from < stop) & (test_from > start)
    sizes = {
        "training events": int((train_end - start).sum()),
        "validation targets": int(validation.sum()),
        "test targets": int(test.sum()),
    }
    for what, size in sizes.items():
        if not size:
            raise DigerError(
                f"the cuts at {validation_cut:.15g} and {test_cut:.15g} leave no {what} "
                f"(times run from {times.min():.15g} to {times.max():.15g}); change --cuts"
            )
    return Split(train_end, np.where(validation, train_end, -1), np.where(test, test_from, -1))


def resolve_cuts(times: np.ndarray, cuts: tuple[float, float]) -> tuple[float, float]:
    """Cuts as points in time: two numbers within (0, 1) are quantiles of `times`, others are kept.

    A quantile q becomes the time of the first event after the earliest share q of all events, so
    that without ties exactly that share lies before the cut; ties with it fall on its later side.
    """
    quantiles = [0 < cut < 1 for cut in cuts]
    if any(quantiles) and not all(quantiles):
        raise DigerError(f"cuts {cuts[0]:.15g} and {cuts[1]:.15g}: give two quantiles or two times")
    if not all(quantiles):
        return cuts
    ordered = np.sort(times)
    # The small number keeps 0.7 x 10 = 7.000000000000001 from counting as 8.
    validation, test = (ordered[math.ceil(q * len(ordered) - 1e-9)] for q in cuts)
    return float(validation), float(test)


def _count_before(offsets: np.ndarray, times: np.ndarray, cut: float) -> np.ndarray:
    """(users,) int64: each user's number of events before `cut`."""
    return np.add.reduceat((times < cut).astype(np.int64), offsets[:-1])
