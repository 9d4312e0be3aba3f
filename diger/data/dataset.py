"""`Dataset`: the catalogue, every user's events, and the split, as plain arrays. Free of torch.

Rows are positions: item row i is row i of `items`, and a user's events lie side by side, oldest
first. Making and loading check every invariant, loading both fingerprints as well, so that whatever
has a `Dataset` in hand can trust it. `diger.data.store` describes the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diger.data.info import DatasetInfo, Example, SplitName, TimeUnit, check_name
from diger.data.invariants import check_arrays, item_frame, structure_fingerprint, text_fingerprint
from diger.data.store import INFO, REMEDY, read_arrays, read_info, write_dataset
from diger.errors import DigerError

__all__ = ["Dataset", "DatasetInfo"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Users' events over a catalogue, split for training, validation and test.

    `items` has one row an item: `item_id` (unique str), `title`, `description`, `brand` (str or
    None), `categories` (list of str); further columns are kept. User u's events are
    `events[offsets[u]:offsets[u + 1]]`; training has `events[offsets[u]:train_end[u]]` of them. A
    target's history is all that the user did before it, never nothing; that of a test target
    includes the validation target.
    """

    items: pd.DataFrame
    user_ids: np.ndarray  # (users,) object array of str
    offsets: np.ndarray  # (users + 1,) int64
    events: np.ndarray  # (n,) int32 item rows, oldest first within a user
    times: np.ndarray | None  # (n,) int64 seconds or positions, never falling within a user
    train_end: np.ndarray  # (users,) int64
    validation_at: np.ndarray  # (users,) int64 index of the validation target, -1 for none
    test_at: np.ndarray  # (users,) int64, the same for test
    info: DatasetInfo  # how the data was made, its terms and its fingerprints

    @classmethod
    def create(
        cls,
        *,
        name: str,
        split: SplitName,
        items: pd.DataFrame,
        user_ids: Sequence[str] | np.ndarray,
        offsets: np.ndarray,
        events: np.ndarray,
        times: np.ndarray | None,
        train_end: np.ndarray,
        validation_at: np.ndarray,
        test_at: np.ndarray,
        title: str | None = None,
        time_unit: TimeUnit | None = None,
        simulated: bool = False,
        text_may_be_published: bool = False,
        viewers_are_private: bool = False,
        licence: str = "unknown",
        source: str = "",
        preparation: dict[str, str | int | float | bool | None] | None = None,
        examples: Sequence[Example | dict[str, Any]] = (),
    ) -> Dataset:
        """Build a dataset from its parts: normalise types, check them, count and fingerprint.

        `title` defaults to `name`; `time_unit` to "position" where `times` are given.
        """
        items = item_frame(items)
        arrays: dict[str, np.ndarray] = {
            "offsets": np.asarray(offsets, dtype=np.int64),
            "events": np.asarray(events, dtype=np.int32),
            "train_end": np.asarray(train_end, dtype=np.int64),
            "validation_at": np.asarray(validation_at, dtype=np.int64),
            "test_at": np.asarray(test_at, dtype=np.int64),
        }
        times = None if times is None else np.asarray(times, dtype=np.int64)
        users = np.asarray(user_ids, dtype=object)
        check_arrays(n_items=len(items), user_ids=users, times=times, **arrays)
        info = DatasetInfo(
            name=check_name(name),
            title=title or name,
            split=split,
            simulated=simulated,
            text_may_be_published=text_may_be_published,
            viewers_are_private=viewers_are_private,
            licence=licence,
            source=source,
            time_unit=None if times is None else time_unit or "position",
            n_users=len(users),
            n_items=len(items),
            n_events=len(arrays["events"]),
            n_training_events=int((arrays["train_end"] - arrays["offsets"][:-1]).sum()),
            n_validation_users=int((arrays["validation_at"] >= 0).sum()),
            n_test_users=int((arrays["test_at"] >= 0).sum()),
            fingerprint=structure_fingerprint(items["item_id"].tolist(), arrays),
            text_fingerprint=text_fingerprint(items),
            preparation=preparation or {},
            examples=tuple(Example.model_validate(example) for example in examples),
        )
        known = set(items["item_id"])
        for example in info.examples:
            unknown = [item for item in example.items if item not in known]
            if unknown:
                raise DigerError(
                    f"example {example.title!r} has an unknown item {unknown[0]!r}; "
                    "examples may only name items of the catalogue"
                )
        return cls(items=items, user_ids=users, times=times, info=info, **arrays)

    @property
    def name(self) -> str:
        """Short name, as in a bundle's folder name."""
        return self.info.name

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue."""
        return len(self.items)

    @property
    def n_events(self) -> int:
        """Number of events of all users, held-out ones included."""
        return len(self.events)

    def training_mask(self) -> np.ndarray:
        """(n,) bool: which events are training events."""
        last = np.repeat(self.train_end, np.diff(self.offsets))
        return np.arange(self.n_events) < last

    def training_popularity(self) -> np.ndarray:
        """(items,) int64: how often each item occurs among the training events."""
        return np.bincount(self.events[self.training_mask()], minlength=self.n_items)

    def save(self, path: Path | str, *, force: bool = False) -> Path:
        """Write the dataset folder in one piece and return its path.

        `force` replaces an existing dataset folder, the content vectors in it included.
        """
        target = Path(path).resolve()
        write_dataset(target, self, force=force)
        return target

    @classmethod
    def load(cls, path: Path | str) -> Dataset:
        """Read a dataset folder and check it whole, its fingerprints included."""
        folder = Path(path)
        info = read_info(folder)
        arrays = read_arrays(folder, timed=info.time_unit is not None)
        try:
            made = cls.create(**info.model_dump(include=_GIVEN), **arrays)
        except DigerError as error:
            raise DigerError(f"{folder}: {error}; {REMEDY}") from error
        if made.info != info:
            wrong = next(key for key, value in made.info if value != getattr(info, key))
            raise DigerError(
                f"{folder} does not match the {wrong} in its {INFO}: a file was changed or comes "
                f"from another dataset; {REMEDY}"
            )
        return made


# What `create` is told; the rest of the info it works out from the arrays.
_GIVEN = set(signature(Dataset.create).parameters) & set(DatasetInfo.model_fields)
