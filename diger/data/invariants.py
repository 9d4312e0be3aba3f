"""The rules a dataset keeps, checked in one place for data just made and data just loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from diger.errors import DigerError, did_you_mean

# SHA-256 fingerprints of a dataset, the same on every machine.
#
# They cover the data, not the files: integers are hashed as little-endian 64-bit numbers and
# strings as ASCII JSON, so another parquet version or compression leaves them alone.

TEXT_COLUMNS = ("title", "description", "brand", "categories")


def structure_fingerprint(item_ids: Sequence[str], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 (64 hex digits) over item ids and named integer arrays, in the order given.

    A dataset passes `offsets`, `events`, `train_end`, `validation_at` and `test_at`. User ids are
    left out: renaming users does not make it another dataset.
    """
    digest = hashlib.sha256(b"diger dataset structure 1\n")
    digest.update(_ascii_json(item_ids))
    for name, array in arrays.items():
        digest.update(f"\n{name} {len(array)}\n".encode("ascii"))
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()


def text_fingerprint(items: pd.DataFrame) -> str:
    """SHA-256 (64 hex digits) over the four text columns of `items`, row by row."""
    digest = hashlib.sha256(b"diger dataset text 1\n")
    for row in zip(*(items[column] for column in TEXT_COLUMNS), strict=True):
        digest.update(_ascii_json(row))
        digest.update(b"\n")
    return digest.hexdigest()


def _ascii_json(values: Sequence[object]) -> bytes:
    # ensure_ascii, so that the bytes do not depend on Unicode handling further down.
    return json.dumps(list(values), ensure_ascii=True, separators=(",", ":")).encode("ascii")


def item_frame(items: pd.DataFrame) -> pd.DataFrame:
    """Copy of `items` with a plain index, the known columns first, None (not NaN) for no text."""
    known = ("item_id", *TEXT_COLUMNS)
    for column in known:
        if column not in items.columns:
            hint = did_you_mean(column, map(str, items.columns))
            raise DigerError(f"items has no column {column}{hint}")
    columns: dict[str, pd.Series] = {}
    for column in known:
        check = _categories if column == "categories" else _checked_text
        cells = [check(cell, column, row) for row, cell in enumerate(items[column].tolist())]
        columns[column] = pd.Series(cells, dtype=object)
    for column in items.columns:
        if column not in known:
            columns[str(column)] = items[column].reset_index(drop=True)
    check_ids(columns["item_id"].to_numpy(), "item")
    return pd.DataFrame(columns)


def check_ids(ids: np.ndarray, what: str) -> None:
    """Check that ids are non-empty strings that can be written as UTF-8, each occurring once."""
    seen: set[str] = set()
    for row, value in enumerate(ids):
        if not isinstance(value, str) or not value:
            raise DigerError(
                f"{what} row {row}: the {what}_id is {value!r}, not a non-empty string"
            )
        if value in seen:
            raise DigerError(f"{what} row {row}: {what}_id {value!r} occurs twice")
        if not value.isascii():
            _check_utf8(value, f"{what} row {row}: {what}_id")
        seen.add(value)


def check_arrays(
    *,
    n_items: int,
    user_ids: np.ndarray,
    offsets: np.ndarray,
    events: np.ndarray,
    times: np.ndarray | None,
    train_end: np.ndarray,
    validation_at: np.ndarray,
    test_at: np.ndarray,
) -> None:
    """Check shapes, ranges and the order of the split (shapes as in `Dataset`)."""
    n_users, n_events = len(user_ids), len(events)
    if not n_users or not n_items or not n_events:
        raise DigerError(f"{n_users} users, {n_items} items, {n_events} events: nothing may be 0")
    for name, array, length in (
        ("offsets", offsets, n_users + 1),
        ("train_end", train_end, n_users),
        ("validation_at", validation_at, n_users),
        ("test_at", test_at, n_users),
    ):
        if array.shape != (length,):
            raise DigerError(f"{name} has shape {array.shape}, not ({length},)")
    check_ids(user_ids, "user")
    if offsets[0] != 0 or offsets[-1] != n_events or (np.diff(offsets) < 1).any():
        raise DigerError("offsets must run from 0 to the number of events, with no empty user")
    if events.ndim != 1 or events.min() < 0 or events.max() >= n_items:
        raise DigerError(f"events must hold item rows from 0 to {n_items - 1}")
    start, stop = offsets[:-1], offsets[1:]
    _rule((train_end >= start) & (train_end <= stop), "train_end lies outside the user's events")
    for name, at in (("validation_at", validation_at), ("test_at", test_at)):
        inside = (at > start) & (at < stop) & (at >= train_end)
        _rule((at == -1) | inside, f"{name} is not a later event of the user with some history")
    both = (validation_at >= 0) & (test_at >= 0)
    _rule(
        ~both | (validation_at < test_at), "the validation target does not precede the test target"
    )
    if times is not None:
        if times.shape != events.shape:
            raise DigerError(f"times has shape {times.shape}, not {events.shape}")
        falls = np.flatnonzero(np.diff(times) < 0) + 1
        falls = falls[~np.isin(falls, start)]
        if len(falls):
            user = int(np.searchsorted(offsets, falls[0], side="right")) - 1
            raise DigerError(f"user row {user}: events are not in order of time")


def _rule(holds: np.ndarray, otherwise: str) -> None:
    if not holds.all():
        raise DigerError(f"user row {int(np.argmin(holds))}: {otherwise}")


def _checked_text(cell: object, column: str, row: int) -> str | None:
    if isinstance(cell, str):
        if not cell.isascii():
            _check_utf8(cell, f"item row {row}: {column}")
        return cell
    if cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell)):
        return None
    raise DigerError(f"item row {row}: {column} is {cell!r}, not text")


def _categories(cell: object, column: str, row: int) -> list[str]:
    if cell is None:
        return []
    if not isinstance(cell, list | tuple | np.ndarray):
        raise DigerError(f"item row {row}: {column} is {cell!r}, not a list of text")
    names = [_checked_text(name, column, row) for name in cell]
    if None in names:
        raise DigerError(f"item row {row}: {column} has an empty entry")
    return names  # type: ignore[return-value]


def _check_utf8(text: str, where: str) -> None:
    # JSON can spell half of a surrogate pair, which no file format can store.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = error.start + 1
        raise DigerError(f"{where} has a broken character at {place}; replace it") from None
