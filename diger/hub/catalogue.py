"""A catalogue file: titles for a bundle that does not carry them, kept on this machine.

Where the licence keeps item text out of a bundle, whoever has the text can still read titles
beside recommendations. The file is never copied into a bundle, nor sent anywhere.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from diger.bundle.text import printable
from diger.errors import DigerError

_READERS: dict[str, str] = {
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


def read_titles(path: str | Path) -> dict[str, str]:
    """Titles by item id.

    Args:
        path: a `.jsonl` (or `.jsonl.gz`), `.csv`, `.tsv` or `.parquet` file with `item_id` and
            `title`, or a dataset folder, whose items.parquet is read. Items without a title are
            passed over.

    Raises:
        DigerError: no such file, another kind of file, no such columns, an item twice, or no title
            at all.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "items.parquet"
    kind = next((k for suffix, k in _READERS.items() if file.name.lower().endswith(suffix)), None)
    if kind is None:
        known = ", ".join(_READERS)
        raise DigerError(f"{printable(path)} is no catalogue: give a file of {known}")
    try:
        frame = _FRAMES[kind](file)
    except DigerError:
        raise
    except FileNotFoundError:
        raise DigerError(f"{printable(file)}: there is no such catalogue file") from None
    except (OSError, ValueError, EOFError) as error:
        raise DigerError(
            f"{printable(file)} cannot be read as a catalogue: {printable(error, 120)}"
        ) from None
    for column in ("item_id", "title"):
        if column not in frame.columns:
            has = printable(", ".join(map(str, frame.columns)), 120)
            raise DigerError(
                f"{printable(file)}: a catalogue needs a column {column} (it has {has})"
            )
    ids = frame["item_id"].astype(str)
    if ids.duplicated().any():
        twice = printable(ids[ids.duplicated()].iloc[0], 60)
        raise DigerError(f"{printable(file)}: item_id {twice} is there twice; keep one")
    titles = {
        item: title.strip()
        for item, title in zip(ids, frame["title"], strict=True)
        if isinstance(title, str) and title.strip()
    }
    if not titles:
        raise DigerError(f"{printable(file)}: none of its items has a title")
    return titles


def attach_titles(items: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A bundle's items table with the titles of a catalogue in place of its own, where it has one.

    Raises:
        DigerError: no item of the bundle is in the catalogue, so it is another dataset's.
    """
    ids = items["item_id"].astype(str)
    if not any(item in titles for item in ids):
        raise DigerError(
            "the catalogue has none of the bundle's items: it is of another dataset "
            f"(the bundle's first is {printable(ids.iloc[0], 60)!r})"
        )
    own = items["title"] if "title" in items.columns else [None] * len(items)
    attached = [titles.get(item, title) for item, title in zip(ids, own, strict=True)]
    return items.assign(title=pd.Series(attached, index=items.index, dtype=object))


def _jsonl(file: Path) -> pd.DataFrame:
    rows = []
    open_text = gzip.open if file.suffix == ".gz" else open
    with open_text(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise DigerError(f"{printable(file)} line {number} is not a JSON object")
            rows.append({key: row.get(key) for key in ("item_id", "title") if key in row})
    return pd.DataFrame(rows)


def _text_table(separator: str) -> Callable[[Path], pd.DataFrame]:
    return lambda file: pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)


_FRAMES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "jsonl": _jsonl,
    "csv": _text_table(","),
    "tsv": _text_table("\t"),
    "parquet": pd.read_parquet,
}
