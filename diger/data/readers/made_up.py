"""A dataset that nobody lived: 160 dishes and 300 guests, made up for the tutorial and the tests.

`diger/data/made_up/` was written once by a throw of dice (CC0): each guest has a kitchen of choice
and a taste. It trains in a minute with nothing downloaded, and proves nothing.
"""

from __future__ import annotations

from pathlib import Path

from diger.data.readers.simple import SimpleReader

FOLDER = Path(__file__).parents[1] / "made_up"


class MadeUpReader(SimpleReader):
    """The files that come along, with what is to be said of them."""

    format = "made-up"
    title = "Made-up dishes"
    source = "Made up for the tutorial and the tests of this project: nobody ate any of it."
    licence = "CC0-1.0"
    text_is_ours = True
    simulated = True

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Only where it comes with the package."""
        return False
