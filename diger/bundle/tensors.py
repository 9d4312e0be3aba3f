"""Safetensors as bytes, with and without torch.

Writing takes numpy arrays or torch tensors and is deterministic: the library writes metadata in
random order, so the header is put in order again. Reading always gives numpy. Numpy has no
bfloat16; such tensors are widened to float32, which holds every bfloat16 value exactly.

Matrices with many rows of zeros, as hashed tables of a small catalogue have, are written without
them: `NAME` holds the other rows, and `NAME@rows` a boolean for every row. Reading puts them back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors import numpy as numpy_tensors

from diger.errors import DigerError
from diger.text import printable

if TYPE_CHECKING:
    import torch

HEADER = 8  # bytes of a file that say how long its header is
_MOST_HEADER = 100_000_000  # as the library has it; ours are some kilobytes
_ROWS = "@rows"
_WORTH_IT = 0.25  # share of zero rows from which on they are left out
_MOST_VALUES = 2**28  # in a matrix whose rows are put back: a small file must not fill the memory

_DTYPES: dict[str, Any] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_STORED = frozenset(map(np.dtype, _DTYPES.values()))


def pack(
    tensors: Mapping[str, np.ndarray | torch.Tensor], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The safetensors file of `tensors`; equal input gives equal bytes.

    Tensors that share memory are written once each. Raises DigerError for a dtype without a
    safetensors name (objects, strings).
    """
    arrays = {}
    for name, tensor in sorted(_without_zero_rows(tensors).items()):
        if not isinstance(tensor, np.ndarray):
            is_bfloat16 = str(tensor.dtype) == "torch.bfloat16"
            tensor = (tensor.float() if is_bfloat16 else tensor).numpy(force=True)
        if tensor.dtype not in _STORED:
            raise DigerError(f"tensor {name} has dtype {tensor.dtype}, which cannot be stored")
        arrays[name] = np.asarray(tensor, order="C")
    return _ordered(numpy_tensors.save(arrays, metadata=dict(metadata or {}) or None))


def unpack(data: bytes, name: str) -> dict[str, np.ndarray]:
    """Arrays by name from a safetensors file; bfloat16 comes back as float32.

    `name` is the file's, for messages. Raises DigerError for a damaged file, a dtype that neither
    numpy nor this function knows, and numbers that are not finite: no model of ours has any.
    """
    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise DigerError(f"{name} is not a valid safetensors file: {printable(error)}") from None
    arrays = {}
    for key, entry in entries:
        dtype, raw = entry["dtype"], entry["data"]
        if dtype == "BF16":
            # A bfloat16 is the upper half of a float32.
            array = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif dtype in _DTYPES:
            array = np.frombuffer(raw, _DTYPES[dtype]).copy()
        else:
            raise DigerError(f"{name}: tensor {printable(key, 60)} has dtype {printable(dtype)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DigerError(f"{name}: tensor {printable(key, 60)} holds what is not finite")
        arrays[key] = array.reshape(entry["shape"])
    return _with_zero_rows(arrays, name)


def check_header(beginning: bytes, size: int, name: str) -> None:
    """Refuse a file of `size` bytes for its first eight, before more of it is read."""
    length = int.from_bytes(beginning[:HEADER], "little")
    if size < HEADER or length > min(size - HEADER, _MOST_HEADER):
        raise DigerError(
            f"{name} is not a valid safetensors file: a header of {length} bytes in a file of "
            f"{size}"
        )


def _without_zero_rows(tensors: Mapping[str, Any]) -> dict[str, Any]:
    packed: dict[str, Any] = {}
    for name, tensor in tensors.items():
        packed[name] = tensor
        if tensor.ndim == 2 and len(tensor):
            used = (tensor != 0).any(1)
            if int(used.sum()) <= (1 - _WORTH_IT) * len(used):
                packed[name], packed[name + _ROWS] = tensor[used], used
    return packed


def _with_zero_rows(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    for key in [key for key in arrays if key.endswith(_ROWS)]:
        used, kept = arrays.pop(key), arrays.get(key.removesuffix(_ROWS))
        fits = (
            kept is not None
            and kept.ndim == 2
            and used.dtype == np.bool_
            and used.ndim == 1
            and used.sum() == len(kept)
            and len(used) * kept.shape[1] <= _MOST_VALUES
        )
        if not fits or kept is None:
            raise DigerError(f"{name}: {printable(key, 60)} does not fit its tensor")
        full = np.zeros((len(used), kept.shape[1]), kept.dtype)
        full[used] = kept
        arrays[key.removesuffix(_ROWS)] = full
    return arrays


def metadata_of(data: bytes, name: str) -> dict[str, str]:
    """The text metadata of a safetensors file (empty where it has none)."""
    try:
        notes = _header(data)[0].get("__metadata__", {})
    except (ValueError, RecursionError, AttributeError):
        raise DigerError(f"{name} is not a valid safetensors file: bad header") from None
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        raise DigerError(f"{name} is not a valid safetensors file: metadata must be text")
    return notes


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The JSON header and the offset where tensor data begins (the format's first 8 bytes)."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), end


def _ordered(data: bytes) -> bytes:
    """The same file with its header's metadata sorted by key."""
    header, end = _header(data)
    notes = header.pop("__metadata__", None)
    ordered = ({"__metadata__": dict(sorted(notes.items()))} if notes else {}) | header
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format keeps tensor data aligned to 8 bytes
    return len(text).to_bytes(8, "little") + text + data[end:]
