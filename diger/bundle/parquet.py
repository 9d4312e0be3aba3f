"""Parquet as a frame, within bounds: a small file may unpack to more than any memory.

How many values there are stands in the file's own notes, and is read before anything is unpacked.
Text may be written once and meant a million times, so it is kept as a dictionary until it is known
how long all of it would be.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diger.errors import DigerError
from diger.text import printable

MOST_BYTES = 2**29  # of a table in memory; ours of 100,000 users take a fiftieth
_VALUE, _LIST = 8, 128  # bytes of a number, and of a list as an object of its own


def read_parquet(data: bytes, name: str) -> pd.DataFrame:
    """The table of a parquet file; `name` is the file's, for messages."""
    try:
        notes = pq.read_metadata(pa.BufferReader(data))
        leaves = [notes.schema.column(i) for i in range(notes.num_columns)]
        texts = [one.path for one in leaves if one.physical_type == "BYTE_ARRAY"]
        parts = [
            notes.row_group(i).column(j)
            for i in range(notes.num_row_groups)
            for j in range(notes.num_columns)
        ]
        lists = sum(one.max_repetition_level > 0 for one in leaves)
        numbers = sum(max(_VALUE * one.num_values, one.total_uncompressed_size) for one in parts)
        _check(numbers + _LIST * lists * notes.num_rows, name)
        table = pq.read_table(pa.BufferReader(data), read_dictionary=texts)
        _check(sum(_length(column) for column in table.columns), name)
        plain = [pa.field(f.name, _plain(f.type)) for f in table.schema]
        return table.cast(pa.schema(plain)).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise DigerError(f"{name} is not readable parquet: {printable(error, 120)}") from None


def _check(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise DigerError(
            f"{name} takes {size / 2**20:,.0f} MiB when unpacked, more than a bundle's table may "
            f"({MOST_BYTES / 2**20:,.0f})"
        )


def _length(column: pa.ChunkedArray) -> int:
    """Bytes of the text in a column, written out."""
    total = 0
    for chunk in column.chunks:
        while pa.types.is_nested(chunk.type) and chunk.type.num_fields == 1:
            chunk = chunk.flatten() if pa.types.is_list(chunk.type) else chunk.flatten()[0]
        if pa.types.is_dictionary(chunk.type):
            each = pc.binary_length(chunk.dictionary).take(chunk.indices)
            total += pc.sum(each.cast(pa.int64())).as_py() or 0
    return total


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without its dictionary."""
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind.value_type if pa.types.is_dictionary(kind) else kind
