"""Full ranking of the catalogue for every user of a split: ranks of the targets, and top lists.

Leave-one-out, item-level, no sampled negatives, seen items are candidates like any other (in a
second, labelled protocol that some published tables use they are left out of the list). A
`Ranker` says how a batch of histories is turned into a list and the target's rank, and carries the
label of its decoding; everything after that is the same for every model. A tie never favours the
target: its rank counts every other item with an equal score as ahead of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from diger.data.batches import Batch, Histories, evaluation_order
from diger.data.dataset import Dataset
from diger.decoding.beam import best
from diger.errors import DigerError

TOP = 20
SPLITS = ("validation", "test")
SEEN_LEFT_OUT = "; seen items left out"


@dataclass(frozen=True, eq=False)
class Ranked:
    """A batch, ranked.

    group_first: LongTensor (B,) best rank held by an item with the target's codes (suffix aside); 0
    if none was decoded.
    """

    top: Tensor  # LongTensor (B, TOP) item rows, best first; -1 where there is none
    rank: Tensor  # LongTensor (B,) 1-based rank of the target; 0 if not among the decoded
    group_first: Tensor


class Ranker(Protocol):
    """Ranks the catalogue for a batch of histories."""

    @property
    def decoding(self) -> str:
        """How the ranking is made, for people and for refusing unlike comparisons."""

    def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
        """Rank for histories (B, T) with targets (B,).

        Item rows in `seen` (B, S) are left out of the list, targets too.
        """


def ranked_from_list(
    items: Tensor,
    scores: Tensor,
    targets: Tensor,
    group: Tensor | None = None,
    seen: Tensor | None = None,
) -> Ranked:
    """`Ranked` from decoded lists (B, W) of item rows and their scores, best first.

    A row is -1 where there is none (score -inf), or for a SID that no item has, which takes a place
    in the list all the same. `targets` are item rows (B,), `group` the number of each item's
    collision group (items,); None when no two items share their codes. `seen` as in `Ranker.rank`.
    """
    if seen is not None:
        left_out = (items[:, :, None] == seen[:, None]).any(-1)
        scores, order = scores.masked_fill(left_out, -torch.inf).sort(
            stable=True, dim=1, descending=True
        )
        items = items.masked_fill(left_out, -1).gather(1, order)
    is_target = items == targets[:, None]
    found = is_target.any(1)
    place = is_target.float().argmax(1)
    score = scores.gather(1, place[:, None])
    # Everything at least as good as the target, itself included.
    rank = ((scores >= score) & scores.isfinite()).sum(1)
    rank = torch.where(found, rank, 0)
    group_first = rank
    if group is not None:
        same = (group[items.clamp(min=0)] == group[targets][:, None]) & (items >= 0)
        leader = scores.masked_fill(~same, -torch.inf).amax(1, keepdim=True)
        ahead = ((scores >= leader) & ~same & scores.isfinite()).sum(1)
        group_first = torch.where(same.any(1), ahead + 1, 0)
    return Ranked(_padded(items[:, :TOP]), rank, group_first)


def ranked_from_scores(
    scores: Tensor,
    targets: Tensor,
    group: Tensor | None = None,
    seen: Tensor | None = None,
) -> Ranked:
    """`Ranked` from a score for every item (B, items); the rest as in `ranked_from_list`."""
    if seen is not None:
        scores = scores.scatter(1, seen, -torch.inf)
    # A NaN compares as false with everything: none may read as being behind the target.
    broken = scores.isnan().any(1)
    scores = scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    top_scores, top = best(scores, TOP)
    top = torch.where(top_scores.isfinite(), top, -1)
    target_score = scores.gather(1, targets[:, None])
    rank = (scores >= target_score).sum(1)
    rank = torch.where(target_score.squeeze(1).isfinite() & ~broken, rank, 0)
    group_first = rank
    if group is not None:
        same = group == group[targets][:, None]
        leader = scores.masked_fill(~same, -torch.inf).amax(1, keepdim=True)
        ahead = ((scores >= leader) & ~same).sum(1)
        group_first = torch.where(leader.squeeze(1).isfinite() & ~broken, ahead + 1, 0)
    return Ranked(_padded(top), rank, group_first)


def _padded(top: Tensor) -> Tensor:
    return torch.nn.functional.pad(top, (0, TOP - top.shape[1]), value=-1)


@dataclass(frozen=True, eq=False)
class SplitRanks:
    """A ranked split: `frame` as in ranks.parquet, `top` (users, TOP) item rows for its rows."""

    split: str
    decoding: str
    frame: pd.DataFrame
    top: np.ndarray


def rank_split(
    ranker: Ranker,
    dataset: Dataset,
    split: str,
    *,
    max_history: int,
    batch_size: int,
    device: torch.device,
    group: np.ndarray | None = None,
    users: np.ndarray | None = None,
    unseen: bool = False,
    on_batch: Callable[[int], None] = lambda done: None,
) -> SplitRanks:
    """Rank every user of a split, "validation" or "test" (or `users`, row numbers, only).

    The model is shown the latest `max_history` events of a history, `batch_size` histories at once,
    gathered on `device`; with `unseen`, all that a user had before the target is left out of the
    list, and a target that comes again cannot be hit. `group` is the (items,) collision group of
    each item, for the collision-corrected numbers; `on_batch` is told how many users each batch
    finished.
    """
    if split not in SPLITS:
        raise DigerError(f"no split named {split}; choose one of: {', '.join(SPLITS)}")
    at = dataset.validation_at if split == "validation" else dataset.test_at
    rows = np.flatnonzero(at > dataset.offsets[:-1])  # a target needs at least one event before it
    if users is not None:
        rows = np.intersect1d(rows, users)
    if not len(rows):
        raise DigerError(f"dataset {dataset.name}: no user has a {split} target with a history")
    histories = Histories.before(dataset, at[rows], max_history, device)
    earlier = Histories.before(dataset, at[rows], dataset.n_events, device) if unseen else None
    targets = torch.as_tensor(dataset.events[at[rows]].astype(np.int64), device=device)
    top = torch.empty(len(rows), TOP, dtype=torch.long, device=device)
    rank = torch.empty(len(rows), dtype=torch.long, device=device)
    group_first = torch.empty_like(rank)
    for batch_rows in evaluation_order(histories.length, batch_size):
        seen = None if earlier is None else earlier.batch(batch_rows).items
        ranked = ranker.rank(histories.batch(batch_rows), targets[batch_rows], seen)
        top[batch_rows] = ranked.top
        rank[batch_rows] = ranked.rank
        group_first[batch_rows] = ranked.group_first
        on_batch(len(batch_rows))
    target = targets.cpu().numpy()
    popularity = dataset.training_popularity()[target]
    sizes = np.ones(len(target), np.int64) if group is None else np.bincount(group)[group[target]]
    frame = pd.DataFrame(
        {
            "split": split,
            "user": rows.astype(np.int32),
            "target": target.astype(np.int32),
            "rank": _nullable(rank),
            "history_length": (at[rows] - dataset.offsets[rows]).astype(np.int32),
            "target_popularity": popularity.astype(np.int32),
            "cold": popularity == 0,
            "group_first": _nullable(group_first),
            "group_size": sizes.astype(np.int32),
        }
    )
    decoding = ranker.decoding + (SEEN_LEFT_OUT if unseen else "")
    return SplitRanks(split, decoding, frame, top.cpu().numpy())


def _nullable(rank: Tensor) -> pd.array:
    values = rank.cpu().numpy().astype(np.int32)
    return pd.arrays.IntegerArray(values, mask=values == 0)
