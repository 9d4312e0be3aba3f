"""From a reader to a `Dataset`: order, filter, number, split.

Events are ordered by time within a user, ties in file order; repeats stay unless dropped (then the
earliest stays); k-core filtering follows. Users are numbered by first appearance in the
interactions file; items by first appearance in the item file, then those that are not in it by
first appearance in the interactions file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from diger.data.dataset import Dataset
from diger.data.info import SplitName, check_name
from diger.data.log import EventLog, first_of_pairs, k_core, read_events
from diger.data.readers.base import ItemRecord, Reader
from diger.data.split import Split, leave_one_out, resolve_cuts, temporal
from diger.errors import DigerError, did_you_mean

SPLITS: tuple[SplitName, ...] = ("leave-one-out", "temporal")
DEFAULT_CUTS = (0.8, 0.9)
# Seconds beyond the year 5000 are milliseconds, or finer.
_NOT_SECONDS = 1e11
_YEAR_1973, _YEAR_2100 = 1e8, 4.1e9
_LARGEST_POSITION = 2**53  # beyond it, times as float64 are not exact


@dataclass(frozen=True)
class ReadingCounts:
    """What was read and what was left out on the way to a dataset."""

    events_read: int
    users_read: int
    items_read: int
    repeats_dropped: int
    events_outside_core: int
    item_records_unused: int
    item_records_repeated: int
    items_without_record: int


@dataclass(frozen=True)
class Prepared:
    """A dataset and the counts of how it came about."""

    dataset: Dataset
    counts: ReadingCounts


def prepare(
    reader: Reader,
    *,
    name: str,
    core: int | None = None,
    split: str = "leave-one-out",
    cuts: tuple[float, float] = DEFAULT_CUTS,
    drop_repeats: bool = False,
    publish_text: bool = False,
    licence: str = "unknown",
) -> Prepared:
    """Read a source (`diger.data.readers.open_reader`) and make a dataset of it.

    `core` is the k of the k-core filter, 0 for none, None for the format's default. The split is
    "leave-one-out" or "temporal"; for the latter `cuts` say where validation and test begin: two
    quantiles of the event times, or two times in seconds. `drop_repeats` keeps only a user's first
    event with an item; `publish_text` lets bundles carry the item text.
    """
    check_name(name)
    core = reader.default_k_core if core is None else core
    if core < 0:
        raise DigerError(f"k-core must be 0 (off) or more, got {core}")
    if split not in SPLITS:
        hint = did_you_mean(split, SPLITS)
        raise DigerError(f"unknown split {split!r}{hint}; known: {', '.join(SPLITS)}")
    if split == "temporal" and reader.time_unit != "seconds":
        raise DigerError(
            "a temporal split needs a timestamp column: positions say nothing about the order of "
            "different users' events; add timestamps or use --split leave-one-out"
        )
    if publish_text and reader.viewers_are_private and not reader.text_is_ours:
        raise DigerError(
            f"the terms of {reader.format} data forbid passing it on; leave --publish-text out"
        )
    log = read_events(reader)
    if reader.time_unit == "seconds":
        log = replace(log, times=to_seconds(log.times))
    elif np.abs(log.times).max() > _LARGEST_POSITION:
        raise DigerError("a position is beyond 2^53; count a user's events from 0")
    log = in_time_order(log)
    n_read = len(log.users)
    if drop_repeats:
        log = _keep(log, first_of_pairs(log.users, log.items))
    n_after_repeats = len(log.users)
    if core:
        log = _keep(log, k_core(log.users, log.items, core))
    if not len(log.users):
        raise DigerError(
            f"no user and item with {core} or more events each: nothing is left of {n_read} "
            f"events; lower --k-core (0 turns it off)"
        )
    items, item_rows, counts = _catalogue(reader, log)
    user_numbers, lengths = np.unique(log.users, return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    made, cut_options = _split(split, offsets, log.times, cuts)
    dataset = Dataset.create(
        name=name,
        split=split,  # type: ignore[arg-type]
        items=items,
        user_ids=[log.user_ids[number] for number in user_numbers],
        offsets=offsets,
        events=item_rows[log.items],
        times=np.floor(log.times),
        time_unit=reader.time_unit,
        text_may_be_published=publish_text or reader.text_is_ours,
        viewers_are_private=reader.viewers_are_private,
        simulated=reader.simulated,
        licence=reader.licence or licence,
        # The folder's name only: a whole path says more about a machine than about the data.
        source=reader.source or f"{reader.folder.resolve().name} ({reader.format} files)",
        title=reader.title,
        examples=reader.examples([log.item_ids[n] for n in np.unique(log.items)]),
        preparation={
            "format": reader.format,
            "k_core": core,
            "drop_repeats": drop_repeats,
            **cut_options,
        },
        **made._asdict(),
    )
    read = ReadingCounts(
        events_read=n_read,
        users_read=len(log.user_ids),
        items_read=len(log.item_ids),
        repeats_dropped=n_read - n_after_repeats,
        events_outside_core=n_after_repeats - len(log.users),
        **counts,
    )
    return Prepared(dataset, read)


def in_time_order(log: EventLog) -> EventLog:
    """The same events user by user, oldest first, ties in file order."""
    order = np.lexsort((log.times, log.users))  # stable
    return replace(log, users=log.users[order], items=log.items[order], times=log.times[order])


def to_seconds(times: np.ndarray) -> np.ndarray:
    """Unix times in seconds, each from seconds, milli-, micro- or nanoseconds, told by its size.

    Each by itself: exports joined to one file, or one stray line, may have another unit. What lies
    after the year 2100, or at 0 or before where most are of our times, is a mark for none, and
    refused.
    """
    size = np.abs(times)
    unit = np.ones(len(times))
    for factor in (1e3, 1e6, 1e9):
        unit[size / unit >= _NOT_SECONDS] = factor
    seconds = times / unit
    marks = (seconds <= 0) & (np.median(seconds) > _YEAR_1973)
    wrong = np.flatnonzero(marks | (np.abs(seconds) > _YEAR_2100))
    if len(wrong):
        shown = ", ".join(dict.fromkeys(f"{times[n]:.16g}" for n in wrong[:100]))
        raise DigerError(
            f"{len(wrong):,} timestamps are no Unix time between 1970 and 2100 ({shown[:80]}); "
            "correct or delete these lines, or name the column position"
        )
    return seconds


def _keep(log: EventLog, mask: np.ndarray) -> EventLog:
    return replace(log, users=log.users[mask], items=log.items[mask], times=log.times[mask])


def _split(
    split: str, offsets: np.ndarray, times: np.ndarray, cuts: tuple[float, float]
) -> tuple[Split, dict[str, float]]:
    if split == "leave-one-out":
        return leave_one_out(offsets), {}
    validation_cut, test_cut = resolve_cuts(times, cuts)
    made = temporal(offsets, times, validation_cut, test_cut)
    return made, {"validation_cut": validation_cut, "test_cut": test_cut}


def _catalogue(reader: Reader, log: EventLog) -> tuple[pd.DataFrame, np.ndarray, dict[str, int]]:
    """Item frame, (items read,) int32 row of each item number (-1 = left out), and counts."""
    numbers = {log.item_ids[number]: number for number in np.unique(log.items)}
    records: dict[str, ItemRecord] = {}
    repeated = 0
    for record in reader.items(set(numbers)):
        if record.item_id in records:
            repeated += 1
        else:
            records[record.item_id] = record
    n_known = len(records)
    for item_id in numbers:
        if item_id not in records:
            records[item_id] = ItemRecord(item_id, None, None, None, [])
    rows = np.full(len(log.item_ids), -1, dtype=np.int32)
    rows[[numbers[item_id] for item_id in records]] = np.arange(len(records))
    columns = dict(zip(ItemRecord._fields, zip(*records.values(), strict=True), strict=True))
    frame = pd.DataFrame({key: pd.Series(cells, dtype=object) for key, cells in columns.items()})
    counts = {
        "item_records_unused": reader.unwanted,
        "item_records_repeated": repeated,
        "items_without_record": len(records) - n_known,
    }
    return frame, rows, counts
