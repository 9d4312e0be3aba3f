"""Stream a file of JSON objects, one a line; on request also Python literals.

The 2014 Amazon metadata is written as Python dictionaries (single quotes), which `ast.literal_eval`
reads without running anything.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diger.data.readers.base import Progress
from diger.data.readers.lines import lines
from diger.errors import DigerError


def objects(
    path: Path,
    progress: Progress | None = None,
    *,
    literals: bool = False,
    skip: Callable[[str], bool] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every line that `skip` does not pass over unread."""
    for number, line in lines(path, progress):
        if skip is not None and skip(line):
            continue
        yield number, _parse(line, f"{path} line {number}", literals)


def _parse(line: str, where: str, literals: bool) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        value = _literal(line) if literals else None
        if value is None:
            what = ""
            if isinstance(error, json.JSONDecodeError):
                what = f" (column {error.colno}: {error.msg})"
            raise DigerError(f"{where} is not JSON{what}; correct or delete the line") from error
    if not isinstance(value, dict):
        raise DigerError(f"{where} is not an object {{...}}; correct or delete the line")
    return value


def _literal(line: str) -> Any:
    try:
        return ast.literal_eval(line)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
