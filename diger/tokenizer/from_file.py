"""SIDs that someone else made: from a JSON index or a CSV.

JSON (plain or .gz), the form of LETTER's index files: {"0": ["<a_183>", "<b_70>", ...], ...}, a
list of tokens an item, of which the number counts; plain integers do as well. CSV (plain or .gz): a
header with the columns `item_id` and `sid`, the latter like 12-200-7. Codes from a file have no
vectors, so a tokenizer made of them can neither train nor name a new item, and says so.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from diger.errors import DigerError
from diger.tokenizer.base import Tokenizer
from diger.tokenizer.suffix import parse_sid


@dataclass(frozen=True, eq=False)
class FileSids:
    """codes: int64 (items, levels) in item row order; suffix: int64 (items,) or None."""

    codes: np.ndarray
    suffix: np.ndarray | None


def read_sids(
    path: Path | str,
    item_ids: Sequence[str],
    *,
    codebook_size: int,
    levels: int | None = None,
    key_offset: int = 0,
    suffix: bool = False,
) -> FileSids:
    """Read the SIDs of all items.

    item_ids: the catalogue's, in row order. levels: expected number of levels, None takes the
    file's. key_offset: item_id = key + key_offset (LETTER's Beauty index counts from 0 where the
    item ids count from 1: key_offset = 1). suffix: the last number of each SID is a suffix.

    Raises DigerError for a damaged file, items unknown, missing or repeated, SIDs of different
    lengths, or codes out of range, naming the first item at fault.
    """
    path = Path(path)
    if not path.is_file():
        raise DigerError(f"{path} not found: give a .json, .json.gz or .csv file of SIDs")
    rows = {str(item_id): row for row, item_id in enumerate(item_ids)}
    sids: list[tuple[int, ...] | None] = [None] * len(rows)
    unknown: list[str] = []
    expected: int | None = None if levels is None else levels + suffix
    for where, key, sid in _entries(path):
        item_id = _shifted(key, key_offset, where)
        if expected is None:
            expected = len(sid)
        if len(sid) != expected:
            raise DigerError(
                f"{where}: item {item_id} has {len(sid)} numbers, expected {expected} "
                f"({expected - suffix} levels{' and a suffix' if suffix else ''}); set levels, or "
                "whether the last number is a suffix, to fit the file"
            )
        _check_range(where, item_id, sid[:-1] if suffix else sid, codebook_size)
        if item_id not in rows:
            unknown.append(item_id)
        elif sids[rows[item_id]] is not None:
            raise DigerError(f"{where}: item {item_id} appears twice")
        else:
            sids[rows[item_id]] = sid
    _check_coverage(path, item_ids, sids, unknown, key_offset)
    table = np.array(sids, np.int64).reshape(len(sids), -1)
    return FileSids(table[:, :-1], table[:, -1]) if suffix else FileSids(table, None)


class FileTokenizer(Tokenizer):
    """Codes without vectors: `codes` long (items, levels) and, where known, `suffix` (items,).

    Its codebooks have width 0; whatever would need vectors raises DigerError. Codes are not part of
    `state_dict`: they are data, kept with the items.
    """

    codes: Tensor

    def __init__(self, sids: FileSids, *, codebook_size: int) -> None:
        super().__init__(levels=sids.codes.shape[1], codebook_size=codebook_size, width=0)
        self.codebooks.requires_grad_(False)
        self.register_buffer("codes", torch.from_numpy(sids.codes.copy()), persistent=False)
        self.suffix = sids.suffix

    def latent(self, x: Tensor) -> Tensor:
        """Not to be had: raises DigerError."""
        _no_vectors()

    def reconstruct(self, z_q: Tensor) -> Tensor:
        """Not to be had: raises DigerError."""
        _no_vectors()

    def level_logits(self, residual: Tensor, level: int) -> Tensor:
        """Not to be had: raises DigerError."""
        _no_vectors()


def _no_vectors() -> NoReturn:
    raise DigerError(
        "SIDs read from a file have no vectors, so they cannot be trained and new items cannot be "
        "assigned: use a residual-kmeans or rqvae tokenizer"
    )


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its list of pairs."""


def _entries(path: Path) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(where, key, numbers) of every entry of the file."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DigerError(f"{path} cannot be read: {error}") from error
    if path.name.removesuffix(".gz").endswith(".csv"):
        yield from _csv_entries(path, text)
    else:
        yield from _json_entries(path, text)


def _json_entries(path: Path, text: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    try:
        # As pairs, since a plain dictionary would hide a key that appears twice.
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:  # JSONDecodeError says line and column
        raise DigerError(f"{path} is not JSON: {error}") from error
    if not isinstance(pairs, _Pairs):
        raise DigerError(f'{path} must be one JSON object: {{"item": ["<a_1>", "<b_2>"], ...}}')
    for key, tokens in pairs:
        where = f"{path}, key {key!r}"
        if not isinstance(tokens, list) or isinstance(tokens, _Pairs) or not tokens:
            raise DigerError(f"{where}: expected a list of codes, got {tokens!r:.60}")
        yield where, key, tuple(_code(token, where) for token in tokens)


def _csv_entries(path: Path, text: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    absent = {"item_id", "sid"} - set(reader.fieldnames or ())
    if absent:
        raise DigerError(f"{path} has no column {' or '.join(sorted(absent))} in its first line")
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            yield where, row["item_id"] or "", parse_sid(row["sid"] or "")
    except (csv.Error, DigerError) as error:
        raise DigerError(f"{path}, line {reader.line_num}: {error}") from error


def _code(token: Any, where: str) -> int:
    if isinstance(token, int) and not isinstance(token, bool) and 0 <= token < 10**9:
        return token
    match = (
        re.fullmatch(r"<?(?:[A-Za-z]+_)?([0-9]{1,9})>?", token) if isinstance(token, str) else None
    )
    if match is None:
        raise DigerError(f"{where}: {token!r:.60} is not a code: expected 12 or <a_12>")
    return int(match[1])


def _shifted(key: str, offset: int, where: str) -> str:
    if offset == 0:
        return key
    try:
        return str(int(key) + offset)
    except ValueError:
        raise DigerError(
            f"{where}: {key!r} is not a number, so key_offset = {offset} cannot be added to it"
        ) from None


def _check_coverage(
    path: Path, item_ids: Sequence[str], sids: list[Any], unknown: list[str], offset: int
) -> None:
    missing = [str(item_ids[row]) for row, sid in enumerate(sids) if sid is None]
    hint = f"; check key_offset, which is {offset}" if unknown and missing else ""
    for what, ids in (("items that the dataset does not have", unknown), ("no SID for", missing)):
        if ids:
            shown = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
            raise DigerError(f"{path} has {what}: {shown} ({len(ids)} in all){hint}")


def _check_range(where: str, item_id: str, codes: Sequence[int], codebook_size: int) -> None:
    for level, code in enumerate(codes, start=1):
        if not 0 <= code < codebook_size:
            raise DigerError(
                f"{where}: item {item_id} has code {code} at level {level}, outside "
                f"0..{codebook_size - 1} (codebook_size = {codebook_size})"
            )
