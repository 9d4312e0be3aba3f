"""The simple format: `interactions.tsv` and `items.jsonl`, each gzipped or not.

Interactions need the columns `user_id`, `item_id` and `timestamp` (Unix seconds) or `position` (any
number that grows with time within a user); where both are there, `timestamp` is used. An item line
is a JSON object with `item_id` and, where known, `title`, `description`, `brand` (text) and
`categories` (a list). Further columns and keys are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diger.data.readers.base import (
    EventBatch,
    ItemRecord,
    Progress,
    Reader,
    only_file,
    with_gz,
)
from diger.data.readers.table import Table, objects
from diger.errors import DigerError


class SimpleReader(Reader):
    """Reads `interactions.tsv[.gz]` and `items.jsonl[.gz]`."""

    format = "simple"
    files = "interactions.tsv[.gz] and items.jsonl[.gz]"

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        found = with_gz(folder, "interactions.tsv")
        self._table = Table(only_file(found, folder, "interactions.tsv[.gz]"), progress)
        self._items = only_file(with_gz(folder, "items.jsonl"), folder, "items.jsonl[.gz]")
        self._columns = (
            self._table.column("user_id"),
            self._table.column("item_id"),
            self._table.column("timestamp", "position"),
        )
        self.time_unit = "seconds" if self._table.find("timestamp") is not None else "position"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is an interactions.tsv[.gz]."""
        return bool(with_gz(folder, "interactions.tsv"))

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        return self._table.events(*self._columns)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`; an item on two lines is an error here."""
        self.unwanted = 0
        seen: dict[str, int] = {}
        for number, record in objects(self._items, self.progress):
            where = f"{self._items} line {number}"
            item_id = _item_id(record, where)
            if item_id in seen:
                raise DigerError(
                    f"{where}: item_id {item_id!r} is on line {seen[item_id]} already; keep one"
                )
            if item_id not in wanted:
                self.unwanted += 1
                continue
            seen[item_id] = number
            yield ItemRecord(
                item_id,
                _text_of(record, "title", where),
                _text_of(record, "description", where),
                _text_of(record, "brand", where),
                _names(record, "categories", where),
            )


def _item_id(record: dict[str, Any], where: str) -> str:
    value = record.get("item_id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # the same id is plain text in the interactions file
    if not isinstance(value, str) or not value:
        raise DigerError(f"{where}: item_id is missing or not text; every item needs one")
    return value


def _text_of(record: dict[str, Any], key: str, where: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise DigerError(f"{where}: {key} must be text or null, not {type(value).__name__}")
    return (value or "").strip() or None


def _names(record: dict[str, Any], key: str, where: str) -> list[str]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DigerError(f"{where}: {key} must be a list of text or null")
    return [name.strip() for name in value if name.strip()]


# A dataset that nobody lived: 160 dishes and 300 guests, made up for the tutorial and the tests.
#
# `diger/data/made_up/` was written once by a throw of dice (CC0): each guest has a kitchen of
# choice and a taste. It trains in a minute with nothing downloaded, and proves nothing.

FOLDER = Path(__file__).parents[1] / "made_up"


class MadeUpReader(SimpleReader):
    """The files that come along, with what is to be said of them."""

    format = "made-up"
    title = "Made-up dishes"
    source = "Made up for the tutorial and the tests of this project: nobody ate any of it."
    licence = "CC0-1.0"
    text_is_ours = True
    simulated = True

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Only where it comes with the package."""
        return False
