"""What makes the start quicker."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_type_stubs() -> Iterator[None]:
    """Import Gradio inside: half of its import goes into type stubs for editors.

    Every component class has the stub beside its source parsed and compared, each time. Gradio
    passes over a class whose source file is not found, which is what it is told here.
    """
    find = inspect.getfile

    def getfile(what: Any) -> str:
        if isinstance(what, type) and what.__module__.startswith("gradio."):
            raise OSError("no type stubs are needed")
        return find(what)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = find
