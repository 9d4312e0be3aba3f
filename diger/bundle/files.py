"""Single files beside bundles, written whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from diger.bundle.schema import MANIFEST
from diger.errors import DigerError
from diger.text import printable


def write_file(data: bytes, out: Path) -> None:
    """Write `data` at `out`, in place of what is there."""
    named = printable(out)
    if (out.parent / MANIFEST).exists():
        raise DigerError(f"{named} is inside a bundle, which it would break: choose another folder")
    if out.is_dir():
        raise DigerError(f"{named} is a folder: give the name of a file")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(out)
    except OSError as error:
        raise DigerError(f"cannot write {named}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            temporary.unlink()
