"""Is differentiable better than static? Lifts with intervals, baselines and published figures."""

from __future__ import annotations

import re

import pandas as pd

from dashboard.analysis import BASELINE, claims, comparable, pair_claim
from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.published import published
from diger.charts import lift
from diger.charts.tables import claims_table
from diger.errors import DigerError
from diger.statistics.decision import advice, decide
from diger.statistics.verdict import Claim, in_words

MAIN = "ndcg@10"
_ON_PAPER = (
    *("dataset", "metric", "arm", "baseline value", "arm value", "lift", "95 % interval"),
    *("difference of each seed", "p, Holm", "p of the randomisation test", "verdict", "why blank"),
)
_READING = (
    "The triangle is the mean lift over seeds, each small tick one seed. The bar is the 95 % "
    "interval that goes with p: it spans a t-interval over seeds and a bootstrap over seeds and "
    "users."
)


def decision(lens: Lens) -> Panel:
    """The answer, how sure it is, why, and what would change it."""
    found = claims(lens, MAIN, simulated=False)
    if not any(c.difference for c in found):
        raise DigerError("; ".join(_reasons(found)) or "no real data among the datasets shown")
    library, challenger = lens.library, lens.view.challenger

    def compare(before: pd.Series, after: pd.Series) -> Claim:
        return pair_claim(lens, before, after, MAIN)

    lines = lens.remember(
        ("decide", challenger, repr(found), tuple(library.bundles)),
        lambda: decide(found, library.summary, library.of_group, compare, challenger, BASELINE),
    )
    rows = [(head, part) for head, short, parts in lines for part in (short, *parts)]
    table = pd.DataFrame(rows, columns=["line", "words"])
    return Panel(
        key="verdict-decision",
        finding=advice(found, challenger, BASELINE),
        figures=(Figure(card=lines, table=table),),
        notes=(
            *_always(lens),
            f"Changes are in {MAIN}, intervals 95 %. What stands under Why is no verdict.",
        ),
        terms=("verdict", "interval", "lift", "Holm"),
        hashes=tuple(b.hash for c in found for g in c.groups for b in library.of_group(g)),
    )


def main_metric(lens: Lens) -> Panel:
    """The lift in ndcg@10 on real data: the declared family."""
    return _forest(lens, MAIN, simulated=False, key="verdict-ndcg")


def second_metric(lens: Lens) -> Panel:
    """The lift in another metric on real data: the one chosen, else recall@10."""
    return _forest(lens, _second(lens), simulated=False, key="verdict-second")


def details(lens: Lens) -> Panel:
    """Every number behind the two charts."""
    found = [
        c
        for metric in (MAIN, _second(lens))
        for simulated in (False, True)
        for c in claims(lens, metric, simulated=simulated)
    ]
    compared = [c for c in found if c.difference is not None]
    if not compared:
        raise DigerError("; ".join(_reasons(found)) or "no datasets to compare on")
    return Panel(
        key="verdict-details",
        finding=f"Every comparison with its numbers: {len(compared)} made, "
        f"{len(found) - len(compared)} not possible",
        figures=(Figure(table=claims_table(found), paper=_ON_PAPER),),
        notes=(
            "The family of claims, declared beforehand: on every real dataset one static arm "
            f"against one {lens.view.challenger} arm of the same content, tokenizer and training, "
            "the pair with the most seeds and the best validation mean. Its p-values are "
            "Holm-adjusted within each metric.",
            "The randomisation test is about these trained models, not about the method.",
        ),
        terms=("verdict", "interval", "Holm", "randomisation test", "lift"),
        blank=_reasons(found),
    )


def simulated(lens: Lens) -> Panel:
    """The same on simulated data, apart."""
    return _forest(lens, lens.view.metric, simulated=True, key="verdict-simulated")


def beside(lens: Lens) -> Panel:
    """Every arm beside the baselines and the published figures, a chart a dataset."""
    metric = lens.view.metric
    figures, hashes = [], []
    blank: list[str] = []
    for dataset in lens.datasets:
        allowed, reasons = comparable(lens, dataset, metric)
        blank += reasons
        rows = _standings(lens, allowed, dataset, metric)
        if rows["published"].all():
            continue
        figures.append(
            Figure(
                title=lens.title(dataset), chart=lift.beside(rows, metric), table=rows, wide=False
            )
        )
        hashes += list(lens.runs.loc[lens.runs["dataset"] == dataset, "hash"])
    if not figures:
        raise DigerError(f"no run has a test {metric}")
    return Panel(
        key="verdict-beside",
        finding=f"Every arm beside the baselines and what others published ({metric})",
        figures=tuple(figures),
        notes=(
            "Filled marks are our runs: mean over seeds, the bar from the lowest to the highest "
            "seed. Hollow marks are published figures, with their own data processing, protocol "
            "and mostly unconstrained decoding: beside ours for orientation, not compared.",
        ),
        terms=("sasrec", "popularity", "decoding", metric.split("@")[0] + "@k"),
        hashes=tuple(hashes),
        blank=tuple(blank),
    )


def _forest(lens: Lens, metric: str, *, simulated: bool, key: str) -> Panel:
    found = claims(lens, metric, simulated=simulated)
    if not found:
        if simulated:
            return Panel(key=key, finding="")
        raise DigerError(
            "no real data among the datasets shown, so no verdict; simulated data is further down"
        )
    known = [c for c in found if c.difference is not None and c.difference.lift is not None]
    challenger = lens.view.challenger
    finding = f"{in_words(found, challenger, BASELINE)} ({metric})"
    if simulated:
        said = "; ".join(f"{c.title}: {c.words(p=False)}" for c in found)
        finding = (
            f"Simulated data, not counted, {challenger} against {BASELINE} on {said} ({metric})"
        )
    blank = _reasons(found)
    if not known:
        return Panel(key=key, finding=finding, blank=blank, missing="; ".join(blank) or finding)
    used = [b.hash for c in known for g in c.groups for b in lens.library.of_group(g)]
    return Panel(
        key=key,
        finding=finding,
        figures=(lift_figure(known, metric, BASELINE),),
        notes=(*(_always(lens) if metric == MAIN else ()), _READING, *_cautions(lens, known)),
        terms=("lift", "interval", "verdict", "static", challenger, metric.split("@")[0] + "@k")
        + (("simulated",) if simulated else ()),
        hashes=tuple(used),
        blank=blank,
    )


def _second(lens: Lens) -> str:
    return "recall@10" if lens.view.metric == MAIN else lens.view.metric


def _always(lens: Lens) -> tuple[str, ...]:
    """Said where the metric chosen changes nothing."""
    if lens.view.metric == MAIN:
        return ()
    return (f"Always {MAIN}, the metric declared beforehand, whatever metric is chosen.",)


def lift_figure(known: list[Claim], metric: str, baseline: str, title: str = "") -> Figure:
    """The forest plot of claims that have a lift, a row a claim."""
    records, seeds = [], []
    for one in known:
        found = one.difference
        assert found is not None and found.lift is not None
        band = one.band
        records.append(
            {
                "title": one.title,
                "method": re.split(r"\W", one.arm)[0],
                "lift": found.lift,
                "low": band.low if band else float("nan"),
                "high": band.high if band else float("nan"),
                "label": one.words(),
                "head": f"{one.title}: {one.said}" if one.said else one.title,
                "numbers": one.numbers(),
                "line": f"{one.title}: {one.words(p=False)}",
                "arm": one.arm,
                "baseline": one.baseline,
            }
        )
        seeds += [
            {"title": one.title, "seed": seed, "lift": value / found.baseline}
            for seed, value in found.per_seed
            if found.baseline > 0 and found.seeds > 1
        ]
    frame, ticks = pd.DataFrame(records), pd.DataFrame(seeds, columns=["title", "seed", "lift"])
    return Figure(
        title=title,
        chart=lift.forest(frame, ticks, metric, baseline),
        table=frame.drop(columns=["head", "numbers", "line"]),
        slide=lift.forest(frame, ticks, metric, baseline, slide=True),
    )


def mean_and_range(lens: Lens, row: pd.Series | None, metric: str) -> dict[str, object]:
    """Value, lowest and highest seed of an arm for `diger.charts.lift.beside`; blank for None."""
    nan = float("nan")
    blank = {"value": nan, "low": nan, "high": nan, "published": False, "note": "not run"}
    values = None
    if row is not None:
        values = lens.runs.loc[lens.runs["group"] == row["group"]].get(f"test_{metric}")
    if row is None or values is None or values.isna().any():
        return blank
    seeds = "one seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    return {
        "value": float(values.mean()),
        "low": float(values.min()),
        "high": float(values.max()),
        "published": False,
        "note": f"{seeds}; {row['decoding']}",
    }


def _standings(lens: Lens, rows: pd.DataFrame, dataset: str, metric: str) -> pd.DataFrame:
    """Comparable arms of a dataset, best first, then what others published."""
    records = [
        mean_and_range(lens, row, metric) | {"name": row["arm"], "method": row["method"]}
        for _, row in rows.iterrows()
    ]
    known = [one for one in records if one["value"] == one["value"]]  # not NaN
    ours = sorted(known, key=lambda r: -float(str(r["value"])))
    figures = published()
    figures = figures[(figures["dataset"] == dataset) & (figures["metric"] == metric)]
    figures = figures.assign(
        name="published: " + figures["name"],
        method="",
        published=True,
        note=figures["source"] + "; " + figures["protocol"],
    )
    theirs = figures.sort_values("value", ascending=False).to_dict("records")
    columns = ["name", "method", "value", "low", "high", "published", "note"]
    return pd.DataFrame([*ours, *theirs], columns=columns)


def _cautions(lens: Lens, known: list[Claim]) -> tuple[str, ...]:
    notes = []
    few = [c for c in known if c.band and c.difference and c.difference.seeds < 5]
    if few:
        notes.append(
            "With fewer than five seeds the spread between seeds is poorly known, and the "
            "interval is a guide: read the ticks."
        )
    notes += _unequal(lens, known)
    alone = [c for c in known if c.alone]
    notes += [
        f"{c.title}: seeds {', '.join(map(str, c.alone))} have only one of the two arms and are "
        "left out."
        for c in alone
    ]
    return tuple(notes)


def _unequal(lens: Lens, known: list[Claim]) -> list[str]:
    """Arms of clearly different size: a lift between them is not the method's alone."""
    notes = []
    for one in known:
        rows = lens.summary[lens.summary["dataset"] == one.dataset].set_index("arm")
        sizes = [
            float(rows["parameters"].get(arm, float("nan"))) for arm in (one.baseline, one.arm)
        ]
        if min(sizes) > 0 and max(sizes) > 1.25 * min(sizes):
            notes.append(
                f"{one.title}: not the same model: {one.baseline} has {sizes[0]:,.0f} parameters, "
                f"{one.arm} {sizes[1]:,.0f}."
            )
    return notes


def _reasons(found: list[Claim]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(f"{c.title}: {c.reason}" for c in found if c.difference is None and c.reason)
    )


PAGE = Page(
    key="verdict",
    icon="balance",
    name="Verdict",
    question="Is differentiable better than static?",
    builders=(decision, main_metric, second_metric, details, beside, simulated),
    controls=("challenger",),
)
