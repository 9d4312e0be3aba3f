"""A file for a commit on the Hub whose bytes move a progress bar as they leave."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from diger.hub.progress import Advance

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd


class CountingReader(io.BytesIO):
    """Bytes to be read once, or again from an earlier place after a cut: `advance` follows."""

    def __init__(self, data: bytes, advance: Advance) -> None:
        super().__init__(data)
        self._advance = advance

    def read(self, size: int | None = -1) -> bytes:
        """As of a file."""
        data = super().read(size)
        self._advance(len(data))
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of a file."""
        before = self.tell()
        now = super().seek(offset, whence)
        self._advance(now - before)
        return now


def addition(name: str, data: bytes, advance: Advance) -> CommitOperationAdd:
    """The operation that adds a file; content that is in memory cannot change under way."""
    from huggingface_hub import CommitOperationAdd

    class Counted(CommitOperationAdd):
        """Counts what is read to be sent, not what is read to be hashed."""

        @contextlib.contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:
            yield CountingReader(data, advance) if with_tqdm else io.BytesIO(data)

    return Counted(name, data)
