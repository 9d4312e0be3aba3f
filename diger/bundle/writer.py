"""Writing a bundle: everything into a temporary folder, the manifest last, then one rename.

Whatever happens inside the `with` block, the path holds either what it held before or the whole
new bundle. The same content gives the same bytes, so equal runs give equal hashes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from diger import files
from diger.bundle import documents, schema
from diger.bundle.card import model_card
from diger.bundle.manifest import FileEntry, Manifest, located
from diger.bundle.reader import Bundle
from diger.bundle.tables import to_parquet, without_derived
from diger.bundle.tensors import pack
from diger.errors import DigerError
from diger.names import writes_sids
from diger.text import printable

if TYPE_CHECKING:
    import torch


class BundleWriter:
    """`with BundleWriter(path) as writer:` and one call a file.

    The kind follows from the files: with `model.safetensors` the bundle is complete, without it
    results-only. `config.json`, `metrics.json` and `README.md` are always needed, `items.parquet`
    in a complete bundle. Item text and examples are refused unless the configuration says that
    the dataset's text may be published. With `force` an existing bundle is replaced.
    """

    def __init__(self, path: str | Path, force: bool = False) -> None:
        self.path = Path(path).absolute()
        self._force = force
        self._staging: files.Staging | None = None
        self._files: dict[str, FileEntry] = {}
        self._config: dict[str, Any] = {}
        self._text: list[str] = []  # what may be written only where text may be published
        self._item_rows: dict[str, pd.DataFrame] = {}
        self._items: pd.DataFrame | None = None

    def __enter__(self) -> BundleWriter:
        check_target(self.path, force=self._force)
        with located(self.path, "be written"):
            self._staging = files.Staging(self.path)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        with self._open() as staging, located(self.path, "be written"):
            self._staging = None
            if error_type is not None:
                return
            self._check_whole()
            kind = schema.kind_of(set(self._files))
            manifest = Manifest(schema.FORMAT_VERSION, kind, self._files)
            _write(staging.folder / schema.MANIFEST, manifest.to_bytes())
            # Somebody else may have written to the path in the meantime.
            _refuse(self.path, force=self._force)
            staging.publish()

    def json(self, name: str, obj: Mapping[str, Any]) -> None:
        """Write `config.json` or `metrics.json` (see `diger.bundle.documents`).

        Numpy values become plain ones; a number that is not finite becomes null, for JSON has
        none. Raises DigerError where the document lacks what readers rely on.
        """
        self._claim(name, schema.JSON_FILES)
        with located(self.path, "be written"):
            document = _plain(obj, name)
            if name == schema.CONFIG:
                document.setdefault("format", schema.FORMAT_VERSION)
                documents.check_config(document)
                self._config = document
            else:
                documents.check_metrics(document)
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        self._put(name, (text + "\n").encode())

    def frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as parquet (zstd); its index is dropped. Columns: see `schema.TABLES`."""
        self._claim(name, tuple(schema.TABLES))
        with located(self.path, "be written"):
            checked = schema.check_table(name, frame)
        if name == schema.ITEMS:
            self._items = checked
            self._text += [c for c in schema.TEXT_COLUMNS if c in checked.columns]
        elif name == schema.EXAMPLES:
            self._text.append(name)
        if schema.holds_item_rows(name):
            self._item_rows[name] = checked
        if name == schema.RANKS and self._items is not None:
            checked = without_derived(checked, self._items)
        self._put(name, to_parquet(checked))

    def tensors(
        self,
        name: str,
        tensors: Mapping[str, np.ndarray | torch.Tensor],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write tensors and text metadata as safetensors; numpy arrays do not need torch."""
        self._claim(name, schema.TENSOR_FILES)
        self._put(name, pack(tensors, metadata))

    def text(self, name: str, text: str) -> None:
        """Write the model card."""
        self._claim(name, schema.TEXT_FILES)
        self._put(name, text.encode())

    def _open(self) -> files.Staging:
        if self._staging is None:
            raise DigerError(f"the writer of {self.path} is not open: use it in a with statement")
        return self._staging

    def _claim(self, name: str, allowed: tuple[str, ...]) -> None:
        """Refuse a name of the wrong sort, and one written before."""
        self._open()
        schema.check_name(name, allowed)
        if name in self._files:
            raise DigerError(f"{name} was already written to {self.path}")

    def _put(self, name: str, data: bytes) -> None:
        with located(self.path, "be written"):
            _write(self._open().folder / name, data)
        self._files[name] = FileEntry.of(data)

    def _check_whole(self) -> None:
        """What only the whole bundle shows: missing files, stray rows, text not to be published."""
        schema.check_names(set(self._files))
        about = documents.Config.read(self._config)
        from_file = about.tokenizer.get("kind") == "file"
        needs_vectors = not from_file and writes_sids(about.backbone)
        if schema.MODEL in self._files and needs_vectors and schema.CONTENT not in self._files:
            raise DigerError(f"a complete bundle of a model over SIDs needs {schema.CONTENT}")
        for name, frame in self._item_rows.items():
            schema.check_table(name, frame, None if self._items is None else len(self._items))
        if self._text and not about.dataset.text_may_be_published:
            raise DigerError(
                f"the dataset's text may not be published, so leave out {', '.join(self._text)}"
            )


def check_target(path: str | Path, *, force: bool = False) -> None:
    """Raise DigerError unless a bundle can be written at `path`; worth a call before training.

    An unfinished swap of a dead writer is completed first, and its leftovers are removed.
    """
    target = Path(path).absolute()
    with located(target, "be written"):
        files.finish_swap(target, schema.MANIFEST)
        files.sweep(target)
        _refuse(target, force=force)


def _refuse(path: Path, *, force: bool) -> None:
    """Raise DigerError (without the path) unless a bundle may be written at `path`.

    Only a bundle is ever replaced, and only with `force`: a mistyped path must not cost a folder
    of something else.
    """
    if path.name.startswith(".") or not path.name:
        raise DigerError("a bundle's name may not be empty or begin with a dot")
    if path.is_symlink():
        raise DigerError("it is a symbolic link: give the folder it points at")
    if path.exists() and not path.is_dir():
        raise DigerError("it is a file: choose another name for the bundle")
    if path.is_dir() and any(path.iterdir()):
        if not (path / schema.MANIFEST).is_file():
            raise DigerError("it holds something that is not a bundle: choose another name")
        if not force:
            raise DigerError("it already exists: choose another name, or force replacing it")


def write_file(data: bytes, out: Path) -> None:
    """Write `data` at `out`, in place of what is there."""
    named = printable(out)
    if (out.parent / schema.MANIFEST).exists():
        raise DigerError(f"{named} is inside a bundle, which it would break: choose another folder")
    if out.is_dir():
        raise DigerError(f"{named} is a folder: give the name of a file")
    try:
        with files.replacing(out) as temporary, temporary.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise DigerError(f"cannot write {named}: {error.strerror or error}") from None


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    files.sync(path)


def _plain(value: Any, where: str) -> Any:
    """JSON's own types all the way down; DigerError names the place of anything else."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{where}: {key}") for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), where)
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    raise DigerError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


# From a complete bundle to a results-only one, in the same place.


def strip_weights(path: Path, lists: bool = True) -> Bundle:
    """Drop weights and vectors of the bundle at `path`, and say so on its card.

    The results stay as they are, to the byte, but for the users' lists where `lists` are not to be
    kept. A bundle without either is left alone. Whatever happens, the path holds a whole bundle of
    one kind or the other.
    """
    bundle = Bundle.open(path)
    there = set(bundle.manifest.files) - (set() if lists else {schema.TOPK})
    if bundle.kind == "results-only" and there == set(bundle.manifest.files):
        return bundle
    with BundleWriter(path, force=True) as writer:
        writer.json(schema.CONFIG, bundle.config)
        writer.json(schema.METRICS, bundle.metrics)
        for name in schema.TABLES:
            if name in there:
                writer.frame(name, bundle.frame(name))
        card = model_card(
            bundle.config, bundle.metrics, bundle.items, codes=bundle.codes, complete=False
        )
        writer.text(schema.CARD, card)
    return Bundle.open(path)
