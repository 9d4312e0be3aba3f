"""The files of LC-Rec, LETTER and their kin: three JSON objects, each read whole.

`NAME.inter.json` has a user's items, oldest first; `NAME.item.json`, where it is there, an item's
title, description and (LC-Rec) brand and categories. `NAME.index.json` holds published SIDs: it
gives the items their order where there is no item file, and a recipe reads the SIDs from it
(`tokenizer = {kind = "file", file = {path = ...}}`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diger.data.folder import read_json
from diger.data.readers.base import EventBatch, ItemRecord, Progress, Reader, batches, only_file
from diger.data.readers.records import clean, names
from diger.errors import DigerError

_EVENTS, _ITEMS, _SIDS = ".inter.json", ".item.json", ".index.json"
_LARGEST = 2**31  # bytes; it is read whole


class LetterReader(Reader):
    """Reads `NAME.inter.json` and, where they are there, `NAME.item.json` and `NAME.index.json`."""

    format = "letter"
    files = "NAME.inter.json, NAME.item.json and NAME.index.json"
    time_unit = "position"

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        self._events = only_file(_interactions(folder), folder, "NAME.inter.json")
        name = self._events.name.removesuffix(_EVENTS)
        self._items = folder / f"{name}{_ITEMS}"
        self._sids = folder / f"{name}{_SIDS}"
        self.describes_items = self._items.is_file()

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a file ending in .inter.json."""
        return bool(_interactions(folder))

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        return batches(self._each_event())

    def _each_event(self) -> Iterator[tuple[str, str, float]]:
        for user, items in self._read(self._events).items():
            if not isinstance(items, list):
                raise DigerError(
                    f"{self._events} user {user!r}: expected a list of items, oldest first"
                )
            for position, item in enumerate(items):
                yield user, self._item_id(item, user), float(position)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`."""
        self.unwanted = 0
        if not self.describes_items and not self._sids.is_file():
            return
        path = self._items if self.describes_items else self._sids
        for item_id, found in self._read(path).items():
            if item_id not in wanted:
                self.unwanted += 1
                continue
            text = found if self.describes_items else {}
            if not isinstance(text, dict):
                raise DigerError(f"{path} item {item_id!r}: expected an object with a title")
            yield ItemRecord(
                item_id,
                clean(text.get("title")) or None,
                clean(text.get("description")) or None,
                clean(text.get("brand")) or None,
                names(text.get("categories")),
            )

    def _read(self, path: Path) -> dict[str, Any]:
        size = path.stat().st_size
        if size > _LARGEST:
            raise DigerError(
                f"{path} has {size:,} bytes, too many to read as one JSON object; use another "
                "format, such as a table (--columns)"
            )
        found = read_json(path, "download it again")
        if self.progress is not None:
            self.progress(path, size, size)
        return found

    def _item_id(self, item: object, user: str) -> str:
        if isinstance(item, int) and not isinstance(item, bool):
            return str(item)
        if isinstance(item, str) and item:
            return item
        raise DigerError(f"{self._events} user {user!r}: {item!r:.40} is not an item id")


def _interactions(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.endswith(_EVENTS) and p.is_file()]
