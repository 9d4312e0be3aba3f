"""Content vectors of a dataset: encoded from text, or read from a file of the user's own.

What has been encoded is kept in the dataset folder under `content/`: one file when whole, and while
at work a file for every 512 texts in `content/.partial/`. So a run that was stopped, however it was
stopped, goes on where it was, and of a catalogue that has grown only the new texts are encoded.
"""

from __future__ import annotations

import hashlib
import html
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open

from diger.content.models import (
    DEFAULT_ENCODER,
    DEFAULT_MAX_TOKENS,
    EncoderName,
    TextEncoder,
    load_text_encoder,
    parse_encoder,
)
from diger.content.vectors import (
    ContentVectors,
    StoredVectors,
    read_tensors,
    slug,
    write_tensors,
    zero_rows,
)
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.files import file_sha256

# The one string that stands for an item: `title. brand. categories. description`.
#
# The order is deliberate: encoders read a fixed number of tokens, and the parts that tell most in
# the fewest words come first. Parts that are empty or unknown are skipped.

PARTS = ("title", "brand", "categories", "description")


def item_text(row: Mapping[str, Any] | pd.Series) -> str:
    """Text of one item, its parts joined by full stops; the empty string where it has none.

    `row` maps column names to values: strings, lists of strings (joined by commas), or None / NaN
    for unknown. HTML entities are decoded (also doubly encoded ones, common in scraped catalogues)
    and runs of white space become one space.

    >>> item_text({"title": "Soap &amp; Co", "brand": None, "categories": ["Bath", "Hand"]})
    'Soap & Co. Bath, Hand'
    """
    parts = (_as_text(row.get(name)) for name in PARTS)
    return ". ".join(part for part in parts if part)


def catalogue_texts(items: pd.DataFrame) -> list[str]:
    """`item_text` of every row of a catalogue, in row order."""
    columns = [name for name in PARTS if name in items.columns]
    return [item_text(row) for row in items[columns].to_dict("records")]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        # The closing full stop goes, as the join brings its own.
        return " ".join(_unescape(value).split()).rstrip(" .")
    if isinstance(value, Iterable):  # a list, or the array that parquet returns for one
        return ", ".join(part for part in map(_as_text, value) if part)
    if value is None or value is pd.NA or value != value:  # NaN is not equal to itself
        return ""
    return str(value)  # a number as a title


def _unescape(text: str) -> str:
    while (decoded := html.unescape(text)) != text:
        text = decoded
    return text


_CHUNK = 512  # texts a partial file


def embed_items(
    dataset: Dataset,
    encoder: str = DEFAULT_ENCODER,
    *,
    folder: Path | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
) -> ContentVectors:
    """Content vectors for every item, in row order.

    encoder: a sentence-transformers name, `name@revision` or folder; or the path of a `.npy` of
        floats, shape (items, dim), row i for item row i, all zeros where an item has no vector.
    folder: the dataset's folder, where results are kept under `content/` and found again; None
        keeps nothing. A name without a revision stays at the revision it was first encoded with,
        and a `.npy` that is no longer where it was is found by its name.
    max_tokens: texts are cut after so many tokens.

    Raises DigerError for a file that does not fit, an encoder that cannot be had, or a dataset
    in which no item has text.
    """
    store = None if folder is None else folder / "content"
    if encoder.endswith(".npy"):
        return _read_file(dataset, Path(encoder), store)
    texts = catalogue_texts(dataset.items)
    if not any(texts):
        raise DigerError(
            f"no item of {dataset.name} has text to encode: train the recipe behaviour, "
            "which needs none, give vectors of your own (--encoder vectors.npy), or take SIDs from "
            "a file (tokenizer kind = file)"
        )
    digests = _digests(texts)
    wanted = parse_encoder(encoder)
    path = store and store / f"{slug(wanted.name, max_tokens)}.safetensors"
    stored = _load_stored(path, wanted, max_tokens)
    if stored is not None:
        wanted = replace(wanted, revision=stored.content.revision)
        if stored.key == _key(wanted.name, stored.content.revision, max_tokens, digests):
            return stored.content

    model = load_text_encoder(wanted, max_tokens=max_tokens)
    key = _key(model.name, model.revision, max_tokens, digests)
    partial = None
    if store is not None:
        # Chunks are of use to any catalogue, so their folder is named without its texts.
        tag = _key(model.name, model.revision, max_tokens, np.empty((0, 32), np.uint8))[:12]
        partial = store / ".partial" / f"{slug(model.name, max_tokens)}-{tag}"
    known = _known_vectors(stored, partial)
    _encode_missing(texts, digests, known, model, partial)

    missing = np.array([not text for text in texts])
    vectors = np.zeros((len(texts), len(next(iter(known.values())))), np.float32)
    for row in np.flatnonzero(~missing):
        vectors[row] = known[digests[row].tobytes()]
    content = ContentVectors(vectors, missing, model.name, model.revision, max_tokens, model.source)
    if path is not None and partial is not None:
        StoredVectors(content, key, digests).save(path)
        shutil.rmtree(partial, ignore_errors=True)
        if partial.parent.is_dir() and not any(partial.parent.iterdir()):
            partial.parent.rmdir()
    return content


def revision_here(
    encoder: str,
    *,
    folder: Path,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    digest: Callable[[Path], str | None],
) -> str | None:
    """The `revision` that `embed_items` would give its vectors, from what is kept in `folder`.

    digest: SHA-256 of a file, None where it is not there. Without vectors to look at, None; an
    encoder in a folder is taken for the one that the kept vectors are from.
    """
    if encoder.endswith(".npy"):
        found = digest(Path(encoder))
        if found is not None:
            return f"sha256:{found}"
        wanted, cut = EncoderName(f"file:{Path(encoder).name}", None), None
    elif Path(encoder).is_dir():  # all its weights would have to be read
        wanted, cut = EncoderName(Path(encoder).resolve().name, None), max_tokens
    else:
        wanted, cut = parse_encoder(encoder), max_tokens
    try:
        path = folder / "content" / f"{slug(wanted.name, cut)}.safetensors"
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    kept = metadata.get("revision")
    same = metadata.get("encoder") == wanted.name and wanted.revision in (None, kept)
    return kept if same else None


def _load_stored(
    path: Path | None, wanted: EncoderName, max_tokens: int | None
) -> StoredVectors | None:
    """The kept file, if it is by the same encoder; None where it is absent or of no use."""
    if path is None or not path.is_file():
        return None
    try:
        stored = StoredVectors.load(path)
    except DigerError:
        return None  # damaged: it will be made again
    content = stored.content
    same = content.encoder == wanted.name and content.max_tokens == max_tokens
    return stored if same and wanted.revision in (None, content.revision) else None


def _known_vectors(stored: StoredVectors | None, partial: Path | None) -> dict[bytes, np.ndarray]:
    """Vectors that need no encoding, by the digest of their text."""
    known: dict[bytes, np.ndarray] = {}
    if stored is not None:
        rows = zip(stored.digests, stored.content.vectors, stored.content.missing, strict=True)
        known.update((d.tobytes(), vector) for d, vector, missing in rows if not missing)
    for file in sorted(partial.glob("*.safetensors")) if partial is not None else ():
        try:
            tensors, _ = read_tensors(file)
            rows_read = zip(tensors["digests"], tensors["vectors"], strict=True)
            known.update((digest.tobytes(), vector) for digest, vector in rows_read)
        except (OSError, SafetensorError, KeyError, ValueError):
            file.unlink(missing_ok=True)
    return known


def _encode_missing(
    texts: list[str],
    digests: np.ndarray,
    known: dict[bytes, np.ndarray],
    model: TextEncoder,
    partial: Path | None,
) -> None:
    """Encode every distinct text that is not in `known`, and add it there and to `partial`.

    Longest first: batches of like length waste no padding, and the time left is never too low. The
    order depends on the texts alone, so a run that was stopped makes the same batches again.
    """
    todo: dict[bytes, str] = {}
    for digest, text in zip(digests, texts, strict=True):
        if text and digest.tobytes() not in known:
            todo[digest.tobytes()] = text
    order = sorted(todo, key=lambda digest: (-len(todo[digest]), digest))
    columns = (TextColumn("encoding texts"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=len(order))
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            vectors = model.encode([todo[digest] for digest in chunk])
            if not np.isfinite(vectors).all():
                raise DigerError(f"encoder {model.name} returned NaN or infinity for a text")
            known.update(zip(chunk, vectors, strict=True))
            if partial is not None:
                raw = np.frombuffer(b"".join(chunk), np.uint8).reshape(len(chunk), 32)
                file = partial / f"{hashlib.sha256(raw.tobytes()).hexdigest()[:16]}.safetensors"
                write_tensors(file, {"digests": raw, "vectors": vectors}, {})
            bar.advance(task, len(chunk))


def _read_file(dataset: Dataset, path: Path, store: Path | None) -> ContentVectors:
    """Vectors from a `.npy`, checked; a copy is kept in the dataset's folder."""
    name = f"file:{path.name}"
    digests = _digests(dataset.items["item_id"])
    kept = store and store / f"{slug(name, None)}.safetensors"
    if not path.is_file():
        stored = _load_stored(kept, EncoderName(name, None), None)
        if stored is None or stored.key != _key(name, stored.content.revision, None, digests):
            raise DigerError(f"{path} not found: give the path of a .npy with one row an item")
        return stored.content
    vectors = _load_npy(path, len(dataset.items))
    revision = f"sha256:{file_sha256(path)}"
    content = ContentVectors(vectors, zero_rows(vectors), name, revision, None, "file")
    if kept is not None:
        StoredVectors(content, _key(name, revision, None, digests), digests).save(kept)
    return content


def _load_npy(path: Path, n_items: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # one copy in memory, not two
    except (OSError, ValueError, EOFError) as error:
        raise DigerError(f"{path} is not a plain .npy array ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        found = getattr(array, "dtype", "several arrays")
        raise DigerError(f"{path} must hold one array of floats, got {found}")
    if array.ndim != 2 or array.shape[0] != n_items or array.shape[1] == 0:
        raise DigerError(f"{path} must have shape ({n_items} items, dim), got {array.shape}")
    array = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise DigerError(f"{path} has NaN or infinity in {len(bad)} rows, the first row {bad[0]}")
    return np.ascontiguousarray(array)


def _digests(texts: Iterable[str]) -> np.ndarray:
    """SHA-256 of each text: uint8 (n, 32)."""
    joined = b"".join(hashlib.sha256(str(text).encode()).digest() for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def _key(encoder: str, revision: str, max_tokens: int | None, digests: np.ndarray) -> str:
    head = f"{encoder}\0{revision}\0{max_tokens}\0".encode()
    return hashlib.sha256(head + digests.tobytes()).hexdigest()
