"""Readers of interaction logs and item text, one file a format.

`open_reader` finds the reader by format name, or recognises the format by the files in the folder.
To add a format, write a `Reader` (see `base.py`) and name it in `READERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from diger.data.readers.base import Progress, Reader
from diger.data.readers.columns import ENDINGS, ColumnsReader
from diger.errors import DigerError, did_you_mean

READERS = {
    "simple": "diger.data.readers.simple.SimpleReader",
    "amazon": "diger.data.readers.amazon.AmazonReader",
    "recbole": "diger.data.readers.recbole.RecBoleReader",
    "movielens": "diger.data.readers.movielens.MovieLensReader",
    "yelp": "diger.data.readers.yelp.YelpReader",
    "steam": "diger.data.readers.steam.SteamReader",
    "letter": "diger.data.readers.letter.LetterReader",
    "diger": "diger.data.readers.release.ReleaseReader",
    "columns": "diger.data.readers.columns.ColumnsReader",
    "films": "diger.data.readers.films.FilmsReader",
    "made-up": "diger.data.readers.simple.MadeUpReader",
}
"""Every format: its name on the command line, and where its class is."""


def reader_of(file_format: str) -> type[Reader]:
    """The class that reads a format of `READERS`."""
    module, name = READERS[file_format].rsplit(".", 1)
    found: type[Reader] = getattr(import_module(module), name)
    return found


def open_reader(
    source: Path | str,
    file_format: str = "auto",
    progress: Progress | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    items: Path | None = None,
) -> Reader:
    """The reader for a source.

    Args:
        source: a folder that holds an interactions file and an item file; or a table of events.
        file_format: a key of `READERS`, or "auto" to recognise the format by file names.
        progress: called with (file, bytes read, bytes in all) now and then.
        columns, items: of a table of events, see `diger.data.readers.columns`.
    """
    folder = Path(source)
    if file_format != "auto" and file_format not in READERS:
        known = ("auto", *READERS)
        hint = did_you_mean(file_format, known)
        raise DigerError(f"unknown format {file_format!r}{hint}; known: {', '.join(known)}")
    if file_format == "columns" or columns or items or folder.name.endswith(ENDINGS):
        if folder.is_dir():
            raise DigerError(f"{folder} is a folder; name the file of events in it")
        return ColumnsReader(folder, progress, columns=columns, items=items)
    if folder.is_file():
        raise DigerError(f"{folder} is a file; give the folder that holds it and the item file")
    if not folder.is_dir():
        raise DigerError(
            f"no folder at {folder}; give the folder that holds the data files (python -m diger "
            "download fetches some by name)"
        )
    if file_format == "auto":
        file_format = detect_format(folder)
    return reader_of(file_format)(folder, progress)


def recognised(folder: Path) -> list[str]:
    """The formats whose files lie in `folder`; none of what is no folder."""
    if not folder.is_dir():
        return []
    return [name for name in READERS if reader_of(name).recognises(folder)]


def detect_format(folder: Path) -> str:
    """The format whose interactions file lies in `folder`."""
    fits = recognised(folder)
    if len(fits) > 1:
        raise DigerError(f"{folder} fits several formats; say which: --format {' or '.join(fits)}")
    if not fits:
        looked_for = "; ".join(f"{name}: {reader_of(name).files}" for name in READERS)
        raise DigerError(f"no known data files in {folder}; looked for {looked_for}")
    return fits[0]
