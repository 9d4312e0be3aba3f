"""Whole folders or nothing: writing through a temporary sibling, and reading with clear errors.

`write_folder` fills a hidden `*.tmp` folder beside the target and renames it when whole, so that a
folder under its final name is always complete. An existing folder is replaced only on request, and
only if everything in it is known to be ours. The readers turn what pyarrow and json raise on
damaged files into one-line errors that name the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diger.errors import DigerError, did_you_mean
from diger.files import Staging
from diger.text import printable

_IS_TYPE: dict[str, Callable[[pa.DataType], bool]] = {
    "integers": pa.types.is_integer,
    "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_null(t),
    "lists of text": lambda t: pa.types.is_list(t) or pa.types.is_large_list(t),
}


def check_target(
    target: Path, *, marker: str, file_format: str, own: Collection[str], force: bool
) -> None:
    """Check that a folder may be written at `target`, without writing anything.

    Fine if nothing or an empty folder is there; an existing folder of ours (its `marker` is JSON
    whose `format` is `file_format`) only with `force`, and only if it holds nothing but `own`.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise DigerError(f"{target} is a file; choose another folder to write to")
    inside = sorted(p.name for p in target.iterdir())
    if not inside:
        return
    try:
        known = json.loads((target / marker).read_text(encoding="utf-8"))["format"] == file_format
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise DigerError(
            f"{target} is not empty and not a {file_format} folder (no {marker} that says so); "
            "nothing was written: choose another folder"
        )
    strangers = [name for name in inside if name not in own]
    if strangers:
        raise DigerError(
            f"{target} holds {strangers[0]}, which is not part of a {file_format}; "
            "move it away or choose another folder"
        )
    if not force:
        raise DigerError(f"{target} exists already; add --force to replace it")


@contextmanager
def write_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder; on a clean exit it becomes `target`, else it is removed.

    Call `check_target` first: whatever is at `target` is replaced.
    """
    try:
        with Staging(target) as staging:
            yield staging.folder
            staging.publish()
    except OSError as error:
        raise DigerError(f"cannot write {target}: {error.strerror or error}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object. `remedy` ends the error message: what to do about a broken file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DigerError(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise DigerError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # of the encoding, of JSON, of its depth
        raise DigerError(f"{path} is not JSON in UTF-8 ({printable(error)}); {remedy}") from error
    if not isinstance(value, dict):
        raise DigerError(f"{path} is not a JSON object; {remedy}")
    return value


def read_table(path: Path, columns: dict[str, str], remedy: str) -> pa.Table:
    """Read a parquet file and check that `columns` (name: kind) are there with the right types.

    Kinds are "integers" (no nulls), "text" and "lists of text". Other columns are read as well.
    """
    if not path.is_file():
        raise DigerError(f"{path} is missing; {remedy}")
    try:
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)  # text that is not UTF-8, for one
        names = table.column_names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DigerError(f"{path} is not a whole parquet file; {remedy}") from error
    for name, kind in columns.items():
        if name not in names:
            hint = did_you_mean(name, names)
            raise DigerError(f"{path} has no column {name}{hint}; {remedy}")
        column = table.column(name)
        if not _IS_TYPE[kind](column.type):
            raise DigerError(f"{path} column {name} holds {column.type}, not {kind}; {remedy}")
        if kind == "integers" and column.null_count:
            raise DigerError(f"{path} column {name} has empty cells; {remedy}")
    return table
