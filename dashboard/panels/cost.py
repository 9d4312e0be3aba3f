"""Is it worth it? Quality against seconds, memory and parameters; TPME; serving latency."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd

from dashboard.analysis import chosen, claim_of, comparable
from dashboard.panel import SLIDE, Figure, Lens, Page, Panel, sentence
from dashboard.panels.curves import MOST_NAMED, in_words
from dashboard.serving import latencies
from diger.bundle.reader import Bundle
from diger.charts.lift import pareto_chart
from diger.errors import DigerError
from diger.statistics.curves import pareto, tpme

# Column, its axis, what a unit is, its entry in the glossary, how a value is shown.
COSTS = (
    ("epoch_seconds", "seconds an epoch", 1.0, "seconds an epoch", "{:.1f}"),
    ("memory_bytes", "peak memory, MiB", 2.0**20, "memory", "{:,.0f}"),
    ("parameters", "parameters", 1.0, "parameters", "{:,.0f}"),
)
UNNAMED = (
    "Where there is no room for every name, the compared arms and those of more seeds have one."
)
UNDISTURBED = (
    "Seconds are those of each run's fastest epoch: other work on the machine only adds to them."
)


def seconds(lens: Lens) -> Panel:
    """Quality against seconds an epoch."""
    return _pareto(lens, 0)


def memory(lens: Lens) -> Panel:
    """Quality against memory."""
    return _pareto(lens, 1)


def parameters(lens: Lens) -> Panel:
    """Quality against parameters."""
    return _pareto(lens, 2)


def composite(lens: Lens) -> Panel:
    """TPME of every arm."""
    rows = _timed(lens, lens.of_dataset())
    metric = lens.view.metric
    score = tpme(rows.assign(seconds=rows["epoch_seconds"]))
    if score.isna().all():
        raise DigerError("no arm here has seconds, parameters and memory, which TPME needs")
    table = pd.DataFrame(
        {
            "arm": rows["arm"],
            "TPME (lower is cheaper)": score,
            metric: rows.get(f"test_{metric}"),
            "seconds an epoch": rows["epoch_seconds"],
            "seconds": rows["seconds"],
            "memory (MiB)": rows["memory_bytes"] / 2**20,
            "parameters": rows["parameters"],
            "seeds": rows["seeds"],
        }
    ).sort_values("TPME (lower is cheaper)", kind="stable", ignore_index=True)
    ordered = table.set_index("arm")["TPME (lower is cheaper)"].dropna()
    return Panel(
        key="cost-tpme",
        finding=f"TPME on {lens.title(lens.dataset)}: {in_words(ordered, '{:.2f}'.format)}",
        figures=(
            Figure(
                table=table,
                formats={
                    "TPME (lower is cheaper)": "%.3f",
                    metric: "%.4f",
                    "seconds an epoch": "%.1f",
                    "seconds": "%.1f",
                    "memory (MiB)": "%.0f",
                    "parameters": "%.0f",
                },
            ),
        ),
        notes=(
            "TPME = 0.45 f(time) + 0.10 f(parameters) + 0.45 f(memory), f(x) = (x - min) / (max - "
            "min) over the arms of this table: Fu et al., IISAN (SIGIR 2024, arXiv 2404.02059). "
            "Time is that of an epoch. On a CPU the memory is the process's, not a GPU's.",
            UNDISTURBED,
            *_hardware(lens),
        ),
        terms=("TPME", "seconds an epoch", "seconds", "memory", "parameters"),
        hashes=tuple(lens.runs_of(lens.dataset)["hash"]),
    )


def serving(lens: Lens) -> Panel:
    """Latency of recommending, where a benchmark file lies beside the bundles."""
    places = sorted({str(b.path.parent) for b in lens.library.bundles.values()})
    frame, wrong = latencies(places)
    rows = frame[frame["bundle"].isin(lens.runs["bundle"])]
    if rows.empty:
        raise DigerError(
            "; ".join(wrong)
            or "no benchmark of serving: put a latency.json beside the bundles (docs/dashboard.md)"
        )
    half = rows.groupby("bundle")["p50_ms"].min()
    return Panel(
        key="cost-serving",
        finding=f"Milliseconds within which half of the requests are answered: "
        f"{in_words(half, '{:.1f}'.format)}",
        figures=(Figure(table=rows, formats={"p50_ms": "%.1f", "p95_ms": "%.1f"}),),
        blank=wrong,
        notes=("Milliseconds of one request, 50th and 95th percentile, on the hardware named.",),
        hashes=tuple(lens.runs.loc[lens.runs["bundle"].isin(rows["bundle"]), "hash"]),
    )


def _pareto(lens: Lens, which: int) -> Panel:
    column, title, unit, term, _ = COSTS[which]
    metric = lens.view.metric
    rows, reasons = comparable(lens, lens.dataset, metric)
    rows = _timed(lens, rows)
    quality = f"test_{metric}"
    if quality not in rows.columns or not rows[quality].notna().any():
        raise DigerError(f"no run here has a test {metric}")
    known = rows.dropna(subset=[quality, column])
    if known.empty:
        raise DigerError(f"no arm here has both {metric} and {title}")
    frame = pd.DataFrame(
        {
            "arm": known["arm"],
            "method": known["method"],
            "quality": known[quality],
            "cost": known[column] / unit,
            "seeds": known["seeds"],
        }
    )
    # Where room for names is short, the two compared have theirs, then the arms of more seeds.
    frame = frame.assign(compared=known["group"].isin(_compared(lens))).sort_values(
        ["compared", "seeds"], ascending=False, kind="stable", ignore_index=True
    )
    frame["front"] = pareto(frame["quality"].to_numpy(), frame["cost"].to_numpy())
    front = list(frame[frame["front"]].sort_values("cost")["arm"])
    left = sorted(set(rows["arm"]) - set(known["arm"]))
    return Panel(
        key=f"cost-{term.split()[0]}",
        finding=_price(lens, COSTS[which])
        or f"On the front of {metric} against {title}, {lens.title(lens.dataset)}: "
        f"{', '.join(front)}",
        figures=(
            Figure(
                chart=pareto_chart(frame, metric, title),
                table=frame,
                slide=pareto_chart(frame, metric, title, width=SLIDE[0], height=SLIDE[1]),
            ),
        ),
        notes=(
            f"On the Pareto front, the dashed line: {', '.join(front)}. Means over seeds.",
            *((UNNAMED,) if len(frame) > MOST_NAMED else ()),
            *((UNDISTURBED,) if column == "epoch_seconds" else ()),
            *_hardware(lens),
        ),
        terms=("Pareto front", term),
        hashes=tuple(lens.runs_of(lens.dataset)["hash"]),
        blank=(*reasons, *(f"{arm}: not measured by every seed" for arm in left)),
    )


def _timed(lens: Lens, rows: pd.DataFrame) -> pd.DataFrame:
    """Summary rows with `epoch_seconds`, the mean over seeds of each run's fastest epoch."""

    def of_group(group: str) -> float:
        return float(pd.Series(_of_each(lens, group, "epoch_seconds")).mean(skipna=False))

    return rows.assign(epoch_seconds=[of_group(group) for group in rows["group"]])


def _of_each(lens: Lens, group: str, column: str) -> list[float]:
    """A cost of every run of an arm; NaN where it was not recorded."""
    if column != "epoch_seconds":
        return list(lens.library.runs.loc[lens.library.runs["group"] == group, column])
    return [_fastest(lens, bundle) for bundle in lens.library.of_group(group)]


def _fastest(lens: Lens, bundle: Bundle) -> float:
    """Seconds of the fastest epoch; 0 where nothing is trained, NaN where it was not recorded."""

    def read() -> float:
        if bundle.about.arm.method == "popularity":
            return 0.0
        try:
            history = bundle.history
        except DigerError:  # damaged: this run's seconds are not known, the others' are
            return float("nan")
        if history is None or "seconds" not in history:
            return float("nan")
        return float(history["seconds"].min())

    return lens.remember(("fastest epoch", bundle.hash), read)


def _price(lens: Lens, cost: tuple[str, str, float, str, str]) -> str:
    """What static and the challenger cost, run by run, and what the verdict says; or nothing."""
    column, title, unit, _, shown = cost
    try:
        pair = chosen(lens, lens.dataset)
    except DigerError:
        return ""
    one = claim_of(lens, lens.dataset, lens.view.metric)
    each = [_of_each(lens, row["group"], column) for row in pair]
    if one is None or any(not value > 0 for values in each for value in values):
        return ""
    words = []
    for row, values in zip(pair, each, strict=True):
        low, high = (shown.format(end / unit) for end in (min(values), max(values)))
        words.append(f"{row['arm']} {low if low == high else f'{low} to {high}'}")
    return (
        f"{sentence(title)}: {', '.join(words)}. {lens.view.metric} on "
        f"{lens.title(lens.dataset)}: {one.words()}"
    )


def _compared(lens: Lens) -> list[str]:
    """Groups of static and the challenger; none where there is no such pair."""
    with suppress(DigerError):
        return [row["group"] for row in chosen(lens, lens.dataset)]
    return []


def _hardware(lens: Lens) -> tuple[str, ...]:
    machines = list(dict.fromkeys(lens.of_dataset()["hardware"]))
    if len(machines) > 1:
        return (
            f"Not all on one machine, so costs are only roughly comparable: {'; '.join(machines)}.",
        )
    return (f"Measured on {machines[0]}.",) if machines else ()


PAGE = Page(
    key="cost",
    icon="savings",
    name="Cost",
    question="Is it worth its cost?",
    builders=(seconds, memory, parameters, composite, serving),
    controls=("dataset", "challenger"),
)
