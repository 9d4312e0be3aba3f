"""What the simulated viewers like that the text does show.

An interest is the memory of one film that a viewer once loved: some of its genres and moods,
its time, sometimes its country or its director. How well another film fits is the sum of what the
two share:

    fit = GENRE * shared genres + MOOD * shared moods + ERA * exp(-years apart / ERA_YEARS)
          + COUNTRY * same country + DIRECTOR * shared directors

counting only what the interest remembers. A film is drawn in proportion to fame * exp(fit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diger.data.demo.films import GENRES, MOODS, Film

# Weights of the fit, in nats: a film with one more shared genre is drawn e times as often.
GENRE = 1.25
MOOD = 1.0
ERA = 2.0
COUNTRY = 1.5
DIRECTOR = 3.0
# How fast the fit of the time of release fades.
ERA_YEARS = 10.0
# How likely an interest remembers each of the loved film's traits.
KEEP_GENRE = 0.75
KEEP_MOOD = 0.75
KEEP_ERA = 0.8
KEEP_COUNTRY = 0.4
KEEP_DIRECTOR = 0.4
# Fits are kept to multiples of this, so that their sums are exact on every machine and linear
# algebra library; a rounding error could otherwise tip a draw.
_GRAIN = 1 / 64


@dataclass(frozen=True)
class Interests:
    """Interests, one a row.

    Attributes:
        traits: (interests, traits) float64, the weight of each genre, mood, country and director.
        loved: (interests,) int64, the item row of the loved film.
        era: (interests,) float64, the weight of its time: ERA or 0.
    """

    traits: np.ndarray
    loved: np.ndarray
    era: np.ndarray


class FilmTraits:
    """The traits of all films, and how well films fit interests."""

    def __init__(self, catalogue: Sequence[Film]):
        countries = sorted({film.country for film in catalogue})
        # Directors of a single film have nothing else to lead to.
        credits = Counter(name for film in catalogue for name in film.directors)
        directors = sorted(name for name, n_films in credits.items() if n_films > 1)
        groups: list[tuple[Sequence[str], Callable[[Film], Sequence[str]], float, float]] = [
            (GENRES, lambda film: film.genres, GENRE, KEEP_GENRE),
            (MOODS, lambda film: film.mood, MOOD, KEEP_MOOD),
            (countries, lambda film: (film.country,), COUNTRY, KEEP_COUNTRY),
            (directors, lambda film: film.directors, DIRECTOR, KEEP_DIRECTOR),
        ]
        blocks = [_indicator(catalogue, names, of) for names, of, _, _ in groups]
        sizes = [block.shape[1] for block in blocks]
        self.has = np.hstack(blocks)  # (items, traits) of 0 and 1
        self._weight = np.repeat([weight for *_, weight, _ in groups], sizes)  # (traits,)
        self._keep = np.repeat([keep for *_, keep in groups], sizes)  # (traits,)
        year = np.array([film.year for film in catalogue])
        nearness = np.exp(-np.abs(year[:, None] - year[None, :]) / ERA_YEARS)
        self._nearness = np.round(nearness / _GRAIN) * _GRAIN  # (items, items)

    def draw(self, loved: np.ndarray, random: np.random.Generator) -> Interests:
        """One interest for each loved film; `loved` (interests,) holds item rows."""
        kept = random.random((len(loved), len(self._keep))) < self._keep
        return Interests(
            traits=self.has[loved] * kept * self._weight,
            loved=loved,
            era=ERA * (random.random(len(loved)) < KEEP_ERA),
        )

    def fit(self, interests: Interests, rows: np.ndarray) -> np.ndarray:
        """(len(rows), items) float64: how well each film fits each of the chosen interests."""
        shared = interests.traits[rows] @ self.has.T
        return shared + interests.era[rows, None] * self._nearness[interests.loved[rows]]


def _indicator(
    catalogue: Sequence[Film], names: Sequence[str], of: Callable[[Film], Sequence[str]]
) -> np.ndarray:
    """(items, names) float64: 1 where `of` lists the name for the film."""
    column = {name: place for place, name in enumerate(names)}
    block = np.zeros((len(catalogue), len(names)))
    for row, film in enumerate(catalogue):
        block[row, [column[name] for name in of(film) if name in column]] = 1
    return block
