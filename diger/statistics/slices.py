"""Where one arm wins: paired differences by kind of user and target, and users won and lost.

The bins are those of `diger.evaluation.slices`. Every slice carries its number of users; a slice
with fewer than 200 gets its numbers but no verdict, and neither does one without several seeds.
The intervals are not corrected for looking at many slices: they point, they do not prove.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from diger.errors import DigerError
from diger.evaluation.slices import LENGTH_BINS, POPULARITY_BINS
from diger.statistics.bootstrap import compare
from diger.statistics.paired import Paired

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
        200 users" or "one seed".
    """
    a, b = paired.values(metric)
    records = []
    for kind, label, order, mask in _slices(paired.users, first_codes, most_codes):
        if not mask.any():
            continue
        found = compare(a[:, mask], b[:, mask], paired.seeds, samples=SAMPLES)
        low, high = (found.interval.low, found.interval.high) if found.interval else (None, None)
        verdict = "no difference shown"
        if found.users < MIN_USERS:
            verdict = f"under {MIN_USERS} users"
        elif found.interval is None:
            verdict = "one seed"
        elif found.interval.low > 0 or found.interval.high < 0:
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
