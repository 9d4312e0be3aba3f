"""Whole histories out of the rows of a release, and proof that nothing was lost or made up.

Validation and test rows stand in one order of users; a test row is a user's whole history unless
the release cut histories to its latest events, in which case the beginning is taken from the
training rows, each of which continues the one before it. Leave-one-out of the result must give back
every row of the release, or it is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from diger.convert.release import Release, Row
from diger.errors import DigerError


def whole_histories(
    release: Release, train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row]
) -> tuple[list[str], list[tuple[int, ...]]]:
    """User ids and each user's events (item rows, oldest first), in the order of the test rows.

    Users without a `user_id` are numbered from 1.
    """
    users, valid = _in_test_order(release, valid, test)
    cut = max(len(row.items) - 1 for rows in (train, valid, test) for row in rows)
    beginnings = _Beginnings(train, cut)
    histories = []
    for user, before, last in zip(users, valid, test, strict=True):
        start = before.items if len(before.items) - 1 < cut else beginnings.find(before)
        if start is None:
            raise DigerError(
                f"{release.valid} line {before.line} shows the latest {cut} events of user {user}, "
                f"and {release.train.name} does not tell what came before them"
            )
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


class _Beginnings:
    """Training histories by their last `cut` events and by user, for users cut short elsewhere."""

    def __init__(self, train: Sequence[Row], cut: int) -> None:
        self.cut = cut
        self.found: dict[tuple[str | None, tuple[int, ...]], set[tuple[int, ...]]] = {}
        for user, chain in _chains(train, cut):
            if len(chain) >= cut:
                self.found.setdefault((user, chain[-cut:]), set()).add(chain)

    def find(self, row: Row) -> tuple[int, ...] | None:
        """All of a history that a validation row shows the end of; None if it is not to be told."""
        chains = self.found.get((row.user, row.items[:-1]), set())
        return (*next(iter(chains)), row.items[-1]) if len(chains) == 1 else None


def _chains(train: Sequence[Row], cut: int) -> Iterator[tuple[str | None, tuple[int, ...]]]:
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
    release: Release, train: Sequence[Row], histories: Sequence[tuple[int, ...]], cut: int
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
