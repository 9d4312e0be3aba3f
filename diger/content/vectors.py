"""Raw content vectors of a catalogue and the file that keeps them.

A file is one safetensors with `vectors`, `missing` and `digests` (SHA-256 of what each row was made
from) and, as metadata, who made it. The digests let a later run reuse rows of a catalogue that has
grown or changed in part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from diger.errors import DigerError
from diger.files import replacing

_FORMAT = "diger-content-1"


@dataclass(frozen=True, eq=False)
class ContentVectors:
    """Encoder output for every item of a catalogue.

    vectors: float32 (items, dim), as the encoder returned them; zeros where `missing`.
    missing: bool (items,), True where an item had no text. After `ContentTransform` such an item
        stands at the mean of the catalogue, the zero vector.
    encoder, revision: which weights; for a file, its name and the SHA-256 of its bytes.
    max_tokens: the cut-off the texts were read with; None for vectors from a file.
    source: where the weights or vectors came from: "package", "hub", "folder" or "file".
    """

    vectors: np.ndarray
    missing: np.ndarray
    encoder: str
    revision: str
    max_tokens: int | None = None
    source: str = ""

    @property
    def dim(self) -> int:
        """Length of one raw vector."""
        return int(self.vectors.shape[1])


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """A `ContentVectors` with what its file says about how it was made.

    key: hex SHA-256 over the encoder, its revision, the cut-off and all texts, in row order.
    digests: uint8 (items, 32), SHA-256 of each item's text (or id, for vectors from a file).
    """

    content: ContentVectors
    key: str
    digests: np.ndarray

    def save(self, path: Path) -> None:
        """Write to `path` (safetensors), whole or not at all."""
        content = self.content
        write_tensors(
            path,
            {"vectors": content.vectors, "missing": content.missing, "digests": self.digests},
            {
                "format": _FORMAT,
                "key": self.key,
                "encoder": content.encoder,
                "revision": content.revision,
                "max_tokens": "" if content.max_tokens is None else str(content.max_tokens),
                "source": content.source,
                "dim": str(content.dim),
            },
        )

    @classmethod
    def load(cls, path: Path) -> StoredVectors:
        """Read a file that `save` wrote; DigerError where it is damaged or of other make."""
        try:
            tensors, metadata = read_tensors(path)
            if metadata.get("format") != _FORMAT:
                raise DigerError(f"{path} is not a content vector file; delete it and embed again")
            tokens = metadata["max_tokens"]
            content = ContentVectors(
                vectors=tensors["vectors"],
                missing=tensors["missing"],
                encoder=metadata["encoder"],
                revision=metadata["revision"],
                max_tokens=int(tokens) if tokens else None,
                source=metadata["source"],
            )
            return cls(content, metadata["key"], tensors["digests"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            remedy = "delete it and embed again"
            raise DigerError(f"{path} cannot be read ({error}); {remedy}") from error


def zero_rows(vectors: np.ndarray) -> np.ndarray:
    """bool (n,): which rows of vectors (n, dim) are all zeros, the mark of an item without any."""
    return np.asarray(~vectors.any(axis=1))


def slug(encoder: str, max_tokens: int | None) -> str:
    """File name (no ending) for an encoder and a cut-off, e.g. `intfloat-e5-small-64`."""
    name = re.sub(r"[^a-z0-9.]+", "-", encoder.lower()).strip("-.")
    return name if max_tokens is None else f"{name}-{max_tokens}"


def write_tensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write safetensors under a temporary sibling name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, temporary, metadata)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
