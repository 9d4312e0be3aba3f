"""Is one method better than another, dataset by dataset, and what may be said of all of them?

The one place where claims are made: what both windows and the studies say of a change is a `Claim`
of this file, in its words and with its interval.

The family of claims is fixed before any test figure is read: on every real dataset, *one* pair of a
baseline arm and an arm of the other method that share content, tokenizer, backbone and training; of
several the pair with the most seeds and, among equals, the best validation mean. A claim is
"better" or "worse" only if its Holm-adjusted p is at most 0.05, at least three seeds stand behind
it, and every seed's difference points the same way. Simulated data
is compared the same way, but apart: it is in no family and in no count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.statistics.bootstrap import Difference, Interval, compare
from diger.statistics.paired import pair
from diger.statistics.randomisation import randomisation_p
from diger.statistics.runs import repeated, runs_frame, summary_frame

# Holm's correction for a family of claims that was declared beforehand.

ALPHA = 0.05


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given; reject where one is <= alpha.

    The i-th smallest of m (from 0) is multiplied by m - i, and none is smaller than one before it
    (Holm, Scandinavian Journal of Statistics 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise DigerError(f"a p-value must be between 0 and 1, got {p}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for i, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - i) * p_values[place]))
        adjusted[place] = largest
    return adjusted


MIN_SEEDS = 3
BOUND = 0.05
"""Lifts within this much of no change count as equal, where the whole interval is within."""
Outcome = Literal["better", "worse", "no difference shown", "too few seeds", "not compared"]


@dataclass(frozen=True)
class Claim:
    """One dataset's comparison.

    Attributes:
        dataset, title, simulated: where.
        metric: on the test split.
        baseline, arm: the arms' names; empty where there is none.
        difference: None where nothing could be compared, and then `reason` says why.
        adjusted_p: Holm-adjusted over the family; None outside it.
        randomisation_p: over users; about these trained models, not about the method.
        outcome: what may be said.
        alone: seeds that only one of the two arms has, left out.
        groups: of the baseline's and the arm's runs, as in `diger.statistics.runs`.
    """

    dataset: str
    title: str
    simulated: bool
    metric: str
    baseline: str = ""
    arm: str = ""
    difference: Difference | None = None
    reason: str = ""
    adjusted_p: float | None = None
    randomisation_p: float | None = None
    outcome: Outcome = "not compared"
    alone: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def asserts(self) -> bool:
        """Whether a change may be spoken of."""
        return self.outcome in ("better", "worse")

    @property
    def band(self) -> Interval | None:
        """The lift's interval that is shown; two seeds are too few for one that tells anything."""
        found = self.difference
        return found.lift_interval if found and found.seeds >= MIN_SEEDS else None

    @property
    def equal(self) -> bool:
        """Whether all of the interval is within `BOUND` of no change."""
        return self.band is not None and self.band.low > -BOUND and self.band.high < BOUND

    @property
    def said(self) -> str:
        """The outcome as it is spoken; empty where nobody judged what was compared."""
        if self.outcome == "too few seeds":
            return "no verdict"
        return "" if self.outcome == "not compared" else self.outcome

    def numbers(self, *, p: bool = True) -> str:
        """Lift, interval, p if wanted, and seeds; every seed on one side is said.

        Without interval and p where there are too few seeds for them.
        """
        found = self.difference
        if found is None:
            return ""
        words = "" if found.lift is None else f"{found.lift:+.1%}"
        if found.seeds < MIN_SEEDS:
            few = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
            return f"{words}, {few}, too few for an interval".removeprefix(", ")
        if self.band:
            words += f" [{100 * self.band.low:+.1f}, {100 * self.band.high:+.1f}]"
        if p and found.p_value is not None:
            words += f", p {p_words(found.p_value)}"
            if self.adjusted_p is not None:
                words += f" ({p_words(self.adjusted_p)} corrected)"
        words += f", {found.seeds} seeds"
        if found.same_sign:
            words += f", all {'above' if found.difference > 0 else 'below'}"
        return words.removeprefix(", ")

    def words(self, *, p: bool = True) -> str:
        """What may be said of a change, with its numbers."""
        if self.difference is None:
            return "not compared"
        numbers = self.numbers(p=p)
        return f"{self.said} ({numbers})" if self.said else numbers


def p_words(p: float) -> str:
    """A p-value to two digits.

    >>> p_words(0.034), p_words(0.0004), p_words(1.0)
    ('.03', '<.001', '1')
    """
    if p < 0.001:
        return "<.001"
    if p > 0.995:
        return "1"
    return f"{p:.3f}"[1:] if p < 0.01 else f"{p:.2f}"[1:]


def choose_group(
    summary: pd.DataFrame, dataset: str, method: str, metric: str = "ndcg@10"
) -> pd.Series | None:
    """The row of `summary_frame` that stands for a method on a dataset, None where it has none.

    Those on the dataset's usual histories first, then most seeds, then the best validation mean:
    the test split has no say. Runs on SIDs from a
    file, and runs that took SIDs or weights from another arm (their training was longer, or another
    question), stand for a method only where there are no others.
    """
    rows = _standing(summary, dataset, method, metric)
    return summary.loc[rows[0].Index] if rows else None


def choose_pair(
    summary: pd.DataFrame,
    dataset: str,
    method: str,
    baseline: str = "static",
    metric: str = "ndcg@10",
) -> tuple[pd.Series, pd.Series]:
    """The rows of `summary_frame` of the baseline and of the method that are compared.

    Raises:
        DigerError: one has no runs, or none of them share content, tokenizer and training.
    """
    before, after = (_standing(summary, dataset, one, metric) for one in (baseline, method))
    for name, rows in ((baseline, before), (method, after)):
        if not rows:
            raise DigerError(f"no {name} runs")
    pair = most_seeds(summary, before, after, "setting")
    if pair is None:
        raise DigerError(
            f"no {baseline} and {method} runs of the same content, tokenizer and training"
        )
    return pair


def choose_contents(
    summary: pd.DataFrame,
    dataset: str,
    method: str,
    content: str,
    baseline: str = "text",
    metric: str = "ndcg@10",
) -> tuple[pd.Series, pd.Series] | None:
    """Rows of one method on two contents, made the same way otherwise; None where there are none.

    Contents are those of `diger.statistics.runs.content_of`.
    """
    rows = _standing(summary, dataset, method, metric)
    before, after = ([r for r in rows if r.content == one] for one in (baseline, content))
    return most_seeds(summary, before, after, "way")


def most_seeds(
    summary: pd.DataFrame, before: Sequence[Any], after: Sequence[Any], same: str
) -> tuple[pd.Series, pd.Series] | None:
    """The pair of rows, equal in the column `same`, on the same data and of the most seeds.

    Args:
        before, after: rows of `summary`, or of some of its columns, as `itertuples` gives them.
    """
    pairs = [(a, b) for b in after for a in before if getattr(a, same) == getattr(b, same)]

    def order(pair: tuple[Any, Any]) -> tuple[bool, int]:
        a, b = pair
        data = a.fingerprint == b.fingerprint and a.split == b.split
        return data, min(a.seeds, b.seeds)

    # The first of equals, and each side has its best first.
    found = max(pairs, key=order, default=None)
    return found and (summary.loc[found[0].Index], summary.loc[found[1].Index])


_DECIDING = [
    *("dataset", "method", "content", "tokenizer", "origin", "usual"),
    *("seeds", "setting", "way", "fingerprint", "split"),
]


def _standing(summary: pd.DataFrame, dataset: str, method: str, metric: str) -> list[Any]:
    """What decides of the rows that may stand for a method on a dataset, the best first."""
    column = f"validation_{metric}"
    # Summaries are wide, and every copy of a row costs.
    narrow = summary[_DECIDING].assign(value=summary.get(column, np.nan))
    rows = [r for r in narrow.itertuples() if r.dataset == dataset and r.method == method]
    rows = [r for r in rows if r.tokenizer != "file" and not r.origin] or rows

    def order(row: Any) -> tuple[bool, int, float]:
        return row.usual, row.seeds, -np.inf if np.isnan(row.value) else row.value

    return sorted(rows, key=order, reverse=True)


def dataset_claim(
    bundles: Sequence[Bundle],
    method: str = "differentiable",
    *,
    dataset: str,
    title: str,
    metric: str = "ndcg@10",
    baseline: str = "static",
) -> Claim:
    """What the bundles of one dataset claim, not judged yet; `judge` takes the whole family.

    Where nothing can be compared the claim has the reason.
    """
    runs = runs_frame(bundles)
    counted = ~repeated(runs) if len(runs) else runs.index == 0

    def of_group(group: str) -> list[Bundle]:
        return [bundles[int(i)] for i in np.flatnonzero(counted & (runs["group"] == group))]

    names = str(runs["dataset"].iloc[0]) if len(runs) else dataset
    about = {"title": title, "metric": metric, "baseline": baseline}
    made = summary_claim(summary_frame(runs), of_group, names, method, **about)
    return replace(made, dataset=dataset)


def summary_claim(
    summary: pd.DataFrame,
    of_group: Callable[[str], Sequence[Bundle]],
    dataset: str,
    method: str,
    *,
    title: str,
    metric: str,
    baseline: str = "static",
) -> Claim:
    """The same from a `summary_frame` and the bundles of each of its groups."""
    of_it = summary[summary["dataset"] == dataset]
    simulated = bool(len(of_it)) and bool(of_it["simulated"].iloc[0])
    try:
        rows = choose_pair(of_it, dataset, method, baseline)
    except DigerError as error:
        return Claim(dataset, title, simulated, metric, reason=str(error))
    return rows_claim(*rows, of_group, title=title, metric=metric)


def rows_claim(
    before: pd.Series,
    after: pd.Series,
    of_group: Callable[[str], Sequence[Bundle]],
    *,
    title: str,
    metric: str,
) -> Claim:
    """A claim about two rows of a `summary_frame`."""
    made = claim(
        of_group(before["group"]),
        of_group(after["group"]),
        dataset=str(after["dataset"]),
        title=title,
        simulated=bool(after["simulated"]),
        metric=metric,
        names=(str(before["arm"]), str(after["arm"])),
    )
    return replace(made, groups=(str(before["group"]), str(after["group"])))


def claim(
    baseline: Sequence[Bundle],
    arm: Sequence[Bundle],
    *,
    dataset: str,
    title: str,
    simulated: bool,
    metric: str,
    names: tuple[str, str],
) -> Claim:
    """Compare two groups of runs; a refusal becomes the claim's reason, never an error."""
    empty = Claim(dataset, title, simulated, metric, *names)
    try:
        paired = pair(baseline, arm, metric=metric)
        a, b = paired.values(metric)
        difference = compare(a, b, paired.seeds)
    except DigerError as error:
        return replace(empty, reason=str(error))
    return replace(
        empty,
        difference=difference,
        randomisation_p=randomisation_p((b - a).mean(axis=0)),
        alone=paired.alone,
    )


def judge(claims: Sequence[Claim]) -> list[Claim]:
    """The claims with adjusted p and outcome; the family are those on real data.

    One that has not been run, or has one seed, stays in the family and counts as shown by nothing
    (p = 1): what is added later can only lower the others' adjusted p. Claims on simulated data get
    an outcome from their own p, without a correction.
    """
    family = [i for i, c in enumerate(claims) if not c.simulated]
    adjusted = dict(zip(family, holm([_p(claims[i]) for i in family]), strict=True))
    return [_judged(c, adjusted.get(i) if _has_p(c) else None) for i, c in enumerate(claims)]


def in_words(claims: Sequence[Claim], arm: str, baseline: str) -> str:
    """The finding over all datasets in one sentence.

    >>> in_words([], "differentiable", "static")
    'No real dataset has both differentiable and static runs yet'
    """
    real = [c for c in claims if not c.simulated]
    compared = [c for c in real if c.outcome not in ("not compared", "too few seeds")]
    weak = [c for c in real if c.outcome == "too few seeds"]
    if not compared:
        if weak:
            few = "one seed each" if all(_seeds(c) == 1 for c in weak) else "too few seeds"
            return (
                f"No verdict yet on {arm} against {baseline}: {few} on {_datasets(len(weak))}, "
                f"where {MIN_SEEDS} are needed"
            )
        if any(c.outcome not in ("not compared",) for c in claims):
            return f"No verdict: {arm} and {baseline} were compared on simulated data only"
        return f"No real dataset has both {arm} and {baseline} runs yet"
    counts = Counter(c.outcome for c in compared)
    total = len(compared)
    if len(counts) == 1:
        word = next(iter(counts))
        where = {1: "the one dataset", 2: "both datasets"}.get(total, f"all {total} datasets")
        said = {
            "better": f"is better than {baseline} on {where}",
            "worse": f"is worse than {baseline} on {where}",
            "no difference shown": f"shows no difference from {baseline} on {where}",
        }[word]
        sentence = f"{arm[:1].upper()}{arm[1:]} {said} compared"
    else:
        parts = []
        if counts["better"]:
            parts.append(f"better than {baseline} on {counts['better']} of {total} datasets")
        if counts["no difference shown"]:
            parts.append(f"no difference shown on {counts['no difference shown']}")
        if counts["worse"]:
            parts.append(f"worse on {counts['worse']}")
        if not counts["better"]:
            parts[0] += f" of {total} datasets"
        sentence = f"{arm[:1].upper()}{arm[1:]}: {', '.join(parts)}"
    if weak:
        sentence += f"; no verdict on {len(weak)} more (fewer than {MIN_SEEDS} seeds)"
    return sentence


def _judged(one: Claim, adjusted: float | None) -> Claim:
    difference = one.difference
    if difference is None:
        return one
    outcome: Outcome = "no difference shown"
    p = adjusted if adjusted is not None else difference.p_value
    if difference.seeds < MIN_SEEDS or p is None:
        outcome = "too few seeds"
    elif p <= ALPHA and difference.same_sign:
        outcome = "better" if difference.difference > 0 else "worse"
    return replace(one, adjusted_p=adjusted, outcome=outcome)


def _has_p(one: Claim) -> bool:
    return one.difference is not None and one.difference.p_value is not None


def _p(one: Claim) -> float:
    p = one.difference.p_value if one.difference else None
    return 1.0 if p is None else p


def _seeds(one: Claim) -> int:
    return one.difference.seeds if one.difference else 0


def _datasets(number: int) -> str:
    return "1 dataset" if number == 1 else f"{number} datasets"
