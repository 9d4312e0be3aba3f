"""DIGER's released processed data: one row an example, put together to whole histories.

A release is a folder with `NAME.train.jsonl`, `.valid.jsonl` and `.test.jsonl`, whose rows have
`inter_history` (item ids, oldest first) and `target_id`; `NAME.emb_map.json`, item id to number,
counted from 1 (0 pads); and one `.npy` of text features whose row r belongs to item number r + 1.
Items have ids and no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diger.data.folder import read_json
from diger.data.readers.base import EventBatch, ItemRecord, Progress, Reader
from diger.data.readers.table import objects
from diger.errors import DigerError

TRAIN, VALID, TEST, MAP = ".train.jsonl", ".valid.jsonl", ".test.jsonl", ".emb_map.json"
_POINTER = b"version https://git-lfs"
_REMEDY = "download it again"
Events = tuple[int, ...]  # item rows, oldest first


@dataclass(frozen=True)
class Release:
    """The files of one dataset; `name` is what the files' names begin with."""

    name: str
    train: Path
    valid: Path
    test: Path
    item_map: Path
    vectors: Path


class ReleaseReader(Reader):
    """Reads a release; its text features become the dataset's vectors."""

    format = "diger"
    files = f"NAME{TRAIN}, NAME{VALID}, NAME{TEST}, NAME{MAP} and one .npy"
    time_unit = "position"
    describes_items = False

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        self._release = find_release(folder)
        self._items = read_item_map(self._release.item_map, self._release.vectors)
        self.vectors = self._release.vectors
        self.source = f"DIGER's processed data ({self._release.name})"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a NAME.emb_map.json."""
        return any(folder.glob(f"*{MAP}"))

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`; the release must give back what it was cut from."""
        release, ids = self._release, list(self._items)
        train, valid, test = (
            read_rows(path, self._items, self.progress)
            for path in (release.train, release.valid, release.test)
        )
        users, histories = whole_histories(release, train, valid, test)
        for user, history in zip(users, histories, strict=True):
            places = list(map(float, range(len(history))))
            yield EventBatch([user] * len(history), [ids[row] for row in history], places)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`: ids alone, in the order of the vectors."""
        self.unwanted = len(self._items) - len(wanted)
        for item_id in self._items:
            if item_id in wanted:
                yield ItemRecord(item_id, None, None, None, [])


class Row(NamedTuple):
    """One example: `items` are item rows, the history and at the end the target."""

    line: int
    user: str | None
    items: Events


def find_release(folder: Path) -> Release:
    """The files of the release in `folder`."""
    name = _only_one(folder, f"*{TRAIN}").name.removesuffix(TRAIN)
    vectors = _only_one(folder, "*.npy")
    train, valid, test, item_map = (
        folder / f"{name}{ending}" for ending in (TRAIN, VALID, TEST, MAP)
    )
    for path in (train, valid, test, item_map, vectors):
        check_file(path)
    return Release(name, train, valid, test, item_map, vectors)


def _only_one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DigerError(f"{folder} must hold exactly one {pattern}, found {names}")
    return found[0]


def check_file(path: Path) -> None:
    """A DigerError where `path` is no file, or only a Git LFS pointer to one."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise DigerError(f"cannot read {path}: {error.strerror or error}") from None
    if start == _POINTER:
        raise DigerError(f"{path} is a Git LFS pointer, not the file itself; run git lfs pull")


def read_item_map(path: Path, vectors: Path) -> dict[str, int]:
    """Item id to item row, in row order; row r is what the vectors' row r belongs to."""
    numbers = read_json(path, _REMEDY)
    wrong = next((k for k, n in numbers.items() if type(n) is not int), None)
    if wrong is not None:
        raise DigerError(f"{path}: item {wrong!r} has the number {numbers[wrong]!r}; {_REMEDY}")
    rows = {item: number - 1 for item, number in numbers.items() if number != 0}
    ordered = dict(sorted(rows.items(), key=lambda pair: pair[1]))
    if list(ordered.values()) != list(range(len(ordered))):
        raise DigerError(
            f"{path}: items must be numbered 1, 2, ... without gaps or repeats (0 is padding)"
        )
    try:
        shape = np.load(vectors, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError) as error:
        raise DigerError(f"{vectors} is not a plain .npy array ({error}); {_REMEDY}") from None
    if not shape or shape[0] != len(ordered):
        raise DigerError(
            f"{vectors} has the shape {shape}, but {path.name} numbers {len(ordered)} items"
        )
    return ordered


def read_rows(path: Path, items: dict[str, int], progress: Progress | None = None) -> list[Row]:
    """All examples of a split, in file order."""
    rows = []
    for line, record in objects(path, progress):
        history, target = record.get("inter_history"), record.get("target_id")
        if not isinstance(history, list) or not history or target is None:
            raise DigerError(
                f"{path} line {line}: expected a non-empty list inter_history and a target_id"
            )
        try:
            numbers = tuple(items[str(item)] for item in (*history, target))
        except KeyError as error:
            raise DigerError(f"{path} line {line}: {error} is not in the item map") from None
        user = record.get("user_id")
        rows.append(Row(line, None if user is None else str(user), numbers))
    return rows


# Whole histories out of the rows of a release, and proof that nothing was lost or made up.
#
# Validation and test rows stand in one order of users; a test row is a user's whole history unless
# the release cut histories to its latest events, in which case the beginning is taken from the
# training rows, each of which continues the one before it. Leave-one-out of the result must give
# back every row of the release, or it is refused.


def whole_histories(
    release: Release, train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row]
) -> tuple[list[str], list[Events]]:
    """User ids and each user's events (item rows, oldest first), in the order of the test rows.

    Users without a `user_id` are numbered from 1.
    """
    users, valid = _in_test_order(release, valid, test)
    cut = max(len(row.items) - 1 for rows in (train, valid, test) for row in rows)
    beginnings = _beginnings(train, cut)
    histories = []
    for user, before, last in zip(users, valid, test, strict=True):
        start = before.items
        if len(start) - 1 >= cut:
            known = beginnings.get((before.user, start[:-1]), set())
            if len(known) != 1:
                raise DigerError(
                    f"{release.valid} line {before.line} shows the latest {cut} events of user "
                    f"{user}, and {release.train.name} does not tell what came before them"
                )
            start = (*next(iter(known)), start[-1])
        whole = (*start, last.items[-1])
        if whole[-cut - 1 :] != last.items:
            raise DigerError(
                f"{release.test} line {last.line}: the history of user {user} does not continue "
                f"the one in {release.valid.name} line {before.line}; the files do not belong "
                "together"
            )
        histories.append(whole)
    _check_training(release, train, histories, cut)
    return users, histories


def _in_test_order(
    release: Release, valid: Sequence[Row], test: Sequence[Row]
) -> tuple[list[str], Sequence[Row]]:
    """User ids and validation rows in the order of the test rows: by `user_id`, else by line."""
    if len(valid) != len(test):
        raise DigerError(
            f"{release.valid} has {len(valid)} rows and {release.test.name} {len(test)}; there "
            "must be one row a user in each"
        )
    if all(row.user is None for row in (*valid, *test)):
        return [str(i + 1) for i in range(len(test))], valid
    rows = {row.user: row for row in valid if row.user is not None}
    users = [row.user for row in test if row.user is not None]
    if len(users) != len(test) or len(rows) != len(valid) or rows.keys() != set(users):
        raise DigerError(
            f"{release.valid} and {release.test.name} must name the same users, one row each"
        )
    return users, [rows[user] for user in users]


def _beginnings(train: Sequence[Row], cut: int) -> dict[tuple[str | None, Events], set[Events]]:
    """Training histories by user and their last `cut` events, for those cut short elsewhere."""
    found: dict[tuple[str | None, Events], set[Events]] = {}
    for user, chain in _chains(train, cut):
        if len(chain) >= cut:
            found.setdefault((user, chain[-cut:]), set()).add(chain)
    return found


def _chains(train: Sequence[Row], cut: int) -> Iterator[tuple[str | None, Events]]:
    """Users and events of runs of rows that each continue the one before, from a user's first."""
    chain: list[int] = []
    user: str | None = None
    for row in train:
        if not chain or row.user != user or tuple(chain[-cut:]) != row.items[:-1]:
            if chain:
                yield user, tuple(chain)
            # A history that is cut itself begins nothing.
            chain, user = list(row.items[:-1]) if len(row.items) <= cut else [], row.user
        if chain:
            chain.append(row.items[-1])
    if chain:
        yield user, tuple(chain)


def _check_training(
    release: Release, train: Sequence[Row], histories: Sequence[Events], cut: int
) -> None:
    """The training rows must be the histories' prefixes, one a training event but the first."""
    expected = Counter(
        whole[max(0, at - cut) : at + 1] for whole in histories for at in range(1, len(whole) - 2)
    )
    for row in train:
        if not expected[row.items]:
            raise DigerError(
                f"{release.train} line {row.line} is no part of any user's history before the "
                "held-out events; the files do not belong together"
            )
        expected[row.items] -= 1
    missing = expected.total()
    if missing:
        raise DigerError(
            f"{release.train} lacks {missing} rows that the users' histories call for; it is cut "
            "off, or belongs to other files"
        )
