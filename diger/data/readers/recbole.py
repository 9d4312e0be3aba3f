"""RecBole's atomic files: `NAME.inter` and `NAME.item`, tab separated, with typed headers.

`user_id` (or `session_id`), `item_id` and `timestamp` are needed, or what RecBole's own conversions
call them (`product_id`, `business_id`, `date`, ...); item text is found under their names too. A
`token_seq` of categories is split at commas where the cell has one (its Yelp and Amazon files) and
at spaces otherwise, as the format says; quotes go. Where an item has several records, the first
counts. Without an item file items are bare ids, for users with vectors of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diger.data.readers.base import EventBatch, ItemRecord, Progress, Reader, only_file, with_gz
from diger.data.readers.table import Table, unquoted
from diger.errors import DigerError

_ITEM_IDS = (
    *("item_id", "product_id", "business_id", "venue_id", "artist_id", "album_id", "track_id"),
)
_TITLES = (
    "title",
    "item_title",
    "movie_title",
    "product_title",
    "book_title",
    "name",
    "item_name",
    "product_name",
    "business_name",
    "app_name",
)
_DESCRIPTIONS = ("description", "item_description", "abstract")
_BRANDS = ("brand", "manufacturer", "developer", "publisher", "author")
_CATEGORIES = ("categories", "category", "item_category", "genres", "genre", "class", "tags")


class RecBoleReader(Reader):
    """Reads `NAME.inter[.gz]` and, where it is there, `NAME.item[.gz]`."""

    format = "recbole"
    files = "NAME.inter[.gz] and NAME.item[.gz]"

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        path = only_file(_interactions(folder), folder, "NAME.inter[.gz]")
        item_name = path.name.removesuffix(".gz").removesuffix(".inter") + ".item"
        items = with_gz(folder, item_name)
        self.describes_items = bool(items)
        self._events = Table(path, progress, type_suffix=True)
        if self._events.find("item_id_list") is not None:
            raise DigerError(
                f"{path} holds whole histories (item_id_list); use the file with one event a line"
            )
        self._columns = (
            self._events.column("user_id", "session_id"),
            self._events.column(*_ITEM_IDS),
            self._events.column("timestamp", "date"),
        )
        self._items: Table | None = None
        if items:
            found = only_file(items, folder, f"{item_name}[.gz]")
            self._items = Table(found, progress, type_suffix=True)
            self._item_id = self._items.column(*_ITEM_IDS, "id")

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a file ending in .inter or .inter.gz."""
        return bool(_interactions(folder))

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        return self._events.events(*self._columns)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`."""
        self.unwanted = 0
        table = self._items
        if table is None:
            return
        title, description = table.find(*_TITLES), table.find(*_DESCRIPTIONS)
        brand, categories = table.find(*_BRANDS), table.find(*_CATEGORIES)
        for number, fields in table.rows():
            item_id = fields[self._item_id]
            if not item_id:
                raise DigerError(
                    f"{table.path} line {number}: item_id is empty; correct or delete the line"
                )
            if item_id not in wanted:
                self.unwanted += 1
                continue

            def cell(at: int | None, fields: list[str] = fields) -> str:
                return "" if at is None else unquoted(fields[at])

            yield ItemRecord(
                item_id,
                cell(title) or None,
                cell(description) or None,
                cell(brand) or None,
                _names(cell(categories), categories is not None and table.types[categories]),
            )


def _interactions(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.endswith((".inter", ".inter.gz")) and p.is_file()]


def _names(cell: str, kind: str | bool) -> list[str]:
    if kind != "token_seq":
        return [cell] if cell else []
    parts = cell.strip("[]").split("," if "," in cell else None)
    return [name for name in (part.strip(" '\"") for part in parts) if name]
