"""The decision in four lines: the answer, how sure it is, why it is so, what would change it.

Each has a line that a phone or a slide has room for, and its parts in full.

Made of claims alone. Those of the declared family bear the answer; the others, about content,
frozen SIDs and SASRec, are no verdicts, and say why, never what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd
from scipy.special import nctdtrinc, stdtrit

from diger.bundle.reader import Bundle
from diger.statistics.bootstrap import LEVEL
from diger.statistics.matrix import Compare, around_static
from diger.statistics.sids import drifted
from diger.statistics.verdict import BOUND, MIN_SEEDS, Claim
from diger.text import and_list

POWER = 0.8
MOST_SEEDS = 50
Bundles = Callable[[str], Sequence[Bundle]]
_COULD = "What seeds could show is a true change that they find four times of five, uncorrected"


def smallest_lift(claim: Claim, seeds: int | None = None) -> float | None:
    """The true lift that a test over so many seeds (default: its own) finds with `POWER`.

    From the standard error that the claim's interval stands for, by the noncentral t at 5 %, two
    sides, uncorrected; None without an interval.
    """
    found, band = claim.difference, claim.band
    if found is None or band is None:
        return None
    own = found.seeds
    error = (band.high - band.low) / 2 / float(stdtrit(own - 1, (1 + LEVEL) / 2))
    count = seeds or own
    needed = nctdtrinc(count - 1, 1 - POWER, stdtrit(count - 1, (1 + LEVEL) / 2))
    return float(needed) * error * math.sqrt(own / count)


def seeds_for(claim: Claim, lift: float = BOUND) -> int | None:
    """Seeds with which a true lift of this size would be found; None if more than `MOST_SEEDS`."""
    for count in range(MIN_SEEDS, MOST_SEEDS + 1):
        smallest = smallest_lift(claim, count)
        if smallest is not None and smallest <= lift:
            return count
    return None


def decide(
    claims: Sequence[Claim],
    summary: pd.DataFrame,
    of_group: Bundles,
    compare: Compare,
    arm: str,
    baseline: str,
) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """The four lines, each a heading, the short of it, and its parts, of judged claims.

    Args:
        claims: of the family, on real data.
        summary: `diger.statistics.runs.summary_frame`.
        of_group: the bundles of a group.
        compare: a claim about two rows, of no family.
        arm, baseline: the methods.
    """
    real = [c for c in claims if not c.simulated]
    moved, reached, why = [], [], []
    for one in real:
        share, sasrec, words = _why(one, summary, of_group, compare)
        moved += [] if share is None else [share]
        reached += [] if sasrec is None else [f"{sasrec:+.0%} on {one.title}"]
        why += [words] if words else []
    parts = []
    if moved:
        low, high = (f"{end:.0%}" for end in (min(moved), max(moved)))
        shares = low if low == high else f"{low} to {high}"
        parts.append(f"joint training gave {shares} of items another SID")
    if reached:
        parts.append(f"SASRec, which has no SIDs, against {baseline}: {and_list(reached)}")
    more, change = _change(real, summary)
    return (
        ("Answer", _answer(real, arm, baseline), ()),
        ("How sure", _ruled_out(real), (*(_sure(c) for c in real), _COULD)),
        ("Why", "; ".join(parts) or "not known", tuple(why)),
        ("What would change it", more, change),
    )


def advice(claims: Sequence[Claim], arm: str, baseline: str) -> str:
    """What to do: the new method only where it is shown to be better."""
    real = [c for c in claims if not c.simulated]
    better = [c.title for c in real if c.outcome == "better"]
    if better:
        rest = f", {baseline} SIDs elsewhere" if len(better) < len(real) else ""
        return f"Use {arm} SIDs on {and_list(better)}{rest}"
    judged = any(c.outcome not in ("not compared", "too few seeds") for c in real)
    return f"Keep {baseline} SIDs{'' if judged else ' until there is a verdict'}"


def _answer(claims: Sequence[Claim], arm: str, baseline: str) -> str:
    said = {
        "better": f"better than {baseline} on",
        "worse": f"worse than {baseline} on",
        "no difference shown": f"no difference from {baseline} shown on",
        "too few seeds": "too few seeds for a verdict on",
        "not compared": "not compared on",
    }
    where = {outcome: [c.title for c in claims if c.outcome == outcome] for outcome in said}
    parts = [f"{said[outcome]} {and_list(titles)}" for outcome, titles in where.items() if titles]
    return f"{arm}: {'; '.join(parts)}"


def _ruled_out(claims: Sequence[Claim]) -> str:
    """What the intervals leave: the change where one is shown, else the gain that is ruled out."""
    shown, none, capped, open_ = [], [], [], []
    for one in claims:
        if one.band is None:
            open_ += [one.title] if one.difference else []
        elif one.asserts:
            shown.append(f"{one.band.low:+.1%} to {one.band.high:+.1%} on {one.title}")
        elif one.band.high <= 0:
            none.append(one.title)
        else:
            capped.append(f"{one.band.high:.1%} on {one.title}")
    parts = []
    if shown:
        parts.append(f"the change is {and_list(shown)}")
    gains = [f"any gain on {and_list(none)}"] if none else []
    gains += [f"gains above {and_list(capped)}"] if capped else []
    if gains:
        parts.append(f"ruled out at 95 %: {'; '.join(gains)}")
    if open_:
        parts.append(f"too few seeds to rule anything out on {and_list(open_)}")
    return "; ".join(parts) or "nothing was compared"


def _sure(claim: Claim) -> str:
    found = claim.difference
    if found is None:
        return f"{claim.title}: {claim.words()}"
    said = f"{claim.title}: {claim.numbers()}"
    smallest = smallest_lift(claim)
    if claim.band is None or smallest is None:
        return f"{said}, which rules nothing out"
    high = claim.band.high
    said += f", a gain above {high:.1%} is ruled out" if high > 0 else ", a gain is ruled out"
    if claim.equal:
        said += f", equal within {BOUND:.0%}"
    return f"{said}, these seeds could show one of {smallest:.1%}"


def _why(
    claim: Claim, summary: pd.DataFrame, of_group: Bundles, compare: Compare
) -> tuple[float | None, float | None, str]:
    """The share of items whose SID changed, SASRec's lift, and all reasons in words."""
    if claim.difference is None:
        return None, None, ""
    rows = summary[summary["dataset"] == claim.dataset]
    by_group = rows.set_index("group", drop=False)
    parts = []
    moved = drifted(of_group(by_group.loc[claim.groups[1], "group"]))
    if moved is not None:
        parts.append(f"{moved:.0%} of items changed their SID")
    sasrec = None
    for one in around_static(rows, claim.dataset):
        if one.pair is None or one.pair[0]["method"] != "static":
            continue
        said = compare(*one.pair)
        if said.difference is not None:
            parts.append(f"{one.name}: {said.numbers()}")
            if one.pair[1]["method"] == "sasrec":
                sasrec = said.difference.lift
    return moved, sasrec, f"{claim.title}: {'; '.join(parts)}" if parts else ""


def _change(claims: Sequence[Claim], summary: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    """More seeds, in short, and of which runs for what."""
    short: list[str] = []
    parts: list[str] = []
    enough: list[str] = []
    for one in claims:
        found = one.difference
        if found is None or one.asserts:
            continue
        more: int | None
        if one.band is None:
            more, use, aim = max(MIN_SEEDS - found.seeds, 1), "for", "any verdict"
        else:
            wanted, use, aim = seeds_for(one), "to show", f"a change of {BOUND:.0%}"
            if wanted is None:
                parts.append(f"{one.title}: not even {MOST_SEEDS} seeds would show {aim}")
                continue
            more = wanted - found.seeds
            if more <= 0:
                enough.append(one.title)
                continue
        short.append(f"{more} on {one.title} ({use} {aim})")
        row = summary[summary["group"] == one.groups[1]].iloc[0]
        seeds = [int(seed) for seed in str(row["seed_list"]).split(", ")]
        recipe, seed = str(row["recipe"]), max(seeds) + 1
        command = f"python -m diger train {recipe} --data data/{one.dataset} --seed {seed} --out …"
        if recipe != row["method"]:  # it may be no recipe's name but an arm's, with its settings
            command = (
                f"python -m diger study, with seed {seed} added to the study that has {recipe}"
            )
        parts.append(
            f"{one.title}: {more} more seed{'s' if more > 1 else ''} of both arms for {aim} "
            f"({command})"
        )
    if enough:
        parts.append(f"{', '.join(enough)}: these seeds would have shown a change of {BOUND:.0%}")
    said = [f"more seeds: {and_list(short)}"] if short else []
    if enough:
        said.append(f"enough to show {BOUND:.0%} on {and_list(enough)}")
    return "; ".join(said) or "more seeds would only narrow the intervals", tuple(parts)
