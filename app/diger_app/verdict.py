"""What was measured: differentiable against static SIDs on a dataset, in one sentence."""

from __future__ import annotations

from diger.bundle.reader import Bundle
from diger.memory import Memory
from diger.statistics.runs import runs_frame, summary_frame
from diger.statistics.verdict import Claim, choose_group, claim, judge
from diger_app.library import Library
from diger_app.render.text import esc
from diger_app.shelf import Shelf

METRIC = "ndcg@10"
ARMS = ("static", "differentiable")
_cache = Memory()


def verdict(library: Library, shelf: Shelf) -> str:
    """The sentence as HTML, judged as the dashboard does; empty where there is nothing to compare.

    Every dataset here belongs to the family, and each seed of every run is read, weights or none.
    """
    shelves = [one for one in library.shelves.values() if one.runs]
    key = ("verdicts", *(bundle.hash for one in shelves for bundle in one.runs))
    claims = _cache.get(key, lambda: judge([_claim(one) for one in shelves]))
    mine = next((one for one in claims if one.dataset == shelf.key), None)
    return "" if mine is None or mine.difference is None else _sentence(mine)


def _claim(shelf: Shelf) -> Claim:
    runs = runs_frame(shelf.runs)
    summary = summary_frame(runs)
    name = str(runs["dataset"].iloc[0])
    rows = [choose_group(summary, name, method) for method in ARMS]
    if rows[0] is None or rows[1] is None:
        return Claim(shelf.key, shelf.label, shelf.simulated, METRIC, reason="one arm is missing")

    def of(group: str) -> list[Bundle]:
        pairs = zip(shelf.runs, runs["group"], strict=True)
        return [bundle for bundle, its in pairs if its == group]

    return claim(
        of(rows[0]["group"]),
        of(rows[1]["group"]),
        dataset=shelf.key,
        title=shelf.label,
        simulated=shelf.simulated,
        metric=METRIC,
        names=ARMS,
    )


def _sentence(one: Claim) -> str:
    found = one.difference
    assert found is not None
    said = {
        "better": "better than static",
        "worse": "worse than static",
        "no difference shown": "no difference from static shown",
        "too few seeds": "no verdict, too few seeds",
    }[one.outcome]
    band = found.lift_interval
    between = f", 95 %: {band.low:+.1%} to {band.high:+.1%}" if band else ""
    lift = "" if found.lift is None else f" ({found.lift:+.1%} {METRIC}{between}"
    seeds = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}"
    end = f"; {seeds})" if lift else f" ({seeds})"
    return (
        f'<p class="verdict"><b>Measured on {esc(one.title)}, differentiable SIDs:</b> '
        f"{said}{lift}{end}.</p>"
    )
