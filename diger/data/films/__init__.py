"""The films: a catalogue described for this project, to stand beside what real people watched.

Titles, years, directors and genres are facts; keywords, moods and descriptions were written for
this project (CC0). Who watched what comes from a MovieLens 1M download, which stays with who has
it.
"""

from diger.data.demo.films import Film, read_films

FILES = ("films_to_1991.jsonl", "films_from_1992.jsonl")


def films() -> tuple[Film, ...]:
    """The catalogue, oldest film first."""
    return read_films("diger.data.films", FILES)
