"""`python -m diger list`: bundles of a user or an organisation on the Hugging Face Hub."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(list_bundles)


def list_bundles(
    owner: Annotated[
        str | None, typer.Argument(help="A user or an organisation. [default: yourself]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the bundles on the Hub, with the test metrics of their cards."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from diger.hub import list_hub
    from diger.text import printable

    found = list_hub(owner)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    if not found:
        typer.echo(f"{owner or 'you'}: no DIGER bundles on the Hub that you may see")
        return
    headers = ("bundle", "", "dataset", "method", "seed", "test\nrecall@10", "test\nndcg@10")
    table = Table(*headers, "updated", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for one in found:
        methods = [m for m in (one.method, one.decay) if m not in (None, "none")]
        cells = [one.repo_id, "private" if one.private else "", one.dataset, " / ".join(methods)]
        cells += [None if one.seed is None else str(one.seed)]
        cells += [
            f"{one.metrics[name]:.4f}" if name in one.metrics else ""
            for name in ("recall@10", "ndcg@10")
        ]
        table.add_row(*(Text(printable(cell or "", 80)) for cell in (*cells, one.updated)))
    Console().print(table)
