"""A study in the terminal: where it stands, what it found. Blank is what was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from diger.bundle import documents
from diger.bundle.report import plain_table
from diger.statistics.randomisation import ABOUT
from diger.statistics.verdict import Claim, in_words
from diger.study.config import Study
from diger.study.progress import Cell, Estimate, State, duration, estimate, seconds_of
from diger.study.table import Results, seeds_in_words
from diger.text import printable

METRICS = ("recall@10", "ndcg@10")
_STATES: tuple[State, ...] = ("done", "unfinished", "to do", "in the way", "no data")


def plan(cells: Sequence[Cell]) -> Group:
    """Seeds of each dataset and arm by where they stand, and the time for the rest."""
    shown = [state for state in _STATES if any(cell.state == state for cell in cells)]
    table = plain_table("dataset", "arm", *(f"seeds {state}" for state in shown), "time left")
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.run.dataset, cell.run.arm), []).append(cell)
    for (dataset, arm), part in rows.items():
        seeds = [", ".join(str(c.run.seed) for c in part if c.state == state) for state in shown]
        table.add_row(dataset, arm, *seeds, str(_left(part, cells)))
    left = sum(cell.state != "done" for cell in cells)
    total = f"{len(cells) - left} of {len(cells)} runs done"
    if left:
        total += f", {left} left: {_left(cells, cells)}"
    reasons = dict.fromkeys(cell.reason for cell in cells if cell.reason)
    return Group(table, Text(f"\n{total}"), *(Text(printable(reason)) for reason in reasons))


def _left(part: Sequence[Cell], cells: Sequence[Cell]) -> Estimate:
    return estimate([cell.run for cell in part if cell.state != "done"], cells)


def print_results(console: Console, study: Study, results: Results) -> None:
    """Print the summary, the claims, and what a reader should know of both."""
    console.print(summary_table(results.summary))
    for line in _notes(results):
        console.print(Text(line))
    if study.claims is None:
        return
    for claim in results.claims:
        console.print()
        console.print(claim_table(claim))
    console.print()
    console.print(Text(f"{in_words(results.claims, study.claims.arm, study.claims.baseline)}."))


def summary_table(summary: pd.DataFrame) -> Table:
    """Mean and standard deviation over seeds on the test split, and what it cost."""
    headers = [f"test\n{metric}" for metric in METRICS]
    table = plain_table(
        *("dataset", "arm", "seeds", *headers, "validation\nndcg@10", "seconds", "s / epoch", "MiB")
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for column in table.columns[3:6]:
        column.no_wrap, column.min_width = False, 10  # a narrow terminal folds at the ±
    before = ""
    for row in summary.to_dict("records"):
        seeds = f"{row['seeds']}" if row["seeds"] == row["planned"] else _partly(row)
        table.add_row(
            row["dataset"] if row["dataset"] != before else "",
            row["arm"],
            seeds,
            *(_spread(row, f"test_{metric}") for metric in METRICS),
            _spread(row, "validation_ndcg@10"),
            _formatted(row.get("seconds"), "{:,.0f}"),
            _formatted(row.get("seconds_per_epoch"), "{:,.1f}"),
            _formatted(row.get("memory_bytes"), "{:,.0f}", 2**20),
        )
        before = row["dataset"]
    return table


def ended(cell: Cell) -> str:
    """The line for a run that is done: its figure and its time."""
    assert cell.bundle is not None
    test = documents.headline(cell.bundle.metrics, "test")
    figure = test["metrics"].get("ndcg@10") if test else None
    shown = "" if figure is None else f"test ndcg@10 {figure:.4f}, "
    return f"{cell.run.key}: {shown}{duration(seconds_of(cell.bundle) or 0)}"


def claim_table(claim: Claim) -> RenderableType:
    """One claim in full; why there is none where it could not be compared."""
    where = f"{claim.dataset}{' (simulated)' if claim.simulated else ''}"
    title = f"{where}: {claim.arm} against {claim.baseline}, test {claim.metric}"
    found = claim.difference
    if found is None:
        return Text(printable(f"{title}: {claim.reason}"))
    table = Table.grid(padding=(0, 2))
    rows = [("means", f"{found.baseline:.4f} -> {found.arm:.4f}")]
    if found.lift is not None:
        band = found.lift_interval
        between = f" ({band.level:.0%}: {band.low:+.1%} to {band.high:+.1%})" if band else ""
        rows.append(("lift", f"{found.lift:+.1%}{between}"))
    between = ""
    if found.interval is not None:
        low, high = found.interval.low, found.interval.high
        between = f" ({found.interval.level:.0%}: {low:+.4f} to {high:+.4f}, over seeds then users)"
    rows.append(("difference", f"{found.difference:+.4f}{between}"))
    rows.append(("each seed", seeds_in_words(claim)))
    if found.p_value is not None:
        own = "" if claim.adjusted_p is None else f", Holm-corrected {claim.adjusted_p:.4f}"
        rows.append(("p", f"{found.p_value:.4f}{own}"))
    if claim.randomisation_p is not None:
        rows.append(("randomisation", f"p {claim.randomisation_p:.4f} over users, {ABOUT}"))
    if claim.alone:
        rows.append(("left out", f"seeds of one arm only: {', '.join(map(str, claim.alone))}"))
    rows.append(("outcome", claim.outcome))
    for label, value in rows:
        table.add_row(Text(label, style="bold"), Text(printable(value)))
    return Group(Text(printable(title), style="bold"), table)


def _notes(results: Results) -> list[str]:
    notes = [printable(f"left out: {reason}") for reason in results.left_out]
    if len(results.versions) > 1:
        notes.append(
            f"made by {len(results.versions)} versions of the code: {', '.join(results.versions)}"
        )
    real = [claim for claim in results.claims if not claim.simulated]
    run = sum(claim.adjusted_p is not None for claim in real)
    if 0 < run < len(real):
        notes.append(
            f"of {len(real)} declared claims on real data {run} can be judged; all count in the "
            "correction"
        )
    machines = [m for m in dict.fromkeys(results.summary["hardware"].dropna()) if m]
    if len(machines) > 1:
        notes.append(f"made on different machines, seconds do not compare: {'; '.join(machines)}")
    elif machines:
        notes.append(f"made on {machines[0]}")
    return [printable(note) for note in notes]


def _partly(row: Mapping[Any, Any]) -> str:
    return f"{row['seeds']} of {row['planned']}" if row["seeds"] else ""


def _spread(row: Mapping[Any, Any], column: str) -> str:
    """`mean ± standard deviation`, the mean alone with one seed."""
    mean, spread = row.get(column), row.get(f"{column}_std")
    shown = _formatted(mean, "{:.4f}")
    return f"{shown} ± {_formatted(spread, '{:.4f}')}" if shown and not pd.isna(spread) else shown


def _formatted(value: Any, form: str, unit: float = 1) -> str:
    return "" if value is None or pd.isna(value) else form.format(value / unit)
