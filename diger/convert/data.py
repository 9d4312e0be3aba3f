"""From the authors' processed data to a dataset folder with its content vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diger.content.encoder import embed_items
from diger.convert.histories import whole_histories
from diger.convert.release import find_release, read_item_map, read_rows
from diger.data.dataset import Dataset
from diger.data.info import check_name
from diger.data.readers.base import Progress
from diger.data.split import leave_one_out
from diger.data.store import check_dataset_target


def convert_data(
    folder: Path,
    out: Path,
    *,
    name: str | None = None,
    vectors: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read the release in `folder` and write the dataset folder `out`, content vectors included.

    Items keep the order of the release's map and so of its vectors; they have ids and no text.

    Args:
        folder: see `diger.convert.release`.
        out: dataset folder to write.
        name: short name of the dataset, by default the release's.
        vectors: the .npy, where the folder holds several.
        force: replace a dataset folder at `out`.
        progress: told how far each file is read.
    """
    release = find_release(folder, vectors)
    name = check_name(name or release.name)
    check_dataset_target(out, force=force)
    items = read_item_map(release.item_map, release.vectors)
    train = read_rows(release.train, items, progress)
    valid = read_rows(release.valid, items, progress)
    test = read_rows(release.test, items, progress)
    users, histories = whole_histories(release, train, valid, test)
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])])
    nothing = [None] * len(items)
    dataset = Dataset.create(
        name=name,
        split="leave-one-out",
        items=pd.DataFrame(
            {
                "item_id": list(items),
                "title": nothing,
                "description": nothing,
                "brand": nothing,
                "categories": [[] for _ in items],
            }
        ),
        user_ids=users,
        offsets=offsets,
        events=np.concatenate([np.asarray(history, dtype=np.int32) for history in histories]),
        times=None,
        source=f"DIGER's processed data ({release.name})",
        preparation={"format": "diger-processed-data"},
        **leave_one_out(offsets)._asdict(),
    )
    dataset.save(out, force=force)
    embed_items(dataset, str(release.vectors), folder=out)
    return dataset
