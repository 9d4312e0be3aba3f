"""What does each ingredient bring? Content, way of training and controls, on every dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pandas as pd

from dashboard.analysis import BASELINE, claims, pair_claim
from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.panels.verdict import lift_figure, mean_and_range
from diger.charts import lift
from diger.charts.tables import claims_table
from diger.errors import DigerError
from diger.statistics.matrix import CONTENTS, WAYS, Ingredient, corrected, ingredients
from diger.statistics.sids import drifted
from diger.statistics.verdict import ALPHA, Claim, choose_group
from diger.text import and_list

_READING = (
    "The triangle or dot is the mean lift over seeds, small ticks the seeds, the bar the 95 % "
    "interval that goes with p.",
    "Two arms of a row are alike but for what its name says, so an arm of a row may be another "
    "run than that of the next.",
    "Nobody declared these comparisons beforehand: they make no verdict.",
    "The first p is of the one comparison, the corrected one is over all of this page.",
)


def content(lens: Lens) -> Panel:
    """What the content of the SIDs brings."""
    return _ladder(lens, "content", "Content of the SIDs")


def training(lens: Lens) -> Panel:
    """What the way of training brings, the gradient of the recommender apart."""
    return _ladder(lens, "training", "Way of training")


def controls(lens: Lens) -> Panel:
    """The ladder of controls: random codes, learned SIDs frozen, SASRec."""
    return _ladder(lens, "control", "Controls")


_RUNGS = {  # comparisons by name, as the legend calls them, and whose colour they wear
    "text and behaviour against text, static": ("behaviour beside text", "static"),
    "differentiable against static on text": ("joint training, of text", "detached"),
    "differentiable against static on both": ("joint training, of both", "differentiable"),
}


def foretold(lens: Lens) -> Panel:
    """Each rung's lift against how much the text says of behaviour."""
    shares = {
        bundle.about.dataset.name: source.foretold
        for bundle in lens.library.bundles.values()
        for source in bundle.about.content.sources
        if source.foretold is not None and source.name == "behaviour"
    }
    records = []
    for of, one in _compared(lens):
        found, share = one.difference, shares.get(one.dataset)
        if of.name in _RUNGS and share is not None and found is not None and found.lift is not None:
            records.append(_mark(lens, one, share, *_RUNGS[of.name]))
    frame = pd.DataFrame(records)
    if frame.empty:
        raise DigerError("no bundle says how much of behaviour its text foretells")
    order = [rung for rung, _ in _RUNGS.values()]
    frame = frame.sort_values("rung", key=lambda rungs: rungs.map(order.index), kind="stable")
    datasets = frame["title"].nunique()
    return Panel(
        key="matrix-foretold",
        finding="What behaviour and joint training bring, by how much of behaviour the text "
        f"foretells: {frame['share'].min():.0%} to {frame['share'].max():.0%} on {datasets} "
        f"dataset{'s' if datasets > 1 else ''} ({lens.view.metric})",
        figures=(_figure(lens, frame, "share of behaviour that the text foretells"),),
        notes=(
            "The share of the behaviour vectors' variance that a ridge regression from the text "
            "predicts for items it was not fitted on; training measures it. Where it is small, "
            "there is most that SIDs could learn beside the text.",
            "Bars are 95 % intervals over three seeds or more; a mark without one has fewer.",
        ),
        terms=("interval", "lift", "static", "differentiable"),
        hashes=tuple(dict.fromkeys(lens.runs["hash"])),
    )


def moved(lens: Lens) -> Panel:
    """Each arm's lift over static SIDs against how many of its items took another SID."""
    records, found, hashes = [], [], []
    for of, one in _compared(lens):
        if of.kind != "training" or not of.what.endswith("against static"):
            continue
        if one.difference is None or one.difference.lift is None:
            continue
        bundles = lens.library.of_group(one.groups[1])
        share, method = drifted(bundles), bundles[0].about.arm.method
        if share is not None:
            records.append(_mark(lens, one, share, method, method) | {"what": of.name})
            found.append(one)
            hashes += [bundle.hash for bundle in bundles]
    if not records:
        raise DigerError("no run whose SIDs may move has a static one to be compared with")
    frame = pd.DataFrame(records)
    most = f"Up to {frame['share'].max():.0%} of the items took another SID"
    return Panel(
        key="matrix-moved",
        finding=_words(found, most, lens),
        figures=(_figure(lens, frame, "items with another SID than at the start"),),
        notes=(
            "A mark is a way of training on a dataset, against static SIDs; where it stands to "
            "the right, more SIDs moved, in the selected model and the mean over seeds.",
            "Bars are 95 % intervals over three seeds or more; a mark without one has fewer.",
        ),
        terms=("drift", *dict.fromkeys(frame["method"]), "interval", "lift", "Holm"),
        hashes=tuple(dict.fromkeys(hashes)),
    )


def _mark(lens: Lens, one: Claim, share: float, rung: str, method: str) -> dict[str, object]:
    """A row of `lift.against_share`."""
    found, span = one.difference, one.band
    return {
        "title": lens.title(one.dataset),
        "share": share,
        "rung": rung,
        "method": method,
        "lift": found.lift if found else None,
        "low": span.low if span else None,
        "high": span.high if span else None,
        "seeds": found.seeds if found else 0,
    }


def _figure(lens: Lens, frame: pd.DataFrame, share: str) -> Figure:
    chart, slide = (
        lift.against_share(frame, lens.view.metric, share, slide=slide) for slide in (False, True)
    )
    return Figure(chart=chart, slide=slide, table=frame)


def cells(lens: Lens) -> Panel:
    """The matrix itself: every cell's mean, and those that were not run."""
    everything, metric = _everything(lens), lens.view.metric
    figures, hashes, run, total = [], [], 0, 0
    for dataset in everything.datasets:
        rows = everything.summary[everything.summary["dataset"] == dataset]
        records = list(_cells(everything, rows, dataset, metric))
        grid = pd.DataFrame(records)
        run, total = run + int(grid["value"].notna().sum()), total + len(grid)
        figures.append(
            Figure(
                title=lens.title(dataset), chart=lift.beside(grid, metric), table=grid, wide=False
            )
        )
        hashes += list(everything.runs.loc[everything.runs["dataset"] == dataset, "hash"])
    return Panel(
        key="matrix-cells",
        finding=f"Content by way of training by dataset: {run} of {total} cells have been run",
        figures=tuple(figures),
        notes=(
            f"Means of test {metric} over seeds, bars from the lowest to the highest seed. Of "
            "several arms in a cell the one of most seeds is shown, then of the best validation. "
            "Arms of different decoding or seeds stand beside each other for orientation only.",
        ),
        terms=("static", "detached", "differentiable", "sasrec", "popularity"),
        hashes=tuple(hashes),
    )


def comparisons(lens: Lens) -> Panel:
    """Every comparison with its numbers, and those not possible."""
    table = pd.concat(
        [
            claims_table([one]).drop(columns="verdict").assign(kind=of.kind, ingredient=of.name)
            for of, one in _compared(lens)
        ]
    )
    first = ["dataset", "kind", "ingredient"]
    table = table[[*first, *(c for c in table.columns if c not in first)]]
    made = int((table["seeds"] > 0).sum())
    return Panel(
        key="matrix-details",
        finding=f"Every comparison with its numbers: {made} made, {len(table) - made} not possible",
        figures=(
            Figure(
                table=table,
                paper=(*first[::2], "lift", "95 % interval", "seeds", "p", "p, Holm"),
            ),
        ),
        terms=("interval", "Holm", "randomisation test", "lift"),
    )


def _everything(lens: Lens) -> Lens:
    return Lens(lens.library, lens.view.but(variants=True))


def _compared(lens: Lens) -> list[tuple[Ingredient, Claim]]:
    """Every ingredient with its claim on the datasets shown.

    They are corrected over all datasets there are, simulated ones apart. The declared comparison
    is the verdict's own, with its correction.
    """
    every, metric = Lens(lens.library, lens.view.but(variants=True, data=())), lens.view.metric
    hashes = tuple(sorted(every.runs["hash"]))

    def make() -> list[tuple[Ingredient, Claim]]:
        main = Lens(lens.library, lens.view.but(challenger="differentiable", data=()))
        found: list[tuple[Ingredient, Claim]] = []
        for told in (False, True):
            declared = {c.groups: c for c in claims(main, metric, simulated=told) if c.groups}
            these = every.summary[every.summary["simulated"] == told]
            listed = every.remember(
                ("pairs", told, hashes),
                partial(_listed, these),
            )
            made = [_claim(every, dataset, one, told, metric) for dataset, one in listed]
            free = iter(corrected([c for c in made if c.groups not in declared]))
            judged = [declared[c.groups] if c.groups in declared else next(free) for c in made]
            found += [(o, c) for (_, o), c in zip(listed, judged, strict=True)]
        return found

    made = lens.remember(("ingredients", metric, hashes), make)
    return [one for one in made if one[1].dataset in lens.datasets]


def _listed(rows: pd.DataFrame) -> list[tuple[str, Ingredient]]:
    return [(name, one) for name in rows["dataset"].unique() for one in ingredients(rows, name)]


def _claim(lens: Lens, dataset: str, one: Ingredient, simulated: bool, metric: str) -> Claim:
    if one.pair is None:
        reason = "no two arms that are alike but for this"
        return Claim(dataset, lens.title(dataset), simulated, metric, reason=reason)
    return pair_claim(lens, *one.pair, metric)


def _ladder(lens: Lens, kind: str, what: str) -> Panel:
    """A figure an ingredient, a row a dataset and what both arms are alike in."""
    found = [(of, one) for of, one in _compared(lens) if of.kind == kind]
    figures, hashes = [], []
    for named in dict.fromkeys(of.what for of, _ in found):
        rows = [
            replace(one, title=", ".join(filter(None, (lens.title(one.dataset), of.of))))
            for of, one in found
            if of.what == named and one.difference is not None and one.difference.lift is not None
        ]
        if rows:
            figures.append(lift_figure(rows, lens.view.metric, "", named))
            hashes += [b.hash for c in rows for g in c.groups for b in lens.library.of_group(g)]
    blank = []
    for dataset in lens.datasets:
        of_it = [one for _, one in found if one.dataset == dataset]
        missing = sum(one.difference is None for one in of_it)
        if missing:
            blank.append(f"{missing} of {len(of_it)} on {lens.title(dataset)}")
    why = f"no two arms that are alike but for the ingredient: {', '.join(blank)}"
    if not figures:
        raise DigerError(why if blank else "nothing to compare")
    return Panel(
        key=f"matrix-{kind}",
        finding=_words([one for _, one in found], what, lens),
        figures=tuple(figures),
        notes=_READING if kind == "content" else _READING[2:],
        terms=("interval", "lift", "Holm", "static", "detached", "differentiable"),
        hashes=tuple(dict.fromkeys(hashes)),
        blank=(why,) if blank else (),
    )


def _words(found: list[Claim], what: str, lens: Lens) -> str:
    """What may be said: how many show a difference after the correction, and where."""
    real = [c for c in found if not c.simulated]
    known = [c for c in real or found if c.difference is not None]
    what = what if real else f"Simulated data, {what[:1].lower()}{what[1:]}"
    judged = [c for c in known if c.band]
    apart = [
        lens.title(c.dataset)
        for c in judged
        if c.adjusted_p is not None
        and c.adjusted_p <= ALPHA
        and c.difference is not None
        and c.difference.same_sign
    ]
    few = len(known) - len(judged)
    shows = "shows" if len(apart) < 2 else "show"
    said = f"{what}: {len(apart) or 'none'} of {len(known)} comparisons {shows} a difference"
    where = f", on {and_list(list(dict.fromkeys(apart)))}" if apart else ""
    rest = f", {few} {'has' if few == 1 else 'have'} too few seeds" if few else ""
    return f"{said} after correction{where}{rest} ({lens.view.metric})"


def _cells(
    lens: Lens, rows: pd.DataFrame, dataset: str, metric: str
) -> Iterator[dict[str, object]]:
    wanted = [(way, content) for content in CONTENTS for way in WAYS]
    wanted += [(BASELINE, "random"), ("ste", "text"), ("sasrec", ""), ("popularity", "")]
    for way, of in wanted:
        alike = rows[(rows["content"] == of) & (rows["freedom"] == "")]
        row = choose_group(alike, dataset, way)
        yield mean_and_range(lens, row, metric) | {
            "name": f"{of}: {way}" if of else way,
            "method": way,
        }


PAGE = Page(
    key="matrix",
    icon="grid_on",
    name="Ingredients",
    question="What does each ingredient bring?",
    builders=(content, foretold, training, moved, controls, cells, comparisons),
)
