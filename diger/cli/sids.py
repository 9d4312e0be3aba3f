"""`python -m diger sids`: the table of items and their semantic IDs, as CSV."""

from __future__ import annotations

import os
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
    from diger.bundle.files import write_file
    from diger.bundle.tables import sid_csv
    from diger.hub import local_path

    opened = Bundle.open(local_path(bundle))
    if opened.items is None or "suffix" not in opened.items.columns:
        raise DigerError(f"{bundle}: the model of this bundle has no semantic IDs")
    data = sid_csv(opened.items).encode()
    if out is None:
        _to_stdout(data)
    else:
        write_file(data, out)


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
