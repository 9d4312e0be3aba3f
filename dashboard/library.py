"""All opened bundles as frames, and a memory for what was computed from them.

Results are remembered by what they were computed from: the manifest hashes of the bundles that go
in, never their paths or times. A bundle that is rewritten has another hash, and nothing stale is
ever shown; the same bundles in another session or another filter cost nothing again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import pandas as pd

from dashboard.kept import Kept
from dashboard.sources import Found
from diger.bundle.reader import BrokenBundle, Bundle
from diger.errors import DigerError
from diger.memory import Memory
from diger.names import CHALLENGERS
from diger.statistics.runs import repeated, runs_frame, summary_frame
from diger.statistics.verdict import choose_group, choose_pair
from diger.text import printable


@dataclass(frozen=True, eq=False)
class Library:
    """Everything that was found.

    Attributes:
        bundles: by hash, those that could be opened.
        broken: those that could not, with the reason; runs that repeat a seed of their arm are
            listed here too.
        runs: `diger.statistics.runs.runs_frame` of the bundles that count.
        summary: `diger.statistics.runs.summary_frame` of the same.
        variants: groups beside the one that stands for their method on their data
            (`diger.statistics.verdict.choose_group`) or is compared (`choose_pair`): other
            decays, gradients, starts, recipes.
        memory: shared results.
        kept: what bootstraps found.
        damaged: by hash, what was found to be damaged when a table was read.
    """

    bundles: dict[str, Bundle]
    broken: tuple[BrokenBundle, ...]
    runs: pd.DataFrame
    summary: pd.DataFrame
    variants: frozenset[str] = frozenset()
    memory: Memory = field(default_factory=Memory)
    kept: Kept = field(default_factory=Kept)
    damaged: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        found: Sequence[Found],
        failed: Sequence[BrokenBundle] = (),
        memory: Memory | None = None,
        kept: Kept | None = None,
    ) -> Library:
        """A library of what `dashboard.sources` found."""
        whole = [b for b in found if isinstance(b, Bundle)]
        broken = [*failed, *(b for b in found if isinstance(b, BrokenBundle))]
        runs = runs_frame(whole)
        if len(runs):
            again = repeated(runs)
            for row in runs[again].itertuples():
                first = runs[(runs["group"] == row.group) & (runs["seed"] == row.seed)].iloc[0]
                reason = (
                    f"left out: {first['bundle']} is seed {row.seed} of the same arm, and a seed "
                    "counts once"
                )
                broken.append(BrokenBundle(whole[row.Index].path, reason))
            runs = runs[~again].reset_index(drop=True)
        summary = summary_frame(runs)
        return cls(
            bundles={bundle.hash: bundle for bundle in whole},
            broken=tuple(broken),
            runs=runs,
            summary=summary,
            variants=_variants(summary),
            memory=memory or Memory(),
            kept=kept or Kept(),
        )

    @cached_property
    def titles(self) -> dict[str, str]:
        """What every dataset is called: no two alike, and the simulated ones say so."""
        rows = list(self.summary.drop_duplicates("dataset").itertuples())
        plain = [printable(row.title or row.dataset, 60) for row in rows]
        titles = {}
        for row, title in zip(rows, plain, strict=True):
            if plain.count(title) > 1:
                title += f" ({row.dataset})"
            untold = row.simulated and "simulated" not in title.lower()
            titles[row.dataset] = f"{title} (simulated)" if untold else title
        return titles

    def of_group(self, group: str) -> list[Bundle]:
        """The bundles of one arm on one dataset, by seed."""
        rows = self.runs[self.runs["group"] == group].sort_values("seed")
        return [self.bundles[one] for one in rows["hash"]]

    def named(self, name: str) -> Bundle | None:
        """The first bundle of a name."""
        rows = self.runs[self.runs["bundle"] == name]
        return self.bundles[rows["hash"].iloc[0]] if len(rows) else None


def _variants(summary: pd.DataFrame) -> frozenset[str]:
    standing = set()
    for (dataset, *_, method), rows in summary.groupby(
        ["dataset", "fingerprint", "split", "method"]
    ):
        row = choose_group(rows, dataset, method)
        assert row is not None  # its method is there
        standing.add(row["group"])
    for dataset, method in product(summary["dataset"].unique(), CHALLENGERS):
        with suppress(DigerError):  # nothing to compare it with
            standing |= {row["group"] for row in choose_pair(summary, dataset, method)}
    return frozenset(summary["group"]) - standing
