"""Serving latency, where somebody measured it: `latency.json` beside the bundles.

The file is a list of objects `{"bundle": name, "p50_ms": 12.3, "p95_ms": 20.1, "hardware": "..."}`.
Anything else in it is passed over.
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


def latencies(folders: Sequence[str]) -> pd.DataFrame:
    """One row a bundle that was measured: `bundle, p50_ms, p95_ms, hardware`."""
    records = []
    for folder in folders:
        path = Path(folder) / FILE
        try:
            if path.stat().st_size > _MAX_BYTES:
                continue
            listed = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for one in listed if isinstance(listed, list) else ():
            if (
                isinstance(one, dict)
                and isinstance(one.get("bundle"), str)
                and is_number(one.get("p50_ms"))
            ):
                tail = one.get("p95_ms")
                records.append(
                    {
                        "bundle": one["bundle"],
                        "p50_ms": float(one["p50_ms"]),
                        "p95_ms": float(tail) if is_number(tail) else float("nan"),
                        "hardware": str(one.get("hardware", "")),
                    }
                )
    return pd.DataFrame(records, columns=COLUMNS)
