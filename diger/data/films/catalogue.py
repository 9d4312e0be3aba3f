"""The catalogue of films: two JSON-lines files written for this project, read and checked.

Titles, years, directors and genres are facts; keywords, moods and descriptions were written for
this project (CC0). Who watched what comes from a MovieLens 1M download, which stays with who has
it. `item_frame` turns the films into a dataset's item columns such that genre, keywords, era,
country, director and mood can all be read off the text. A film's franchise is kept apart and is not
part of the text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from diger.errors import DigerError

FILM_FILES = ("films_to_1991.jsonl", "films_from_1992.jsonl")
DESCRIPTION_WORDS = (10, 22)

_GENRES = """
Action, Adventure, Animation, Comedy, Crime, Documentary, Drama, Family, Fantasy,
History, Horror, Music, Musical, Mystery, Romance, Science Fiction, Thriller, War,
Western
"""
_MOODS = """
tense, warm, funny, dark, epic, melancholy, romantic, thrilling, eerie, uplifting,
thoughtful, playful, gritty, dreamlike
"""
GENRES = tuple(_GENRES.replace("\n", " ").strip().split(", "))
MOODS = tuple(_MOODS.replace("\n", " ").strip().split(", "))


def film_slug(title: str, year: int) -> str:
    """Item id of a film: its title in ASCII lower case, words joined by hyphens, then the year.

    >>> film_slug("The King's Speech", 2010)
    'the-kings-speech-2010'
    """
    spelled = title.replace("½", " half").replace("&", " and ")
    spelled = re.sub(r"['’]", "", spelled)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join([*words, str(year)])


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("an entry occurs twice")
    return values


def _known(*choices: str) -> AfterValidator:
    def check(word: str) -> str:
        if word not in choices:
            raise ValueError(f"{word!r} is not one of {', '.join(choices)}")
        return word

    return AfterValidator(check)


def _lower(word: str) -> str:
    if not word or word != word.strip().lower():
        raise ValueError(f"{word!r} is not plain lower case")
    return word


def _one_line(text: str) -> str:
    low, high = DESCRIPTION_WORDS
    words = text.split()
    if " ".join(words) != text or not low <= len(words) <= high:
        raise ValueError(f"must be one line of {low} to {high} words, has {len(words)}")
    return text


Keyword = Annotated[str, AfterValidator(_lower)]
Genre = Annotated[str, _known(*GENRES)]
Mood = Annotated[str, _known(*MOODS)]


class Film(BaseModel):
    """One film, as on a line of the files."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    item_id: str
    movielens_id: int
    title: str = Field(min_length=1)
    year: int = Field(ge=1895, le=2030)
    directors: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_different)]
    country: str = Field(min_length=1)
    genres: Annotated[tuple[Genre, ...], Field(min_length=1), AfterValidator(_different)]
    keywords: Annotated[
        tuple[Keyword, ...], Field(min_length=3, max_length=5), AfterValidator(_different)
    ]
    mood: Annotated[tuple[Mood, ...], Field(min_length=1, max_length=3), AfterValidator(_different)]
    franchise: str | None
    description: Annotated[str, AfterValidator(_one_line)]

    @property
    def decade(self) -> str:
        """The decade of release, as "1970s"."""
        return f"{self.year // 10 * 10}s"


@cache
def films() -> tuple[Film, ...]:
    """The catalogue, oldest film first."""
    found: list[Film] = []
    seen: set[str] = set()
    for name in FILM_FILES:
        text = (files(__package__) / name).read_text(encoding="utf-8")
        # Not splitlines(): only a line feed ends a line of JSON.
        for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
            film = parse_film(line, where=f"{name} line {number}")
            if film.item_id in seen:
                raise DigerError(f"{name} line {number}: {film.item_id} is there twice; drop one")
            seen.add(film.item_id)
            found.append(film)
    return tuple(found)


def item_frame(catalogue: tuple[Film, ...]) -> pd.DataFrame:
    """The catalogue as a dataset's `items`, one row a film, with `year` and `country` added."""
    return pd.DataFrame(
        {
            "item_id": [film.item_id for film in catalogue],
            "title": [f"{film.title} ({film.year})" for film in catalogue],
            "brand": [", ".join(film.directors) for film in catalogue],
            "categories": [[*film.genres, *film.keywords] for film in catalogue],
            "description": [
                f"{film.description} {film.country}, {film.decade}. Mood: {', '.join(film.mood)}."
                for film in catalogue
            ],
            "year": [film.year for film in catalogue],
            "country": [film.country for film in catalogue],
        }
    )


def parse_film(line: str, where: str) -> Film:
    """One line of a film file; `where` names it in errors."""
    try:
        json.loads(line)  # for its clearer message; pydantic's own parser is used for the types
        film = Film.model_validate_json(line)
    except json.JSONDecodeError as error:
        raise DigerError(f"{where}, column {error.colno}: not JSON; {error.msg}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DigerError(f"{where}, {place}: {first['msg']}; correct the line") from None
    expected = film_slug(film.title, film.year)
    if film.item_id != expected:
        raise DigerError(
            f"{where}: item_id is {film.item_id!r}, its title and year give {expected}"
        )
    return film


# Evenings and weeks made up for people to start from.
#
# Chosen before any model had been trained, by one rule: each is a theme that a cinema could put on
# its programme, told by the films of the catalogue that such a programme would show first.


def examples(items: list[str]) -> list[dict[str, Any]]:
    """Those of which at least three films are among `items`, with the films that are."""
    there = set(items)
    kept = [(t, s, [f for f in films if f in there]) for t, s, films in example_histories()]
    return [{"title": t, "story": s, "items": f} for t, s, f in kept if len(f) >= 3]


def example_histories() -> list[tuple[str, str, list[str]]]:
    """Title, story and item ids of each."""
    text = (files(__package__) / "examples.jsonl").read_text(encoding="utf-8")
    return [(e["title"], e["story"], e["films"]) for e in map(json.loads, text.splitlines())]
