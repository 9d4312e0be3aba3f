"""Training histories as slices of one flat tensor, in batches of like length.

The whole dataset lies on the device as it is in the dataset folder: events of all users one after
another, and where each begins. A batch is two gathers; there are no loader workers. The order is a
function of (seed, epoch) alone, so that resuming needs no memory of it and all arms of a study see
the same batches.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diger.data.dataset import Dataset
from diger.errors import DigerError

MEAN_PIECE = 5  # events of a piece, where histories are cut
JITTERED = 0.5  # share of the histories in which events move, where they do


def recurring(n: int) -> int:
    """`n` or a little more (at most an eighth), one of eight sizes between two powers of two.

    Batches whose shapes recur find the memory of the last one, where ever new shapes ask the system
    for pages, and the kernels that were compiled for it (what that is worth: docs/speed.md).
    """
    step = max(1, 1 << max(0, (n - 1).bit_length() - 4))
    return -(-n // step) * step


@dataclass(frozen=True, eq=False)
class Batch:
    """Histories of one batch, padded at the end.

    starts: LongTensor (B, T) where the piece begins that an event is in, for histories that are cut
    into pieces; None where none is.
    """

    items: Tensor  # LongTensor (B, T) item rows, oldest first; padding repeats row 0
    lengths: Tensor  # LongTensor (B,) events in each history, at least 2 in training
    starts: Tensor | None = None
    whole: Batch | None = None  # of all processes, where this one is a share of it

    def distinct(self) -> tuple[Tensor, Tensor]:
        """The distinct items (n,) of the whole batch, and this one's (B, T) as positions there."""
        if self.whole is None:
            unique, index = torch.unique(self.items, return_inverse=True)
            return unique, index
        unique = torch.unique(self.whole.items)
        return unique, torch.searchsorted(unique, self.items)

    def events(self, first: int = 0) -> Tensor:
        """Items (events,) of the whole batch from each history's event `first` on, no padding."""
        every = self if self.whole is None else self.whole
        steps = torch.arange(first, every.items.shape[1], device=every.items.device)
        return every.items[:, first:][steps < every.lengths[:, None]]

    def frequency(self, unique: Tensor) -> Tensor | None:
        """See `CodeView`, for the distinct items (n,)."""
        if self.whole is None:
            return None
        targets = torch.searchsorted(unique, self.events(first=1))
        return torch.bincount(targets, minlength=len(unique))


@dataclass(frozen=True, eq=False)
class Histories:
    """Event ranges to read from one flat tensor.

    Attributes:
        events: LongTensor (n_events,) item rows.
        start: LongTensor (histories,) first event of each.
        length: LongTensor (histories,) events in each, at least 1.
    """

    events: Tensor
    start: Tensor
    length: Tensor

    def __len__(self) -> int:
        return self.start.numel()

    @functools.cached_property
    def longest(self) -> int:
        """Events in the longest history."""
        return int(self.length.max())

    def batch(self, rows: Tensor) -> Batch:
        """The histories in `rows` (B,), padded at the end to the longest's recurring length."""
        length = self.length[rows]
        longest = min(1 + recurring(int(length.max()) - 1), self.longest)
        steps = torch.arange(longest, device=self.events.device)
        at = torch.minimum(
            self.start[rows, None] + steps, (self.start + self.length - 1)[rows, None]
        )
        return Batch(self.events[at], length)

    @staticmethod
    def of_training(dataset: Dataset, max_history: int, device: torch.device) -> Histories:
        """Training events of every user with at least two, in windows that share one event.

        A window holds `max_history` + 1 events, one more than the model's history, because the last
        one is only ever a target. Windows are laid from the latest event back; each begins with the
        last event of the one before it, so that every event but a user's first is a target once.
        """
        length = _training_lengths(dataset)
        users = np.flatnonzero(length >= 2)
        windows = -(-(length[users] - 1) // max_history)
        user = np.repeat(users, windows)
        # Which window of its user, counted from the latest.
        number = np.arange(len(user)) - np.repeat(np.cumsum(windows) - windows, windows)
        end = dataset.train_end[user] - number * max_history
        kept = np.minimum(end - dataset.offsets[user], max_history + 1)
        return _histories(dataset, end - kept, kept, device)

    @staticmethod
    def of_prefixes(dataset: Dataset, max_history: int, device: torch.device) -> Histories:
        """One example for each training event but a user's first: its history, and it at the end.

        For models that learn one target at a time; a batch then counts targets.
        """
        length = _training_lengths(dataset)
        first = np.repeat(dataset.offsets[:-1], length)
        target = np.flatnonzero(dataset.training_mask())
        first, target = first[target > first], target[target > first]
        kept = np.minimum(target - first, max_history) + 1
        return _histories(dataset, target + 1 - kept, kept, device)

    @staticmethod
    def before(
        dataset: Dataset, targets: np.ndarray, max_history: int, device: torch.device
    ) -> Histories:
        """The latest `max_history` events before each target (absolute event index) of its user."""
        user = np.searchsorted(dataset.offsets, targets, side="right") - 1
        kept = np.minimum(targets - dataset.offsets[user], max_history)
        return _histories(dataset, targets - kept, kept, device)


def _training_lengths(dataset: Dataset) -> np.ndarray:
    """Training events (users,) of each user; a DigerError where no one has two."""
    length = dataset.train_end - dataset.offsets[:-1]
    if not (length >= 2).any():
        raise DigerError(
            f"dataset {dataset.name}: no user has two training events, nothing can be learnt; "
            "prepare it with more events a user"
        )
    return length


def _histories(
    dataset: Dataset, start: np.ndarray, length: np.ndarray, device: torch.device
) -> Histories:
    as_long = lambda a: torch.as_tensor(np.asarray(a, dtype=np.int64), device=device)  # noqa: E731
    return Histories(as_long(dataset.events), as_long(start), as_long(length))


def training_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Rows of each batch of an epoch: like lengths together, batches and equals shuffled."""
    rng = np.random.default_rng([seed, epoch])
    order = np.lexsort([rng.random(len(lengths)), lengths])
    # The one short batch stands at a random place instead of always holding the longest histories.
    sizes = np.full(-(-len(order) // batch_size), batch_size)
    sizes[rng.integers(len(sizes))] -= sizes.sum() - len(order)
    batches = np.split(order, np.cumsum(sizes)[:-1])
    return [batches[i] for i in rng.permutation(len(batches))]


def varied(batch: Batch, jitter: int, short: float, seed: tuple[int, ...]) -> Batch:
    """`batch` with its histories varied, by `seed` alone.

    In every other history events move by less than `jitter` steps. A share `short` is cut into
    pieces of five events in the mean, each read as a history of its own that is followed by the
    next one's first event.
    """
    rng = np.random.default_rng(seed)
    device = batch.items.device
    rows, steps = batch.items.shape
    at = np.arange(steps)
    keys = at + jitter * rng.random((rows, steps)) * (rng.random((rows, 1)) < JITTERED)
    keys = np.where(at < batch.lengths.cpu().numpy()[:, None], keys, keys + steps + jitter)
    order = torch.as_tensor(np.argsort(keys, axis=1), device=device)
    cut = (rng.random((rows, 1)) < short) & (rng.random((rows, steps)) < 1 / MEAN_PIECE)
    starts = np.maximum.accumulate(np.where(cut, at, 0), axis=1)
    return Batch(
        batch.items.gather(1, order),
        batch.lengths,
        torch.as_tensor(starts, device=device) if short else None,
    )


def evaluation_order(lengths: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Rows of each batch, shortest histories first, so that padding is small."""
    yield from torch.argsort(lengths, stable=True).split(batch_size)
