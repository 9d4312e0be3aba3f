"""Pickles of protocol 4 rewritten as protocol 2, opcode for opcode, with nothing executed.

`torch.load(weights_only=True)` reads the opcodes that torch writes by default, those of protocol 2.
The training script that the released RQ-VAE checkpoints come from saves with protocol 4. What
differs is how strings, memo entries and global names are written; everything else is copied as it
is, and refused later by torch's reader if it is not plain weights.
"""

from __future__ import annotations

import pickletools
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from diger.errors import DigerError

_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_NEW = b"\x80\x04"  # how a pickle of protocol 4 begins


@contextmanager
def readable(file: IO[bytes], beside: Path) -> Iterator[IO[bytes]]:
    """`file`, a torch checkpoint, or a temporary copy of it that torch's safe reader can read.

    beside: the folder that the copy lies in for a while.
    """
    pickle = _new_pickle(file)
    file.seek(0)
    if pickle is None:
        yield file
        return
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(TemporaryFile(dir=beside))
        except OSError as error:
            raise DigerError(f"no copy of it can be made in {beside}: {error.strerror}") from None
        _rewrite(file, pickle, copy)
        copy.seek(0)
        yield copy


def _new_pickle(file: IO[bytes]) -> str | None:
    """Name of the pickle inside the checkpoint, if it is of protocol 4."""
    if not zipfile.is_zipfile(file):
        return None
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith("/data.pkl"):
                with archive.open(name) as pickle:
                    return name if pickle.read(len(_NEW)) == _NEW else None
    return None


def _rewrite(file: IO[bytes], pickle: str, copy: IO[bytes]) -> None:
    """`file` into `copy`, entry for entry, its pickle rewritten."""
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as target:
        for name in archive.namelist():
            with archive.open(name) as source, target.open(name, "w", force_zip64=True) as sink:
                if name == pickle:
                    sink.write(as_protocol_2(source.read()))
                else:
                    shutil.copyfileobj(source, sink)


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
