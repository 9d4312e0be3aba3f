"""What every reader gives: events in batches, then the records of the items that are wanted.

Two passes, so that files may be larger than memory: the first hands over ids and times only, and
text is read in the second, for the items that survived filtering.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from diger.data.info import TimeUnit
from diger.errors import DigerError

Progress = Callable[[Path, int, int], None]
BATCH = 65_536  # events a batch


class EventBatch(NamedTuple):
    """Columns of equal length, in file order."""

    users: list[str]
    items: list[str]
    times: list[float]


def batches(events: Iterable[tuple[str, str, float]]) -> Iterator[EventBatch]:
    """Users, items and times one by one, gathered."""
    source = iter(events)
    while gathered := list(islice(source, BATCH)):
        yield EventBatch(*map(list, zip(*gathered, strict=True)))


class ItemRecord(NamedTuple):
    """One item's text; None (or no categories) where the source has none."""

    item_id: str
    title: str | None
    description: str | None
    brand: str | None
    categories: list[str]


class Reader(ABC):
    """Reads one source folder.

    Attributes:
        format: name of the format on the command line.
        files: the files it looks for, for error messages.
        default_k_core: k-core that suits what comes in this format; 0 for none.
        time_unit: whether times are seconds (comparable between users) or positions (not).
        unwanted: item records passed over by the last `items` call.
        describes_items: whether the source says anything of its items; else they are bare ids.
        vectors: a .npy that comes with the source, a row for each record of its items, in order.
        title, source, licence: of the dataset, for a source that has its own; else None.
        text_is_ours: the item text was written for this project, and may be published.
        viewers_are_private: the source's terms forbid passing on who used what.
        simulated: nobody did any of it.
    """

    format: ClassVar[str]
    files: ClassVar[str]
    default_k_core: ClassVar[int] = 0
    title: ClassVar[str | None] = None
    licence: ClassVar[str | None] = None
    text_is_ours: ClassVar[bool] = False
    viewers_are_private: ClassVar[bool] = False
    simulated: ClassVar[bool] = False
    time_unit: TimeUnit = "seconds"
    source: str | None = None
    unwanted: int = 0
    describes_items: bool = True
    vectors: Path | None = None

    def __init__(self, folder: Path, progress: Progress | None = None):
        self.folder = folder
        self.progress = progress

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether `folder` holds an interactions file of this format, judged by file names."""

    @abstractmethod
    def events(self) -> Iterator[EventBatch]:
        """Yield all events in file order.

        Raises:
            DigerError: a file is damaged or a line is wrong; the message names file and line.
        """

    @abstractmethod
    def items(self, wanted: set[str]) -> Iterator[ItemRecord]:
        """Yield the records of the wanted items in file order (an id may come twice).

        Raises:
            DigerError: a file is damaged or a line is wrong; the message names file and line.
        """

    def examples(self, items: list[str]) -> list[dict[str, Any]]:
        """Histories for people to start from, of the `items` that are left; none by default."""
        return []


def only_file(found: list[Path], folder: Path, looked_for: str) -> Path:
    """The one path in `found`.

    Raises:
        DigerError: there is none, or there are several.
    """
    if not found:
        raise DigerError(f"no {looked_for} in {folder}")
    if len(found) > 1:
        names = ", ".join(sorted(path.name for path in found))
        raise DigerError(f"{folder} holds {names}; keep only one of them in the folder")
    return found[0]


def with_gz(folder: Path, name: str) -> list[Path]:
    """The files `name` and `name`.gz, as far as they are in `folder`."""
    return [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
