"""`python -m diger recommend`: what a bundle's model recommends after a history."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from diger.model import Model, Recommendation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(recommend)


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
        str, typer.Option(help="beam (within the catalogue), free (without it), or exact.")
    ] = "beam",
    leave_out_seen: Annotated[
        bool, typer.Option("--leave-out-seen", help="Leave the history's own items out.")
    ] = False,
    catalogue: Annotated[
        Path | None, typer.Option(help="A file with titles, for a bundle that carries none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recommend items after a history."""
    from diger.errors import DigerError
    from diger.model import load_model

    if bool(history.strip()) == bool(example):
        raise DigerError(
            'give either a history (--history "id,id,id") or the number of one of the bundle\'s '
            "examples (--example 1)"
        )
    model = load_model(bundle, catalogue=catalogue)
    story, ids = _example(model, example) if example else ("", _split(history))
    found = model.recommend(
        ids,
        k,
        beam=beam or None,
        decoding=decoding,  # type: ignore[arg-type]
        leave_out_seen=leave_out_seen,
    )
    if as_json:
        rows = [{**r.__dict__, "probability": r.probability} for r in found]
        print(json.dumps({"history": ids, "recommendations": rows}, indent=2, ensure_ascii=False))
        return
    _print(model, story, ids, found)


def _split(history: str) -> list[str]:
    """Ids of a comma-separated list; an id with a comma in it may be quoted, as in CSV."""
    from diger.errors import DigerError

    try:
        row = [
            part
            for line in csv.reader(history.splitlines(), skipinitialspace=True)
            for part in line
        ]
    except csv.Error as error:
        raise DigerError(f"--history is not a comma-separated list ({error})") from None
    return [part.strip() for part in row if part.strip()]


def _example(model: Model, number: int) -> tuple[str, list[str]]:
    from diger.errors import DigerError

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
    from diger.text import printable

    console = Console()
    text = lambda value: Text(printable(value or ""))  # noqa: E731
    titled = any(model.title_of(row) for row in range(min(model.n_items, 100)))
    head = f"history, oldest first: {story}" if story else "history, oldest first"
    table = Table(title=Text(head), title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("item", overflow="fold")
    if titled:
        table.add_column("title")
    if model.sids is not None:
        table.add_column("SID")
    for number, row in enumerate(model.rows(ids), 1):
        cells = [Text(str(number)), text(model.item_ids[row])]
        cells += [text(model.title_of(row))] if titled else []
        cells += [text(model.sid_of(row))] if model.sids is not None else []
        table.add_row(*cells)
    console.print(table)
    console.print()
    table = Table(
        title=Text(f"recommended by {model.bundle.name} ({model.method})"),
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("")
    table.add_column("item", overflow="fold")
    if titled:
        table.add_column("title")
    if model.sids is not None:
        table.add_column("SID")
    counts = model.method == "popularity"
    table.add_column("training events" if counts else "probability", justify="right")
    for number, one in enumerate(found, 1):
        cells = [Text(str(number)), text(one.item_id or "(no such item)")]
        cells += [text(one.title)] if titled else []
        cells += [text(one.sid)] if model.sids is not None else []
        cells += [Text(f"{one.score:.0f}" if counts else f"{one.probability:.2%}")]
        table.add_row(*cells)
    console.print(table)
    if model.sids is not None:
        console.print("probability: over the full codebook, so a list need not add up to 100 %")
