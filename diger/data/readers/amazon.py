"""Amazon reviews as released in 2014, 2018 and 2023: reviews and metadata in one folder.

One object a line, JSON or (2014 metadata) a Python literal. The item is the `asin`, in 2023 the
`parent_asin`, which stands for all variants of a product. Categories come as lists of paths in 2014
(flattened, each name once), as one list in 2018 and 2023 (the main category where it is empty). The
2018 metadata carries scraps of page source: a title holding a script and whatever follows markup in
a category list are dropped; so is the "by" before a brand. Of 2023, `store` is the brand, and
`features` stand before the description.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

from diger.data.readers.base import ItemRecord, Progress, only_file
from diger.data.readers.records import RecordsReader, clean, joined, names

_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
_ASIN = re.compile(r"""["'](?:parent_)?asin["']\s*:\s*["']([^"']*)["']""")


class AmazonReader(RecordsReader):
    """Reads `[reviews_]NAME[_5].json[l][.gz]` and `meta_NAME.json[l][.gz]`."""

    format = "amazon"
    files = "[reviews_]NAME[_5].json[l][.gz] and meta_NAME.json[l][.gz]"
    user_keys = ("reviewerID", "user_id")
    item_keys = record_keys = ("parent_asin", "asin")
    time_keys = ("unixReviewTime", "timestamp")
    literals = True

    def __init__(self, folder: Path, progress: Progress | None = None):
        reviews, metadata = _find(folder)
        about = only_file(metadata, folder, "meta_NAME.json[l][.gz]")
        found = only_file(reviews, folder, "[reviews_]NAME[_5].json[l][.gz]")
        super().__init__(folder, found, about, progress)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a metadata file or a file of reviews."""
        reviews, metadata = _find(folder)
        return bool(metadata) or any(path.name.startswith("reviews") for path in reviews)

    def skip(self, wanted: set[str]) -> Callable[[str], bool]:
        """Lines of other items are passed over unparsed, to save time."""

        def unwanted(line: str) -> bool:
            asins = _ASIN.findall(line)
            passed = bool(asins) and wanted.isdisjoint(asins)
            self.unwanted += passed
            return passed

        return unwanted

    def record(self, item_id: str, found: dict[str, Any]) -> ItemRecord:
        """See `RecordsReader.record`."""
        title = clean(found.get("title"))
        return ItemRecord(
            item_id,
            None if "getTime" in title else title or None,
            joined(found.get("features"), found.get("description")),
            _brand(found.get("brand") or found.get("store")),
            _categories(found.get("categories") or found.get("category"))
            or names([found.get("main_category")]),
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


def _brand(value: object) -> str | None:
    brand = value.removeprefix("by\n") if isinstance(value, str) else value
    return clean(brand) or None


def _categories(value: object) -> list[str]:
    listed = names(value) if isinstance(value, list) else []
    return list(takewhile(lambda name: "</" not in name, listed))
