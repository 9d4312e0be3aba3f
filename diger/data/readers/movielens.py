"""MovieLens as it is, in the three layouts of GroupLens' downloads, for the user's own use.

| downloads | events | films |
|---|---|---|
| 100K | `u.data`, tabs | `u.item`, bars, a 0 or 1 for each of 19 genres, latin-1 |
| 1M, 10M | `ratings.dat`, `::` | `movies.dat`, genres with bars between; latin-1 in 1M |
| 20M, 25M, 32M, latest | `ratings.csv` | `movies.csv` |

Every rating counts as watched, whatever its stars. MovieLens may be used for research, must be
cited and may not be passed on (Harper and Konstan 2015): no bundle holds who watched what.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from diger.data.readers.base import EventBatch, ItemRecord, Progress, Reader
from diger.data.readers.table import Table
from diger.errors import DigerError

_RATING = ("UserID", "MovieID", "Rating", "Timestamp")
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_NO_GENRES = "(no genres listed)"


class _Layout(NamedTuple):
    """Names of the two files, what is between their fields, and columns where no line names them.

    Files without a header are old enough to hold latin-1.
    """

    ratings: str
    films: str
    between: str
    between_films: str
    rating: tuple[str, ...] | None = _RATING
    film: tuple[str, ...] | None = ("MovieID", "Title", "Genres")

    @property
    def fallback(self) -> str | None:
        """See `diger.data.readers.table.lines`."""
        return None if self.rating is None else "latin-1"


LAYOUTS = (
    _Layout(
        "u.data",
        "u.item",
        "\t",
        "|",
        film=("MovieID", "Title", "release date", "video release date", "IMDb URL", *_GENRES),
    ),
    _Layout("ratings.dat", "movies.dat", "::", "::"),
    _Layout("ratings.csv", "movies.csv", ",", ",", None, None),
)


def ratings(folder: Path, layout: _Layout, progress: Progress | None) -> Iterator[EventBatch]:
    """All events, each rating one."""
    table = Table(
        folder / layout.ratings,
        progress,
        delimiter=layout.between,
        header=layout.rating,
        fallback=layout.fallback,
    )
    users, films = table.column("UserID", "userId"), table.column("MovieID", "movieId")
    return table.events(users, films, table.column("Timestamp", "timestamp"))


class MovieLensReader(Reader):
    """See the module's text."""

    format = "movielens"
    files = "; ".join(f"{layout.ratings} and {layout.films}" for layout in LAYOUTS)
    default_k_core = 5
    source = (
        "MovieLens (F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015), "
        "which may not be passed on."
    )
    licence = "research use only"
    viewers_are_private = True

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        fits = [one for one in LAYOUTS if (folder / one.ratings).is_file()]
        if len(fits) != 1:
            found = " and ".join(one.ratings for one in fits) or "none"
            raise DigerError(
                f"{folder} must hold one MovieLens download ({self.files}); found {found}"
            )
        self._layout = fits[0]
        if not (folder / self._layout.films).is_file():
            raise DigerError(f"no {self._layout.films} in {folder}, which belongs to the download")

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether both files of a layout are there."""
        return any((folder / x.ratings).is_file() and (folder / x.films).is_file() for x in LAYOUTS)

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`."""
        return ratings(self.folder, self._layout, self.progress)

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`."""
        self.unwanted = 0
        table = Table(
            self.folder / self._layout.films,
            self.progress,
            delimiter=self._layout.between_films,
            header=self._layout.film,
            fallback=self._layout.fallback,
        )
        film, title = table.column("MovieID", "movieId"), table.column("Title", "title")
        genres = table.find("Genres", "genres")
        for _, fields in table.rows():
            if fields[film] not in wanted:
                self.unwanted += 1
                continue
            if genres is None:
                named = [genre for genre in _GENRES if fields[table.header.index(genre)] == "1"]
            else:
                named = [genre for genre in fields[genres].split("|") if genre != _NO_GENRES]
            yield ItemRecord(
                fields[film], fields[title].strip() or None, None, None, [g for g in named if g]
            )
