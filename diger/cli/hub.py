"""`python -m diger publish, pull, list, diff, collect`: bundles on the Hugging Face Hub."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from diger.text import printable

if TYPE_CHECKING:
    from diger.hub import Change, Difference

_MOST_SETTINGS = 30


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
    _print_published(done, tag)


def _print_published(done: Change, tag: str | None) -> None:
    from diger.bundle.report import plain_table

    console = Console()
    table = plain_table("file", "size", "")
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
        pinned = f"hub://{done.repo_id}" + (f"@{tag}" if tag else "")
        console.print(Text(f'load it: diger.load("{pinned}")'), soft_wrap=True)


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


def list_bundles(
    owner: Annotated[
        str | None, typer.Argument(help="A user or an organisation. [default: yourself]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the bundles on the Hub, with the test metrics of their cards."""
    from diger.bundle.report import plain_table
    from diger.hub import list_hub

    found = list_hub(owner)
    if as_json:
        print(json.dumps([asdict(bundle) for bundle in found], indent=2, ensure_ascii=False))
        return
    if not found:
        typer.echo(f"{owner or 'you'}: no DIGER bundles on the Hub that you may see")
        return
    headers = ("bundle", "", "dataset", "method", "seed", "test\nrecall@10", "test\nndcg@10")
    table = plain_table(*headers, "updated")
    for bundle in found:
        methods = [m for m in (bundle.method, bundle.decay) if m not in (None, "none")]
        seen = "private" if bundle.private else ""
        cells = [bundle.repo_id, seen, bundle.dataset, " / ".join(methods)]
        cells += [None if bundle.seed is None else str(bundle.seed)]
        cells += [
            f"{bundle.metrics[name]:.4f}" if name in bundle.metrics else ""
            for name in ("recall@10", "ndcg@10")
        ]
        table.add_row(*(Text(printable(cell or "", 80)) for cell in (*cells, bundle.updated)))
    Console().print(table)


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
    _print_difference(found)
    if not found.same_content:
        raise typer.Exit(1)


def _print_difference(found: Difference) -> None:
    from diger.bundle.report import plain_table

    console = Console()
    left, right = printable(found.left.name, 100), printable(found.right.name, 100)
    console.print(Text(f"left:  {left}\nright: {right}\n"))
    if found.identical:
        console.print("identical, every file")
        return
    table = plain_table("file", "left", "right")
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
        table = plain_table(title, "left", "right")
        for name, ours, theirs in rows[:_MOST_SETTINGS]:
            table.add_row(*(Text(printable(_shown(cell), 60)) for cell in (name, ours, theirs)))
        if len(rows) > _MOST_SETTINGS:
            table.add_row(f"and {len(rows) - _MOST_SETTINGS} more", "", "")
        console.print()
        console.print(table)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


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
