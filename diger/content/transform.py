"""From raw content vectors to what a tokenizer sees: centre, reduce, scale.

Raw text vectors share a large common mean and have tiny spread around it; fed in as they are, they
collapse a quantizer. So: y = scale * (x - mean) P, with P the leading principal directions, and
`scale` set so that the mean squared norm over items with text is 1. A squared error after the
transform is therefore a share of the content's variance, whatever the encoder and the width, and
tokenizer losses compare across datasets. Not whitened: the first level should split along the
strongest directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diger.content.vectors import zero_rows
from diger.errors import DigerError

_BLOCK = 4096  # rows per product: bounds memory at wide encoders


@dataclass(frozen=True, eq=False)
class ContentTransform:
    """A fitted transform. mean: float32 (dim,); projection: float32 (dim, width), or None = all."""

    mean: np.ndarray
    scale: float
    projection: np.ndarray | None

    @property
    def dim(self) -> int:
        """Length of a raw vector."""
        return int(self.mean.shape[0])

    @property
    def width(self) -> int:
        """Length of a transformed vector."""
        return self.dim if self.projection is None else int(self.projection.shape[1])

    @classmethod
    def fit(
        cls, vectors: np.ndarray, missing: np.ndarray | None = None, width: int | None = 64
    ) -> ContentTransform:
        """Fit on the items that have text.

        vectors: (items, dim) raw. missing: bool (items,), by default the all-zero rows.
        width: directions to keep; None keeps all dimensions as they are, without rotation.
        Raises DigerError where `width` is not in 1..dim or the items do not differ.
        """
        dim = vectors.shape[1]
        if width is not None and not 1 <= width <= dim:
            raise DigerError(
                f"width must be between 1 and the {dim} numbers of a content vector, got {width}"
            )
        missing = zero_rows(vectors) if missing is None else missing
        known = vectors[~missing] if missing.any() else vectors  # not copied: it may be large
        if len(known) < 2:
            raise DigerError(f"content vectors are needed for at least 2 items, got {len(known)}")
        mean = known.mean(axis=0, dtype=np.float64)
        projection = None if width is None else _principal_directions(known, mean, width)
        unscaled = cls(mean.astype(np.float32), 1.0, projection)
        projected = unscaled.transform(known, missing=np.zeros(len(known), bool))
        power = float(np.square(projected, dtype=np.float64).sum(axis=1).mean())
        if power <= 1e-12 * max(float(np.square(mean).sum()), 1e-12):
            raise DigerError("all items have the same content vector: there is nothing to tokenize")
        return cls(unscaled.mean, float(1 / np.sqrt(power)), projection)

    def transform(self, vectors: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
        """Raw (n, dim) to float32 (n, width).

        Rows marked `missing` (by default the all-zero ones, the mark of an item without text)
        become the zero vector, the mean of the catalogue.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DigerError(
                f"content vectors must have shape (items, {self.dim}), got {vectors.shape}"
            )
        out = np.empty((len(vectors), self.width), np.float32)
        for start in range(0, len(vectors), _BLOCK):
            rows = vectors[start : start + _BLOCK].astype(np.float32) - self.mean
            out[start : start + _BLOCK] = (
                rows if self.projection is None else rows @ self.projection
            )
        out *= np.float32(self.scale)
        out[zero_rows(vectors) if missing is None else missing] = 0
        return out

    def then(self, matrix: np.ndarray) -> ContentTransform:
        """This transform followed by a linear map (width, n)."""
        projection = matrix if self.projection is None else self.projection @ matrix
        return ContentTransform(self.mean, self.scale, np.ascontiguousarray(projection, np.float32))

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Named arrays for a safetensors file; no `transform.projection` where all are kept."""
        tensors = {
            "transform.mean": self.mean,
            "transform.scale": np.array([self.scale], np.float64),
        }
        if self.projection is not None:
            tensors["transform.projection"] = self.projection
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> ContentTransform:
        """The inverse of `to_tensors`; DigerError names a tensor that is missing or misshapen."""
        for name in ("transform.mean", "transform.scale"):
            if name not in tensors:
                raise DigerError(f"the content file has no tensor {name}: export the bundle again")
        mean, projection = tensors["transform.mean"], tensors.get("transform.projection")
        if mean.ndim != 1 or (projection is not None and projection.shape[:1] != mean.shape):
            raise DigerError("transform.mean and transform.projection do not fit together")
        return cls(mean, float(np.ravel(tensors["transform.scale"])[0]), projection)


def _principal_directions(vectors: np.ndarray, mean: np.ndarray, width: int) -> np.ndarray:
    """Leading eigenvectors (dim, width) of the covariance, strongest first.

    Signs are fixed (the largest entry of each is positive), so equal data gives equal SIDs.
    """
    from scipy.linalg import eigh  # here: a loaded model needs none of it

    dim = vectors.shape[1]
    covariance = np.zeros((dim, dim))
    for start in range(0, len(vectors), _BLOCK):
        # Centred first, so that float32 products lose nothing that matters; summed in float64.
        rows = (vectors[start : start + _BLOCK] - mean).astype(np.float32)
        covariance += rows.T @ rows
    _, directions = eigh(covariance, subset_by_index=[dim - width, dim - 1])
    directions = directions[:, ::-1]
    peak = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[peak, np.arange(width)])
    return np.ascontiguousarray(directions, np.float32)
