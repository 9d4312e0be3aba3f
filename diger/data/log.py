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
    """Events in file order."""

    users: np.ndarray  # (n,) int32 positions in `user_ids`
    items: np.ndarray  # (n,) int32 positions in `item_ids`
    times: np.ndarray  # (n,) float64, as read (a source may have fractions of a second)
    user_ids: list[str]  # in order of first appearance
    item_ids: list[str]  # in order of first appearance


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


# Which events to keep: k-core filtering and dropping repeats, on plain arrays.


def first_of_pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(n,) bool: True at the first event of each (user, item) pair, False at its repeats."""
    first = np.zeros(len(users), dtype=bool)
    if len(users):
        pairs = users.astype(np.int64) * (int(items.max()) + 1) + items
        first[np.unique(pairs, return_index=True)[1]] = True
    return first


def k_core(users: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """(n,) bool: the events left when every user and every item has at least `k` of them.

    Users and items with fewer are taken out by turns until nothing changes; what remains is the
    largest such subset, whatever the order of taking out. Repeats count. May be empty.
    """
    left = np.arange(len(users))
    while len(left):
        enough_by_user = np.bincount(users[left]) >= k
        enough_by_item = np.bincount(items[left]) >= k
        keep = enough_by_user[users[left]] & enough_by_item[items[left]]
        if keep.all():
            break
        left = left[keep]
    mask = np.zeros(len(users), dtype=bool)
    mask[left] = True
    return mask
