"""The data report: what a dataset looks like, and which test targets are out of the ordinary.

Numbers are plain; `report_table` lays them out for a terminal. A target is cold if it never occurs
among training events, and seen if it is already in its own history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from diger.data.dataset import Dataset
from diger.data.invariants import TEXT_COLUMNS
from diger.data.log import first_of_pairs
from diger.data.prepare import ReadingCounts

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class DataReport:
    """Counts of a dataset.

    A target is cold if it has no training event, and seen if it is already in its own history.
    """

    name: str
    split: str
    users: int
    items: int
    events: int
    density: float  # distinct (user, item) pairs / (users x items)
    repeated_events: int  # with an item the user had before
    users_with_repeats: int  # with at least one such event
    training_events: int
    training_examples: int  # targets in training, one per event but each user's first
    length_mean: float  # events a user, held-out ones included
    length_quantiles: tuple[float, ...]  # events a user at `QUANTILES`
    items_without_text: int  # no title, description, brand or categories
    items_without_title: int
    items_not_in_training: int  # no training event
    validation_targets: int
    cold_validation_targets: int
    seen_validation_targets: int
    test_targets: int
    cold_test_targets: int
    seen_test_targets: int


def data_report(dataset: Dataset) -> DataReport:
    """Count everything in `DataReport`."""
    lengths = np.diff(dataset.offsets)
    owner = np.repeat(np.arange(dataset.n_users), lengths)
    repeat = ~first_of_pairs(owner, dataset.events)
    popularity = dataset.training_popularity()
    train_lengths = dataset.train_end - dataset.offsets[:-1]
    validation = dataset.validation_at[dataset.validation_at >= 0]
    test = dataset.test_at[dataset.test_at >= 0]
    filled = {c: dataset.items[c].map(bool).to_numpy(dtype=bool) for c in TEXT_COLUMNS}
    return DataReport(
        name=dataset.name,
        split=dataset.info.split,
        users=dataset.n_users,
        items=dataset.n_items,
        events=dataset.n_events,
        density=int((~repeat).sum()) / (dataset.n_users * dataset.n_items),
        repeated_events=int(repeat.sum()),
        users_with_repeats=len(np.unique(owner[repeat])),
        training_events=int(train_lengths.sum()),
        training_examples=int(np.maximum(train_lengths - 1, 0).sum()),
        length_mean=float(lengths.mean()),
        length_quantiles=tuple(float(q) for q in np.quantile(lengths, QUANTILES)),
        items_without_text=int((~np.logical_or.reduce(list(filled.values()))).sum()),
        items_without_title=int((~filled["title"]).sum()),
        items_not_in_training=int((popularity == 0).sum()),
        validation_targets=len(validation),
        cold_validation_targets=int((popularity[dataset.events[validation]] == 0).sum()),
        seen_validation_targets=int(repeat[validation].sum()),
        test_targets=len(test),
        cold_test_targets=int((popularity[dataset.events[test]] == 0).sum()),
        seen_test_targets=int(repeat[test].sum()),
    )


def report_table(report: DataReport, counts: ReadingCounts | None = None) -> Table:
    """Lay a report out for a terminal; with `counts`, also what was left out in preparing.

    Lines that would say that nothing was left out are not shown.
    """
    table = Table(title=Text(f"{report.name} ({report.split})"), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    least, *quartiles, high, most = (f"{length:g}" for length in report.length_quantiles)
    spread = f"{least} to {most}; quartiles {', '.join(quartiles)}; 95%: {high}"
    repeated = _share(report.repeated_events, report.events)
    repeated += f", by {report.users_with_repeats:,} users"
    untitled = f"no title: {report.items_without_title:,}"
    rows: list[tuple[str, int, str]] = [
        ("users", report.users, ""),
        ("items", report.items, ""),
        ("events", report.events, f"density {report.density:.3%}"),
        ("training events", report.training_events, f"{report.training_examples:,} examples"),
        ("repeated events", report.repeated_events, repeated),
        ("items with no text", report.items_without_text, untitled),
        ("items not in training", report.items_not_in_training, ""),
    ]
    for kind in ("validation", "test"):
        total = getattr(report, f"{kind}_targets")
        cold = getattr(report, f"cold_{kind}_targets")
        seen = getattr(report, f"seen_{kind}_targets")
        rows += [
            (f"{kind} targets", total, f"{_share(total, report.users)} of users"),
            ("  never seen in training", cold, _share(cold, total)),
            ("  already in the history", seen, _share(seen, total)),
        ]
    for label, number, note in rows:
        table.add_row(label, f"{number:,}", note)
    table.add_row("events a user", f"{report.length_mean:.2f}", spread)
    if counts is not None:
        _add_counts(table, counts)
    return table


def _add_counts(table: Table, counts: ReadingCounts) -> None:
    table.add_section()
    of_whom = f"of {counts.users_read:,} users with {counts.items_read:,} items"
    table.add_row("events read", f"{counts.events_read:,}", of_whom)
    for label, number, note in (
        ("repeats dropped", counts.repeats_dropped, ""),
        ("events outside the core", counts.events_outside_core, ""),
        ("items without a record", counts.items_without_record, "kept, with no text"),
        ("item records unused", counts.item_records_unused, "no interactions left"),
        ("item records repeated", counts.item_records_repeated, "the first was kept"),
    ):
        if number:
            table.add_row(label, f"{number:,}", note)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
