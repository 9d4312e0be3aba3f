"""RQ-VAE checkpoints of DIGER's authors, to a safetensors file that a recipe can start from.

The file's SHA-256 is checked before anything in it is looked at; then only weights are read
(`torch.load(weights_only=True)`, which runs no code; the training arguments beside the weights are
an `argparse.Namespace`, which is let through as the plain record that it is). Weights keep the
authors' units: raw text features in, raw text features out.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from diger.data.readers.release import check_file
from diger.errors import DigerError
from diger.files import replacing
from diger.text import printable
from diger.tokenizer.rqvae import FORMAT

# Pickles of protocol 4 rewritten as protocol 2, opcode for opcode, with nothing executed.
#
# `torch.load(weights_only=True)` reads the opcodes that torch writes by default, those of protocol
# 2. The training script that the released RQ-VAE checkpoints come from saves with protocol 4. What
# differs is how strings, memo entries and global names are written; everything else is copied as it
# is, and refused later by torch's reader if it is not plain weights.

_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_NEW = b"\x80\x04"  # how a pickle of protocol 4 begins


def readable(file: IO[bytes]) -> IO[bytes]:
    """`file`, a torch checkpoint, or a copy in memory that torch's safe reader can read."""
    file.seek(0)
    if not zipfile.is_zipfile(file):
        return file
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickle = next((name for name in names if name.endswith("/data.pkl")), None)
        if pickle is not None and archive.read(pickle).startswith(_NEW):
            copy = io.BytesIO()
            with zipfile.ZipFile(copy, "w") as target:
                for name in names:
                    data = archive.read(name)
                    target.writestr(name, as_protocol_2(data) if name == pickle else data)
            file = copy
    file.seek(0)
    return file


def as_protocol_2(data: bytes) -> bytes:
    """The same pickle in opcodes of protocol 2.

    Strings are written out wherever they are used, so only other objects need the memo.
    """
    try:
        operations = list(pickletools.genops(data))
    except (ValueError, UnicodeDecodeError) as error:
        raise DigerError(f"not a checkpoint of torch: its pickle is damaged ({error})") from None
    ends = [position for _, _, position in operations[1:]] + [len(data)]
    out: list[tuple[str | None, bytes]] = []  # a string just pushed, or None; its bytes
    strings: dict[int, str] = {}
    memoized = 0
    for (code, found, begin), end in zip(operations, ends, strict=True):
        argument: Any = found
        raw = data[begin:end]
        if code.name == "PROTO":
            out.append((None, b"\x80\x02"))
        elif code.name == "FRAME":
            continue
        elif code.name in _STRINGS:
            out.append(_string(argument))
        elif code.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            slot = memoized if code.name == "MEMOIZE" else argument
            memoized += 1
            text = out[-1][0] if out else None
            if text is None:
                out.append((None, b"r" + struct.pack("<I", slot)))
            else:
                strings[slot] = text
        elif code.name in ("BINGET", "LONG_BINGET") and argument in strings:
            out.append(_string(strings[argument]))
        elif code.name == "STACK_GLOBAL":
            (module, _), (name, _) = out[-2:] if len(out) > 1 else ((None, b""), (None, b""))
            if module is None or name is None or "\n" in module + name:
                raise DigerError("not a checkpoint of torch: a global is not named by two strings")
            out[-2:] = [(None, f"c{module}\n{name}\n".encode())]
        else:
            out.append((None, raw))
    return b"".join(raw for _, raw in out)


def _string(text: str) -> tuple[str, bytes]:
    encoded = text.encode("utf-8", "surrogatepass")
    return text, b"X" + struct.pack("<I", len(encoded)) + encoded


# best_collision_model.pth of junchenfu/diger-rqvae-{beauty,instruments,yelp}
KNOWN = {
    "d4501128dd9b2db3072376f66bbaa42995567b94c88c9befab0c349fa9a242ff": "beauty",
    "c0e435563e521e18b6b918cdf663485dedb994f6275210a8074de82db02a6b91": "instruments",
    "c8654acb6297e67dec73eed58cb4e7b464dc5a2dd51006068e36d95d07f56bb6": "yelp",
}
_LAYER = re.compile(r"(encoder|decoder)\.mlp_layers\.(\d{1,4})\.(weight|bias)")
_CODEBOOK = re.compile(r"rq\.vq_layers\.(\d{1,4})\.embedding\.weight")
# Running statistics of the quantizer, of no use without its training.
_PASSED_OVER = re.compile(r"rq\.vq_layers\.\d+\.(N_ema|code_usage_ema|auto_sigma_module\..*)")


@dataclass(frozen=True)
class Converted:
    """What was written: `released` is the dataset it was released for, if the hash is known."""

    sha256: str
    released: str | None
    widths: tuple[int, ...]
    levels: int
    codebook_size: int


def convert_rqvae(
    path: Path, out: Path, *, sha256: str | None = None, force: bool = False
) -> Converted:
    """Write the RQ-VAE of a checkpoint (`.pth`) of the authors' training to a safetensors file.

    `sha256` is the hash the checkpoint must have; by default that of one of those released.
    """
    with _writing(out):
        if out.exists() and (out.is_dir() or not force):
            how = "add --force" if out.is_file() else "rename"
            raise DigerError(f"{out} exists already; {how}")
    check_file(path)
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise DigerError(f"--sha256 {sha256[:80]!r} is not a SHA-256: give 64 hexadecimal digits")
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as file:
        # Hashed and read through one open file, so that nobody can swap it in between.
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        _check_hash(path, digest, sha256)
        state = _state(_load(file, path), path)
    tensors, converted = _tensors(state, path, digest)
    metadata = {
        "format": FORMAT,
        "source": path.name,
        "sha256": digest,
        "released_for": converted.released or "",
    }
    with _writing(out), replacing(out) as temporary:
        save_file(tensors, temporary, metadata)
    return converted


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DigerError(f"cannot write {out}: {reason}; give another --out") from None


def _check_hash(path: Path, digest: str, expected: str | None) -> None:
    if expected is None and digest not in KNOWN:
        names = ", ".join(KNOWN.values())
        raise DigerError(
            f"{path} has the SHA-256 {digest}, which is none of the released checkpoints' "
            f"({names}); download it again, or give the hash it should have with --sha256"
        )
    if expected is not None and digest != expected.lower():
        raise DigerError(
            f"{path} has the SHA-256 {digest}, not {expected.lower()}; nothing in it was read: "
            "download it again"
        )


def _load(file: IO[bytes], path: Path) -> Any:
    try:
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),  # what is wrong is said in one line
        ):
            return torch.load(readable(file), map_location="cpu", weights_only=True)
    except DigerError as error:
        raise DigerError(f"{path}: {error}") from None
    except Exception as error:  # a damaged file can raise anything, in zipfile as in torch
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found and isinstance(error, UnpicklingError):
            raise DigerError(
                f"{path} holds more than weights and was not read (it wants to run {found[1]})"
            ) from None
        raise DigerError(
            f"{path} is not a checkpoint of torch ({_reason(error)}); download it again"
        ) from None


def _reason(error: Exception) -> str:
    """What stood in the way, without torch's advice, which is to run the file after all."""
    found = re.search(r"WeightsUnpickler error: *(.*)", str(error))
    line = found[1] if found else str(error).partition("\n")[0]
    advice = re.search("weights.only", line, re.IGNORECASE)
    return printable(line, 200) if line and not advice else f"damaged: {type(error).__name__}"


def _state(checkpoint: Any, path: Path) -> dict[str, Tensor]:
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise DigerError(f"{path} has no state_dict of tensors")
    return state


def _tensors(
    state: dict[str, Tensor], path: Path, digest: str
) -> tuple[dict[str, Tensor], Converted]:
    """The weights under this project's names (`diger.tokenizer.rqvae.RQVAE`), checked."""
    layers: dict[str, dict[int, dict[str, Tensor]]] = {"encoder": {}, "decoder": {}}
    codebooks: dict[int, Tensor] = {}
    for key, tensor in state.items():
        if layer := _LAYER.fullmatch(key):
            layers[layer[1]].setdefault(int(layer[2]), {})[layer[3]] = tensor
        elif codebook := _CODEBOOK.fullmatch(key):
            codebooks[int(codebook[1])] = tensor
        elif not _PASSED_OVER.fullmatch(key):
            raise DigerError(
                f"{path} holds {printable(key, 80)}, which an RQ-VAE of this kind does not have"
            )
    tensors: dict[str, Tensor] = {}
    widths: dict[str, list[int]] = {}
    for part, found in layers.items():
        widths[part] = _widths(part, found, path)
        for place, number in enumerate(sorted(found)):
            # Linear layers with a ReLU between them: 0, 2, 4, ...
            tensors |= {f"{part}.{2 * place}.{kind}": t for kind, t in found[number].items()}
    shapes = {tuple(t.shape) for t in codebooks.values()}
    alike = len(shapes) == 1 and all(len(shape) == 2 for shape in shapes)
    if sorted(codebooks) != list(range(len(codebooks))) or not alike:
        raise DigerError(f"{path}: expected codebooks of one shape, found {sorted(shapes)}")
    size, width = shapes.pop()
    if widths["encoder"][-1] != width or widths["decoder"] != widths["encoder"][::-1]:
        raise DigerError(
            f"{path}: encoder {widths['encoder']}, codewords of {width} and decoder "
            f"{widths['decoder']} do not fit together"
        )
    tensors["codebooks"] = torch.stack([codebooks[level] for level in sorted(codebooks)])
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    broken = next((name for name, t in tensors.items() if not t.isfinite().all()), None)
    if broken:
        raise DigerError(f"{path}: {broken} has NaN or infinity in it")
    return tensors, Converted(
        digest, KNOWN.get(digest), tuple(widths["encoder"]), len(codebooks), size
    )


def _widths(part: str, layers: dict[int, dict[str, Tensor]], path: Path) -> list[int]:
    """Widths from in to out; a DigerError where the layers are no chain of linear layers."""
    widths: list[int] = []
    for number in sorted(layers):
        weight, bias = layers[number].get("weight"), layers[number].get("bias")
        if (
            weight is None
            or bias is None
            or weight.ndim != 2
            or bias.shape != weight.shape[:1]
            or (widths and widths[-1] != weight.shape[1])
        ):
            raise DigerError(f"{path}: {part}.mlp_layers.{number} is not a linear layer that fits")
        widths = widths or [weight.shape[1]]
        widths.append(weight.shape[0])
    if not widths:
        raise DigerError(f"{path} has no {part}")
    return widths
