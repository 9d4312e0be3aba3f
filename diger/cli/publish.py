"""`python -m diger publish`: a bundle to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from diger.hub import Published


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("publish")(publish)


def publish(
    bundle: Annotated[Path, typer.Argument(help="A checkpoint bundle.")],
    repo_id: Annotated[str, typer.Argument(help="Where it goes: owner/name.")],
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see. [default: private]")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go, and change nothing.")
    ] = False,
    tag: Annotated[
        str | None, typer.Option(help="A name for this version, such as v1, to load it by.")
    ] = None,
    sibling: Annotated[
        str | None,
        typer.Option(
            help="The bundle that the card sets beside it: a path, an address, or none. "
            "[default: one from the same folder]"
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            help="Licence identifier for the card. [default: mit for simulated data, else other]"
        ),
    ] = None,
    without_text: Annotated[
        bool,
        typer.Option("--without-text", help="Leave item text out even where it may be published."),
    ] = False,
    keep_card: Annotated[
        bool, typer.Option("--keep-card", help="Send the bundle's README.md as it is.")
    ] = False,
) -> None:
    """Publish a bundle in one commit; after a cut, the same command goes on.

    You are known by `hf auth login` or the variable HF_TOKEN.
    """
    from diger.hub import publish as run

    done = run(
        bundle,
        repo_id,
        public=public,
        tag=tag,
        sibling=sibling,
        licence=licence,
        keep_card=keep_card,
        without_text=without_text,
        dry_run=dry_run,
    )
    _print(done, tag)


def _print(done: Published, tag: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from diger.text import printable

    console = Console()
    table = Table("file", "size", "", box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.columns[1].justify = "right"
    planned = done.commit is None
    for name, size in done.sizes.items():
        new = name in done.send
        table.add_row(name, f"{size:,} B", ("to send" if planned else "sent") if new else "there")
    for name in done.remove:
        table.add_row(name, "", "to remove" if planned else "removed")
    console.print(table)
    for note in done.notes:
        console.print(Text(f"note: {printable(note)}"))
    seen = "private" if done.private else "public"
    total = sum(done.sizes[name] for name in done.send)
    if planned:
        place = {True: f"{seen}, is there", False: f"to be made, {seen}", None: f"{seen}"}
        line = f"would send {total:,} B to {done.url} ({place[done.exists]}); nothing was changed"
    elif done.send or done.remove:
        line = f"sent {total:,} B to {done.url} ({seen}), commit {str(done.commit)[:12]}"
    else:
        line = f"all of it is at {done.url} already ({seen}), commit {str(done.commit)[:12]}"
    console.print(Text(line), soft_wrap=True)
    if not planned:
        pinned = f"{done.address}@{tag}" if tag else str(done.address)
        console.print(Text(f'load it: diger.load("{pinned}")'), soft_wrap=True)
