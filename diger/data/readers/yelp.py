"""The Yelp Open Dataset: who reviewed which business when, and what the businesses are.

Every review counts, whatever its stars. Categories are one text with commas (a list in old rounds);
city and state stand as the description. Times are dates, taken as UTC.
"""

from __future__ import annotations

from typing import Any

from diger.data.readers.base import ItemRecord
from diger.data.readers.records import NamedRecordsReader, clean, names

REVIEWS, BUSINESSES = "yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"


class YelpReader(NamedRecordsReader):
    """Reads `yelp_academic_dataset_review.json[.gz]` and `..._business.json[.gz]`."""

    format = "yelp"
    files = f"{REVIEWS}[.gz] and {BUSINESSES}[.gz]"
    events_file, items_file = REVIEWS, BUSINESSES
    user_keys = ("user_id",)
    item_keys = record_keys = ("business_id",)
    time_keys = ("date",)

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
