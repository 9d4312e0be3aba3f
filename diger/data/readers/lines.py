"""Stream a text file, gzipped or not, line by line, with a clear error for all that can be broken.

gzip is recognised by its first bytes, not by the file's name. A line is decoded by itself, so that
an error can name it. Progress counts bytes of the file as it lies on disk.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from diger.data.readers.base import Progress
from diger.errors import DigerError

_LONGEST = 64 * 2**20  # a longer line is not text of ours; reading on could fill the memory
_REPORT_EVERY = 8192  # lines


def lines(path: Path, progress: Progress | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) for every line that is not blank."""
    number = 0
    anything = False
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            zipped = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            stream = io.BufferedReader(gzip.GzipFile(fileobj=handle), 2**20) if zipped else handle
            for number, raw in enumerate(iter(partial(stream.readline, _LONGEST), b""), start=1):
                line = _decode(raw, path, number)
                if line:
                    anything = True
                    yield number, line
                if progress and number % _REPORT_EVERY == 0:
                    progress(path, handle.tell(), size)
            if progress:
                progress(path, size, size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DigerError(
            f"{path} is a damaged or cut-off gzip file (after line {number}); download it again"
        ) from error
    except OSError as error:
        raise DigerError(f"cannot read {path}: {error.strerror or error}") from error
    if not anything:
        raise DigerError(f"{path} is empty; put one record on each line")


def _decode(raw: bytes, path: Path, number: int) -> str:
    if len(raw) == _LONGEST:
        raise DigerError(f"{path} line {number} is longer than 64 MiB; is this a text file?")
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DigerError(
            f"{path} line {number}: byte {error.start + 1} is not UTF-8; "
            "convert the file to UTF-8 (for example with iconv)"
        ) from error
    if number == 1:
        line = line.removeprefix("\ufeff")
    line = line.rstrip("\r\n")
    return "" if line.isspace() else line
