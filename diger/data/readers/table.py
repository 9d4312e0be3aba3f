"""Files of one record a line: tables with columns in any order, and JSON or Python objects."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from diger.data.readers.base import EventBatch, Progress, batches
from diger.errors import DigerError, did_you_mean

# Stream a text file, gzipped or not, line by line, with a clear error for all that can be broken.
#
# gzip is recognised by its first bytes, not by the file's name. A line is decoded by itself, so
# that an error can name it. Progress counts bytes of the file as it lies on disk.

_LONGEST = 64 * 2**20  # a longer line is not text of ours; reading on could fill the memory
_REPORT_EVERY = 8192  # lines


def lines(
    path: Path, progress: Progress | None = None, *, fallback: str | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for every line that is not blank.

    fallback: the encoding of lines that are not UTF-8; None refuses them.
    """
    number = 0
    anything = False
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            zipped = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=handle), 2**20) if zipped else handle
            for number, raw in enumerate(iter(partial(stream.readline, _LONGEST), b""), start=1):
                line = _decode(raw, path, number, fallback)
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


def _decode(raw: bytes, path: Path, number: int, fallback: str | None) -> str:
    if len(raw) == _LONGEST:
        raise DigerError(f"{path} line {number} is longer than 64 MiB; is this a text file?")
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if fallback is None:
            raise DigerError(
                f"{path} line {number}: byte {error.start + 1} is not UTF-8; "
                "convert the file to UTF-8 (for example with iconv)"
            ) from error
        line = raw.decode(fallback)
    if number == 1:
        line = line.removeprefix("\ufeff")
    line = line.rstrip("\r\n")
    return "" if line.isspace() else line


def seconds(text: str) -> float | None:
    """Unix seconds of a number or an ISO date (UTC where it names no zone); None of other text."""
    try:
        value = float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text)
        except ValueError:
            return None
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return value if math.isfinite(value) else None


def unquoted(cell: str) -> str:
    """A cell without CSV's quotes: one that is not quoted whole, as CSV quotes, stays as it is."""
    text = cell.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1].replace('""', ""):
        return text[1:-1].replace('""', '"').strip()
    return text


def open_text(path: Path, progress: Progress | None = None) -> Table:
    """A CSV or TSV with a header; its first line tells what stands between the fields."""
    _, first = next(lines(path))
    return Table(path, progress, delimiter=max("\t,;", key=first.count))


class Table:
    """A file of fields with a delimiter between them; its header is read when it is made.

    Args:
        path: the file, gzipped or not.
        progress: see `Reader`.
        delimiter: between the fields; a comma or a semicolon brings the quotes of CSV with it.
        header: names of the columns of a file that has no first line for them.
        type_suffix: strip what follows a colon in header fields (`user_id:token`) into `types`.
        fallback: see `lines`.
    """

    unit = "line"  # of the file, for error messages

    def __init__(
        self,
        path: Path,
        progress: Progress | None = None,
        *,
        delimiter: str = "\t",
        header: Sequence[str] | None = None,
        type_suffix: bool = False,
        fallback: str | None = None,
    ):
        self.path = path
        self._progress = progress
        self._delimiter = delimiter
        self._fallback = fallback
        self._first_line_is_header = header is None
        _, first = next(self._records(None))
        fields = [field.strip() for field in (first if header is None else header)]
        self.types = [field.partition(":")[2] if type_suffix else "" for field in fields]
        self.header = [field.partition(":")[0] if type_suffix else field for field in fields]

    def find(self, *names: str) -> int | None:
        """Position of the first of `names` that is a column, or None."""
        return next((self.header.index(name) for name in names if name in self.header), None)

    def column(self, *names: str) -> int:
        """Position of the first of `names` that is a column."""
        at = self.find(*names)
        if at is None:
            hint = did_you_mean(names[0], self.header) or "; call the one that holds it so"
            if self._delimiter == "\t" and len(self.header) == 1 and "," in self.header[0]:
                hint = "; separate columns by tabs, not commas"
            raise DigerError(
                f"{self.path} line 1: no column {' or '.join(names)} "
                f"(found: {', '.join(self.header)}){hint}"
            )
        return at

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, fields) for every line after the header."""
        width = len(self.header)
        source = self._records(self._progress)
        if self._first_line_is_header:
            next(source)
        for number, fields in source:
            if len(fields) != width:
                expected = f"the header has {width}"
                if not self._first_line_is_header:
                    expected = f"expected are the {width} of {', '.join(self.header)}"
                raise DigerError(
                    f"{self.path} line {number}: {len(fields)} fields, {expected}; "
                    "correct or delete the line"
                )
            yield number, fields

    def _records(self, progress: Progress | None) -> Iterator[tuple[int, list[str]]]:
        """(line number, fields) of every line, the header's as well."""
        source = lines(self.path, progress, fallback=self._fallback)
        if self._delimiter not in ",;":
            for number, line in source:
                yield number, line.split(self._delimiter)
            return
        number = 0

        def text() -> Iterator[str]:
            nonlocal number
            for number, line in source:  # noqa: B007
                yield f"{line}\n"

        try:
            for fields in csv.reader(text(), delimiter=self._delimiter, strict=True):
                yield number, fields
        except csv.Error as error:
            raise DigerError(
                f"{self.path} line {number} or before it: {error}; is there a quote too many?"
            ) from None

    def events(self, user: int, item: int, time: int) -> Iterator[EventBatch]:
        """Batches from the columns at these positions."""
        return batches(self._each_event(user, item, time))

    def _each_event(self, user: int, item: int, time: int) -> Iterator[tuple[str, str, float]]:
        for number, fields in self.rows():
            if not fields[user] or not fields[item]:
                empty = self.header[item if fields[user] else user]
                raise DigerError(
                    f"{self.path} {self.unit} {number}: {empty} is empty; correct or delete the "
                    f"{self.unit}"
                )
            yield fields[user], fields[item], self._number(fields[time], number, time)

    def _number(self, text: str, line: int, column: int) -> float:
        value = seconds(text)
        if value is None:
            raise DigerError(
                f"{self.path} {self.unit} {line}: {self.header[column]} {text!r} is not a number "
                f"or a date; correct or delete the {self.unit}"
            )
        return value


# Stream a file of JSON objects, one a line; on request also Python literals.
#
# The 2014 Amazon metadata and Steam's files are written as Python dictionaries (single quotes),
# which `ast.literal_eval` reads without running anything.


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
