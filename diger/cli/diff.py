"""`python -m diger diff`: how a bundle on disk differs from one on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from diger.hub import Difference

_MOST_SETTINGS = 30


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff")(diff)


def diff(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder, or an address.")],
    other: Annotated[
        str,
        typer.Argument(help="The other: owner/name, owner/name@revision, or a bundle's folder."),
    ],
) -> None:
    """Compare two bundles by their manifests; exit with 1 where more than the card differs."""
    from diger.hub import diff as run
    from diger.hub import is_address, parse

    right = other if is_address(other) or Path(other).is_dir() else str(parse(other))
    found = run(bundle, right)
    _print(found)
    if not found.same_content:
        raise typer.Exit(1)


def _print(found: Difference) -> None:
    from rich.console import Console
    from rich.text import Text

    from diger.text import printable

    console = Console()
    left, right = printable(found.left.name, 100), printable(found.right.name, 100)
    console.print(Text(f"left:  {left}\nright: {right}\n"))
    if found.identical:
        console.print("identical, every file")
        return
    table = _table("file", "left", "right")
    for name in sorted({*found.changed, *found.only_left, *found.only_right}):
        sizes = [side.files.get(name) for side in (found.left, found.right)]
        table.add_row(name, *("" if entry is None else f"{entry.size:,} B" for entry in sizes))
    console.print(table)
    if found.same_content:
        console.print("the same but for the card, which publishing writes anew")
        return
    for title, rows in (("config.json", found.settings), ("test metrics", found.metrics)):
        if not rows:
            continue
        table = _table(title, "left", "right")
        for name, one, two in rows[:_MOST_SETTINGS]:
            table.add_row(*(Text(printable(_shown(cell), 60)) for cell in (name, one, two)))
        if len(rows) > _MOST_SETTINGS:
            table.add_row(f"and {len(rows) - _MOST_SETTINGS} more", "", "")
        console.print()
        console.print(table)


def _table(*headers: str) -> Table:
    from rich.table import Table

    return Table(*headers, box=None, padding=(0, 2, 0, 0), header_style="bold")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
