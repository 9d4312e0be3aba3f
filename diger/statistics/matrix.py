"""What each ingredient brings: content, way of training, and controls, one comparison each.

Ingredients are what SIDs are made of (`diger.statistics.runs.content_of`) and how their tokenizer
is trained. Both rows of a comparison are alike but for the ingredient. Nobody declared them
beforehand, so they make no verdict: what is said of one is its interval and both p-values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from diger.errors import DigerError
from diger.statistics.verdict import Claim, choose_contents, choose_group, choose_pair, holm

CONTENTS = ("text", "behaviour", "both")
WAYS = ("static", "detached", "differentiable")
Kind = Literal["content", "training", "control"]
Compare = Callable[[pd.Series, pd.Series], Claim]
_TRAINING = (
    ("static", "detached"),
    ("detached", "differentiable"),
    ("static", "differentiable"),
    ("static", "ste"),
    ("static", "shuffled"),
    ("static", "reassigned"),
)


@dataclass(frozen=True, eq=False)
class Ingredient:
    """One comparison: `after` instead of `before`, rows of a `summary_frame`.

    Attributes:
        kind: what differs.
        name: in words.
        pair: None where there are no two arms alike but for it.
    """

    kind: Kind
    name: str
    pair: tuple[pd.Series, pd.Series] | None


def ingredients(summary: pd.DataFrame, dataset: str) -> list[Ingredient]:
    """Every comparison of a dataset, in the order of a ladder; those not possible too."""
    measured = summary.columns.str.startswith(("test_", "corrected_"))  # wide frames are slow
    rows = summary.loc[summary["dataset"] == dataset, ~measured]
    made: list[Ingredient] = []
    for way in WAYS:
        for content in CONTENTS[1:]:
            pair = choose_contents(rows, dataset, way, content)
            named = "text and behaviour" if content == "both" else content
            made.append(Ingredient("content", f"{named} against text, {way}", pair))
    for content in CONTENTS:
        for before, after in _TRAINING if content == "text" else _TRAINING[:3]:
            pair = _pair(rows[rows["content"] == content], dataset, after, before)
            made.append(Ingredient("training", f"{after} against {before} on {content}", pair))
    declared = _pair(rows, dataset, "differentiable", "static")
    static = declared[0] if declared else choose_group(rows, dataset, "static")
    if static is None:
        return made
    frozen = rows[(rows["method"] == "static") & rows["origin"].str.startswith("SIDs of")]
    alike = frozen[frozen["setting"] == static["setting"]]
    sasrec = choose_group(rows, dataset, "sasrec")
    for name, arm in (
        ("learned SIDs, frozen, against static", alike.iloc[0] if len(alike) else None),
        ("SASRec against static", sasrec),
    ):
        made.append(Ingredient("control", name, None if arm is None else (static, arm)))
    random = choose_contents(rows, dataset, "static", "random")
    return [*made, Ingredient("control", "random codes against text, static", random)]


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
