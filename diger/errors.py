"""The one exception people are meant to see.

Every message says what was wrong, where, and what to do. The command line prints it on one
line and exits with status 2; a programmer catches `DigerError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DigerError(Exception):
    """Something a person can put right: a bad input, a missing file, a broken bundle."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean X?"` where a choice is close to `word`, else the empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


class Stopped(DigerError):
    """Ctrl-C, after everything was saved."""


class Busy(DigerError):
    """Another process is at the same thing; not a fault, it only has to be left to it."""
