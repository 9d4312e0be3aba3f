"""`python -m diger show`: one bundle in full, or the bundles of a folder one a row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(show)


def show(
    path: Annotated[Path, typer.Argument(help="A bundle, or a folder of bundles.")],
) -> None:
    """Show what a bundle is, its metrics and its files, every hash checked."""
    # Imported here so that other commands do not wait for pandas.
    from rich.console import Console

    from diger.bundle import Bundle, list_bundles, schema
    from diger.bundle.report import listing, print_bundle
    from diger.errors import DigerError
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
