"""`python -m diger pull`: a bundle from the Hugging Face Hub to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pull")(pull)


def pull(
    repo_id: Annotated[str, typer.Argument(help="owner/name, or owner/name@revision.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write. [default: checkpoints/<name>]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another bundle that is there.")
    ] = False,
) -> None:
    """Fetch a bundle and check every byte; after a cut, the same command goes on."""
    from diger.hub import pull as run

    done = run(repo_id, out, force=force)
    how = "is there already, every byte of it" if done.was_there else "fetched and checked"
    typer.echo(f"{done.path}: {done.address}, commit {done.commit[:12]}, {how}")
