"""What differs between two bundles: configuration, metrics, curves, items' SIDs."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.panels.curves import curve_figure
from dashboard.view import METRICS
from diger.bundle import schema
from diger.bundle.reader import Bundle
from diger.bundle.settings import leaves
from diger.charts.lift import dumbbell
from diger.errors import DigerError
from diger.statistics.curves import stack
from diger.statistics.paired import pair, refusals
from diger.statistics.randomisation import ABOUT, randomisation_p
from diger.statistics.runs import run_row
from diger.statistics.sids import changed_items

MOST_ITEMS = 500


def metrics(lens: Lens) -> Panel:
    """Test metrics of both, with the randomisation test over users."""
    a, b = _two(lens)
    first, second = run_row(a), run_row(b)
    why = refusals(first, second, METRICS[0])
    if why:
        raise DigerError(f"{a.name} and {b.name} cannot be compared: {'; '.join(why)}")
    records = []
    for metric in METRICS:
        column = f"test_{metric}"
        if column in first and column in second:
            records.append({"metric": metric, "a": first[column], "b": second[column]})
    frame = pd.DataFrame(records)
    frame["difference"] = frame["b"] - frame["a"]
    frame["p"] = [_p(lens, a, b, metric) for metric in frame["metric"]]
    main = frame.iloc[0]
    names = [(a.name, first["method"]), (b.name, second["method"])]
    table = frame.rename(columns={"a": a.name, "b": b.name, "p": "p of the randomisation test"})
    return Panel(
        key="compare-metrics",
        finding=f"{main['metric']}: {a.name} {main['a']:.4f}, {b.name} {main['b']:.4f}; of two "
        "runs there is no verdict",
        figures=(
            Figure(chart=dumbbell(frame, names), table=frame),
            Figure(table=table, formats={c: "%.4f" for c in table.columns if c != "metric"}),
        ),
        notes=(f"Two runs, one seed each. The randomisation test over users is {ABOUT}.",),
        terms=("randomisation test",),
        hashes=(a.hash, b.hash),
    )


def configuration(lens: Lens) -> Panel:
    """Everything in the configuration that differs."""
    a, b = _two(lens)
    left, right = dict(leaves(a.config)), dict(leaves(b.config))
    keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
    table = pd.DataFrame(
        [{"setting": k, a.name: _shown(left, k), b.name: _shown(right, k)} for k in keys],
        columns=["setting", a.name, b.name],
    )
    same = len({**left, **right}) - len(keys)
    return Panel(
        key="compare-configuration",
        finding=f"{len(keys)} settings and facts differ, {same} are the same",
        figures=(Figure(table=table),) if len(keys) else (),
        hashes=(a.hash, b.hash),
    )


def curves(lens: Lens) -> Panel:
    """Validation over epochs, both."""
    a, b = _two(lens)
    column = f"validation_{lens.view.metric}"
    names = [(x, _short(x, other)) for x, other in ((a, b), (b, a))]
    frame = stack([(x, name, 0) for x, name in names], schema.HISTORY, [column])
    chosen = pd.DataFrame(
        [{"arm": name, "seed": 0, "epoch": x.about.selected_epoch} for x, name in names]
    ).dropna()
    figure = curve_figure(frame, column, f"validation {lens.view.metric}", chosen=chosen)
    best = frame.dropna(subset=[column]).groupby("arm", sort=False)[column].max()
    words = ", ".join(f"{arm} {value:.4f}" for arm, value in best.items())
    return Panel(
        key="compare-curves",
        finding=f"Best validation {lens.view.metric}: {words}",
        figures=(figure,),
        terms=("epoch",),
        hashes=(a.hash, b.hash),
    )


def items(lens: Lens) -> Panel:
    """Items whose SIDs differ."""
    a, b = _two(lens)
    if a.items is None or b.items is None:
        raise DigerError("one of the two has no items.parquet")
    frame = changed_items(a.items, b.items)
    share = len(frame) / max(len(a.items), 1)
    table = frame.head(MOST_ITEMS).rename(columns={"sid_a": a.name, "sid_b": b.name})
    return Panel(
        key="compare-items",
        finding=f"{len(frame):,} of {len(a.items):,} items ({share:.0%}) have other codes",
        figures=(Figure(table=table),) if len(frame) else (),
        notes=(
            f"Most popular first, {MOST_ITEMS} at most; suffix aside. `level` is the first that "
            "differs. Two seeds number their codes differently: all items differ then, and it "
            "means nothing.",
        ),
        terms=("SID",),
        hashes=(a.hash, b.hash),
    )


def _two(lens: Lens) -> tuple[Bundle, Bundle]:
    found = [lens.library.named(name) for name in (lens.view.a, lens.view.b)]
    first, second = found
    if first is None or second is None:
        raise DigerError("choose two bundles above")
    if first.hash == second.hash:
        raise DigerError("these are the same bundle: choose another")
    return first, second


def _short(one: Bundle, other: Bundle) -> str:
    """A bundle's name for the end of a line, which is narrow: not the dataset of both."""
    shared = f"{one.about.dataset.name}-"
    name = one.name.removeprefix(shared) if other.name.startswith(shared) else one.name
    return re.sub(r"-(s\d+)$", r" \1", name)  # where a line may break


def _p(lens: Lens, a: Bundle, b: Bundle, metric: str) -> float:
    def make() -> float:
        # Other seeds may be compared here too, so the runs are paired by user only.
        paired = pair([a], [b], metric=metric, by_seed=False)
        before, after = paired.values(metric)
        return randomisation_p((after - before)[0])

    try:
        return lens.remember(("two", a.hash, b.hash, metric), make)
    except DigerError:
        return float("nan")


def _shown(values: dict[str, Any], key: str) -> str:
    return "" if values.get(key) is None else str(values[key])


PAGE = Page(
    key="compare",
    icon="compare_arrows",
    name="Compare two bundles",
    question="What differs between two bundles?",
    builders=(metrics, curves, configuration, items),
    controls=("a", "b"),
)
