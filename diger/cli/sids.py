"""`python -m diger sids`: the table of items and their semantic IDs, as CSV."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from diger.errors import DigerError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sids")(sids)


def sids(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write; standard output without.")
    ] = None,
) -> None:
    """Write every item's semantic ID as CSV: item_id, sid, level_1 .., suffix, title if any."""
    # Imported here so that other commands do not wait for pandas.
    from diger.bundle import Bundle
    from diger.bundle.tables import sid_csv
    from diger.hub import local_path

    opened = Bundle.open(local_path(bundle))
    if opened.items is None or "suffix" not in opened.items.columns:
        raise DigerError(f"{bundle}: the model of this bundle has no semantic IDs")
    data = sid_csv(opened.items).encode()
    if out is None:
        _to_stdout(data)
    else:
        _to_file(data, out)


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_file(data: bytes, out: Path) -> None:
    if (out.parent / "manifest.json").exists():
        raise DigerError(f"{out} is inside a bundle, which it would break: choose another folder")
    if out.is_dir():
        raise DigerError(f"{out} is a folder: give the name of a file")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(out)
    except OSError as error:
        raise DigerError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            temporary.unlink()
