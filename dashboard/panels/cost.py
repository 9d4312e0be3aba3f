"""Is it worth it? Quality against seconds, memory and parameters; TPME; serving latency."""

from __future__ import annotations

import pandas as pd

from dashboard.analysis import chosen, claim_of, comparable
from dashboard.panel import Figure, Lens, Page, Panel, sentence
from dashboard.panels.curves import MOST_NAMED
from dashboard.serving import latencies
from diger.bundle.reader import Bundle
from diger.charts.lift import pareto_chart
from diger.errors import DigerError
from diger.statistics.curves import pareto, tpme

# Column, its axis, what a unit is, its entry in the glossary, what a ratio of it means.
COSTS = (
    (
        *("epoch_seconds", "seconds an epoch", 1.0, "seconds an epoch"),
        "takes {:.2f} times as long an epoch as {}",
    ),
    (
        *("memory_bytes", "peak memory, MiB", 2.0**20, "memory"),
        "needs {:.2f} times the peak memory of {}",
    ),
    (
        *("parameters", "parameters", 1.0, "parameters"),
        "has {:.2f} times the parameters of {}",
    ),
)
UNNAMED = "Where there is no room for every name, the arms of more seeds have theirs."
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
    cheapest = table.iloc[0]
    return Panel(
        key="cost-tpme",
        finding=f"{sentence(cheapest['arm'])} is the cheapest of {score.notna().sum()} arms on "
        f"{lens.title(lens.dataset)} (TPME {cheapest['TPME (lower is cheaper)']:.3f})",
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
    frame = latencies(places)
    rows = frame[frame["bundle"].isin(lens.runs["bundle"])]
    if rows.empty:
        raise DigerError(
            "no benchmark of serving: put a latency.json beside the bundles (docs/dashboard.md)"
        )
    best = rows.loc[rows["p50_ms"].idxmin()]
    return Panel(
        key="cost-serving",
        finding=f"{best['bundle']} answers fastest: {best['p50_ms']:.1f} ms for half of the "
        "requests or more",
        figures=(Figure(table=rows, formats={"p50_ms": "%.1f", "p95_ms": "%.1f"}),),
        notes=("Milliseconds of one request, 50th and 95th percentile, on the hardware named.",),
        hashes=tuple(lens.runs.loc[lens.runs["bundle"].isin(rows["bundle"]), "hash"]),
    )


def _pareto(lens: Lens, which: int) -> Panel:
    column, title, unit, term, ratio = COSTS[which]
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
    ).reset_index(drop=True)
    frame["front"] = pareto(frame["quality"].to_numpy(), frame["cost"].to_numpy())
    front = list(frame[frame["front"]].sort_values("cost")["arm"])
    left = sorted(set(rows["arm"]) - set(known["arm"]))
    return Panel(
        key=f"cost-{term.split()[0]}",
        finding=_price(lens, column, ratio)
        or f"{sentence(', '.join(front))}: nothing on {lens.title(lens.dataset)} is better and "
        f"needs less ({metric} against {title})",
        figures=(Figure(chart=pareto_chart(frame, metric, title), table=frame),),
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
        bundles = lens.library.of_group(group)
        return sum(_fastest(lens, bundle) for bundle in bundles) / len(bundles)

    return rows.assign(epoch_seconds=[of_group(group) for group in rows["group"]])


def _fastest(lens: Lens, bundle: Bundle) -> float:
    """Seconds of the fastest epoch; 0 where nothing is trained, NaN where it was not recorded."""

    def read() -> float:
        if bundle.about.arm.method == "popularity":
            return 0.0
        history = bundle.history
        if history is None or "seconds" not in history:
            return float("nan")
        return float(history["seconds"].min())

    return lens.remember(("fastest epoch", bundle.hash), read)


def _price(lens: Lens, column: str, ratio: str) -> str:
    """What the challenger costs and brings against static; empty where one of them is missing."""
    try:
        pair = chosen(lens, lens.dataset)
    except DigerError:
        return ""
    timed = _timed(lens, pd.DataFrame(pair))
    baseline, arm = timed.iloc[0], timed.iloc[1]
    if not (baseline[column] > 0 and arm[column] > 0):
        return ""
    one = claim_of(lens, lens.dataset, lens.view.metric)
    if one is None:
        return ""
    cost = ratio.format(arm[column] / baseline[column], baseline["arm"])
    return (
        f"{sentence(arm['arm'])} {cost}; {lens.view.metric} on {lens.title(lens.dataset)}: "
        f"{one.words()}"
    )


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
