"""`EventLog`: a whole interactions file as three compact columns, 16 bytes an event.

Ids become numbers as they stream by, in order of first appearance, so that neither lines nor
repeated id strings are held.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from diger.data.readers.base import Reader
from diger.errors import DigerError


@dataclass(frozen=True, eq=False)
class EventLog:
    """Events in file order.

    Attributes:
        users: (n,) int32 positions in `user_ids`.
        items: (n,) int32 positions in `item_ids`.
        times: (n,) float64, as read (a source may have fractions of a second).
        user_ids: ids in order of first appearance.
        item_ids: ids in order of first appearance.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    user_ids: list[str]
    item_ids: list[str]


class _Numbering(dict[str, int]):
    """id -> number, giving an id not seen before the next number."""

    def __missing__(self, key: str) -> int:
        number = self[key] = len(self)
        return number


def read_events(reader: Reader) -> EventLog:
    """Read all events of a source."""
    user_numbers, item_numbers = _Numbering(), _Numbering()
    users, items, times = array("i"), array("i"), array("d")
    for batch in reader.events():
        users.extend(map(user_numbers.__getitem__, batch.users))
        items.extend(map(item_numbers.__getitem__, batch.items))
        times.extend(batch.times)
    if not users:
        raise DigerError(f"no interactions in {reader.folder}, only a header; add some")
    return EventLog(
        users=np.frombuffer(users, dtype=np.int32),
        items=np.frombuffer(items, dtype=np.int32),
        times=np.frombuffer(times, dtype=np.float64),
        user_ids=list(user_numbers),
        item_ids=list(item_numbers),
    )
