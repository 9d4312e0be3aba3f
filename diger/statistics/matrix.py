"""What each ingredient brings: content, way of training, and controls, one comparison each.

Ingredients are what SIDs are made of (`diger.statistics.runs.content_of`) and how their tokenizer
is trained. Both rows of a comparison are alike but for the ingredient. Nobody declared them
beforehand, so they make no verdict: what is said of one is its interval and both p-values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from diger.errors import DigerError
from diger.statistics.verdict import (
    Claim,
    choose_contents,
    choose_group,
    choose_pair,
    holm,
    most_seeds,
)

CONTENTS = ("text", "behaviour", "both")
WAYS = ("static", "detached", "differentiable")
Kind = Literal["content", "training", "control"]
Compare = Callable[[pd.Series, pd.Series], Claim]
_TRAINING = (
    ("detached", "differentiable"),  # the recommender's gradient and nothing else
    ("static", "detached"),
    ("static", "differentiable"),
    ("static", "ste"),
    ("static", "shuffled"),
    ("static", "reassigned"),
)
_PLAIN = {
    "ste": "straight-through gradient (ste)",
    "shuffled": "changes by chance (shuffled)",
    "reassigned": "reassigned by the recommender",
}
_FREEDOMS = {  # see `diger.statistics.runs`: in words, and the contents it is asked of
    "items": ("items that may move", ("text", "both")),
    "map": ("a learned map of the content", ("text",)),
}


@dataclass(frozen=True, eq=False)
class Ingredient:
    """One comparison: `after` instead of `before`, rows of a `summary_frame`.

    Attributes:
        kind: what differs.
        what: in words.
        of: what both are alike in, the content or the way of training; may be empty.
        pair: None where there are no two arms alike but for it.
    """

    kind: Kind
    what: str
    of: str
    pair: tuple[pd.Series, pd.Series] | None

    @property
    def name(self) -> str:
        """What, and of what."""
        if not self.of:
            return self.what
        return f"{self.what} on {self.of}" if self.kind == "training" else f"{self.what}, {self.of}"


def ingredients(summary: pd.DataFrame, dataset: str) -> list[Ingredient]:
    """Every comparison of a dataset, in the order of a ladder; those not possible too."""
    rows = _unmeasured(summary, dataset)
    return [*_contents(rows, dataset, WAYS), *_trainings(rows, dataset), *_controls(rows, dataset)]


def around_static(summary: pd.DataFrame, dataset: str) -> list[Ingredient]:
    """Those of them that say what static SIDs are made of, and what their codes are worth."""
    rows = _unmeasured(summary, dataset)
    return [*_contents(rows, dataset, ("static",)), *_controls(rows, dataset)]


def _unmeasured(summary: pd.DataFrame, dataset: str) -> pd.DataFrame:
    measured = summary.columns.str.startswith(("test_", "corrected_"))  # wide frames are slow
    return summary.loc[summary["dataset"] == dataset, ~measured]


def _contents(rows: pd.DataFrame, dataset: str, ways: Sequence[str]) -> Iterator[Ingredient]:
    rows = rows[rows["freedom"] == ""]  # or more than the content would differ
    for way in ways:
        for content in CONTENTS[1:]:
            named = "text and behaviour" if content == "both" else content
            pair = choose_contents(rows, dataset, way, content)
            yield Ingredient("content", f"{named} against text", way, pair)


def _trainings(rows: pd.DataFrame, dataset: str) -> Iterator[Ingredient]:
    for content in CONTENTS:
        alike = rows[rows["content"] == content]
        plain = alike[alike["freedom"] == ""]
        for before, after in _TRAINING if content == "text" else _TRAINING[:3]:
            pair = _pair(plain, dataset, after, before)
            what = f"{_PLAIN.get(after, after)} against {before}"
            yield Ingredient("training", what, content, pair)
        for freedom, (what, contents) in _FREEDOMS.items():
            if content in contents:
                free = alike[(alike["method"] == "static") | (alike["freedom"] == freedom)]
                pair = _pair(free, dataset, "differentiable", "static")
                yield Ingredient("training", f"{what} against static", content, pair)


def _controls(rows: pd.DataFrame, dataset: str) -> Iterator[Ingredient]:
    declared = _pair(rows, dataset, "differentiable", "static")
    static = declared[0] if declared else choose_group(rows, dataset, "static")
    if static is None:
        return
    sasrec = choose_group(rows, dataset, "sasrec")
    pair = None if sasrec is None else (static, sasrec)
    yield Ingredient("control", "SASRec against static", "", pair)
    own = rows[(rows["method"] == "static") & (rows["tokenizer"] != "file")]
    learned = own["origin"].str.startswith("SIDs of")
    plain, fixed = (list(own[of].itertuples()) for of in (own["origin"] == "", learned))
    pair = most_seeds(rows, plain, fixed, "setting")
    yield Ingredient("control", "learned SIDs, frozen, against static", "", pair)
    random = choose_contents(rows, dataset, "static", "random")
    yield Ingredient("control", "random codes against text", "static", random)


def corrected(claims: Sequence[Claim]) -> list[Claim]:
    """The claims with p-values Holm-adjusted over all of them; one without p is not counted."""
    raw = [None if c.difference is None else c.difference.p_value for c in claims]
    adjusted = iter(holm([p for p in raw if p is not None]))
    return [
        c if p is None else replace(c, adjusted_p=next(adjusted))
        for c, p in zip(claims, raw, strict=True)
    ]


def _pair(
    rows: pd.DataFrame, dataset: str, method: str, baseline: str
) -> tuple[pd.Series, pd.Series] | None:
    try:
        return choose_pair(rows, dataset, method, baseline)
    except DigerError:
        return None
