"""Steam's reviews and games as gathered at UCSD (Kang and McAuley 2018), Python literals a line.

A user is a `username`. Times are days, so that a user's reviews of one day keep the order of the
file. Two of the games have no id and are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diger.data.readers.base import ItemRecord
from diger.data.readers.records import NamedRecordsReader, clean, names

REVIEWS, GAMES = "steam_reviews.json", "steam_games.json"


class SteamReader(NamedRecordsReader):
    """Reads `steam_reviews.json[.gz]` and `steam_games.json[.gz]`."""

    format = "steam"
    files = f"{REVIEWS}[.gz] and {GAMES}[.gz]"
    events_file, items_file = REVIEWS, GAMES
    user_keys = ("username",)
    item_keys = ("product_id",)
    time_keys = ("date",)
    record_keys = ("id",)
    literals = True

    def skip(self, wanted: set[str]) -> Callable[[str], bool]:
        """Lines without an id."""

        def nameless(line: str) -> bool:
            without = "'id':" not in line and '"id":' not in line
            self.unwanted += without
            return without

        return nameless

    def record(self, item_id: str, found: dict[str, Any]) -> ItemRecord:
        """See `RecordsReader.record`."""
        return ItemRecord(
            item_id,
            clean(found.get("title")) or clean(found.get("app_name")) or None,
            None,
            clean(found.get("developer")) or clean(found.get("publisher")) or None,
            names(found.get("genres"), found.get("tags")),
        )
