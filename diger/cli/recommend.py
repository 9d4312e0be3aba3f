"""`python -m diger recommend`: what a bundle's model recommends after a history."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diger.errors import DigerError
from diger.text import printable

if TYPE_CHECKING:
    from diger.model import Model, Recommendation


def recommend(
    bundle: Annotated[Path, typer.Argument(help="A complete checkpoint bundle.")],
    history: Annotated[
        str, typer.Option(help='Item ids, oldest first, separated by commas: "id,id,id".')
    ] = "",
    example: Annotated[
        int, typer.Option(min=0, help="Use the bundle's example history of this number, from 1.")
    ] = 0,
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    beam: Annotated[int, typer.Option(min=0, help="Beams; 0 takes the recipe's.")] = 0,
    decoding: Annotated[
        str,
        typer.Option(
            help="beam (within the catalogue), hybrid (reranked by the item-level head), free "
            "(without the catalogue), exact, or telling; by default the recipe's."
        ),
    ] = "",
    leave_out_seen: Annotated[
        bool, typer.Option("--leave-out-seen", help="Leave the history's own items out.")
    ] = False,
    catalogue: Annotated[
        Path | None, typer.Option(help="A file with titles, for a bundle that carries none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recommend items after a history."""
    from diger.model import load_model

    if bool(history.strip()) == bool(example):
        raise DigerError(
            'give either a history (--history "id,id,id") or the number of one of the bundle\'s '
            "examples (--example 1)"
        )
    model = load_model(bundle, catalogue=catalogue)
    story, ids = _example(model, example) if example else ("", _split(history, model.item_ids))
    found = model.recommend(
        ids,
        k,
        beam=beam or None,
        decoding=decoding or None,  # type: ignore[arg-type]
        leave_out_seen=leave_out_seen,
    )
    if as_json:
        rows = [{**r.__dict__, "probability": r.probability} for r in found]
        print(json.dumps({"history": ids, "recommendations": rows}, indent=2, ensure_ascii=False))
        return
    _print(model, story, ids, found)


def _split(history: str, known: Iterable[str]) -> list[str]:
    """Ids of a comma-separated list; an id with a comma in it may be quoted, as in CSV.

    Blanks around an id go, unless they are part of a known one.
    """
    whole = set(known)
    try:
        lines = list(csv.reader(history.splitlines(), skipinitialspace=True))
    except csv.Error as error:
        raise DigerError(f"--history is not a comma-separated list ({error})") from None
    parts = [part for line in lines for part in line if part.strip()]
    return [part if part in whole else part.strip() for part in parts]


def _example(model: Model, number: int) -> tuple[str, list[str]]:
    examples = model.bundle.examples
    count = 0 if examples is None else len(examples)
    if examples is None or number > count:
        raise DigerError(
            f"{model.bundle.name} has {count} example histories, there is no number {number}; "
            "give ids with --history"
        )
    row = examples.iloc[number - 1]
    return str(row["name"]), [str(model.item_ids[i]) for i in row["history"]]


def _print(model: Model, story: str, ids: list[str], found: list[Recommendation]) -> None:
    console = Console()
    head = f"history, oldest first: {story}" if story else "history, oldest first"
    titled = any(model.title_of(row) for row in range(min(model.n_items, 100)))
    table = _items_table(model, head, titled)
    for number, row in enumerate(model.rows(ids), 1):
        title = [model.title_of(row)] if titled else []
        sid = [model.sid_of(row)] if model.sids is not None else []
        _add_row(table, number, model.item_ids[row], *title, *sid)
    console.print(table)
    console.print()
    table = _items_table(model, f"recommended by {model.bundle.name} ({model.method})", titled)
    counts = model.method == "popularity"
    table.add_column("training events" if counts else "probability", justify="right")
    for number, item in enumerate(found, 1):
        title = [item.title] if titled else []
        sid = [item.sid] if model.sids is not None else []
        score = f"{item.score:.0f}" if counts else f"{item.probability:.2%}"
        _add_row(table, number, item.item_id or "(no such item)", *title, *sid, score)
    console.print(table)
    if model.sids is not None:
        console.print("probability: over the full codebook, so a list need not add up to 100 %")


def _items_table(model: Model, head: str, titled: bool) -> Table:
    table = Table(title=Text(printable(head)), title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("item", overflow="fold")
    if titled:
        table.add_column("title")
    if model.sids is not None:
        table.add_column("SID")
    return table


def _add_row(table: Table, *cells: object) -> None:
    table.add_row(*(Text("" if cell is None else printable(cell)) for cell in cells))


# `python -m diger show`: one bundle in full, or the bundles of a folder one a row.


def show(path: Annotated[Path, typer.Argument(help="A bundle, or a folder of bundles.")]) -> None:
    """Show what a bundle is, its metrics and its files, every hash checked."""
    from diger.bundle import Bundle, list_bundles, schema
    from diger.bundle.report import listing, print_bundle
    from diger.hub import local_path

    path = local_path(path)
    console = Console()
    if (path / schema.MANIFEST).exists() or not path.is_dir():
        print_bundle(console, Bundle.open(path))
        return
    found = list_bundles(path)
    if not found:
        raise DigerError(f"{path}: neither a bundle nor a folder with bundles in it")
    console.print(listing(found))


# `python -m diger sids`: the table of items and their semantic IDs, as CSV.


def sids(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write; standard output without.")
    ] = None,
) -> None:
    """Write every item's semantic ID as CSV: item_id, sid, level_1 .., suffix, title if any."""
    from diger.bundle import Bundle
    from diger.bundle.tables import sid_csv
    from diger.bundle.writer import write_file
    from diger.hub import local_path

    opened = Bundle.open(local_path(bundle))
    if opened.items is None or "suffix" not in opened.items.columns:
        raise DigerError(f"{bundle}: the model of this bundle has no semantic IDs")
    data = sid_csv(opened.items).encode()
    if out is None:
        _to_stdout(data)
    else:
        write_file(data, out)


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
