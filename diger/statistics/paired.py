"""Two arms lined up: the same seeds, the same users, the same targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.evaluation.metrics import per_user
from diger.names import SID_METHODS
from diger.statistics.runs import run_row

# What makes two runs comparable, and in plain words why two are not.
#
# A comparison needs the same data, split, candidates, users and cut-offs; arms that decode SIDs
# must also share the decoding. A baseline that scores every item (SASRec, popularity) has no beam
# to share, so it may stand beside any decoding of the same candidates.


def refusals(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> list[str]:
    """Why two runs cannot be compared on a test metric; empty where they can.

    Args:
        a, b: rows of `diger.statistics.runs.runs_frame` (mappings or series).
        metric: such as `ndcg@10`.
    """
    reasons = []
    if a["dataset"] != b["dataset"]:
        reasons.append(f"different datasets ({a['dataset']} against {b['dataset']})")
    elif a["fingerprint"] != b["fingerprint"] or not a["fingerprint"]:
        reasons.append(
            f"different data (fingerprint {_short(a['fingerprint'])} against "
            f"{_short(b['fingerprint'])})"
        )
    if a["split"] != b["split"]:
        reasons.append(f"different splits ({a['split'] or '?'} against {b['split'] or '?'})")
    if not _equal(a["items"], b["items"]):
        reasons.append(
            f"different candidates ({_count(a['items'])} against {_count(b['items'])} items)"
        )
    if not _equal(a["test_users"], b["test_users"]):
        reasons.append(
            f"different users ({_count(a['test_users'])} against {_count(b['test_users'])})"
        )
    for run in (a, b):
        if not _has(run, f"test_{metric}"):
            reasons.append(f"{run['arm']} has no test {metric} (other cut-offs)")
    both_decode = a["method"] in SID_METHODS and b["method"] in SID_METHODS
    if both_decode and a["decoding"] != b["decoding"]:
        reasons.append(
            f"different decoding ({a['decoding'] or '?'} against {b['decoding'] or '?'})"
        )
    return reasons


def _has(run: Mapping[str, Any], column: str) -> bool:
    value = run.get(column)
    return value is not None and not math.isnan(value)


def _equal(a: float, b: float) -> bool:
    """Equal, or not known on either side (an older bundle does not say)."""
    return a == b or math.isnan(a) or math.isnan(b)


def _count(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:,.0f}"


def _short(fingerprint: str) -> str:
    return fingerprint[:8] or "none"


_FACTS = ["user", "target", "history_length", "target_popularity", "cold"]


@dataclass(frozen=True, eq=False)
class Paired:
    """Two arms over the same seeds and users.

    Attributes:
        seeds: numbers of the seeds both arms have, ascending.
        users: frame, one row a user: `user, target, history_length, target_popularity, cold`.
        baseline, arm: (seeds, users) ranks of the target among items, NaN where not decoded.
        alone: seeds that only one of the two has, and that are therefore left out.
    """

    seeds: tuple[int, ...]
    users: pd.DataFrame
    baseline: np.ndarray
    arm: np.ndarray
    alone: tuple[int, ...]

    def values(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(seeds, users) values of a metric for baseline and arm."""
        return tuple(np.stack([per_user(r, metric) for r in side]) for side in self._sides())  # type: ignore[return-value]

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.baseline, self.arm


def pair(
    baseline: Sequence[Bundle],
    arm: Sequence[Bundle],
    *,
    metric: str = "ndcg@10",
    split: str = "test",
    by_seed: bool = True,
) -> Paired:
    """Line up the runs of two arms by seed and user.

    Args:
        baseline, arm: seeds of one arm each (one group of `runs_frame`), one bundle a seed.
        metric: that the guards ask for.
        split: of `ranks.parquet`.
        by_seed: pair equal seeds; without, the one run of each side whatever its seed.
    """
    if not baseline or not arm:
        raise DigerError("no runs of one of the two arms")
    reasons = refusals(run_row(baseline[0]), run_row(arm[0]), metric)
    if reasons:
        raise DigerError("; ".join(reasons))
    if not by_seed and not len(baseline) == len(arm) == 1:
        raise DigerError("runs of different seeds are compared one with one")
    a, b = (_by_seed(side) if by_seed else {0: side[0]} for side in (baseline, arm))
    seeds = tuple(sorted(a.keys() & b.keys()))
    if not seeds:
        raise DigerError(
            f"no seed in common (seeds {_list(a.keys())} against {_list(b.keys())}): "
            "runs are paired by seed"
        )
    users: pd.DataFrame | None = None
    ranks: list[np.ndarray] = []
    for bundle in [a[s] for s in seeds] + [b[s] for s in seeds]:
        part = _ranks(bundle, split)
        if users is None:
            users = part[[name for name in _FACTS if name in part]]
        elif not (
            np.array_equal(users["user"], part["user"])
            and all(users[c].equals(part[c]) for c in ("target", "target_popularity") if c in users)
        ):
            raise DigerError(f"{bundle.name}: other {split} users or targets than the others")
        ranks.append(part["rank"].to_numpy(dtype=np.float64, na_value=np.nan))
    assert users is not None
    return Paired(
        seeds=seeds,
        users=users,
        baseline=np.stack(ranks[: len(seeds)]),
        arm=np.stack(ranks[len(seeds) :]),
        alone=tuple(sorted(a.keys() ^ b.keys())),
    )


def _by_seed(bundles: Sequence[Bundle]) -> dict[int, Bundle]:
    found: dict[int, Bundle] = {}
    for bundle in bundles:
        seed = bundle.config.get("seed")
        if not isinstance(seed, int):
            raise DigerError(f"{bundle.name} does not say its seed")
        if seed in found:
            raise DigerError(f"{bundle.name} and {found[seed].name} are both seed {seed}")
        found[seed] = bundle
    return found


def _ranks(bundle: Bundle, split: str) -> pd.DataFrame:
    frame = bundle.ranks
    if frame is None:
        raise DigerError(f"{bundle.name} has no ranks.parquet, so users cannot be paired")
    part = frame[frame["split"] == split]
    if part.empty:
        raise DigerError(f"{bundle.name} has no {split} ranks")
    return part.sort_values("user", kind="stable").reset_index(drop=True)


def _list(seeds: object) -> str:
    return ", ".join(str(seed) for seed in sorted(seeds))  # type: ignore[call-overload]
