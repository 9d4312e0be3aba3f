"""SHA-256 fingerprints of a dataset, the same on every machine.

They cover the data, not the files: integers are hashed as little-endian 64-bit numbers and strings
as ASCII JSON, so another parquet version or compression leaves them alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

TEXT_COLUMNS = ("title", "description", "brand", "categories")


def structure_fingerprint(item_ids: Sequence[str], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 (64 hex digits) over item ids and named integer arrays, in the order given.

    A dataset passes `offsets`, `events`, `train_end`, `validation_at` and `test_at`. User ids are
    left out: renaming users does not make it another dataset.
    """
    digest = hashlib.sha256(b"diger dataset structure 1\n")
    digest.update(_ascii_json(item_ids))
    for name, array in arrays.items():
        digest.update(f"\n{name} {len(array)}\n".encode("ascii"))
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()


def text_fingerprint(items: pd.DataFrame) -> str:
    """SHA-256 (64 hex digits) over the four text columns of `items`, row by row."""
    digest = hashlib.sha256(b"diger dataset text 1\n")
    for row in zip(*(items[column] for column in TEXT_COLUMNS), strict=True):
        digest.update(_ascii_json(row))
        digest.update(b"\n")
    return digest.hexdigest()


def _ascii_json(values: Sequence[object]) -> bytes:
    # ensure_ascii, so that the bytes do not depend on Unicode handling further down.
    return json.dumps(list(values), ensure_ascii=True, separators=(",", ":")).encode("ascii")
