"""The suffix of a SID: the number that tells apart items whose codes agree on every level.

Suffixes are stable. When codes are refreshed during joint training, an item whose codes stayed
keeps its suffix, and one that moves takes the smallest free number where it arrives, so that a
recommender has no more to relearn than it must. Numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from diger.errors import DigerError


def assign_suffix(
    codes: np.ndarray,
    previous: np.ndarray | None = None,
    previous_codes: np.ndarray | None = None,
    *,
    size: int,
) -> np.ndarray:
    """Suffixes int64 (n,), values 0..size-1, so that (codes, suffix) is different for every item.

    codes: (n, levels). previous (m,) and previous_codes (m, levels), m <= n: what the first m items
    had before; rows beyond m are new items. Without them, items that share their codes are numbered
    0, 1, ... by row.

    Raises DigerError where more than `size` items share their codes, naming the crowded codes, or
    where `previous` gave two items the same SID.
    """
    codes = np.asarray(codes)
    n = len(codes)
    bucket = _buckets(codes)
    counts = np.bincount(bucket) if n else np.zeros(0, np.int64)
    if n and counts.max() > size:
        crowded = codes[bucket == counts.argmax()]
        raise DigerError(
            f"{len(crowded)} items share the codes {format_sid(crowded[0])} but the suffix has "
            f"room for {size}: give items more telling text, more levels or codes, or a larger "
            "suffix"
        )
    suffix = np.full(n, -1, np.int64)
    if previous is not None:
        if previous_codes is None:
            raise ValueError("previous suffixes mean nothing without previous_codes")
        kept = np.flatnonzero((codes[: len(previous)] == np.asarray(previous_codes)).all(axis=1))
        suffix[kept] = np.asarray(previous)[kept]
        pairs = np.stack([bucket[kept], suffix[kept]], axis=1)
        if len(np.unique(pairs, axis=0)) < len(kept) or (len(kept) and suffix[kept].max() >= size):
            raise DigerError(
                f"the suffixes given are not all different, or not all under {size}: "
                "leave them out and they will be numbered afresh"
            )
    waiting = np.flatnonzero(suffix < 0)
    shared_with_kept = np.isin(bucket[waiting], bucket[suffix >= 0])
    fresh = waiting[~shared_with_kept]
    suffix[fresh] = _rank_within(bucket[fresh])
    _fill_gaps(suffix, bucket, waiting[shared_with_kept])
    return suffix


def format_sid(codes: Iterable[int]) -> str:
    """Codes, and the suffix if given, as `12-200-7-0`."""
    return "-".join(str(int(code)) for code in codes)


def parse_sid(text: str) -> tuple[int, ...]:
    """The inverse of `format_sid`; DigerError where the text is not numbers joined by hyphens.

    >>> parse_sid("12-200-7-0")
    (12, 200, 7, 0)
    """
    if not re.fullmatch(r"[0-9]{1,9}(-[0-9]{1,9})*", text.strip()):
        raise DigerError(
            f"{text!r} is not a SID: write numbers joined by hyphens, as in 12-200-7-0"
        )
    return tuple(int(part) for part in text.strip().split("-"))


def _buckets(codes: np.ndarray) -> np.ndarray:
    """Number (n,) of each item's group of equal codes."""
    if not len(codes):
        return np.zeros(0, np.int64)
    order = np.lexsort(codes.T)
    ordered = codes[order]
    is_new = np.r_[False, (ordered[1:] != ordered[:-1]).any(axis=1)]
    bucket = np.empty(len(codes), np.int64)
    bucket[order] = np.cumsum(is_new)
    return bucket


def _rank_within(bucket: np.ndarray) -> np.ndarray:
    """Position (n,) of each entry among the entries of its bucket, in order."""
    order = np.argsort(bucket, kind="stable")
    ordered = bucket[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(bucket) else order
    lengths = np.diff(np.r_[starts, len(bucket)])
    rank = np.empty(len(bucket), np.int64)
    rank[order] = np.arange(len(bucket)) - np.repeat(starts, lengths)
    return rank


def _fill_gaps(suffix: np.ndarray, bucket: np.ndarray, arriving: np.ndarray) -> None:
    """Give `arriving` rows, in order, the smallest suffix not yet taken in their bucket."""
    settled = np.flatnonzero((suffix >= 0) & np.isin(bucket, bucket[arriving]))
    taken: dict[int, set[int]] = {}
    for row in settled:
        taken.setdefault(int(bucket[row]), set()).add(int(suffix[row]))
    for row in arriving:
        here = taken[int(bucket[row])]
        number = 0
        while number in here:
            number += 1
        here.add(number)
        suffix[row] = number
