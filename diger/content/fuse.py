"""Several sources of content made one vector an item: centred, scaled, weighted, side by side.

A source is centred and brought to a mean squared norm of 1 over the items that have it, then
multiplied by the root of its weight, so that weights are shares of the whole's variance. What an
item lacks is estimated from what it has: a ridge regression from the other sources, fitted on items
that have both, with the penalty that predicts every tenth of them best. It shrinks by itself: where
text says little of behaviour, the estimate stays near the mean. An item without any source stands
at the mean. A new item known by the first source alone goes the same way (`Fused.newcomer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from diger.content.transform import ContentTransform
from diger.content.vectors import ContentVectors
from diger.errors import DigerError

_PENALTIES = (1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Fused:
    """Fused content.

    alone: (mean, matrix) from raw vectors (n, dim) of the first source to fused ones, for items of
    which it is all that is known.
    """

    vectors: np.ndarray  # float32 (items, sum of the sources' widths)
    missing: np.ndarray  # bool (items,), items that no source knows
    known: np.ndarray  # bool (items, sources), which sources each item had
    alone: tuple[np.ndarray, np.ndarray]
    told: dict[str, float]  # share of each other source's variance that the first one predicts,
    # on the tenth of the items that the estimate was not fitted on; below 0 where it misleads

    def newcomer(self, transform: ContentTransform) -> ContentTransform:
        """What `transform` is to fused vectors, for an item known by the first source alone."""
        mean, matrix = self.alone
        at_mean = np.zeros((1, matrix.shape[1]), np.float32)
        offset = transform.transform(at_mean, np.zeros(1, bool))[0]
        unit = np.eye(matrix.shape[1], dtype=np.float32)
        to_width = transform.transform(unit, np.zeros(len(unit), bool)) - offset
        whole = matrix @ to_width  # (dim, width)
        # An affine map as centring and projection: its offset goes into the mean.
        shift = np.linalg.lstsq(whole.T, -offset.astype(np.float64), rcond=None)[0]
        return ContentTransform(
            (mean + shift).astype(np.float32), 1.0, np.ascontiguousarray(whole, np.float32)
        )


def fuse(sources: Mapping[str, ContentVectors], weights: Mapping[str, float]) -> Fused:
    """Raw vectors (items, dim) by source, of one catalogue, as the module's text says.

    The first source is the one that new items have; weights are above 0.
    """
    names = tuple(sources)
    known = np.stack([~content.missing for content in sources.values()], axis=1)
    means, scales, blocks = [], [], []
    for name, content in sources.items():
        rows = content.vectors[~content.missing]
        if len(rows) < 2:
            raise DigerError(f"content source {name} knows {len(rows)} items; at least 2 must be")
        mean = rows.mean(axis=0, dtype=np.float64)
        power = float(np.square(rows - mean).sum(axis=1).mean())
        if power <= 1e-12 * max(float(np.square(mean).sum()), 1e-12):
            raise DigerError(f"content source {name} is the same for all items; leave it out")
        scale = np.sqrt(weights[name] / power)
        block = (content.vectors - mean) * scale
        block[content.missing] = 0
        means.append(mean)
        scales.append(scale)
        blocks.append(block)
    others = [_ridge(blocks, known, [0], other, names) for other in range(1, len(names))]
    alone = scales[0] * np.concatenate(
        [np.eye(blocks[0].shape[1]), *(m for m, _ in others)], axis=1
    )
    told = {name: share for name, (_, share) in zip(names[1:], others, strict=True)}
    filled = [block.copy() for block in blocks]
    for pattern in np.unique(known, axis=0):
        has, lacks = np.flatnonzero(pattern).tolist(), np.flatnonzero(~pattern).tolist()
        rows = (known == pattern).all(axis=1)
        for target in lacks if len(has) else ():
            given = np.concatenate([blocks[s][rows] for s in has], axis=1)
            filled[target][rows] = given @ _ridge(blocks, known, has, target, names)[0]
    vectors = np.concatenate(filled, axis=1).astype(np.float32)
    return Fused(vectors, np.logical_not(known.any(axis=1)), known, (means[0], alone), told)


def _ridge(
    blocks: list[np.ndarray],
    known: np.ndarray,
    given: list[int],
    target: int,
    names: tuple[str, ...],
) -> tuple[np.ndarray, float]:
    """Map (width of `given`, width of `target`) fitted on items that have all of them.

    And the share of the target's variance that it predicts of items it was not fitted on.
    """
    both = np.flatnonzero(known[:, [*given, target]].all(axis=1))
    if len(both) < 20:
        of = " and ".join(names[s] for s in given)
        raise DigerError(
            f"only {len(both)} items have {of} as well as {names[target]}, too few to estimate the "
            "one from the other; give vectors for more items, or leave a source out"
        )
    x = np.concatenate([blocks[s][both] for s in given], axis=1)
    y = blocks[target][both]
    held = np.arange(len(both)) % 10 == 9
    gram, cross = x[~held].T @ x[~held], x[~held].T @ y[~held]
    size = float(np.trace(gram)) / len(gram) / (~held).sum()  # so that penalties mean items

    def error(penalty: float) -> float:
        found = _solve(gram, cross, penalty * size)
        return float(np.square(x[held] @ found - y[held]).sum())

    best = min(_PENALTIES, key=error)
    share = 1 - error(best) / float(np.square(y[held]).sum())
    return _solve(x.T @ x, x.T @ y, best * size), share


def _solve(gram: np.ndarray, cross: np.ndarray, penalty: float) -> np.ndarray:
    found: np.ndarray = solve(gram + penalty * np.eye(len(gram)), cross, assume_a="pos")
    return found
