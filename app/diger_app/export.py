"""Results to take away: the same rows as JSON and as CSV. Titles are made safe for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from diger.text import csv_cell
from diger.tokenizer.suffix import format_sid
from diger_app.service import Side
from diger_app.shelf import Shelf
from diger_app.view import View

COLUMNS = (
    "bundle",
    "method",
    "rank",
    "item_id",
    "title",
    "sid",
    "probability",
    "log_probability",
    "shared_codes",
    "shared_with",
)


def document(shelf: Shelf, view: View, sides: Sequence[Side]) -> dict[str, Any]:
    """A view's recommendations as plain JSON values.

    `probability` is over the full codebook; `shared_codes` is how many leading codes the SID
    shares with the items of the history named in `shared_with`. An `item_id` of null marks a SID
    that no item has (free decoding).
    """
    return {
        "dataset": shelf.key,
        "simulated": shelf.simulated,
        "history": [
            {"item_id": item, "title": shelf.title(shelf.rows[item])} for item in view.history
        ],
        "settings": {
            "k": view.k,
            "beam": max(view.beam, view.k),
            "decoding": view.decoding,
            "leave_out_seen": view.leave_out_seen and view.decoding != "free",
        },
        "target": view.target if view.target in shelf.rows else None,
        "results": [
            {
                "bundle": side.name,
                "method": side.method,
                "target_rank": side.target_rank,
                "recommendations": _recommendations(shelf, view, side),
            }
            for side in sides
        ],
    }


def as_csv(made: dict[str, Any]) -> str:
    """The recommendations of a `document` as CSV, one line an item and bundle.

    Ids of items are as they are, byte for byte, so that they join.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for result in made["results"]:
        for one in result["recommendations"]:
            line = {**one, "bundle": result["bundle"], "method": result["method"]}
            line["shared_with"] = "; ".join(one["shared_with"])
            guarded = ("bundle", "method", "title")
            writer.writerow([csv_cell(line[c] or "") if c in guarded else line[c] for c in COLUMNS])
    return out.getvalue()


def _recommendations(shelf: Shelf, view: View, side: Side) -> list[dict[str, Any]]:
    return [
        {
            "rank": place,
            "item_id": None if one.row is None else shelf.ids[one.row],
            "title": None if one.row is None else shelf.title(one.row),
            "sid": format_sid(one.sid),
            "probability": one.probability,
            "log_probability": one.log_p,
            "shared_codes": one.depth,
            "shared_with": list(dict.fromkeys(view.history[i] for i in one.sharers)),
        }
        for place, one in enumerate(side.listed, 1)
    ]
