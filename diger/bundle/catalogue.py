"""A catalogue file: item text that a bundle may not carry, kept beside it on one's own machine.

A dataset folder is one (its `items.parquet` is read), and so is any table or `items.jsonl` with an
`item_id` and some of title, description, brand and categories. It is joined by `item_id`: rows the
bundle does not know are passed over, and items that the file does not have stay without text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diger.bundle.schema import TEXT_COLUMNS
from diger.data.readers.table import objects, open_text, unquoted
from diger.errors import DigerError
from diger.text import printable

log = logging.getLogger("diger.bundle")
SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".tsv")


def load_catalogue(path: str | Path) -> pd.DataFrame:
    """`item_id` and the text columns that the file has."""
    path = Path(path)
    if path.is_dir():
        path = path / "items.parquet"
    named = printable(path)
    if not path.name.endswith(SUFFIXES):
        raise DigerError(
            f"{named}: a catalogue is a dataset folder, or a file of {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise DigerError(f"{named}: there is no such catalogue file")
    try:
        table = _read(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        kind = path.suffix.removeprefix(".")
        raise DigerError(f"{named}: not readable {kind} ({printable(error, 80)})") from None
    if "item_id" not in table or (table["item_id"].isna() | (table["item_id"] == "")).any():
        has = printable(", ".join(map(str, table.columns)), 120)
        raise DigerError(f"{named}: every item needs an item_id (the file has {has})")
    columns = [c for c in TEXT_COLUMNS if c in table]
    found = pd.DataFrame({"item_id": table["item_id"].astype(str)})
    if found["item_id"].duplicated().any():
        twice = printable(found.loc[found["item_id"].duplicated(), "item_id"].iloc[0], 60)
        raise DigerError(f"{named}: item_id {twice} is there twice; keep one")
    for column in columns:
        clean = _names if column == "categories" else _or_none
        found[column] = pd.Series([clean(value) for value in table[column]], dtype=object)
    if not any(_is_known(value) and len(value) for c in columns for value in found[c]):
        raise DigerError(
            f"{named}: none of its items has any text ({', '.join(TEXT_COLUMNS)} are read)"
        )
    return found


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pandas(ignore_metadata=True)
    if path.suffix in (".csv", ".tsv"):
        table = open_text(path)
        frame = pd.DataFrame([row for _, row in table.rows()], columns=table.header, dtype=object)
        if path.suffix == ".tsv":
            text = [name for name in TEXT_COLUMNS if name in frame]
            frame[text] = frame[text].map(unquoted)
        return frame
    wanted = ("item_id", *TEXT_COLUMNS)
    return pd.DataFrame([{key: record.get(key) for key in wanted} for _, record in objects(path)])


def with_text(items: pd.DataFrame, catalogue: pd.DataFrame | None, source: str) -> pd.DataFrame:
    """A bundle's items with the catalogue's text columns laid over their own."""
    if catalogue is None:
        return items
    known = catalogue.set_index("item_id").reindex(items["item_id"])
    matching = int(items["item_id"].isin(catalogue["item_id"]).sum())
    if not matching:
        raise DigerError(
            f"{source} has none of the bundle's items; give the catalogue of the same dataset"
        )
    if matching < len(items) / 2:
        log.warning(
            "%s has %s of the bundle's %s items: are the ids the same, byte for byte?",
            *(printable(source), f"{matching:,}", f"{len(items):,}"),
        )
    items = items.copy()
    for column in (c for c in TEXT_COLUMNS if c in known):
        own = items[column].tolist() if column in items else [None] * len(items)
        values = [n if _is_known(n) else o for n, o in zip(known[column], own, strict=True)]
        items[column] = pd.Series(values, dtype=object, index=items.index)
    return items


def _is_known(value: Any) -> bool:
    return isinstance(value, str | list)


def _or_none(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _names(value: Any) -> list[str]:
    if not isinstance(value, Iterable) or isinstance(value, str):
        return []
    return [name.strip() for name in value if isinstance(name, str) and name.strip()]
