"""Did the SIDs change? How many, at which level, when, where to; and are those read current?"""

from __future__ import annotations

from functools import partial

import pandas as pd

from dashboard.panel import Figure, Lens, Page, Panel
from dashboard.panels.curves import (
    BANDS,
    MOST_NAMED,
    SELECTED,
    curve_figure,
    curve_figures,
    hashes,
    history,
    in_words,
    last_values,
    selected,
)
from diger.bundle import tables
from diger.charts import codebook as charts
from diger.charts.codebook import ribbon_chart
from diger.errors import DigerError
from diger.statistics.sids import changes, flows, told
from diger.statistics.verdict import choose_group

FIXED = "no run here has SIDs that could change: only joint training moves them"


def over_epochs(lens: Lens) -> Panel:
    """Share of items with another SID than at the start, over epochs."""
    frame = history(lens, ("drift", "drift_epoch"))
    if frame["drift"].isna().all():
        raise DigerError(FIXED)
    figures = curve_figures(
        frame,
        ("drift", "items with another SID than at the start", "Since the start", ".0%"),
        (
            "drift_epoch",
            "items with another SID than an epoch before",
            "Since the last epoch",
            ".0%",
        ),
        chosen=selected(lens),
    )
    ends = last_values(frame, "drift")
    still = [arm for arm, value in ends.items() if value == 0]
    words = in_words(ends, "{:.0%}".format)
    finding = f"Items whose SID changed by the end: {words}"
    notes = [SELECTED, BANDS]
    if still:
        notes.insert(0, f"{', '.join(still)}: nothing moved, so it equals static by construction.")
    return Panel(
        key="drift-epochs",
        finding=finding,
        figures=figures,
        notes=tuple(notes),
        terms=("drift", "SID", "epoch"),
        hashes=hashes(lens),
    )


def by_level(lens: Lens) -> Panel:
    """At which level items changed, in the selected model."""
    frame, used = _changes(lens)
    part = frame[frame["part"] == "all"]
    mean = part.groupby(["arm", "method", "level"], sort=False, as_index=False)["share"].mean()
    levels = mean[mean["level"] > 0]
    words = [
        f"{arm} {', '.join(f'{share:.0%}' for share in shares)}"
        for arm, shares in levels.groupby("arm", sort=False)["share"]
    ]
    if len(words) > MOST_NAMED:
        words = [f"{len(words)} arms, level by level"]
    return Panel(
        key="drift-levels",
        finding=f"Items that changed at level 1, 2 and on: {'; '.join(words)}",
        figures=(Figure(chart=charts.changed_by_level(mean), table=mean),),
        notes=(
            "In the bundle's final codes against those at the start of joint training; means "
            "over seeds. An item that changed at a level may have changed at others too.",
        ),
        terms=("drift", "SID"),
        hashes=used,
    )


def head_and_tail(lens: Lens) -> Panel:
    """Whether popular or rare items moved."""
    frame, used = _changes(lens)
    part = frame[(frame["level"] == 0) & (frame["part"] != "all")]
    mean = part.groupby(["arm", "method", "part"], sort=False, as_index=False).agg(
        items=("items", "mean"), share=("share", "mean")
    )
    wide = mean.pivot(index="arm", columns="part", values="share")
    words = [
        f"{arm} {row['head']:.0%} of the head, {row['tail']:.0%} of the tail"
        for arm, row in wide.iterrows()
    ]
    if len(words) > MOST_NAMED:
        words = [f"head and tail of {len(words)} arms"]
    return Panel(
        key="drift-head",
        finding=f"Items that changed: {'; '.join(words)}",
        figures=(Figure(chart=charts.head_and_tail(mean), table=mean),),
        notes=("Filled marks are the head, hollow ones the tail; means over seeds.",),
        terms=("head and tail", "drift"),
        hashes=used,
    )


def first_code_flows(lens: Lens) -> Panel:
    """From static first codes to learned ones."""
    row = choose_group(lens.of_dataset(), lens.dataset, lens.view.challenger)
    if row is None:
        raise DigerError(f"no {lens.view.challenger} runs on {lens.title(lens.dataset)}")
    bundles = lens.library.of_group(row["group"])
    bundle = next((b for b in bundles if b.about.seed == lens.view.seed), bundles[0])
    if bundle.items is None:
        raise DigerError(f"{bundle.name} has no items.parquet")
    frame = flows(bundle.items)
    sids, start = tables.sids(bundle.items), tables.sids(bundle.items, "start")
    assert sids is not None and start is not None  # or flows() had refused
    moved = float((sids[:, 0] != start[:, 0]).mean())
    if moved == 0:
        raise DigerError(f"no item of {bundle.name} changed its first code")
    return Panel(
        key="drift-flows",
        finding=f"{moved:.0%} of items left their first code ({row['arm']}, seed "
        f"{bundle.about.seed})",
        figures=(Figure(chart=ribbon_chart(frame, str(row["method"])), table=frame),),
        notes=(
            "Left: first codes at the start of joint training (the static ones). Right: those "
            "learned. Grey ribbons stayed; coloured ones moved. The 12 codes with the most "
            "movement are named, the rest is “other”.",
        ),
        terms=("SID", "drift"),
        hashes=(bundle.hash,),
    )


def agreement(lens: Lens) -> Panel:
    """Whether training reads the codes that the tokenizer would give now."""
    frame = history(lens, ("agreement",))
    try:
        figure = curve_figure(
            frame,
            "agreement",
            "codes in training that are the nearest now",
            number=".0%",
            chosen=selected(lens),
        )
    except DigerError:
        raise DigerError("no run here recorded agreement (only joint training does)") from None
    ends = last_values(frame, "agreement")
    words = in_words(ends, "{:.1%}".format)
    return Panel(
        key="drift-agreement",
        finding=f"Codes in training that are the tokenizer's nearest, at the end: {words}",
        figures=(figure,),
        notes=(BANDS,),
        terms=("agreement", "noise scale"),
        hashes=hashes(lens),
    )


def information(lens: Lens) -> Panel:
    """What a history says of the next item's first code, over epochs."""
    parts = []
    for bundle, arm, seed in lens.stacked(lens.dataset):
        values = lens.remember(("told", bundle.hash), partial(told, bundle)).dropna()
        frame = values.rename("told").rename_axis("epoch").reset_index()
        parts.append(frame.assign(arm=arm, method=bundle.about.arm.method, seed=seed))
    known = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    figure = curve_figure(
        known, "told", "nats told of the first code", number=".1f", chosen=selected(lens)
    )
    words = in_words(last_values(known, "told"), "{:.2f}".format)
    return Panel(
        key="drift-information",
        finding=f"What histories tell of the first code at the end, nats: {words}",
        figures=(figure,),
        notes=(
            "Of training events, so it rises with the epochs: compare arms at the same one.",
            "Where SIDs moved and this was not recorded, it is known at the selected epoch alone.",
            BANDS,
        ),
        terms=("information", "SID", "epoch"),
        hashes=hashes(lens),
    )


def _changes(lens: Lens) -> tuple[pd.DataFrame, tuple[str, ...]]:
    parts, used = [], []
    for bundle, arm, seed in lens.stacked(lens.dataset):
        if bundle.items is None or tables.sids(bundle.items, "start") is None:
            continue
        frame = lens.remember(("changes", bundle.hash), partial(changes, bundle.items))
        method = bundle.about.arm.method
        parts.append(frame.assign(arm=arm, method=method, seed=seed))
        used.append(bundle.hash)
    if not parts:
        raise DigerError(FIXED)
    return pd.concat(parts, ignore_index=True), tuple(used)


PAGE = Page(
    key="drift",
    icon="alt_route",
    name="SID drift",
    question="Did the SIDs change, and where to?",
    builders=(over_epochs, by_level, head_and_tail, first_code_flows, information, agreement),
    controls=("dataset", "challenger", "seed"),
)
