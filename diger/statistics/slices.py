"""Where one arm wins: paired differences by kind of user and target, and users won and lost.

The bins are those of `diger.evaluation.slices`. Every slice carries its number of users; a slice
with fewer than 200 gets its numbers but no verdict, and neither does one without several seeds.
The intervals are not corrected for looking at many slices: they point, they do not prove.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from diger.bundle import tables
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.evaluation.slices import LENGTH_BINS, POPULARITY_BINS
from diger.statistics.bootstrap import compare
from diger.statistics.paired import Paired
from diger.statistics.verdict import MIN_SEEDS

MIN_USERS = 200
SAMPLES = 2000  # replicates a slice; there are many slices
KINDS = ("target popularity", "history length", "cold target", "first code")


def slice_differences(
    paired: Paired, metric: str, *, first_codes: np.ndarray | None = None, most_codes: int = 20
) -> pd.DataFrame:
    """Difference between two arms in every slice.

    Args:
        paired: two arms over the same seeds and users.
        metric: such as `ndcg@10`.
        first_codes: (items,) level-1 code of every item, to slice by the target's; the codes with
            the most users are listed.
        most_codes: how many of them.

    Returns:
        One row a slice that has users: `slice, label, order, users, baseline, arm, difference,
        low, high, lift, verdict`; the verdict is "better", "worse", "no difference shown", "under
        200 users" or "too few seeds", and then there is no interval.
    """
    a, b = paired.values(metric)
    records = []
    for kind, label, order, mask in _slices(paired.users, first_codes, most_codes):
        if not mask.any():
            continue
        found = compare(a[:, mask], b[:, mask], paired.seeds, samples=SAMPLES)
        band = found.interval if len(paired.seeds) >= MIN_SEEDS else None
        low, high = (band.low, band.high) if band else (None, None)
        verdict = "no difference shown"
        if found.users < MIN_USERS:
            verdict = f"under {MIN_USERS} users"
        elif band is None:
            verdict = "too few seeds"
        elif band.low > 0 or band.high < 0:
            verdict = "better" if found.difference > 0 else "worse"
        records.append(
            {
                "slice": kind,
                "label": label,
                "order": order,
                "users": found.users,
                "baseline": found.baseline,
                "arm": found.arm,
                "difference": found.difference,
                "low": low,
                "high": high,
                "lift": found.lift,
                "verdict": verdict,
            }
        )
    columns = ["slice", "label", "order", "users", "baseline", "arm", "difference", "low", "high"]
    frame = pd.DataFrame(records, columns=[*columns, "lift", "verdict"])
    return frame.astype({"low": "float64", "high": "float64", "lift": "float64"})


def won_and_lost(paired: Paired, k: int = 10) -> pd.DataFrame:
    """Users whose target only one of the two arms has in its top k, seed by seed.

    Returns: `seed, outcome, users, share`, the outcomes "both", "won" (only the arm), "lost" (only
    the baseline) and "neither".
    """
    records = []
    for seed, before, after in zip(paired.seeds, paired.baseline, paired.arm, strict=True):
        hit, now = before <= k, after <= k  # False for NaN
        counts = {
            "both": (hit & now).sum(),
            "won": (~hit & now).sum(),
            "lost": (hit & ~now).sum(),
            "neither": (~hit & ~now).sum(),
        }
        for outcome, users in counts.items():
            share = users / len(hit)
            records.append({"seed": seed, "outcome": outcome, "users": int(users), "share": share})
    return pd.DataFrame(records, columns=["seed", "outcome", "users", "share"])


def _slices(
    users: pd.DataFrame, first_codes: np.ndarray | None, most_codes: int
) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Kind, label, place within its kind, and (users,) mask of every slice."""
    for kind, column, bins in (
        (KINDS[0], "target_popularity", POPULARITY_BINS),
        (KINDS[1], "history_length", LENGTH_BINS),
    ):
        values = users[column].to_numpy(dtype=np.int64)
        bin_of = np.searchsorted([low for low, _ in bins], values, side="right") - 1
        for i, (_, label) in enumerate(bins):
            yield kind, label, i, bin_of == i
    cold = users["cold"].to_numpy(dtype=bool)
    yield KINDS[2], "cold", 0, cold
    yield KINDS[2], "seen in training", 1, ~cold
    if first_codes is None or "target" not in users:
        return
    targets = users["target"].to_numpy(dtype=np.int64)
    if targets.size and targets.max() >= len(first_codes):
        raise DigerError(f"a target is item row {targets.max()} of {len(first_codes)} items")
    code_of = first_codes[targets]
    codes, counts = np.unique(code_of, return_counts=True)
    for i, place in enumerate(np.argsort(-counts, kind="stable")[:most_codes]):
        yield KINDS[3], f"{codes[place]}-…", i, code_of == codes[place]


# How alike two arms' recommendations are: overlap of their top lists, user by user.
#
# Two seeds of the *same* arm are the yardstick: lists that differ between arms as much as they do
# between seeds say nothing about the arms.


def overlap_at_k(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """(users,) share of the first k items that two lists have in common, whatever their order.

    Args:
        a, b: (users, at least k) item rows, -1 = none; an empty slot matches nothing.
        k: how many of each list to look at.

    >>> overlap_at_k(np.array([[1, 2]]), np.array([[2, 3]]), k=2)
    array([0.5])
    """
    if a.shape[0] != b.shape[0] or min(a.shape[1], b.shape[1]) < k:
        raise DigerError(f"lists of {a.shape} and {b.shape} have no first {k} in common")
    # Items of a list are distinct, so equal neighbours after sorting are items of both. Empty
    # slots become distinct numbers below zero.
    both = np.concatenate([a[:, :k], b[:, :k]], axis=1).astype(np.int64)
    both = np.where(both >= 0, both, -1 - np.arange(2 * k))
    both.sort(axis=1)
    return (both[:, 1:] == both[:, :-1]).sum(axis=1) / k


def overlaps(baseline: Sequence[Bundle], arm: Sequence[Bundle], k: int = 10) -> pd.DataFrame:
    """Mean overlap of top-k lists between two arms and within each, of the seeds that have them.

    Returns: `between, pairs, users, overlap, lowest, highest` with one row for "arm and baseline"
    (same seeds) and one each for "seeds of the baseline" and "seeds of the arm" where there are
    several; `overlap` is the mean over pairs of bundles, the others their range.
    """
    first, second = _lists(baseline), _lists(arm)
    wanted = {
        "arm and baseline": [(first[s], second[s]) for s in sorted(first.keys() & second.keys())],
        "seeds of the baseline": list(combinations(first.values(), 2)),
        "seeds of the arm": list(combinations(second.values(), 2)),
    }
    records = []
    for between, pairs in wanted.items():
        values = [_mean_overlap(a, b, k) for a, b in pairs]
        if values:
            records.append(
                {
                    "between": between,
                    "pairs": len(values),
                    "users": len(pairs[0][0]),
                    "overlap": float(np.mean(values)),
                    "lowest": min(values),
                    "highest": max(values),
                }
            )
    columns = ["between", "pairs", "users", "overlap", "lowest", "highest"]
    return pd.DataFrame(records, columns=columns)


def _lists(bundles: Sequence[Bundle]) -> dict[int, pd.DataFrame]:
    found = {
        int(bundle.config.get("seed", -1)): bundle.topk.sort_values("user", kind="stable")
        for bundle in bundles
        if bundle.topk is not None
    }
    if not found:
        raise DigerError(
            f"{bundles[0].name} carries no lists (topk.parquet), nor does another seed: variants "
            "go without, and so do bundles whose viewers are private"
        )
    return found


def _mean_overlap(a: pd.DataFrame, b: pd.DataFrame, k: int) -> float:
    if not np.array_equal(a["user"].to_numpy(), b["user"].to_numpy()):
        raise DigerError("the top lists are of different users")
    return float(overlap_at_k(tables.topk_rows(a), tables.topk_rows(b), k).mean())
