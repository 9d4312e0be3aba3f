"""Are the codebooks healthy? Effective and dead codes, usage, collisions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.panels.curves import (
    BANDS,
    curve_figure,
    curve_figures,
    hashes,
    history,
    in_words,
    last_values,
    levels,
)
from diger.bundle import schema
from diger.bundle.reader import Bundle
from diger.charts.codebook import heat_map, usage_grid
from diger.charts.curves import COUNT
from diger.errors import DigerError
from diger.names import CHALLENGERS
from diger.statistics.verdict import choose_group

COLLAPSED = 0.25  # of the effective codes at the start


def effective(lens: Lens) -> Panel:
    """Effective codes per level: the sign of collapse."""
    frame = levels(lens, ("perplexity",))
    figures = _per_level(frame, "perplexity", "effective codes")
    finding = _collapse_words(frame)
    return Panel(
        key="codebook-effective",
        finding=finding,
        figures=figures,
        notes=(
            f"Collapse is named where a level keeps under {COLLAPSED:.0%} of the effective codes "
            "it began with. Epoch 0 is the start of joint training; static codes never change.",
            BANDS,
        ),
        terms=("effective codes", "ste", "SID"),
        hashes=hashes(lens),
    )


def dead(lens: Lens) -> Panel:
    """Codes no item has."""
    frame = levels(lens, ("dead",))
    figures = _per_level(frame, "dead", "dead codes")
    ends = frame.dropna(subset=["dead"]).sort_values("epoch")
    ends = ends.groupby(["arm", "seed", "level"], sort=False)["dead"].last()
    total = ends.groupby(["arm", "seed"]).sum().groupby("arm").mean()
    words = in_words(total, "{:.0f}".format)
    return Panel(
        key="codebook-dead",
        finding=f"Dead codes at the end, all levels: {words}",
        figures=figures,
        terms=("dead codes",),
        hashes=hashes(lens),
    )


def usage(lens: Lens) -> Panel:
    """The heat map: how many items have each code, arms side by side."""
    grids, found = [], []
    level = lens.view.level
    for arm, method, bundle in _one_seed(lens):
        codes = bundle.codes
        if codes is None or not (codes["level"] == level).any():
            continue
        epochs = codes.loc[codes["level"] == level, "epoch"]
        wanted = int(epochs.max()) if lens.view.epoch is None else lens.view.epoch
        # The last epoch recorded up to the one asked for: fixed codes have only epoch 0.
        at = int(epochs[epochs <= wanted].max()) if (epochs <= wanted).any() else int(epochs.min())
        grids.append((arm, method, at, usage_grid(codes, at, level)))
        found.append(bundle)
    if not grids:
        raise DigerError(f"no run here recorded the use of codes at level {level}")
    most = max(int(grid["items"].max()) for *_, grid in grids)
    used = [f"{arm} uses {(grid['items'] > 0).sum()} of {len(grid)}" for arm, _, _, grid in grids]
    seed = found[0].about.seed
    return Panel(
        key="codebook-usage",
        finding=f"Codes of level {level}: {'; '.join(used)}",
        figures=tuple(
            Figure(
                title=f"{arm}, epoch {at}",
                chart=heat_map(grid, most),
                table=grid[["code", "items"]],
                wide=False,
            )
            for arm, _, at, grid in grids
        ),
        notes=(
            f"Seed {seed}. One square a code, in rows of 16, code 0 at the top left; a cross is a "
            "dead code. The scale is the same for all arms.",
        ),
        terms=("dead codes", "effective codes", "SID"),
        hashes=tuple(bundle.hash for bundle in found),
    )


def collisions(lens: Lens) -> Panel:
    """Items that share their codes, over epochs."""
    frame = history(lens, ("collisions", "largest_group"))
    figures = curve_figures(
        frame,
        ("collisions", "items", "Items that share their codes", COUNT),
        ("largest_group", "items", "Largest group on one sequence of codes", COUNT),
    )
    ends = last_values(frame, "collisions")
    words = in_words(ends, "{:,.0f}".format)
    return Panel(
        key="codebook-collisions",
        finding=f"Items that share their codes with another at the end: {words}",
        figures=figures,
        terms=("collisions", "collision-corrected"),
        hashes=hashes(lens),
    )


def epochs_recorded(lens: Lens) -> list[int]:
    """Epochs that the heat map can show, over all runs of the dataset."""
    return _recorded(lens, "epoch")


def levels_recorded(lens: Lens) -> list[int]:
    """Levels that the heat map can show."""
    return _recorded(lens, "level")


def _recorded(lens: Lens, column: str) -> list[int]:
    tables = [bundle.codes for _, _, bundle in _one_seed(lens)]
    return sorted({int(v) for codes in tables if codes is not None for v in codes[column].unique()})


def _one_seed(lens: Lens) -> Iterator[tuple[str, str, Bundle]]:
    """Arm, method and one bundle of every SID arm: static first, the other methods' chosen arms."""
    for method in ("static", *CHALLENGERS):
        row = choose_group(lens.of_dataset(), lens.dataset, method)
        if row is None:
            continue
        bundles = lens.library.of_group(row["group"])
        wanted = [b for b in bundles if b.about.seed == lens.view.seed]
        yield str(row["arm"]), method, (wanted or bundles)[0]


def _per_level(frame: pd.DataFrame, value: str, title: str) -> tuple[Figure, ...]:
    if frame.empty or not frame[value].notna().any():
        raise DigerError(f"no run here recorded {title} (bundle file {schema.LEVELS})")
    known = frame.dropna(subset=[value])
    return tuple(
        curve_figure(
            part,
            value,
            title,
            name=f"Level {level}",
            number=COUNT,
            # Levels have so many codes that lines from 0 would lie on each other.
            zero=value == "dead",
            wide=False,
        )
        for level, part in known.groupby("level")
    )


def _collapse_words(frame: pd.DataFrame) -> str:
    known = frame.dropna(subset=["perplexity"]).sort_values("epoch")
    runs = known.groupby(["arm", "seed", "level"], sort=False)["perplexity"]
    kept = (runs.last() / runs.first()).groupby(["arm", "level"], sort=False).mean()
    moved = known.groupby("arm")["epoch"].max() > 0
    fallen = kept[kept < COLLAPSED]
    trained = [arm for arm in kept.index.get_level_values("arm").unique() if moved[arm]]
    if len(fallen):
        arms = fallen.index.get_level_values("arm").unique()
        words = "; ".join(
            f"{arm} keeps {fallen[arm].min():.0%} of its effective codes at level "
            f"{fallen[arm].idxmin()}"
            for arm in arms
        )
        return f"Collapse: {words}"
    if not trained:
        ends = last_values(known, "perplexity")
        return f"Codes were fixed: {ends.max():.0f} effective codes a level at most"
    if kept.min() >= 1:
        return "No collapse: no level has fewer effective codes than at the start"
    least = math.floor(100 * kept.min())
    return f"No collapse: every level keeps at least {least}% of its effective codes"


PAGE = Page(
    key="codebook",
    icon="grid_view",
    name="Codebook health",
    question="Are the codebooks healthy?",
    builders=(effective, usage, dead, collisions),
    controls=("dataset", "level", "epoch", "seed"),
)
