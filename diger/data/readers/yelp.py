"""The Yelp Open Dataset: who reviewed which business when, and what the businesses are.

Every review counts, whatever its stars. Categories are one text with commas (a list in old rounds);
city and state stand as the description. Times are dates, taken as UTC.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diger.data.readers.base import ItemRecord, Progress, only_file, with_gz
from diger.data.readers.records import RecordsReader, clean, names

REVIEWS, BUSINESSES = "yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"


class YelpReader(RecordsReader):
    """Reads `yelp_academic_dataset_review.json[.gz]` and `..._business.json[.gz]`."""

    format = "yelp"
    files = f"{REVIEWS}[.gz] and {BUSINESSES}[.gz]"
    user_keys = ("user_id",)
    item_keys = record_keys = ("business_id",)
    time_keys = ("date",)

    def __init__(self, folder: Path, progress: Progress | None = None):
        reviews = only_file(with_gz(folder, REVIEWS), folder, f"{REVIEWS}[.gz]")
        businesses = only_file(with_gz(folder, BUSINESSES), folder, f"{BUSINESSES}[.gz]")
        super().__init__(folder, reviews, businesses, progress)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the reviews are there."""
        return bool(with_gz(folder, REVIEWS))

    def record(self, item_id: str, found: dict[str, Any]) -> ItemRecord:
        """See `RecordsReader.record`."""
        place = ", ".join(filter(None, (clean(found.get(key)) for key in ("city", "state"))))
        return ItemRecord(
            item_id,
            clean(found.get("name")) or None,
            place or None,
            None,
            names(found.get("categories")),
        )
