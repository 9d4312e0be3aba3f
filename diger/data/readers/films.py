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
from diger.data.readers.base import BATCH, EventBatch, ItemRecord, Progress, Reader, with_gz
from diger.data.readers.simple import SimpleReader
from diger.errors import DigerError

RATINGS = "ratings.dat"


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
        self._ratings = folder / RATINGS
        if not self._ratings.is_file():
            if not with_gz(folder, "interactions.tsv"):
                raise DigerError(
                    f"no {RATINGS} in {folder}; give the folder of a MovieLens 1M download (ml-1m, "
                    "from grouplens.org/datasets/movielens/1m)"
                )
            self._simple = SimpleReader(folder, progress)
            self.time_unit = self._simple.time_unit

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Never: a MovieLens download may as well be wanted as it is."""
        return False

    def events(self) -> Iterator[EventBatch]:
        """See `Reader.events`; films that are not ours are left out."""
        known = 0
        for batch in self._rated() if self._simple is None else self._simple.events():
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

    def _rated(self) -> Iterator[EventBatch]:
        """The lines of ratings.dat."""
        users: list[str] = []
        items: list[str] = []
        times: list[float] = []
        size = self._ratings.stat().st_size
        try:
            with self._ratings.open("rb") as file:
                for number, line in enumerate(file, 1):
                    cells = line.decode("latin-1").rstrip("\r\n").split("::")
                    if len(cells) != 4 or not all(cell.isdigit() for cell in cells):
                        raise DigerError(
                            f"{self._ratings} line {number}: must be UserID::MovieID::Rating::"
                            "Timestamp, all whole numbers"
                        )
                    users.append(cells[0])
                    items.append(cells[1])
                    times.append(float(cells[3]))
                    if len(users) == BATCH:
                        if self.progress is not None:
                            self.progress(self._ratings, file.tell(), size)
                        yield EventBatch(users, items, times)
                        users, items, times = [], [], []
        except OSError as error:
            raise DigerError(f"{self._ratings} cannot be read: {error.strerror}") from None
        yield EventBatch(users, items, times)
