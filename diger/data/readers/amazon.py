"""Amazon reviews as released in 2014 and 2018: a reviews file and a metadata file in one folder.

One object a line, JSON or (2014 metadata) a Python literal. Categories come as lists of paths in
2014 (flattened, each name once), as one list in 2018; descriptions as text or a list of paragraphs.
HTML entities are decoded. The 2018 metadata carries scraps of page source: a title holding a script
and whatever follows markup in a category list are dropped; so is the "by" before a brand. Review
text is read past, never kept. Where an item has several records, the first counts.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diger.data.readers.base import BATCH, EventBatch, ItemRecord, Progress, Reader, only_file
from diger.data.readers.table import objects
from diger.errors import DigerError

_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
_ASIN = re.compile(r"""["']asin["']\s*:\s*["']([^"']*)["']""")
_SPACE = re.compile(r"\s+")


class AmazonReader(Reader):
    """Reads `[reviews_]NAME[_5].json[.gz]` and `meta_NAME.json[.gz]`."""

    format = "amazon"
    files = "[reviews_]NAME[_5].json[.gz] and meta_NAME.json[.gz]"
    default_k_core = 5

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        reviews, metadata = _find(folder)
        self._items = only_file(metadata, folder, "meta_NAME.json[.gz]")
        self._reviews = only_file(reviews, folder, "[reviews_]NAME[_5].json[.gz]")

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a metadata file or a file of reviews."""
        reviews, metadata = _find(folder)
        return bool(metadata) or any(path.name.startswith("reviews") for path in reviews)

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        batch = EventBatch([], [], [])
        for number, review in objects(self._reviews, self.progress, literals=True):
            where = f"{self._reviews} line {number}"
            batch.users.append(_field(review, "reviewerID", str, where))
            batch.items.append(_field(review, "asin", str, where))
            batch.times.append(float(_field(review, "unixReviewTime", int, where)))
            if len(batch.users) == BATCH:
                yield batch
                batch = EventBatch([], [], [])
        if batch.users:
            yield batch

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`. Lines of other items are passed over unparsed, to save time."""
        self.unwanted = 0

        def skip(line: str) -> bool:
            asins = _ASIN.findall(line)
            unwanted = bool(asins) and wanted.isdisjoint(asins)
            self.unwanted += unwanted
            return unwanted

        for number, record in objects(self._items, self.progress, literals=True, skip=skip):
            item_id = _field(record, "asin", str, f"{self._items} line {number}")
            if item_id not in wanted:
                self.unwanted += 1
                continue
            yield ItemRecord(
                item_id,
                _title(record.get("title")),
                _joined(record.get("description")),
                _brand(record.get("brand")),
                _categories(record.get("categories") or record.get("category")),
            )


def _find(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that may be (reviews, metadata), by name."""
    files = [p for p in folder.iterdir() if p.is_file() and p.name.endswith(_SUFFIXES)]
    metadata = [path for path in files if path.name.startswith("meta")]
    about = {_category(path) for path in metadata}
    reviews = [
        path
        for path in files
        if path not in metadata and (path.name.startswith("reviews") or _category(path) in about)
    ]
    return reviews, metadata


def _category(path: Path) -> str:
    """`NAME` in `meta_NAME.json.gz`, `reviews_NAME_5.json.gz` or `NAME_5.json.gz`."""
    stem = path.name.partition(".")[0]
    return stem.removeprefix("meta_").removeprefix("reviews_").removesuffix("_5")


def _field(record: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = record.get(key)
    if not isinstance(value, kind) or value == "":
        found = ", ".join(map(str, record))
        raise DigerError(
            f"{where}: no usable {key} (found: {found[:120]}); the amazon format is the one "
            "released in 2014 and 2018, for another use --format simple"
        )
    return value


def _clean(text: object) -> str:
    """Entities decoded, white space collapsed, halves of surrogate pairs dropped."""
    if not isinstance(text, str):
        return ""
    whole = html.unescape(text).encode("utf-8", "ignore").decode("utf-8")
    return _SPACE.sub(" ", whole).strip()


def _title(value: object) -> str | None:
    title = _clean(value)
    return None if "getTime" in title else title or None


def _joined(value: object) -> str | None:
    paragraphs = value if isinstance(value, list) else [value]
    return " ".join(filter(None, map(_clean, paragraphs))) or None


def _brand(value: object) -> str | None:
    brand = value.removeprefix("by\n") if isinstance(value, str) else value
    return _clean(brand) or None


def _categories(value: object) -> list[str]:
    paths = value if isinstance(value, list) else []
    names: dict[str, None] = {}  # a set that keeps the order
    for path in paths:
        for name in map(_clean, path if isinstance(path, list) else [path]):
            if "</" in name:
                return list(names)
            if name:
                names[name] = None
    return list(names)
