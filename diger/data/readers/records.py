"""What the formats share whose events and items are objects, one a line (Amazon, Yelp, Steam).

Review text is read past, never kept. HTML entities in item text are decoded. Where an item has
several records, the first counts.
"""

from __future__ import annotations

import html
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from diger.data.readers.base import (
    EventBatch,
    ItemRecord,
    Progress,
    Reader,
    batches,
    only_file,
    with_gz,
)
from diger.data.readers.table import objects, seconds
from diger.errors import DigerError

_SPACE = re.compile(r"\s+")


class RecordsReader(Reader):
    """Reads a file of events and a file of items.

    Attributes:
        user_keys, item_keys, time_keys: what an event calls its user, item and time; of several
            names the first that is there counts.
        record_keys: what an item's record calls the item.
        literals: lines may be Python dictionaries.
    """

    default_k_core = 5
    user_keys: ClassVar[tuple[str, ...]]
    item_keys: ClassVar[tuple[str, ...]]
    time_keys: ClassVar[tuple[str, ...]]
    record_keys: ClassVar[tuple[str, ...]]
    literals: ClassVar[bool] = False

    def __init__(
        self, folder: Path, events: Path, items: Path, progress: Progress | None = None
    ) -> None:
        super().__init__(folder, progress)
        self._events, self._items = events, items

    @abstractmethod
    def record(self, item_id: str, found: dict[str, Any]) -> ItemRecord:
        """An item's record, from what its line holds."""

    def skip(self, wanted: set[str]) -> Callable[[str], bool] | None:
        """Tells lines of items that need not be parsed; None where all are."""
        return None

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        return batches(self._each_event())

    def _each_event(self) -> Iterator[tuple[str, str, float]]:
        for number, event in objects(self._events, self.progress, literals=self.literals):
            where = f"{self._events} line {number}"
            user, item = (self._id(event, keys, where) for keys in (self.user_keys, self.item_keys))
            yield user, item, self._time(event, where)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`."""
        self.unwanted = 0
        skip = self.skip(wanted)
        lines = objects(self._items, self.progress, literals=self.literals, skip=skip)
        for number, found in lines:
            item_id = self._id(found, self.record_keys, f"{self._items} line {number}")
            if item_id in wanted:
                yield self.record(item_id, found)
            else:
                self.unwanted += 1

    def _id(self, found: dict[str, Any], keys: tuple[str, ...], where: str) -> str:
        value = next((found[key] for key in keys if key in found), None)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            raise self._unusable(found, keys, where)
        return value

    def _time(self, event: dict[str, Any], where: str) -> float:
        value = next((event[key] for key in self.time_keys if key in event), None)
        if isinstance(value, str):
            value = seconds(value)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._unusable(event, self.time_keys, where)
        return float(value)

    def _unusable(self, found: dict[str, Any], keys: tuple[str, ...], where: str) -> DigerError:
        return DigerError(
            f"{where}: no usable {' or '.join(keys)} (found: {', '.join(map(str, found))[:120]}); "
            f"correct or delete the line, or is this another format than {self.format}?"
        )


class NamedRecordsReader(RecordsReader):
    """Reads files that always have the same names.

    Attributes:
        events_file, items_file: the names, `.gz` or not.
    """

    events_file: ClassVar[str]
    items_file: ClassVar[str]

    def __init__(self, folder: Path, progress: Progress | None = None) -> None:
        events, items = (
            only_file(with_gz(folder, name), folder, f"{name}[.gz]")
            for name in (self.events_file, self.items_file)
        )
        super().__init__(folder, events, items, progress)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the events are there."""
        return bool(with_gz(folder, cls.events_file))


# Text as it stands in these records, made plain.


def clean(text: object) -> str:
    """Entities decoded, white space collapsed, halves of surrogate pairs dropped."""
    if not isinstance(text, str):
        return ""
    whole = html.unescape(text).encode("utf-8", "ignore").decode("utf-8")
    return _SPACE.sub(" ", whole).strip()


def joined(*values: object) -> str | None:
    """Texts, or lists of them, as one text."""
    parts: list[object] = []
    for value in values:
        parts += value if isinstance(value, list) else [value]
    return " ".join(filter(None, map(clean, parts))) or None


def names(*values: object) -> list[str]:
    """Names from lists, lists of lists and text with commas, each name once, in their order."""
    found: dict[str, None] = {}  # a set that keeps the order
    for value in values:
        listed = value.split(",") if isinstance(value, str) else value
        for part in listed if isinstance(listed, list) else []:
            for name in map(clean, part if isinstance(part, list) else [part]):
                if name:
                    found[name] = None
    return list(found)
