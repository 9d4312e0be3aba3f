"""Panels of curves over epochs, shared by the training, codebook and drift pages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import altair as alt
import pandas as pd

from dashboard.panel import SLIDE, Figure, Lens
from diger.bundle import schema
from diger.bundle.reader import Bundle
from diger.charts.curves import HEIGHT, curve
from diger.errors import DigerError
from diger.statistics.curves import bands, stack

SELECTED = "Marks are the epochs that were selected on validation."
MOST_NAMED = 6
BANDS = (
    "Thin lines are seeds, thick lines their mean where every seed has a value, bands the range. "
    "Where there is no room for every name, lines that stand apart have theirs."
)


def history(lens: Lens, columns: tuple[str, ...]) -> pd.DataFrame:
    """Columns of the epochs of all runs of the dataset shown, remembered."""
    return _stacked(lens, schema.HISTORY, columns)


def levels(lens: Lens, columns: tuple[str, ...]) -> pd.DataFrame:
    """Columns of the levels of all runs; codes that were fixed are drawn through to the end.

    A static run has one row a level, at epoch 0, and its codes never change: the same value at the
    last epoch of the others makes a line of it.
    """
    frame = _stacked(lens, schema.LEVELS, columns)
    if frame.empty:
        return frame
    last = int(frame["epoch"].max())
    if last == 0:
        return frame
    fixed = frame.groupby(["arm", "seed"])["epoch"].transform("max") == 0
    return pd.concat([frame, frame[fixed].assign(epoch=last)], ignore_index=True)


def selected(lens: Lens) -> pd.DataFrame:
    """The epoch each run was taken from: `arm, seed, epoch`."""
    runs = lens.runs_of(lens.dataset)
    frame = runs[["arm", "seed", "selected_epoch"]].rename(columns={"selected_epoch": "epoch"})
    return frame.dropna()


def curve_figure(
    frame: pd.DataFrame,
    value: str,
    title: str,
    *,
    name: str = "",
    chosen: pd.DataFrame | None = None,
    number: str = "~g",
    zero: bool = False,
    wide: bool = True,
) -> Figure:
    """A figure of one value over epochs.

    Raises:
        DigerError: no run recorded it.
    """

    def chart(height: int, room: float) -> alt.LayerChart:
        return curve(
            known,
            bands(known, value),
            value,
            title,
            selected=chosen,
            number=number,
            zero=zero,
            height=height,
            room=room,
        )

    known = frame.dropna(subset=[value]) if value in frame.columns else frame.iloc[:0]
    if known.empty:
        raise DigerError(f"no run here recorded {title}")
    return Figure(
        title=name,
        chart=chart(HEIGHT, 0.32 if wide else 0.42),
        table=known,
        wide=wide,
        slide=chart(SLIDE[1], 0.3),
    )


def curve_figures(
    frame: pd.DataFrame, *wanted: tuple[str, str, str, str], chosen: pd.DataFrame | None = None
) -> tuple[Figure, ...]:
    """Narrow figures from 0, each of a column, its axis, a name and a number format.

    Raises:
        DigerError: no run recorded any of them.
    """
    figures = []
    for column, title, name, number in wanted:
        with suppress(DigerError):  # nobody recorded this one; the others stand
            figures.append(
                curve_figure(
                    frame,
                    column,
                    title,
                    name=name,
                    chosen=chosen,
                    number=number,
                    zero=True,
                    wide=False,
                )
            )
    if not figures:
        raise DigerError(f"no run here recorded its {wanted[0][2].lower()} (joint training does)")
    return tuple(figures)


def hashes(lens: Lens) -> tuple[str, ...]:
    """Of all runs of the dataset shown."""
    return tuple(lens.runs_of(lens.dataset)["hash"])


def in_words(values: pd.Series, show: Callable[[float], str]) -> str:
    """Every arm with its value; of more than `MOST_NAMED`, the lowest and the highest.

    >>> in_words(pd.Series({"static": 1.0, "ste": 2.0}), "{:.0f}".format)
    'static 1, ste 2'
    """
    if len(values) <= MOST_NAMED:
        return ", ".join(f"{arm} {show(value)}" for arm, value in values.items())
    ends = [f"{show(values[arm])} ({arm})" for arm in (values.idxmin(), values.idxmax())]
    return f"from {ends[0]} to {ends[1]}, of {len(values)} arms"


def last_values(frame: pd.DataFrame, value: str) -> pd.Series:
    """Mean over seeds of each arm's last value."""
    known = frame.dropna(subset=[value]).sort_values("epoch")
    ends = known.groupby(["arm", "seed"], sort=False)[value].last()
    return ends.groupby("arm", sort=False).mean()


def _stacked(lens: Lens, table: str, columns: tuple[str, ...]) -> pd.DataFrame:
    runs = lens.stacked(lens.dataset)
    key = (table, columns, tuple((bundle.hash, arm) for bundle, arm, _ in runs))
    return lens.remember(key, lambda: stack(_readable(lens, runs, table), table, list(columns)))


def _readable(
    lens: Lens, runs: list[tuple[Bundle, str, int]], table: str
) -> list[tuple[Bundle, str, int]]:
    """Runs whose table is not damaged; one that is costs its own line, and the panel names it."""
    whole = []
    for run in runs:
        try:
            if table in run[0].manifest.files:
                run[0].frame(table)
            whole.append(run)
        except DigerError as error:
            lens.library.damaged[run[0].hash] = f"{run[0].name}, {table}: {error}"
    return whole
