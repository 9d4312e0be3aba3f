"""How well a set of codes is used: effective codes, balance, dead codes, collisions. Numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


def collision_groups(codes: np.ndarray) -> np.ndarray:
    """(items,) number of each item's group of equal codes (items, levels), suffix left aside."""
    return np.unique(codes, axis=0, return_inverse=True)[1].ravel()


@dataclass(frozen=True)
class LevelStats:
    """Use of one level's codebook.

    used, dead: codes that some / no item has. entropy: of the code frequencies, in nats.
    perplexity: exp(entropy), the number of codes that evenly used would carry the same entropy.
    balance: entropy / log(codebook size); 1 is perfectly even, 0 is one code for all.
    """

    level: int
    used: int
    dead: int
    entropy: float
    perplexity: float
    balance: float


@dataclass(frozen=True)
class CollisionStats:
    """How far the codes alone (no suffix) tell items apart.

    distinct: different code sequences. shared_items: items whose sequence another item has too.
    largest: items on the most crowded sequence. unique_share: 1 - shared_items / items.
    """

    items: int
    distinct: int
    shared_items: int
    largest: int
    unique_share: float


@dataclass(frozen=True)
class SidStats:
    """Use of every level, and collisions."""

    levels: list[LevelStats]
    collisions: CollisionStats

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, ready for JSON."""
        return asdict(self)


def sid_stats(codes: np.ndarray, codebook_size: int) -> SidStats:
    """Statistics of codes (items, levels), values 0..codebook_size-1, without the suffix."""
    codes = np.asarray(codes)
    levels = [
        _level_stats(level, codes[:, level], codebook_size) for level in range(codes.shape[1])
    ]
    return SidStats(levels, collision_stats(codes))


def level_records(
    stats: SidStats, codes: np.ndarray, codebook_size: int, epoch: int
) -> list[dict[str, Any]]:
    """A record of every level after an epoch: its statistics, and how many items are on each code.

    Args:
        stats: of `codes`.
        codes: (items, levels), without the suffix.
        epoch: 0 is the start.
    """
    return [
        {
            **asdict(level),
            "epoch": epoch,
            "level": level.level + 1,
            "counts": np.bincount(codes[:, level.level], minlength=codebook_size).tolist(),
        }
        for level in stats.levels
    ]


def perplexity(counts: np.ndarray) -> float:
    """exp of the entropy of counts (K,): the effective number of codes; 0 where nothing is counted.

    >>> round(perplexity(np.array([5, 5, 0, 0])), 6)
    2.0
    """
    return float(np.exp(_entropy(counts))) if np.any(counts) else 0.0


def code_entropies(codes: np.ndarray, weights: np.ndarray) -> list[float]:
    """Entropy in nats of the code at each level given those before it.

    Args:
        codes: (items, levels).
        weights: (items,) how often each item is drawn, in any unit.

    >>> code_entropies(np.array([[0, 0], [0, 1], [1, 0]]), np.array([1, 1, 2]))[0] == np.log(2)
    True
    """
    ends = [0.0]
    for level in range(1, codes.shape[1] + 1):
        _, prefix = np.unique(codes[:, :level], axis=0, return_inverse=True)
        ends.append(_entropy(np.bincount(prefix.ravel(), weights=weights)))
    return np.diff(ends).tolist()


def collision_stats(codes: np.ndarray) -> CollisionStats:
    """Collisions among codes (items, levels)."""
    codes = np.asarray(codes)
    if not len(codes):
        return CollisionStats(0, 0, 0, 0, 1.0)
    _, counts = np.unique(codes, axis=0, return_counts=True)
    shared = int(counts[counts > 1].sum())
    return CollisionStats(
        items=len(codes),
        distinct=len(counts),
        shared_items=shared,
        largest=int(counts.max()),
        unique_share=1 - shared / len(codes),
    )


def _level_stats(level: int, codes: np.ndarray, codebook_size: int) -> LevelStats:
    counts = np.bincount(codes, minlength=codebook_size)
    entropy = _entropy(counts)
    used = int((counts > 0).sum())
    return LevelStats(
        level=level,
        used=used,
        dead=codebook_size - used,
        entropy=entropy,
        perplexity=perplexity(counts),
        balance=entropy / float(np.log(codebook_size)) if codebook_size > 1 else 1.0,
    )


def _entropy(counts: np.ndarray) -> float:
    counts = np.asarray(counts, np.float64)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum()) + 0.0  # + 0.0 turns -0.0 into 0.0
