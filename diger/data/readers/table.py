"""Tab-separated files with a header, in any column order, and events read from such a file."""

from __future__ import annotations

import ast
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from diger.data.readers.base import BATCH, EventBatch, Progress
from diger.errors import DigerError, did_you_mean

# Stream a text file, gzipped or not, line by line, with a clear error for all that can be broken.
#
# gzip is recognised by its first bytes, not by the file's name. A line is decoded by itself, so
# that an error can name it. Progress counts bytes of the file as it lies on disk.

_LONGEST = 64 * 2**20  # a longer line is not text of ours; reading on could fill the memory
_REPORT_EVERY = 8192  # lines


def lines(path: Path, progress: Progress | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for every line that is not blank."""
    number = 0
    anything = False
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            zipped = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=handle), 2**20) if zipped else handle
            for number, raw in enumerate(iter(partial(stream.readline, _LONGEST), b""), start=1):
                line = _decode(raw, path, number)
                if line:
                    anything = True
                    yield number, line
                if progress and number % _REPORT_EVERY == 0:
                    progress(path, handle.tell(), size)
            if progress:
                progress(path, size, size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DigerError(
            f"{path} is a damaged or cut-off gzip file (after line {number}); download it again"
        ) from error
    except OSError as error:
        raise DigerError(f"cannot read {path}: {error.strerror or error}") from error
    if not anything:
        raise DigerError(f"{path} is empty; put one record on each line")


def _decode(raw: bytes, path: Path, number: int) -> str:
    if len(raw) == _LONGEST:
        raise DigerError(f"{path} line {number} is longer than 64 MiB; is this a text file?")
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DigerError(
            f"{path} line {number}: byte {error.start + 1} is not UTF-8; "
            "convert the file to UTF-8 (for example with iconv)"
        ) from error
    if number == 1:
        line = line.removeprefix("\ufeff")
    line = line.rstrip("\r\n")
    return "" if line.isspace() else line


class Table:
    """A tab-separated file; the header is read when it is made.

    `type_suffix` strips what follows a colon in header fields (`user_id:token`) into `types`.
    """

    def __init__(self, path: Path, progress: Progress | None = None, *, type_suffix: bool = False):
        self.path = path
        self._progress = progress
        _, first = next(lines(path))
        fields = [field.strip() for field in first.split("\t")]
        self.types = [field.partition(":")[2] if type_suffix else "" for field in fields]
        self.header = [field.partition(":")[0] if type_suffix else field for field in fields]

    def find(self, *names: str) -> int | None:
        """Position of the first of `names` that is a column, or None."""
        return next((self.header.index(name) for name in names if name in self.header), None)

    def column(self, *names: str) -> int:
        """Position of the first of `names` that is a column."""
        at = self.find(*names)
        if at is None:
            hint = did_you_mean(names[0], self.header)
            if len(self.header) == 1 and "," in self.header[0]:
                hint = "; separate columns by tabs, not commas"
            raise DigerError(
                f"{self.path} line 1: no column {' or '.join(names)} "
                f"(found: {', '.join(self.header)}){hint}"
            )
        return at

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, fields) for every line after the header."""
        width = len(self.header)
        source = lines(self.path, self._progress)
        next(source)
        for number, line in source:
            fields = line.split("\t")
            if len(fields) != width:
                raise DigerError(
                    f"{self.path} line {number}: {len(fields)} fields, the header has {width}; "
                    "correct or delete the line"
                )
            yield number, fields

    def events(self, user: int, item: int, time: int) -> Iterator[EventBatch]:
        """Yield batches from the columns at these positions."""
        batch = EventBatch([], [], [])
        for number, fields in self.rows():
            if not fields[user] or not fields[item]:
                empty = self.header[item if fields[user] else user]
                raise DigerError(
                    f"{self.path} line {number}: {empty} is empty; correct or delete the line"
                )
            batch.users.append(fields[user])
            batch.items.append(fields[item])
            batch.times.append(self._number(fields[time], number, time))
            if len(batch.users) == BATCH:
                yield batch
                batch = EventBatch([], [], [])
        if batch.users:
            yield batch

    def _number(self, text: str, line: int, column: int) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DigerError(
                f"{self.path} line {line}: {self.header[column]} {text!r} is not a number; "
                "correct or delete the line"
            )
        return value


# Stream a file of JSON objects, one a line; on request also Python literals.
#
# The 2014 Amazon metadata is written as Python dictionaries (single quotes), which
# `ast.literal_eval` reads without running anything.


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
