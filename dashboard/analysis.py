"""What several panels need: the arms that are compared, lined up, and the claims about them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dashboard.panel import Lens
from diger.bundle import tables
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.statistics.paired import Paired, pair, refusals
from diger.statistics.verdict import (
    Claim,
    choose_group,
    choose_pair,
    judge,
    rows_claim,
)

BASELINE = "static"


def claims(lens: Lens, metric: str, *, simulated: bool) -> list[Claim]:
    """The challenger against static on every dataset shown, real or simulated, and judged.

    The family is all datasets there are: leaving some out of sight changes no verdict.
    """
    whole = Lens(lens.library, lens.view.but(data=()))
    made = []
    for dataset in whole.datasets:
        row = whole.summary[whole.summary["dataset"] == dataset].iloc[0]
        if bool(row["simulated"]) == simulated:
            made.append(_claim(whole, dataset, metric))
    return [one for one in judge(made) if one.dataset in lens.datasets]


def claim_of(lens: Lens, dataset: str, metric: str) -> Claim | None:
    """The judged claim about a dataset: what a title may say of a change there."""
    both = [c for told in (False, True) for c in claims(lens, metric, simulated=told)]
    return next((c for c in both if c.dataset == dataset and c.difference is not None), None)


def chosen(lens: Lens, dataset: str) -> tuple[pd.Series, pd.Series]:
    """Summary rows of static and the challenger on a dataset.

    Raises:
        DigerError: they have no runs there that can be paired.
    """
    try:
        return _pair(lens, dataset)
    except DigerError as error:
        raise DigerError(f"{lens.title(dataset)}: {error}") from None


def _pair(lens: Lens, dataset: str) -> tuple[pd.Series, pd.Series]:
    rows = lens.summary[lens.summary["dataset"] == dataset]
    hashes = lens.runs.loc[lens.runs["dataset"] == dataset, "hash"]
    method = lens.view.challenger
    key = ("chosen", dataset, method, *hashes)  # the metric shown has no say
    return lens.remember(key, lambda: choose_pair(rows, dataset, method, BASELINE))


def comparable(lens: Lens, dataset: str, metric: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Arms of a dataset that may stand beside each other on a test metric, and why others may not.

    They are measured against static where it has runs, else against the arm with the most seeds.
    """
    rows = lens.summary[lens.summary["dataset"] == dataset]
    reference = choose_group(rows, dataset, BASELINE)
    if reference is None:
        reference = rows.loc[rows["seeds"].idxmax()]
    runs = lens.runs.drop_duplicates("group").set_index("group")
    against = runs.loc[reference["group"]]
    kept, reasons = [], []
    for index, row in rows.iterrows():
        why = refusals(against, runs.loc[row["group"]], metric)
        if why:
            reasons.append(f"{lens.title(dataset)}, {row['arm']}: {'; '.join(why)}")
        else:
            kept.append(index)
    return rows.loc[kept], tuple(dict.fromkeys(reasons))


def lined_up(lens: Lens, dataset: str) -> tuple[Paired, pd.Series, pd.Series]:
    """Ranks of static and the challenger, paired, and the rows they stand for."""
    baseline, arm = chosen(lens, dataset)
    a, b = lens.library.of_group(baseline["group"]), lens.library.of_group(arm["group"])
    paired = lens.remember(
        ("pair", hashes_of(lens, baseline), hashes_of(lens, arm), lens.view.metric),
        lambda: pair(a, b, metric=lens.view.metric),
    )
    return paired, baseline, arm


def first_codes(bundle: Bundle) -> np.ndarray | None:
    """(items,) level-1 codes of a bundle's items, None where it has none."""
    sids = None if bundle.items is None else tables.sids(bundle.items)
    return None if sids is None else sids[:, 0]


def hashes_of(lens: Lens, *rows: pd.Series) -> tuple[str, ...]:
    """Hashes of the bundles behind summary rows."""
    return tuple(b.hash for row in rows for b in lens.library.of_group(row["group"]))


def pair_claim(lens: Lens, before: pd.Series, after: pd.Series, metric: str) -> Claim:
    """What two summary rows claim, of no family and not judged."""
    of_group = lens.library.of_group
    seen = tuple(hashes_of(lens, row) for row in (before, after))
    title = lens.title(str(after["dataset"]))
    key = ("claim", metric, title, before["arm"], after["arm"], seen)

    def make() -> Claim:
        return rows_claim(before, after, of_group, title=title, metric=metric)

    return lens.remember(key, lambda: lens.library.kept.claim(key, make))


def _claim(lens: Lens, dataset: str, metric: str) -> Claim:
    try:
        pair = _pair(lens, dataset)
    except DigerError as error:
        rows = lens.summary[lens.summary["dataset"] == dataset]
        told = bool(rows["simulated"].iloc[0])
        return Claim(dataset, lens.title(dataset), told, metric, reason=str(error))
    return pair_claim(lens, *pair, metric)
