"""A panel: one finding with the figures behind it, the same on a page, on a slide and on paper.

Pages are lists of builders, functions from a `Lens` to a panel. They know nothing of Streamlit. A
builder that cannot say anything raises `DigerError`, and its message stands where the panel would.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import altair as alt
import pandas as pd

from dashboard.library import Library
from dashboard.view import View, WatchedView
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.text import printable

Value = TypeVar("Value")
# Width and height that a slide's chart is laid out for, in units of type of 13 px: enlarged to type
# of 28 px they are what a screen of 1280 x 720 has room for.
SLIDE = (548, 140)
_LOG = logging.getLogger("diger.dashboard")


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart or a table with what it shows.

    Attributes:
        title: what it shows; empty where the finding says it.
        chart: None for a table.
        table: None for a chart; for a chart, the data behind it may be given as well.
        wide: whether it needs the full width of a screen.
        formats: number formats (printf) of the table's columns.
        best: cells of the table that are in bold; none where it is None.
        paper: columns of the table that go on paper, where there is less room; none means all.
        card: headings, each with a line and its parts, drawn in place of chart or table.
        slide: the chart for a slide, where type is larger than on a page; the same where None.
    """

    title: str = ""
    chart: alt.LayerChart | None = None
    table: pd.DataFrame | None = None
    wide: bool = True
    formats: dict[str, str] = field(default_factory=dict)
    best: pd.DataFrame | None = None
    paper: tuple[str, ...] = ()
    card: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    slide: alt.LayerChart | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """One finding.

    Attributes:
        key: for links and file names.
        finding: what the numbers say, in a sentence; plain text.
        figures: behind it.
        notes: how to read it, and its limits.
        terms: entries of the glossary that explain its words.
        hashes: of the bundles it was made from.
        missing: why there is nothing; then there are no figures.
        blank: cells that stay blank, each with its reason.
    """

    key: str
    finding: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    missing: str = ""
    blank: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lens:
    """The library seen through a view: what every builder gets."""

    library: Library
    view: View

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Runs that the filters leave."""
        return self._kept(self.library.runs)

    @cached_property
    def with_variants(self) -> pd.DataFrame:
        """The same with the variants, whether or not they are shown: those shown first."""
        rest = Lens(self.library, self.view.but(variants=True)).runs
        return pd.concat([self.runs, rest[~rest["hash"].isin(self.runs["hash"])]])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Arms that the filters leave, one row a dataset and arm."""
        return self._kept(self.library.summary)

    @cached_property
    def datasets(self) -> list[str]:
        """Datasets that the filters leave, real ones first."""
        frame = self.summary.drop_duplicates("dataset").sort_values(
            ["simulated", "dataset"], kind="stable"
        )
        return list(frame["dataset"])

    @cached_property
    def dataset(self) -> str:
        """The dataset that single-dataset panels show; by default one with something to compare."""
        if not self.datasets:
            raise DigerError("no runs: the filters leave none, or there are no bundles yet")
        if self.view.dataset in self.datasets:
            return self.view.dataset
        compared = set(self.summary.loc[self.summary["method"] == self.view.challenger, "dataset"])
        return next((one for one in self.datasets if one in compared), self.datasets[0])

    def legend(self, runs: pd.DataFrame) -> tuple[str, ...]:
        """What a part of the arms' names stands for, where one has it."""
        both = runs["arm"].str.contains(" on both").any()
        return ("“on both”: SIDs made of text and behaviour",) if both else ()

    def title(self, dataset: str) -> str:
        """A dataset's title, saying so where it is simulated."""
        return self.library.titles.get(dataset, dataset)

    def of_dataset(self) -> pd.DataFrame:
        """Summary rows of the dataset shown, of one version of its data."""
        return self._one_version(self.summary, self.dataset)

    def runs_of(self, dataset: str) -> pd.DataFrame:
        """Runs of a dataset that the filters leave, of one version of its data.

        Where a name stands for several versions (fingerprints), it is that of the most runs: runs
        on other data never share a chart.
        """
        return self._one_version(self.runs, dataset)

    def stacked(self, dataset: str) -> list[tuple[Bundle, str, int]]:
        """Bundle, arm and seed of every run of `runs_of`."""
        return [
            (self.library.bundles[row.hash], row.arm, int(row.seed))
            for row in self.runs_of(dataset).itertuples()
        ]

    def _one_version(self, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
        runs = self.runs[self.runs["dataset"] == dataset]
        frame = frame[frame["dataset"] == dataset]
        if runs["fingerprint"].nunique() < 2:
            return frame
        return frame[frame["fingerprint"] == runs["fingerprint"].mode().iloc[0]]

    def remember(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """A result by key; the key must hold the hashes of all bundles that go in."""
        return self.library.memory.get(key, make)

    def _kept(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.view.data:
            frame = frame[frame["dataset"].isin(self.view.data)]
        if self.view.arms:
            frame = frame[frame["arm"].isin(self.view.arms)]
        elif not self.view.variants:
            frame = frame[~frame["group"].isin(self.library.variants)]
        return frame


def sentence(text: object) -> str:
    """`text` with a capital at the beginning."""
    words = str(text)
    return words[:1].upper() + words[1:]


Builder = Callable[[Lens], Panel]


@dataclass(frozen=True)
class Page:
    """One question.

    Attributes:
        key: its path in the URL.
        icon: in the navigation, by its name among the Material symbols.
        name: in the navigation.
        question: its title.
        builders: of its panels, the main finding first.
        controls: fields of the view that it offers beside the filters.
    """

    key: str
    icon: str
    name: str
    question: str
    builders: tuple[Builder, ...]
    controls: tuple[str, ...] = ()


def build(builder: Builder, lens: Lens) -> Panel:
    """The builder's panel, remembered; a failure becomes a panel that says why it is missing.

    What counts of the view are the fields that the builder reads, so a change of another costs
    nothing. They are known only after the first run, and may become more.
    """
    base = (builder.__module__, builder.__name__, tuple(sorted(lens.runs["hash"])))
    read: set[str] = lens.remember(("read", *base), set)
    watched = WatchedView(lens.view)

    def make() -> Panel:
        panel = builder(Lens(lens.library, watched))
        read.update(watched.read)
        damaged = lens.library.damaged
        lost = [printable(damaged[one], 300) for one in panel.hashes if one in damaged]
        return replace(panel, blank=(*panel.blank, *lost))

    def key() -> Hashable:
        return (*base, tuple((name, getattr(lens.view, name)) for name in sorted(read)))

    try:
        before = key()
        panel = lens.remember(before, make)
        if key() != before:
            lens.remember(key(), lambda: panel)
        return panel
    except DigerError as error:
        return Panel(key=builder.__name__, finding="", missing=printable(str(error), 400))
    except Exception as error:
        # A fault of ours: the page stays up, the details go to the log.
        _LOG.exception("panel %s failed", builder.__name__)
        kind = type(error).__name__
        return Panel(
            key=builder.__name__, finding="", missing=f"this chart could not be drawn ({kind})"
        )


def panels_of(page: Page, lens: Lens) -> Iterator[Panel]:
    """A page's panels, one after another; one reason for several missing ones is given once."""
    said: set[str] = set()
    for builder in page.builders:
        panel = build(builder, lens)
        if not (panel.finding or panel.missing):  # not even a reason to give
            continue
        if panel.missing and not panel.finding:
            if panel.missing in said:
                continue
            said.add(panel.missing)
        yield panel
