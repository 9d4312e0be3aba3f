"""A plain CSV, TSV or parquet file, its columns named on the command line.

One event a row: `user`, `item` and `time` (Unix times or dates) or `position`. Text of the items
(`title`, `description`, `brand`, `categories`) comes from a second such file, or stands beside the
events, where an item's first row counts. A column that is called as in the simple format need not
be named. Categories are a list, or text with bars or commas between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diger.data.readers.base import BATCH, EventBatch, ItemRecord, Progress, Reader
from diger.data.readers.records import clean, names
from diger.data.readers.table import Table, open_text, unquoted
from diger.errors import DigerError, did_you_mean

TEXT = ("title", "description", "brand", "categories")
_USUAL = {"user": "user_id", "item": "item_id", "time": "timestamp", "position": "position"}
KEYS = (*_USUAL, *TEXT)
ENDINGS = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")


def parse_columns(text: str) -> dict[str, str]:
    """`user=visitor,item=sku,time=at` as a mapping."""
    named: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column:
            raise DigerError(f"--columns {part!r}: write it like user=visitor_id")
        if key not in KEYS:
            hint = did_you_mean(key, KEYS)
            raise DigerError(f"--columns {part!r}: {key} is none of {', '.join(KEYS)}{hint}")
        named[key] = column
    return named


class ColumnsReader(Reader):
    """Reads one file of events, and one of items where it is given.

    Args:
        source: the events.
        progress: see `Reader`.
        columns: what is called otherwise than usual, by `KEYS`.
        items: a file with a row an item.
    """

    format = "columns"
    files = "a .csv, .tsv or .parquet, named itself"

    def __init__(
        self,
        source: Path,
        progress: Progress | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        items: Path | None = None,
    ):
        super().__init__(source, progress)
        self._columns = dict(columns or {})
        self._events = _open(source, progress)
        self._items = self._events if items is None else _open(items, progress)
        self._user = self._column(self._events, "user")
        self._item = self._column(self._events, "item")
        dated = "time" in self._columns or self._events.find(_USUAL["time"]) is not None
        time = "time" if dated and "position" not in self._columns else "position"
        self._time = self._column(self._events, time)
        self.time_unit = "seconds" if time == "time" else "position"
        own = [self._columns.get("item", _USUAL["item"]), _USUAL["item"], "id"]
        self._own_id = self._item if items is None else self._items.column(*own)
        self._text = {key: self._text_column(key) for key in TEXT}
        self.describes_items = any(at is not None for at in self._text.values())
        if items is not None and not self.describes_items:
            raise DigerError(
                f"{items} has none of the columns {', '.join(TEXT)}; say what one is called, "
                f"--columns title=NAME (there are {', '.join(self._items.header)[:300]})"
            )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Never: it is the name of a file that asks for it."""
        return False

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        return self._events.events(self._user, self._item, self._time)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`."""
        self.unwanted = 0
        if not self.describes_items:
            return
        beside = self._items is self._events
        seen: set[str] = set()
        for _, cells in self._items.rows():
            item_id = cells[self._own_id]
            if item_id not in wanted:
                self.unwanted += not beside
            elif not beside or item_id not in seen:
                seen.add(item_id)
                text = {key: "" if at is None else cells[at] for key, at in self._text.items()}
                title, description, brand = (_plain(text[key]) for key in TEXT[:3])
                listed: str | list[str] = text["categories"]
                if isinstance(listed, str):
                    listed = unquoted(listed)
                    listed = listed.split("|") if "|" in listed else listed
                yield ItemRecord(item_id, title, description, brand, names(listed))

    def _column(self, table: Table, key: str) -> int:
        name = self._columns.get(key)
        if name is not None:
            return table.column(name)
        at = table.find(_USUAL[key])
        if at is None:
            usual = "timestamp or position" if key == "position" else _USUAL[key]
            raise DigerError(
                f"{table.path} has no column {usual}; say what it is called, --columns "
                f"{'time' if key == 'position' else key}=NAME (there are "
                f"{', '.join(table.header)[:300]})"
            )
        return at

    def _text_column(self, key: str) -> int | None:
        name = self._columns.get(key)
        return self._items.find(key) if name is None else self._items.column(name)


def _open(path: Path, progress: Progress | None) -> Table:
    """A table of a file's kind."""
    if not path.is_file():
        raise DigerError(f"no file at {path}")
    if path.name.endswith(".parquet"):
        return _Parquet(path, progress)
    if not path.name.endswith(ENDINGS):
        raise DigerError(f"{path} is not one of {', '.join(ENDINGS)}; give one, or a folder")
    return open_text(path, progress)


class _Parquet(Table):
    """A parquet file read like a table, in batches, and only the columns that were asked for.

    Cells are text, or lists where the file has lists.
    """

    unit = "row"

    def __init__(self, path: Path, progress: Progress | None = None):
        self.path, self._progress = path, progress
        self._delimiter = ""
        try:
            self._schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise DigerError(f"{path} is not a whole parquet file; write it again") from error
        self.header = list(self._schema.names)
        self.types = [""] * len(self.header)
        self._used: set[int] = set()

    def find(self, *names: str) -> int | None:
        """See `Table.find`; what is found will be read."""
        at = super().find(*names)
        self._used |= set() if at is None else {at}
        return at

    def events(self, user: int, item: int, time: int) -> Iterator[EventBatch]:
        """See `Table.events`."""
        for at in (user, item):
            kind = self._schema.field(at).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or _is_large(kind)):
                raise DigerError(
                    f"{self.path} column {self.header[at]} holds {kind}; ids must be text or whole "
                    "numbers"
                )
        return super().events(user, item, time)

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield (row number from 1, cells) for every row; cells not asked for are empty."""
        size, number, used = self.path.stat().st_size, 0, sorted(self._used)
        try:
            with pq.ParquetFile(self.path) as file:
                rows = max(file.metadata.num_rows, 1)
                for batch in file.iter_batches(BATCH, columns=[self.header[at] for at in used]):
                    for values in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                        cells: list[Any] = [""] * len(self.header)
                        for at, value in zip(used, values, strict=True):
                            cells[at] = _cell(value)
                        number += 1
                        yield number, cells
                    if self._progress is not None:
                        self._progress(self.path, size * number // rows, size)
        except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
            raise DigerError(
                f"{self.path} is damaged (after row {number}); write it again"
            ) from error


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _plain(cell: str) -> str | None:
    return (clean(unquoted(cell)) if isinstance(cell, str) else None) or None


def _cell(value: Any) -> str | list[Any]:
    """Text of a value, dates as Unix seconds; lists stay."""
    if value is None:
        return ""
    if isinstance(value, (str, list)):
        return value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return repr((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return str(value)
