"""How long one recommendation takes: `latency.json`, which the dashboard shows beside the quality.

One request at a time, as a person clicking would send it: the history of 10 items, drawn by
training popularity with a fixed seed, the recipe's beams, the ten best items.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diger.bundle.writer import write_file
from diger.errors import DigerError
from diger.model import Model
from diger.text import printable

HISTORY = 10
WARM_UP = 5


@dataclass(frozen=True)
class Latency:
    """One bundle's times."""

    bundle: str  # its name
    p50_ms: float  # milliseconds that half of the requests stayed under
    p95_ms: float  # that 95 % stayed under
    requests: int  # how many were timed, after a few that were not
    hardware: str  # what it ran on, in words


def measure(
    model: Model,
    name: str,
    hardware: str,
    requests: int = 100,
    watch: Callable[[Sequence[list[str]]], Iterable[list[str]]] = lambda histories: histories,
) -> Latency:
    """Time `requests` recommendations, one after another.

    `watch` passes the histories on, and may show how far it is.
    """
    if requests < 1:
        raise DigerError(f"a latency needs at least 1 request, got {requests}")
    weight = model.items["training_popularity"].to_numpy(np.float64) + 1.0
    ids = model.items["item_id"].to_numpy()
    drawn = np.random.default_rng(0).choice(
        ids, size=(requests + WARM_UP, HISTORY), p=weight / weight.sum()
    )
    times = []
    for history in watch(drawn.tolist()):
        began = time.perf_counter()
        model.recommend(history, 10)
        times.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(times[WARM_UP:], [50, 95])
    return Latency(name, round(float(p50), 2), round(float(p95), 2), requests, hardware)


def merge(path: Path, measured: Iterable[Latency]) -> None:
    """Write what was measured into the list at `path`, in place of older times of those bundles."""
    new = [asdict(entry) for entry in measured]
    kept: Any = []
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = None
        if not isinstance(kept, list) or not all(isinstance(entry, dict) for entry in kept):
            raise DigerError(
                f"{printable(path)} is no list of latencies; remove it, or give another --out"
            )
        names = {entry["bundle"] for entry in new}
        kept = [entry for entry in kept if entry.get("bundle") not in names]
    listed = sorted(kept + new, key=lambda entry: str(entry.get("bundle")))
    write_file((json.dumps(listed, indent=2) + "\n").encode(), path)
