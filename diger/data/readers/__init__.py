"""Readers of interaction logs and item text, one file a format.

`open_reader` finds the reader by format name, or recognises the format by the files in the folder.
To add a format, write a `Reader` (see `base.py`) and add it to `READERS`.
"""

from __future__ import annotations

from pathlib import Path

from diger.data.readers.amazon import AmazonReader
from diger.data.readers.base import Progress, Reader
from diger.data.readers.films import FilmsReader
from diger.data.readers.recbole import RecBoleReader
from diger.data.readers.simple import MadeUpReader, SimpleReader
from diger.errors import DigerError, did_you_mean

READERS: dict[str, type[Reader]] = {
    reader.format: reader
    for reader in (SimpleReader, AmazonReader, RecBoleReader, FilmsReader, MadeUpReader)
}


def open_reader(
    source: Path | str, file_format: str = "auto", progress: Progress | None = None
) -> Reader:
    """The reader for a source folder.

    Args:
        source: a folder that holds an interactions file and an item file.
        file_format: a key of `READERS`, or "auto" to recognise the format by file names.
        progress: called with (file, bytes read, bytes in all) now and then.
    """
    folder = Path(source)
    if file_format != "auto" and file_format not in READERS:
        known = ("auto", *READERS)
        hint = did_you_mean(file_format, known)
        raise DigerError(f"unknown format {file_format!r}{hint}; known: {', '.join(known)}")
    if folder.is_file():
        raise DigerError(f"{folder} is a file; give the folder that holds it and the item file")
    if not folder.is_dir():
        raise DigerError(f"no folder at {folder}; give the folder that holds the data files")
    if file_format == "auto":
        file_format = detect_format(folder)
    return READERS[file_format](folder, progress)


def detect_format(folder: Path) -> str:
    """The format whose interactions file lies in `folder`."""
    fits = [name for name, reader in READERS.items() if reader.recognises(folder)]
    if len(fits) > 1:
        raise DigerError(f"{folder} fits several formats; say which: --format {' or '.join(fits)}")
    if not fits:
        looked_for = "; ".join(f"{r.format}: {r.files}" for r in READERS.values())
        raise DigerError(f"no known data files in {folder}; looked for {looked_for}")
    return fits[0]
