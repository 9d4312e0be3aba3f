"""Serving latency, where somebody measured it: `latency.json` beside the bundles.

The file is a list of objects `{"bundle": name, "p50_ms": 12.3, "p95_ms": 20.1, "hardware": "..."}`.
Anything else in it is passed over and named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diger.bundle.documents import is_number

FILE = "latency.json"
COLUMNS = ["bundle", "p50_ms", "p95_ms", "hardware"]
_MAX_BYTES = 1_000_000


def latencies(folders: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row a bundle that was measured: `bundle, p50_ms, p95_ms, hardware`; and what is wrong."""
    records, wrong = [], []
    for folder in folders:
        path = Path(folder) / FILE
        try:
            if path.stat().st_size > _MAX_BYTES:
                wrong.append(f"{path}: over {_MAX_BYTES:,} bytes, not read")
                continue
            listed = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            wrong.append(f"{path}: cannot be read ({error})")
            continue
        if not isinstance(listed, list):
            wrong.append(f"{path}: not a list of objects with bundle and p50_ms")
            continue
        kept = [row for row in map(_row, listed) if row is not None]
        records += kept
        if len(kept) < len(listed):
            wrong.append(f"{path}: {len(listed) - len(kept)} entries without bundle and p50_ms")
    return pd.DataFrame(records, columns=COLUMNS), tuple(wrong)


def _row(one: object) -> dict[str, object] | None:
    if not isinstance(one, dict) or not isinstance(one.get("bundle"), str):
        return None
    half, tail = one.get("p50_ms"), one.get("p95_ms")
    if not is_number(half):
        return None
    return {
        "bundle": one["bundle"],
        "p50_ms": float(half),
        "p95_ms": float(tail) if is_number(tail) else float("nan"),
        "hardware": str(one.get("hardware", "")),
    }
