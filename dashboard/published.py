"""Figures published by others (`published.toml`): shown beside ours, never compared with them."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import pandas as pd

FILE = Path(__file__).with_name("published.toml")


@cache
def published() -> pd.DataFrame:
    """One row a figure: `dataset, name, metric, value, source, protocol`."""
    document = tomllib.loads(FILE.read_text(encoding="utf-8"))
    sources = document["source"]
    records = [
        {
            "dataset": figure["dataset"],
            "name": figure["name"],
            "metric": metric,
            "value": value,
            "source": sources[figure["source"]]["title"],
            "protocol": sources[figure["source"]]["protocol"],
        }
        for figure in document["figure"]
        for metric, value in figure["values"].items()
    ]
    return pd.DataFrame(records)
