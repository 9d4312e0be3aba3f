"""What was measured: differentiable against static SIDs on a dataset, in one sentence."""

from __future__ import annotations

from diger.memory import Memory
from diger.statistics.verdict import Claim, dataset_claim, judge
from diger_app.library import Library
from diger_app.render.text import esc
from diger_app.shelf import Shelf

METRIC = "ndcg@10"
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
    return dataset_claim(shelf.runs, dataset=shelf.key, title=shelf.label, metric=METRIC)


def _sentence(one: Claim) -> str:
    said = one.outcome if one.outcome == "no difference shown" else f"{one.outcome} than static"
    said = "no verdict, too few seeds" if one.outcome == "too few seeds" else said
    return (
        f'<p class="verdict"><b>Measured on {esc(one.title)}, differentiable against static '
        f"SIDs:</b> {said} ({METRIC} {one.numbers(p=False)}).</p>"
    )
