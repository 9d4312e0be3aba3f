"""Bundles that somebody made to do harm: each case changes a good one and seals it again.

`CASES` maps a name to what makes the case in a copied bundle and what the refusal must say. The
hashes fit, unless that is the case: their author can compute SHA-256 as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import numpy as safe

from diger.bundle import Bundle, schema
from diger.model import Model, load_model

GIGABYTE = 2**30
DEEP = 1_000_000
Make = Callable[[Path], None]
CASES: dict[str, tuple[Make, str]] = {}


def case(name: str, message: str) -> Callable[[Make], Make]:
    """Enter a case."""

    def enter(make: Make) -> Make:
        CASES[name] = (make, message)
        return make

    return enter


def make(name: str, good: Path, folder: Path) -> Path:
    """The case `name` of the bundle `good`, as a bundle in `folder`."""
    bundle = folder / "".join(c if c.isalnum() else "-" for c in name)
    shutil.copytree(good, bundle)
    CASES[name][0](bundle)
    return bundle


def use(path: Path) -> str:
    """Do with a bundle all that anybody does."""
    bundle = Bundle.open(path)
    for name in bundle.manifest.files:
        if name in schema.TABLES:
            bundle.frame(name)
        elif name in schema.TENSOR_FILES:
            bundle.tensors(name), bundle.tensor_metadata(name)
    assert bundle.card
    model: Model = load_model(path)
    _ = model.tokenizer, model.transform
    found = model.recommend([model.item_ids[0]], k=3)
    return str(found[0].item_id)


def seal(path: Path, **changes: Any) -> None:
    """Rewrite the manifest to fit the folder."""
    manifest = json.loads((path / "manifest.json").read_text())
    for file in path.iterdir():
        if file.name != "manifest.json":
            data = file.read_bytes()
            entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            manifest["files"][file.name] = entry
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def write(path: Path, name: str, data: bytes) -> None:
    (path / name).write_bytes(data)
    seal(path)


def hollow(path: Path, name: str, beginning: bytes, size: int = GIGABYTE) -> None:
    """A file of that size that takes no room on the disk; its hash is never reached."""
    with (path / name).open("wb") as file:
        file.write(beginning)
        file.truncate(size)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": size}
    (path / "manifest.json").write_text(json.dumps(manifest))


def tensors(path: Path, change: Callable[[dict[str, Any]], Any], name: str = schema.MODEL) -> None:
    arrays = safe.load((path / name).read_bytes())
    change(arrays)
    write(path, name, safe.save(arrays))


def table(path: Path, name: str, change: Callable[[pd.DataFrame], Any]) -> None:
    frame = pd.read_parquet(path / name)
    change(frame)
    frame.to_parquet(path / name)
    seal(path)


def document(path: Path, change: Callable[[Any], Any], name: str = schema.CONFIG) -> None:
    values = json.loads((path / name).read_text())
    change(values)
    write(path, name, json.dumps(values).encode())


# ---- what is no file of a bundle -----------------------------------------------------------------


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/this-must-never-be-there",)


@case("a pickle under a safetensors name", r"model\.safetensors is not a valid safetensors file")
def _(path: Path) -> None:
    write(path, schema.MODEL, pickle.dumps(_Evil()))


@case("a torch file under a safetensors name", r"model\.safetensors is not a valid safetensors")
def _(path: Path) -> None:
    torch.save({"weights": torch.ones(3)}, path / schema.MODEL)
    seal(path)


@case("a changed byte", r"ranks\.parquet does not match the SHA-256")
def _(path: Path) -> None:
    data = bytearray((path / schema.RANKS).read_bytes())
    data[len(data) // 2] ^= 1
    (path / schema.RANKS).write_bytes(data)


@case("a missing file", r"items\.parquet is missing")
def _(path: Path) -> None:
    (path / schema.ITEMS).unlink()


@case("a path in the manifest", r"'\.\./\.\./etc/passwd' is a path")
def _(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["../../etc/passwd"] = {"sha256": "0" * 64, "bytes": 1}
    (path / "manifest.json").write_text(json.dumps(manifest))


@case("a symbolic link", r"config\.json must be a plain file")
def _(path: Path) -> None:
    (path / schema.CONFIG).unlink()
    (path / schema.CONFIG).symlink_to("/etc/passwd")


@case("a symbolic link for a manifest", r"manifest\.json must be a plain file")
def _(path: Path) -> None:
    (path / "manifest.json").rename(path.with_name("elsewhere"))
    (path / "manifest.json").symlink_to(path.with_name("elsewhere"))


@case("a pipe that nobody writes to", r"metrics\.json must be a plain file")
def _(path: Path) -> None:
    (path / schema.METRICS).unlink()
    os.mkfifo(path / schema.METRICS)


@case("a pipe for a manifest", r"manifest\.json must be a plain file")
def _(path: Path) -> None:
    (path / "manifest.json").unlink()
    os.mkfifo(path / "manifest.json")


# ---- tensors -------------------------------------------------------------------------------------


def _poison(value: float, part: str) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        name = next(key for key in sorted(arrays) if part in key and arrays[key].dtype.kind == "f")
        arrays[name] = arrays[name].copy()
        arrays[name].flat[0] = value

    return change


@case("NaN in the weights", r"model\.safetensors: tensor recommender\.\S+ holds .*not finite")
def _(path: Path) -> None:
    tensors(path, _poison(np.nan, "recommender."))


@case("infinity in the codebooks", r"model\.safetensors: tensor tokenizer\.\S+ holds .*not finite")
def _(path: Path) -> None:
    tensors(path, _poison(-np.inf, "tokenizer.codebooks"))


@case("NaN in the content", r"content\.safetensors: tensor vectors holds .*not finite")
def _(path: Path) -> None:
    tensors(path, _poison(np.nan, "vectors"), schema.CONTENT)


@case("weights of a wrong shape", r"model\.safetensors does not fit its own recipe")
def _(path: Path) -> None:
    def change(arrays: dict[str, Any]) -> None:
        name = next(key for key in sorted(arrays) if key.startswith("recommender."))
        arrays[name] = arrays[name][..., :-1].copy()

    tensors(path, change)


@case("a weight missing", r"model\.safetensors does not fit its own recipe")
def _(path: Path) -> None:
    own = lambda arrays: sorted(k for k in arrays if "recommender." in k and "prefixes" not in k)  # noqa: E731
    tensors(path, lambda arrays: arrays.pop(own(arrays)[0]))


@case("content of a wrong shape", r"content\.safetensors")
def _(path: Path) -> None:
    tensors(path, lambda a: a.update(vectors=a["vectors"][:-1].copy()), schema.CONTENT)


@case("a header that claims a gigabyte", r"model\.safetensors is not a valid safetensors file")
def _(path: Path) -> None:
    write(path, schema.MODEL, GIGABYTE.to_bytes(8, "little") + b'{"a":1}')


@case("a header of a gigabyte", r"model\.safetensors is not a valid safetensors file")
def _(path: Path) -> None:
    hollow(path, schema.MODEL, (GIGABYTE - 8).to_bytes(8, "little") + b"{")


@case("a header a million levels deep", r"model\.safetensors is not a valid safetensors file")
def _(path: Path) -> None:
    header = b'{"__metadata__":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}"
    write(path, schema.MODEL, len(header).to_bytes(8, "little") + header)


@case("a tensor larger than any memory", r"model\.safetensors is not a valid safetensors file")
def _(path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}
    header = json.dumps({"recommender.a": entry}).encode()
    write(path, schema.MODEL, len(header).to_bytes(8, "little") + header + bytes(8))


@case("rows of zeros that fill the memory", r"model\.safetensors: \S+ does not fit its tensor")
def _(path: Path) -> None:
    def change(arrays: dict[str, Any]) -> None:
        arrays["recommender.a"] = np.zeros((0, 2**40), np.float32)
        arrays["recommender.a@rows"] = np.zeros(1000, bool)

    tensors(path, change)


# ---- a recipe that asks for the moon -------------------------------------------------------------


def _recipe(part: str, **values: Any) -> Make:
    def make(path: Path) -> None:
        document(path, lambda config: config["recipe"][part].update(values))

    return make


FITS = r"does not fit its own recipe|config\.json: recipe"
for _name, _make in {
    "a width of a billion": _recipe("backbone", d_model=2**30, feed_forward=2**30),
    "a billion layers": _recipe("backbone", layers=10**9),
    "hashed tables of a billion rows": _recipe("backbone", prefix_rows=10**9),
    "a tokenizer of a billion codes": _recipe("tokenizer", codebook_size=10**9),
}.items():
    CASES[_name] = (_make, FITS)


@case("SIDs of a billion codes", r"does not fit its own recipe|tokenizer\.sizes")
def _(path: Path) -> None:
    document(path, lambda config: config["tokenizer"].update(sizes=[10**12] * 3))


@case("sizes that are no sizes", r"tokenizer\.sizes does not fit the SIDs")
def _(path: Path) -> None:
    document(path, lambda config: config["tokenizer"].update(sizes=[True, "4", None]))


# ---- tables --------------------------------------------------------------------------------------


@case("a code out of range", r"tokenizer\.sizes does not fit the SIDs")
def _(path: Path) -> None:
    table(path, schema.ITEMS, lambda items: items.__setitem__("code_1", items["code_1"] + 10**6))


@case("a negative code", r"items\.parquet: column code_1 must be >= 0")
def _(path: Path) -> None:
    table(path, schema.ITEMS, lambda items: items.__setitem__("code_1", -1))


@case("a code beyond 64 bits", r"items\.parquet: column code_1 must be >= 0")
def _(path: Path) -> None:
    codes = np.uint64(2**63 + 1)
    table(path, schema.ITEMS, lambda items: items.__setitem__("code_1", codes))


@case("two items with one SID", r"items\.parquet: rows 0 and 1 have the same SID")
def _(path: Path) -> None:
    def change(items: pd.DataFrame) -> None:
        names = [c for c in items.columns if c.startswith("code_") or c == "suffix"]
        items.loc[1, names] = items.loc[0, names]

    table(path, schema.ITEMS, change)


@case("two items with one id", r"items\.parquet: item_id i0 occurs twice")
def _(path: Path) -> None:
    table(path, schema.ITEMS, lambda items: items.__setitem__("item_id", "i0"))


@case("an example of items that are not there", r"examples\.parquet: column target points at")
def _(path: Path) -> None:
    table(path, schema.EXAMPLES, lambda t: t.__setitem__("target", 10**6))


def _bomb(path: Path, name: str, columns: dict[str, pa.Array], copies: int, **how: Any) -> None:
    """A table of the same rows over and over: small on the disk, and endless when unpacked."""
    chunk = pa.table(columns)
    with pq.ParquetWriter(path / name, chunk.schema, compression="zstd", **how) as writer:
        for _ in range(copies):
            writer.write_table(chunk)
    seal(path)


BOMB = "when unpacked, more than a bundle's table may"


@case("a parquet bomb of numbers", rf"history\.parquet takes .* {BOMB}")
def _(path: Path) -> None:
    _bomb(path, schema.HISTORY, {"epoch": pa.array(np.zeros(10**7, np.int64))}, 12)


@case("a parquet bomb of text", rf"history\.parquet takes .* {BOMB}")
def _(path: Path) -> None:
    rows = 4000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * 10**6])
    columns = {"epoch": pa.array(np.zeros(rows, np.int64)), "note": text}
    _bomb(path, schema.HISTORY, columns, 2, store_schema=False)


@case("a parquet bomb of long text", rf"history\.parquet takes .* {BOMB}")
def _(path: Path) -> None:
    text = pa.array(["x" * 10**6] * 200)
    columns = {"epoch": pa.array(np.zeros(200, np.int64)), "note": text}
    _bomb(path, schema.HISTORY, columns, 8, use_dictionary=False)


@case("a parquet bomb of lists", rf"history\.parquet takes .* {BOMB}")
def _(path: Path) -> None:
    rows = 10**7
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], "int32"))
    _bomb(path, schema.HISTORY, {"epoch": pa.array(np.zeros(rows, np.int64)), "a": empty}, 2)


@case("nonsense for parquet", r"history\.parquet is not readable parquet")
def _(path: Path) -> None:
    write(path, schema.HISTORY, b"PAR1" + bytes(range(256)) * 9 + b"PAR1")


# ---- documents -----------------------------------------------------------------------------------


def _nested(name: str, opening: bytes, closing: bytes) -> Make:
    def make(path: Path) -> None:
        write(path, name, b'{"recipe":' + opening * DEEP + b"1" + closing * DEEP + b"}")

    return make


for _file in (schema.CONFIG, schema.METRICS):
    for _what, _ends in {"lists": (b"[", b"]"), "objects": (b'{"a":', b"}")}.items():
        CASES[f"{_file} of {_what} a million levels deep"] = (
            _nested(_file, *_ends),
            rf"{_file} is not valid JSON: nested too deeply|{_file} has .* more than",
        )


@case("a manifest a million levels deep", r"manifest\.json is not valid JSON")
def _(path: Path) -> None:
    (path / "manifest.json").write_bytes(b"[" * DEEP)


@case("config.json nested just as deep as can be parsed", r"config\.json: recipe")
def _(path: Path) -> None:
    document(path, lambda config: config.__setitem__("recipe", "HERE"))
    for depth in range(2000, 0, -10):
        deep = b"[" * depth + b"]" * depth
        data = (path / schema.CONFIG).read_bytes().replace(b'"HERE"', deep)
        try:
            json.loads(data)
        except RecursionError:
            continue
        write(path, schema.CONFIG, data)
        return


for _file in (schema.CONFIG, schema.METRICS, schema.CARD):
    CASES[f"a gigabyte of {_file}"] = (
        lambda path, file=_file: hollow(path, file, b"{"),  # type: ignore[misc]
        rf"{_file} has .* bytes, more than",
    )


@case("a gigabyte of manifest", r"manifest\.json")
def _(path: Path) -> None:
    os.truncate(path / "manifest.json", GIGABYTE)


@case("a number of a million digits", r"metrics\.json is not valid JSON")
def _(path: Path) -> None:
    write(path, schema.METRICS, b'{"results": [' + b"9" * 10**6 + b"]}")


@case("no recipe", r"config\.json: recipe")
def _(path: Path) -> None:
    document(path, lambda config: config.pop("recipe"))
