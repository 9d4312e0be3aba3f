"""Tab-separated files with a header, in any column order, and events read from such a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from diger.data.readers.base import BATCH, EventBatch, Progress
from diger.data.readers.lines import lines
from diger.errors import DigerError, did_you_mean


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
