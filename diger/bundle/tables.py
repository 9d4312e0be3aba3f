"""Between a bundle's tables and the arrays that models and charts work with.

SIDs are matrices in memory and one column a level on disk; so are top-k lists.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api import types

from diger.bundle import schema
from diger.errors import DigerError
from diger.text import csv_cell
from diger.tokenizer.stats import collision_stats, perplexity
from diger.tokenizer.suffix import format_sid

When = Literal["now", "start"]
TOP = 10  # items of each list in `topk.parquet`
_DERIVED = ("target_popularity", "cold")  # of `ranks.parquet`, from its target and the items
_LEVEL = 19  # of zstd: a table is written once


class LevelUse(NamedTuple):
    """How the codes of a level are used.

    used: of `size` codes, those that any item has. effective: perplexity, exp of the entropy.
    largest: share of the items on the most used code.
    """

    level: int
    used: int
    size: int
    effective: float
    largest: float


def items_frame(
    item_ids: Sequence[str],
    training_popularity: np.ndarray,
    *,
    sids: np.ndarray | None = None,
    start_sids: np.ndarray | None = None,
    text: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table for `items.parquet`, one row an item in catalogue order.

    Popularity counts training events. SIDs are (items, levels + 1) codes and, last, the suffix, now
    and at the start of joint training; None where there are none. Of `text`, a row an item, the
    known text columns are taken; pass it only where the text may be published.
    """
    columns: dict[str, object] = {
        "item_id": [str(item) for item in item_ids],
        "training_popularity": np.asarray(training_popularity, np.int64),
    }
    for matrix, code, suffix in (
        (sids, "code_", "suffix"),
        (start_sids, "start_code_", "start_suffix"),
    ):
        if matrix is not None:
            if matrix.ndim != 2 or matrix.shape[1] < 2:
                raise DigerError(f"SIDs must be (items, levels + 1), got {tuple(np.shape(matrix))}")
            small = np.asarray(matrix).astype(np.int32)
            columns |= {f"{code}{i + 1}": small[:, i] for i in range(small.shape[1] - 1)}
            columns[suffix] = small[:, -1]
    if text is not None:
        columns |= {c: text[c].to_numpy() for c in schema.TEXT_COLUMNS if c in text.columns}
    return pd.DataFrame(columns)


def to_parquet(frame: pd.DataFrame) -> bytes:
    """The parquet file (zstd) of a table, without its index; equal content gives equal bytes.

    Each column stands in that encoding in which it is smallest.
    """
    # Pandas' own notes hold its version, which would make equal content differ.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    best = {name: _smallest(table.select([name])) for name in table.column_names}
    plain = {name: encoding for name, encoding in best.items() if encoding}
    return _parquet(table, [name for name in best if name not in plain], plain)


def _smallest(column: pa.Table) -> str | None:
    """The encoding in which a table of one column is smallest; None is a dictionary."""
    name, kind = column.schema[0].name, column.schema[0].type
    numbers = ("DELTA_BINARY_PACKED",) if pa.types.is_integer(kind) else ()
    if numbers or pa.types.is_floating(kind):
        numbers = ("BYTE_STREAM_SPLIT", *numbers)
    sizes: dict[str | None, int] = {None: len(_parquet(column, [name], {}))}
    sizes |= {e: len(_parquet(column, [], {name: e})) for e in numbers or ("PLAIN",)}
    return min(sizes, key=sizes.__getitem__)


def _parquet(table: pa.Table, dictionaries: list[str], encodings: Mapping[str, str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=dictionaries,
        column_encoding=encodings,
        write_statistics=False,  # nobody filters: of short tables they are the larger part
    )
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def without_derived(ranks: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """`ranks` without the columns that `with_derived` makes again, where it makes the same ones."""
    short = ranks.drop(columns=list(_DERIVED))
    return short if with_derived(short, items).equals(ranks) else ranks


def with_derived(ranks: pd.DataFrame, items: pd.DataFrame | None) -> pd.DataFrame:
    """`ranks` with its target's popularity and whether that is 0, where only the target is told."""
    told = {*_DERIVED} & {*ranks.columns}
    if items is None or not len(items) or told or "target" not in ranks:
        return ranks
    target = ranks["target"]
    if not types.is_integer_dtype(target.dtype) or target.isna().any():
        return ranks  # the check of the table says what is wrong, as of a row out of range
    counts = items["training_popularity"].to_numpy()
    popularity = counts.take(target.to_numpy(dtype=np.int64), mode="clip").astype(np.int32)
    whole = ranks.assign(target_popularity=popularity, cold=popularity == 0)
    known = [one.name for one in schema.TABLES[schema.RANKS].columns if one.name in whole]
    return whole[[*known, *(name for name in whole if name not in known)]]


def sids(items: pd.DataFrame, when: When = "now") -> np.ndarray | None:
    """(items, levels + 1) int64 codes and suffix from an items table; None where it has none."""
    code, suffix = ("code_", "suffix") if when == "now" else ("start_code_", "start_suffix")
    names = schema.numbered_columns(items, code)
    return items[[*names, suffix]].to_numpy(dtype=np.int64) if names else None


def code_use(codes: pd.DataFrame, selected: int | None) -> tuple[int, list[LevelUse]]:
    """The epoch `selected`, where the codes table has it, else its last; the use of codes then."""
    epoch = int(codes["epoch"].max())
    if selected is not None and (codes["epoch"] == selected).any():
        epoch = selected
    levels = []
    for level, part in codes[codes["epoch"] == epoch].groupby("level"):
        items = part["items"].to_numpy()
        used, largest = int((items > 0).sum()), items.max() / max(items.sum(), 1)
        levels.append(LevelUse(level, used, len(items), perplexity(items), largest))
    return epoch, levels


def sid_shares(items: pd.DataFrame) -> tuple[float, float | None] | None:
    """Shares of items alone on their codes, and with codes other than at the start.

    The second is None where nothing is known of a start; all is where there are no SIDs.
    """
    now, start = sids(items), sids(items, "start")
    if now is None or not len(now):
        return None
    moved = None if start is None else float((start[:, :-1] != now[:, :-1]).any(axis=1).mean())
    return collision_stats(now[:, :-1]).unique_share, moved


def topk_frame(users: np.ndarray, item_rows: np.ndarray) -> pd.DataFrame:
    """The table for `topk.parquet` from (users,) user rows and (users, k) item rows, -1 = none.

    The first `TOP` of each list are kept.
    """
    small = np.asarray(item_rows)[:, :TOP].astype(np.int32)
    columns = {f"item_{i + 1}": small[:, i] for i in range(small.shape[1])}
    return pd.DataFrame({"user": users, **columns})


def topk_rows(topk: pd.DataFrame) -> np.ndarray:
    """(users, k) int64 item rows, best first, -1 = none, from a top-k table."""
    return topk[schema.numbered_columns(topk, "item_")].to_numpy(dtype=np.int64)


def sid_csv(items: pd.DataFrame) -> str:
    """CSV of an items table: item_id, sid, level_1 .., suffix, and title where it has one.

    Ids are as they are, byte for byte, so that they join; a title that a spreadsheet would run as a
    formula gets an apostrophe in front. Raises DigerError where the items have no SIDs.
    """
    matrix = sids(items)
    if matrix is None:
        raise DigerError("these items have no semantic IDs")
    titles = items["title"] if "title" in items.columns else None
    levels = [f"level_{i}" for i in range(1, matrix.shape[1])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item_id", "sid", *levels, "suffix", *([] if titles is None else ["title"])])
    for row, (item_id, sid) in enumerate(zip(items["item_id"], matrix.tolist(), strict=True)):
        title = [] if titles is None else [titles.iloc[row]]
        cells = [csv_cell(value) if isinstance(value, str) else "" for value in title]
        writer.writerow([item_id, format_sid(sid), *sid, *cells])
    return text.getvalue()
