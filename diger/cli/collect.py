"""`python -m diger collect`: gather the bundles of a study in a collection on the Hub."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("collect")(collect)


def collect(
    title: Annotated[str, typer.Argument(help="The collection's title; made where there is none.")],
    repo_ids: Annotated[list[str], typer.Argument(help="The bundles: owner/name ...")],
    owner: Annotated[
        str | None, typer.Option(help="Whose collection. [default: the first bundle's owner]")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="A line under the title, up to 150 characters.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see, where it is made now.")
    ] = False,
) -> None:
    """Put bundles into a collection, each with its method and figures as a note."""
    from diger.hub import collect as run

    done = run(title, repo_ids, owner=owner, description=description, public=public)
    for repo_id in (*done.were_in, *done.added):
        typer.echo(f"{'added' if repo_id in done.added else 'is in'}  {repo_id}")
    typer.echo(f"{done.url} ({'private' if done.private else 'public'})")
