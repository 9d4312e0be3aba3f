"""`python -m diger deploy`: the app or the dashboard as a Space on the Hugging Face Hub."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diger.text import printable

if TYPE_CHECKING:
    from diger.deploy import Built
    from diger.hub import Change


def deploy(
    window: Annotated[Literal["app", "dashboard"], typer.Argument(help="Which window.")],
    repo_id: Annotated[str, typer.Argument(help="The Space: owner/name.")],
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder of bundles, a bundle, or hub://owner/name@revision; may be repeated. "
            "[default: checkpoints/]"
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see. [default: private]")
    ] = False,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            help="The name of a variable here whose value becomes a secret of the Space; may be "
            "repeated."
        ),
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(help="What it runs on, as the Hub calls it. [default: cpu-basic]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go, and change nothing.")
    ] = False,
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Send nothing: install the folder in a clean environment here, start it and "
            "check that it answers.",
        ),
    ] = False,
    stay: Annotated[
        bool, typer.Option("--stay", help="With --local: keep it running until Ctrl-C.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Keep the folder that would go up here.")] = None,
) -> None:
    """Make or update a Space of the app (Gradio) or the dashboard (Docker).

    You are known by `hf auth login` or the variable HF_TOKEN.
    """
    from diger.deploy import WINDOWS, build, check_locally, secrets_by_name
    from diger.deploy import deploy as run
    from diger.hub.address import parse_repo_id

    repo_id, chosen = parse_repo_id(repo_id), WINDOWS[window]
    secrets = secrets_by_name(secret or [])
    with tempfile.TemporaryDirectory(prefix="diger-space-") as aside:
        built = build(chosen, checkpoints or [], out or Path(aside) / "space")
        if local:
            # Told to end, it ends what it started and removes what it installed, as after Ctrl-C.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            _print_built(built, built.notes)
            check_locally(built, chosen, secrets, say=typer.echo, stay=stay)
        else:
            done = run(
                built, chosen, repo_id, secrets, public=public, hardware=hardware, dry_run=dry_run
            )
            _print_deployed(built, done, tuple(secrets))


def _print_built(built: Built, notes: tuple[str, ...]) -> None:
    sizes = [path.stat().st_size for path in built.files().values()]
    typer.echo(f"{len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB, {len(built.bundles)} bundles")
    for note in notes:
        typer.echo(f"note: {printable(note)}")


def _print_deployed(built: Built, done: Change, secrets: tuple[str, ...]) -> None:
    from diger.deploy import host_of

    planned = done.commit is None
    to_send, to_remove = ("to send", "to remove") if planned else ("sent", "removed")
    lines: dict[tuple[str, str], list[int]] = {}  # one for what is alike in a folder
    for name, size in done.sizes.items():
        what = to_send if name in done.send else "there"
        lines.setdefault((_folder(name), what), []).append(size)
    for name in done.remove:
        lines.setdefault((_folder(name), to_remove), []).append(0)
    for (place, what), sizes in sorted(lines.items()):
        typer.echo(f"{what:9} {len(sizes):>4} files {sum(sizes):>12,} B  {printable(place)}")
    for name, value in built.variables.items():
        typer.echo(f"variable  {name}={printable(value)}")
    for name in secrets:
        typer.echo(f"secret    {name}")
    _print_built(built, done.notes)
    total = sum(done.sizes[name] for name in done.send)
    seen = "private" if done.private else "public"
    if planned:
        place = {True: "is there", False: "to be made", None: "not asked"}[done.exists]
        typer.echo(f"would send {total:,} B to {done.url} ({seen}, {place}); nothing was changed")
    else:
        commit = str(done.commit)[:12]
        typer.echo(f"sent {total:,} B to {done.url} ({seen}), commit {commit}")
        typer.echo(f"the Hub builds it now; links to a view begin with {host_of(done.repo_id)}")


def _folder(name: str) -> str:
    """The first two parts of a file's folder, the file itself at the top."""
    parts = name.split("/")
    return "/".join(parts[: min(2, len(parts) - 1)]) + "/" if len(parts) > 1 else name
