"""What a bundle may hold: the whitelist of file names and the columns of its tables.

A name that is not listed here is refused on writing and on reading, so neither a pickle nor a
stray file ever travels in a bundle. Tables are checked both ways by the same `check_table`: the
required columns are there and hold what they should, and item rows point into the catalogue.
Levels are counted from 1 (`code_1` is level 1); epoch 0 is the start of joint training.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api import types

from diger.errors import DigerError, did_you_mean
from diger.text import printable

FORMAT_VERSION = 2  # 1 had what `tables.with_derived` makes, and lists of 20

CARD, CONFIG, METRICS, MANIFEST = "README.md", "config.json", "metrics.json", "manifest.json"
MODEL, CONTENT = "model.safetensors", "content.safetensors"
ITEMS, RANKS, TOPK = "items.parquet", "ranks.parquet", "topk.parquet"
HISTORY, CODES, LEVELS = "history.parquet", "codes.parquet", "levels.parquet"
EXAMPLES = "examples.parquet"
PICTURE = "codes.svg"  # of code usage; earlier versions wrote it

Kind = Literal["complete", "results-only"]
ColumnKind = Literal[
    "integer", "nullable integer", "boolean", "text", "nullable text", "integer lists", "text lists"
]


@dataclass(frozen=True)
class Column:
    """One column of a table; `minimum` is inclusive, `item_row` values index items.parquet."""

    name: str
    kind: ColumnKind
    minimum: int | None = None
    item_row: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """A table's columns; `numbered` are families `<prefix>1, <prefix>2, ...` without gaps.

    `extra` says whether other columns are welcome (curves and diagnostics grow) or refused (the
    items, where a forgotten column would publish text).
    """

    columns: tuple[Column, ...]
    numbered: tuple[Column, ...] = ()
    extra: bool = True


TEXT_COLUMNS = ("title", "description", "brand", "categories")

TABLES: dict[str, Table] = {
    ITEMS: Table(
        columns=(
            Column("item_id", "text"),
            Column("training_popularity", "integer", minimum=0),
            Column("suffix", "integer", minimum=0, optional=True),
            Column("start_suffix", "integer", minimum=0, optional=True),
            Column("title", "nullable text", optional=True),
            Column("description", "nullable text", optional=True),
            Column("brand", "nullable text", optional=True),
            Column("categories", "text lists", optional=True),
        ),
        numbered=(
            Column("code_", "integer", minimum=0, optional=True),
            Column("start_code_", "integer", minimum=0, optional=True),
        ),
        extra=False,
    ),
    RANKS: Table(
        columns=(
            Column("split", "text"),
            Column("user", "integer", minimum=0),
            Column("target", "integer", minimum=0, item_row=True, optional=True),
            Column("rank", "nullable integer", minimum=1),
            Column("history_length", "integer", minimum=0),
            Column("target_popularity", "integer", minimum=0),
            Column("cold", "boolean"),
            Column("group_first", "nullable integer", minimum=1, optional=True),
            Column("group_size", "integer", minimum=1, optional=True),
        )
    ),
    TOPK: Table(
        columns=(Column("user", "integer", minimum=0),),
        numbered=(Column("item_", "integer", minimum=-1, item_row=True),),
    ),
    HISTORY: Table(columns=(Column("epoch", "integer", minimum=0),)),
    CODES: Table(
        columns=(
            Column("epoch", "integer", minimum=0),
            Column("level", "integer", minimum=1),
            Column("code", "integer", minimum=0),
            Column("items", "integer", minimum=0),
        )
    ),
    LEVELS: Table(
        columns=(Column("epoch", "integer", minimum=0), Column("level", "integer", minimum=1))
    ),
    EXAMPLES: Table(
        columns=(
            Column("name", "text"),
            Column("history", "integer lists", minimum=0, item_row=True),
            Column("target", "nullable integer", minimum=0, item_row=True),
        )
    ),
}
JSON_FILES = (CONFIG, METRICS)
TENSOR_FILES = (MODEL, CONTENT)
TEXT_FILES = (CARD, PICTURE)
ALLOWED = frozenset((*TABLES, *JSON_FILES, *TENSOR_FILES, *TEXT_FILES))
REQUIRED = (CARD, CONFIG, METRICS)
# Ours are some kilobytes; more would only fill the memory of who reads them.
MOST_BYTES = {CARD: 2**22, CONFIG: 2**22, METRICS: 2**24, PICTURE: 2**24}


def kind_of(names: frozenset[str] | set[str]) -> Kind:
    """`complete` where the weights are among the files, else `results-only`."""
    return "complete" if MODEL in names else "results-only"


def check_names(names: frozenset[str] | set[str]) -> None:
    """Raise DigerError where files with `names` do not make a bundle."""
    required = (*REQUIRED, ITEMS) if MODEL in names else REQUIRED
    missing = [name for name in required if name not in names]
    if missing:
        raise DigerError(f"a bundle needs {', '.join(missing)}")
    if CONTENT in names and MODEL not in names:
        raise DigerError(f"it has {CONTENT} without {MODEL}")


def check_name(name: str, allowed: tuple[str, ...]) -> None:
    """Raise DigerError where a file's name is none of those of its sort."""
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise DigerError(f"{name!r} is not one of {', '.join(allowed)}{hint}")


def holds_item_rows(name: str) -> bool:
    """Whether the table `name` points into items.parquet."""
    table = TABLES[name]
    return any(column.item_row for column in (*table.columns, *table.numbered))


def check_vectors(vectors: np.ndarray, n_items: int) -> None:
    """Raise DigerError where content vectors are not one row an item."""
    if vectors.ndim != 2 or len(vectors) != n_items:
        raise DigerError(
            f"{CONTENT}: vectors have shape {vectors.shape} for a catalogue of {n_items} items"
        )


def numbered_columns(frame: pd.DataFrame, prefix: str) -> list[str]:
    """Columns `<prefix>1 .. <prefix>n` of a frame in order; DigerError where one is missing."""
    found = [c for c in frame.columns if re.fullmatch(re.escape(prefix) + r"[1-9]\d{0,3}", str(c))]
    wanted = [f"{prefix}{i}" for i in range(1, len(found) + 1)]
    gaps = [name for name in wanted if name not in found]
    if gaps:
        raise DigerError(f"column {gaps[0]} is missing between its neighbours")
    return wanted


def check_table(name: str, frame: pd.DataFrame, n_items: int | None = None) -> pd.DataFrame:
    """`frame` with the columns that `name` asks for, nullable integers as Int32 or Int64.

    `n_items` bounds item rows where given. Raises DigerError (beginning with the file's name) for
    a missing column, a wrong type, a missing value, or one out of range.
    """
    table = TABLES[name]
    frame = frame.reset_index(drop=True)
    columns = [c for c in table.columns if not c.optional or c.name in frame.columns]
    try:
        if not frame.columns.is_unique:
            raise DigerError("two columns have the same name")
        for family in table.numbered:
            names = numbered_columns(frame, family.name)
            if not names and not family.optional:
                raise DigerError(f"column {family.name}1 is missing")
            columns += [
                Column(n, family.kind, family.minimum, item_row=family.item_row) for n in names
            ]
        if not table.extra:
            unknown = [str(c) for c in frame.columns if c not in {c.name for c in columns}]
            if unknown:
                raise DigerError(f"column {printable(unknown[0], 40)} is not one it may have")
        for column in columns:
            if column.name not in frame.columns:
                has = printable(", ".join(map(str, frame.columns)), 120)
                raise DigerError(f"column {column.name} is missing (it has {has})")
            frame[column.name] = _checked(frame[column.name], column, n_items)
        if name == ITEMS:
            _check_items(frame)
    except DigerError as error:
        raise DigerError(f"{name}: {error}") from None
    return frame


def _checked(values: pd.Series, column: Column, n_items: int | None) -> pd.Series:
    """The column's values in their final type; DigerError (without the file) otherwise."""
    if column.kind == "nullable integer" and not types.is_extension_array_dtype(values.dtype):
        try:
            values = values.astype("Int32")
        except (TypeError, ValueError, OverflowError):
            raise DigerError(f"column {column.name} must hold whole numbers or nothing") from None
    is_kind, article = _KINDS[column.kind]
    if not is_kind(values):
        raise DigerError(f"column {column.name} must hold {article}, not {values.dtype}")
    if not column.kind.startswith("nullable") and values.isna().any():
        raise DigerError(f"column {column.name} has no value in row {int(values.isna().argmax())}")
    if column.kind.endswith("integer"):
        numbers = values.dropna().to_numpy(dtype=np.int64)
    elif column.kind == "integer lists":
        numbers = np.concatenate([np.zeros(0, np.int64), *values])
    else:
        return values
    if column.minimum is not None and numbers.size and numbers.min() < column.minimum:
        raise DigerError(f"column {column.name} must be >= {column.minimum}, got {numbers.min()}")
    if column.item_row and n_items is not None and numbers.size and numbers.max() >= n_items:
        raise DigerError(
            f"column {column.name} points at item row {numbers.max()} of a catalogue of {n_items}"
        )
    return values


def _is_text(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.StringDtype) or all(
        isinstance(v, str) for v in values.dropna()
    )


def _lists_of(member: type | tuple[type, ...]) -> Callable[[pd.Series], bool]:
    def check(values: pd.Series) -> bool:
        lists = all(isinstance(value, list | tuple | np.ndarray) for value in values)
        return lists and all(isinstance(entry, member) for value in values for entry in value)

    return check


_KINDS: dict[str, tuple[Callable[[pd.Series], bool], str]] = {
    "integer": (types.is_integer_dtype, "whole numbers"),
    "nullable integer": (types.is_integer_dtype, "whole numbers or nothing"),
    "boolean": (types.is_bool_dtype, "true or false"),
    "text": (_is_text, "text"),
    "nullable text": (_is_text, "text or nothing"),
    "integer lists": (_lists_of((int, np.integer)), "lists of whole numbers"),
    "text lists": (_lists_of(str), "lists of text"),
}


def _check_items(frame: pd.DataFrame) -> None:
    """Item ids are unique, and each SID is whole: as many codes at the start, and a suffix."""
    if frame["item_id"].duplicated().any():
        twice = frame.loc[frame["item_id"].duplicated(), "item_id"].iloc[0]
        raise DigerError(f"item_id {printable(twice, 40)} occurs twice")
    now, start = numbered_columns(frame, "code_"), numbered_columns(frame, "start_code_")
    for codes, suffix in ((now, "suffix"), (start, "start_suffix")):
        if bool(codes) != (suffix in frame.columns):
            raise DigerError(f"codes and {suffix} come together or not at all")
    if start and len(start) != len(now):
        raise DigerError(f"{len(start)} levels at the start but {len(now)} now")
    sids = frame[[*now, "suffix"]] if now else frame[["item_id"]]
    if sids.duplicated().any():
        second = int(sids.duplicated().argmax())
        first = int((sids == sids.loc[second]).all(axis=1).argmax())
        raise DigerError(f"rows {first} and {second} have the same SID, suffix included")
