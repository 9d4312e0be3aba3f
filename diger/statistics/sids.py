"""What joint training did to the SIDs: items that changed, at which level, and where they went.

Everything compares an items table with itself: the codes at the start of joint training, which are
the static SIDs of the same seed, against the codes at its end. The suffix is left aside. Head is
the most popular fifth of the catalogue, tail the rest, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diger.bundle import tables
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.evaluation.beyond_accuracy import head_items
from diger.tokenizer.stats import code_entropies
from diger.tokenizer.suffix import format_sid

PARTS = ("all", "head", "tail")


def changes(items: pd.DataFrame) -> pd.DataFrame:
    """Share of items that changed, in all and level by level, for all items, head and tail.

    Returns: `part` (of PARTS), `level` (0 is the whole SID), `items`, `changed`, `share`.
    """
    now, start = _both(items)
    differs = now != start
    columns = [differs.any(axis=1), *differs.T]
    head = head_items(items["training_popularity"].to_numpy())
    records = []
    for part, mask in zip(PARTS, (np.ones(len(head), bool), head, ~head), strict=True):
        for level, column in enumerate(columns):
            n, moved = int(mask.sum()), int(column[mask].sum())
            share = moved / n if n else float("nan")
            records.append(
                {"part": part, "level": level, "items": n, "changed": moved, "share": share}
            )
    return pd.DataFrame(records, columns=["part", "level", "items", "changed", "share"])


def drifted(bundles: Sequence[Bundle]) -> float | None:
    """Share of items with another SID than at the start, in the selected model, mean over bundles.

    None where no bundle's SIDs could change.
    """
    shares = [
        float(b.history.set_index("epoch")["drift"].get(b.about.selected_epoch, np.nan))
        for b in bundles
        if b.history is not None and "drift" in b.history
    ]
    return float(np.mean(shares)) if shares else None


def told(bundle: Bundle) -> pd.Series:
    """What histories tell of the first code, in nats, epoch by epoch: a lower bound.

    The entropy of the first code over training events less its cross-entropy in training. Codes
    that moved before bundles recorded that entropy are known at the selected epoch alone.

    Returns: one value an epoch (the index), NaN where it is not known.
    """
    items, history = bundle.items, bundle.history
    if items is None or history is None or "code_1" not in items or "loss_1" not in history:
        return pd.Series(dtype="float64")
    of_epoch = history.set_index("epoch")
    if "target_entropy_1" in of_epoch:
        return (of_epoch["target_entropy_1"] - of_epoch["loss_1"]).clip(lower=0)
    codes, popularity = items[["code_1"]].to_numpy(), items["training_popularity"].to_numpy()
    values = (code_entropies(codes, popularity)[0] - of_epoch["loss_1"]).clip(lower=0)
    moved = "drift" in of_epoch and bool((of_epoch["drift"] > 0).any())
    return values.where(values.index == bundle.about.selected_epoch) if moved else values


def flows(items: pd.DataFrame, most: int = 12) -> pd.DataFrame:
    """Items by first code at the start and at the end: `start, now, items`.

    The `most` codes that most items left or reached keep their number (as text); the others are
    "other". Items that stayed within "other" are counted there too, so the sum is the catalogue.
    """
    now, start = _both(items)
    a, b = start[:, 0], now[:, 0]
    moved = a != b
    codes, counts = np.unique(np.concatenate([a[moved], b[moved]]), return_counts=True)
    shown = set(codes[np.argsort(-counts, kind="stable")[:most]].tolist())

    def name(column: np.ndarray) -> list[str]:
        return [str(code) if code in shown else "other" for code in column.tolist()]

    frame = pd.DataFrame({"start": name(a), "now": name(b), "items": 1})
    return frame.groupby(["start", "now"], as_index=False, sort=True)["items"].sum()


def changed_items(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Items whose codes differ between two bundles of one catalogue, most popular first.

    Returns: `item_id, training_popularity, sid_a, sid_b, level` (the first that differs), and the
    `title` where the first table has one.
    """
    first, second = tables.sids(a), tables.sids(b)
    if first is None or second is None:
        raise DigerError("one of the two has no semantic IDs")
    if not np.array_equal(a["item_id"].to_numpy(), b["item_id"].to_numpy()):
        raise DigerError("the two have different items")
    if first.shape != second.shape:
        raise DigerError(f"{first.shape[1] - 1} levels against {second.shape[1] - 1}")
    differs = first[:, :-1] != second[:, :-1]
    rows = np.flatnonzero(differs.any(axis=1))
    frame = pd.DataFrame(
        {
            "item_id": a["item_id"].to_numpy()[rows],
            "training_popularity": a["training_popularity"].to_numpy()[rows],
            "sid_a": [format_sid(first[r]) for r in rows],
            "sid_b": [format_sid(second[r]) for r in rows],
            "level": differs[rows].argmax(axis=1) + 1,
        }
    )
    if "title" in a.columns:
        frame["title"] = a["title"].to_numpy()[rows]
    return frame.sort_values(
        "training_popularity", ascending=False, kind="stable", ignore_index=True
    )


def _both(items: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(items, levels) codes now and at the start."""
    now, start = tables.sids(items), tables.sids(items, "start")
    if now is None or start is None:
        raise DigerError(
            "no codes from the start of joint training: the SIDs of this run were fixed"
        )
    return now[:, :-1], start[:, :-1]
