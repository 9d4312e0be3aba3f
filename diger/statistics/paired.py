"""Two arms lined up: the same seeds, the same users, the same targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.evaluation.metrics import per_user
from diger.statistics.guards import refusals
from diger.statistics.runs import run_row

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
