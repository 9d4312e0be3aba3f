"""The films of this project as the viewers of MovieLens 1M watched them.

Reads `ratings.dat` of GroupLens' download (`UserID::MovieID::Rating::Timestamp`, latin-1), or
`interactions.tsv` with MovieLens ids in the simple format. Every rating counts as watched, whatever
its stars; films that are not in our catalogue are left out; ids and text are ours
(`diger.data.films`). MovieLens may be used for research, must be cited, and may not be passed on
(Harper and Konstan 2015): so no bundle made of this dataset holds who watched what.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from diger.data.films.catalogue import examples, films, item_frame
from diger.data.info import TimeUnit
from diger.data.readers.base import EventBatch, ItemRecord, Progress, Reader, with_gz
from diger.data.readers.movielens import LAYOUTS, ratings
from diger.data.readers.simple import SimpleReader
from diger.errors import DigerError

(_LAYOUT,) = (one for one in LAYOUTS if one.ratings == "ratings.dat")  # of 1M


class FilmsReader(Reader):
    """See the module's text; asked for by name, never recognised."""

    format = "films"
    files = "ratings.dat of a MovieLens 1M download"
    default_k_core: ClassVar[int] = 5
    title = "Films"
    source = (
        "Viewers of MovieLens 1M (F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS "
        "5(4), 2015), who may not be passed on; films described by this project."
    )
    licence = "text CC0-1.0; viewers for research use only"
    text_is_ours = True
    viewers_are_private = True

    def __init__(self, folder: Path, progress: Progress | None = None):
        super().__init__(folder, progress)
        self._names = {str(film.movielens_id): film.item_id for film in films()}
        self._simple: SimpleReader | None = None
        self.time_unit: TimeUnit = "seconds"
        if not (folder / _LAYOUT.ratings).is_file():
            if not with_gz(folder, "interactions.tsv"):
                raise DigerError(
                    f"no {_LAYOUT.ratings} in {folder}; give the folder of a MovieLens 1M download "
                    "(ml-1m, from grouplens.org/datasets/movielens/1m)"
                )
            self._simple = SimpleReader(folder, progress)
            self.time_unit = self._simple.time_unit

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Never: a MovieLens download may as well be wanted as it is (`movielens`)."""
        return False

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`; films that are not ours are left out."""
        known = 0
        if self._simple is None:
            events = ratings(self.folder, _LAYOUT, self.progress)
        else:
            events = self._simple.events()
        for batch in events:
            kept = [n for n, item in enumerate(batch.items) if item in self._names]
            known += len(kept)
            yield EventBatch(
                [batch.users[n] for n in kept],
                [self._names[batch.items[n]] for n in kept],
                [batch.times[n] for n in kept],
            )
        if not known:
            raise DigerError(
                f"{self.folder}: no event is about a film of the catalogue; are its item ids those "
                "of MovieLens?"
            )

    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """See `Reader.items`: our own text."""
        frame = item_frame(films())
        self.unwanted = len(frame) - len(wanted)
        for row in frame.itertuples():
            if row.item_id in wanted:
                yield ItemRecord(
                    row.item_id, row.title, row.description, row.brand, list(row.categories)
                )

    def examples(self, items: list[str]) -> list[dict[str, Any]]:
        """Histories made up by us."""
        return examples(items)
