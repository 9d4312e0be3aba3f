"""The authors' processed data: where its files are and what a row says.

A release is a folder with `<name>.train.jsonl`, `.valid.jsonl` and `.test.jsonl`, whose rows have
`inter_history` (item ids, oldest first) and `target_id`; `<name>.emb_map.json`, item id to number,
counted from 1 (0 pads); and one `.npy` of text features whose row r belongs to item number r + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diger.data.folder import read_json
from diger.data.readers.base import Progress
from diger.data.readers.objects import objects
from diger.errors import DigerError

TRAIN, VALID, TEST, MAP = ".train.jsonl", ".valid.jsonl", ".test.jsonl", ".emb_map.json"
_POINTER = b"version https://git-lfs"
_REMEDY = "download it again"


@dataclass(frozen=True)
class Release:
    """The files of one dataset; `name` is what the files' names begin with."""

    name: str
    train: Path
    valid: Path
    test: Path
    item_map: Path
    vectors: Path


class Row(NamedTuple):
    """One example: `items` are item rows, the history and at the end the target."""

    line: int
    user: str | None
    items: tuple[int, ...]


def find_release(folder: Path, vectors: Path | None = None) -> Release:
    """The files of the release in `folder`; `vectors` names the .npy where there are several."""
    if not folder.is_dir():
        raise DigerError(f"{folder} is not a folder; give the one with the released .jsonl files")
    found = sorted(folder.glob(f"*{TRAIN}"))
    if len(found) != 1:
        many = ", ".join(path.name for path in found) or "none"
        raise DigerError(f"{folder} must hold exactly one *{TRAIN}; found {many}")
    name = found[0].name.removesuffix(TRAIN)
    if vectors is None:
        arrays = sorted(folder.glob("*.npy"))
        if len(arrays) != 1:
            many = ", ".join(path.name for path in arrays) or "none"
            raise DigerError(
                f"{folder} must hold exactly one .npy of text features, found {many}; "
                "name it with --vectors"
            )
        vectors = arrays[0]
    train, valid, test, item_map = (
        folder / f"{name}{ending}" for ending in (TRAIN, VALID, TEST, MAP)
    )
    for path in (train, valid, test, item_map, vectors):
        check_file(path)
    return Release(name, train, valid, test, item_map, vectors)


def check_file(path: Path) -> None:
    """A DigerError where `path` is no file, or only a Git LFS pointer to one."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise DigerError(f"cannot read {path}: {error.strerror or error}") from None
    if start == _POINTER:
        raise DigerError(f"{path} is a Git LFS pointer, not the file itself; run git lfs pull")


def read_item_map(path: Path, vectors: Path) -> dict[str, int]:
    """Item id to item row, in row order; row r is what the vectors' row r belongs to."""
    numbers = read_json(path, _REMEDY)
    wrong = next((k for k, n in numbers.items() if type(n) is not int), None)
    if wrong is not None:
        raise DigerError(f"{path}: item {wrong!r} has the number {numbers[wrong]!r}; {_REMEDY}")
    rows = {item: number - 1 for item, number in numbers.items() if number != 0}
    ordered = dict(sorted(rows.items(), key=lambda pair: pair[1]))
    if list(ordered.values()) != list(range(len(ordered))):
        raise DigerError(
            f"{path}: items must be numbered 1, 2, ... without gaps or repeats (0 is padding)"
        )
    try:
        shape = np.load(vectors, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError) as error:
        raise DigerError(f"{vectors} is not a plain .npy array ({error}); {_REMEDY}") from None
    if not shape or shape[0] != len(ordered):
        raise DigerError(
            f"{vectors} has the shape {shape}, but {path.name} numbers {len(ordered)} items"
        )
    return ordered


def read_rows(path: Path, items: dict[str, int], progress: Progress | None = None) -> list[Row]:
    """All examples of a split, in file order."""
    rows = []
    for line, record in objects(path, progress):
        history, target = record.get("inter_history"), record.get("target_id")
        if not isinstance(history, list) or not history or target is None:
            raise DigerError(
                f"{path} line {line}: expected a non-empty list inter_history and a target_id"
            )
        try:
            numbers = tuple(items[str(item)] for item in (*history, target))
        except KeyError as error:
            raise DigerError(f"{path} line {line}: {error} is not in the item map") from None
        user = record.get("user_id")
        rows.append(Row(line, None if user is None else str(user), numbers))
    return rows
