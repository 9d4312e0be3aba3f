"""A dataset on disk: three parquet files and `dataset.json` in one folder.

| file | a row is | columns |
|---|---|---|
| `items.parquet` | an item, in row order | `item_id`, `title`, `description`, `brand`, ... |
| `interactions.parquet` | an event, in event order | `user` and `item` (rows), `time` if known |
| `users.parquet` | a user | `user_id`, `n_events`, `train_end`, `validation_at`, `test_at` |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from diger.data.folder import check_target, read_json, read_table, write_folder
from diger.data.info import FORMAT, FORMAT_VERSION, DatasetInfo
from diger.data.invariants import TEXT_COLUMNS
from diger.errors import DigerError

if TYPE_CHECKING:
    from diger.data.dataset import Dataset

ITEMS, INTERACTIONS = "items.parquet", "interactions.parquet"
USERS, INFO = "users.parquet", "dataset.json"
# What may lie in a dataset folder; `content` holds the item vectors that `embed` adds.
OWN_FILES = (ITEMS, INTERACTIONS, USERS, INFO, "content")
REMEDY = "prepare the dataset again (python -m diger prepare)"

_TEXT = {"item_id": "text", "title": "text", "description": "text", "brand": "text"}
_ITEM_COLUMNS = {**_TEXT, "categories": "lists of text"}
_SPLIT = ("train_end", "validation_at", "test_at")
_USER_COLUMNS = {"user_id": "text", **dict.fromkeys(("n_events", *_SPLIT), "integers")}
_EVENT_COLUMNS = {"user": "integers", "item": "integers"}


def check_dataset_target(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that a dataset may be written to `path`."""
    check_target(path, marker=INFO, file_format=FORMAT, own=OWN_FILES, force=force)


def write_dataset(target: Path, dataset: Dataset, *, force: bool) -> None:
    """Write the folder in one piece; with `force`, in place of a dataset that is there."""
    check_dataset_target(target, force=force)
    lengths = np.diff(dataset.offsets)
    log = {"user": np.repeat(np.arange(dataset.n_users, dtype=np.int32), lengths)}
    log |= {"item": dataset.events} | ({} if dataset.times is None else {"time": dataset.times})
    users = {"user_id": pa.array(dataset.user_ids.tolist(), pa.string()), "n_events": lengths}
    users |= {name: getattr(dataset, name) for name in _SPLIT}
    with write_folder(target) as folder:
        pq.write_table(_item_table(dataset.items), folder / ITEMS, compression="zstd")
        pq.write_table(pa.table(log), folder / INTERACTIONS, compression="zstd")
        pq.write_table(pa.table(users), folder / USERS, compression="zstd")
        (folder / INFO).write_text(dataset.info.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_info(folder: Path) -> DatasetInfo:
    """Read `dataset.json` alone: what a dataset is, without its arrays."""
    if not folder.is_dir():
        raise DigerError(f"no dataset folder at {folder}; make one with python -m diger prepare")
    path = folder / INFO
    raw = read_json(path, REMEDY)
    if raw.get("format") != FORMAT:
        raise DigerError(f'{path} is not a dataset of ours (no "format": "{FORMAT}"); {REMEDY}')
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        ours = f"this program reads {FORMAT_VERSION}"
        raise DigerError(f"{path} has format version {version!r}, {ours}; {REMEDY}")
    try:
        return DatasetInfo.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DigerError(f"{path}: {where}: {first['msg']}; {REMEDY}") from error


def read_arrays(folder: Path, *, timed: bool) -> dict[str, Any]:
    """Read the parquet files: `items`, `user_ids`, `offsets`, `events`, `times` and the split."""
    items = read_table(folder / ITEMS, _ITEM_COLUMNS, REMEDY)
    users = read_table(folder / USERS, _USER_COLUMNS, REMEDY)
    columns = {**_EVENT_COLUMNS, "time": "integers"} if timed else _EVENT_COLUMNS
    log = read_table(folder / INTERACTIONS, columns, REMEDY)
    lengths = users.column("n_events").to_numpy()
    whole = (lengths >= 0).all() and lengths.sum() == len(log)
    if not whole or not np.array_equal(
        log.column("user").to_numpy(), np.repeat(np.arange(len(lengths)), lengths)
    ):
        raise DigerError(f"{folder / INTERACTIONS} and {USERS} do not belong together; {REMEDY}")
    return {
        "items": _item_frame(items),
        "user_ids": users.column("user_id").to_pylist(),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "events": log.column("item").to_numpy(),
        "times": log.column("time").to_numpy() if timed else None,
        **{name: users.column(name).to_numpy() for name in _SPLIT},
    }


def _item_table(items: pd.DataFrame) -> pa.Table:
    known = {name: pa.array(items[name].tolist(), pa.string()) for name in _TEXT}
    known["categories"] = pa.array(items["categories"].tolist(), pa.list_(pa.string()))
    table = pa.table(known)
    for name in items.columns:
        if name not in known:
            try:
                table = table.append_column(name, pa.Array.from_pandas(items[name]))
            except pa.ArrowException as error:
                raise DigerError(f"items column {name} mixes types; give its cells one") from error
    return table


def _item_frame(table: pa.Table) -> pd.DataFrame:
    """Text columns as objects, with None (pandas would make it NaN) for no text."""
    columns = {
        name: pd.Series(table.column(name).to_pylist(), dtype=object)
        if name in ("item_id", *TEXT_COLUMNS)
        else table.column(name).to_pandas()
        for name in table.column_names
    }
    return pd.DataFrame(columns)
