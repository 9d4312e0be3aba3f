"""What the simulated viewers do that no text shows, drawn once for the whole catalogue.

Fame, double bills, communities with their private canons, destinations and late arrivals are
seeded draws over item rows. Genres, people and descriptions play no part in them, so that no text
encoder can foresee them; only interactions tell. Franchises come from the film files and classics
from the list below. Every habit has a random stream of its own: changing one leaves the others as
they were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from diger.data.demo.films import Film

# Fame falls with rank as rank ** -FAME_EXPONENT: the first of 700 is drawn some 37 times as often
# as the last, mild beside real shops, so that popularity alone explains little.
FAME_EXPONENT = 0.55
# Well-known films get this factor on their fame: mildly more, as everybody has heard of them.
CLASSIC_BONUS = 2.0
# Share of the films that form double bills, two by two.
PAIRED_SHARE = 0.4
# Hidden communities. Every film belongs to the canon of one of them, some 30 films a canon.
N_COMMUNITIES = 24
# Community k (from 1) has a share of the viewers proportional to k ** -COMMUNITY_EXPONENT.
COMMUNITY_EXPONENT = 0.3
# Films that those end with whose first film was of a community's canon.
N_DESTINATIONS = 6
# Films released from LATE_FROM on that come into the catalogue too late for training histories.
N_LATE = 6
LATE_FROM = 2015

CLASSICS = (
    "metropolis-1927",
    "city-lights-1931",
    "king-kong-1933",
    "the-wizard-of-oz-1939",
    "citizen-kane-1941",
    "casablanca-1942",
    "its-a-wonderful-life-1946",
    "bicycle-thieves-1948",
    "singin-in-the-rain-1952",
    "tokyo-story-1953",
    "seven-samurai-1954",
    "rear-window-1954",
    "pather-panchali-1955",
    "the-seventh-seal-1957",
    "12-angry-men-1957",
    "vertigo-1958",
    "the-400-blows-1959",
    "some-like-it-hot-1959",
    "psycho-1960",
    "lawrence-of-arabia-1962",
    "8-half-1963",
    "the-good-the-bad-and-the-ugly-1966",
    "2001-a-space-odyssey-1968",
    "the-godfather-1972",
    "jaws-1975",
    "sholay-1975",
    "taxi-driver-1976",
    "star-wars-1977",
    "alien-1979",
    "blade-runner-1982",
    "back-to-the-future-1985",
    "my-neighbor-totoro-1988",
    "pulp-fiction-1994",
    "the-shawshank-redemption-1994",
    "toy-story-1995",
    "the-matrix-1999",
    "in-the-mood-for-love-2000",
    "spirited-away-2001",
    "the-dark-knight-2008",
    "parasite-2019",
)


class Stream(IntEnum):
    """One random stream for each habit, and one for the viewers."""

    FAME = 1
    DOUBLE_BILLS = 2
    COMMUNITIES = 3
    DESTINATIONS = 4
    LATE = 5
    VIEWERS = 6


def stream(seed: int, which: Stream) -> np.random.Generator:
    """The generator of one stream: independent of the others, fixed by `seed`."""
    return np.random.default_rng([seed, which])


@dataclass(frozen=True)
class Habits:
    """The hidden structure of the catalogue; -1 stands for none.

    Attributes:
        fame: (items,) float64, how readily a film is picked, all else equal; 0 for late arrivals.
        partner: (items,) int64, the other film of a double bill.
        community: (items,) int64, whose canon the film belongs to; -1 for late arrivals.
        destinations: (communities, N_DESTINATIONS) int64 item rows.
        following: (items,) int64, the next film of the franchise.
        preceding: (items,) int64, the one before it.
        late: (N_LATE,) int64 item rows of the late arrivals.
    """

    fame: np.ndarray
    partner: np.ndarray
    community: np.ndarray
    destinations: np.ndarray
    following: np.ndarray
    preceding: np.ndarray
    late: np.ndarray


def draw_habits(catalogue: Sequence[Film], seed: int) -> Habits:
    """Draw the hidden structure; of the films only ids, years and franchises are looked at."""
    late = _late_arrivals(catalogue, stream(seed, Stream.LATE))
    usual = np.setdiff1d(np.arange(len(catalogue)), late)
    community = _communities(len(catalogue), usual, stream(seed, Stream.COMMUNITIES))
    following = _next_parts(catalogue)
    preceding = np.full(len(catalogue), -1)
    has_next = np.flatnonzero(following >= 0)
    preceding[following[has_next]] = has_next
    return Habits(
        fame=_fame(catalogue, late, stream(seed, Stream.FAME)),
        partner=_double_bills(len(catalogue), usual, stream(seed, Stream.DOUBLE_BILLS)),
        community=community,
        destinations=_destinations(usual, stream(seed, Stream.DESTINATIONS)),
        following=following,
        preceding=preceding,
        late=late,
    )


def community_shares() -> np.ndarray:
    """(communities,) float64: the share of the viewers in each community; sums to 1."""
    weights = np.arange(1, N_COMMUNITIES + 1) ** -COMMUNITY_EXPONENT
    return weights / weights.sum()


def _fame(catalogue: Sequence[Film], late: np.ndarray, random: np.random.Generator) -> np.ndarray:
    rank = 1 + random.permutation(len(catalogue))
    fame = rank**-FAME_EXPONENT
    classics = set(CLASSICS)
    fame[[film.item_id in classics for film in catalogue]] *= CLASSIC_BONUS
    fame[late] = 0
    return fame


def _double_bills(n_items: int, usual: np.ndarray, random: np.random.Generator) -> np.ndarray:
    n_pairs = round(len(usual) * PAIRED_SHARE / 2)
    first, second = random.permutation(usual)[: 2 * n_pairs].reshape(2, n_pairs)
    partner = np.full(n_items, -1)
    partner[first], partner[second] = second, first
    return partner


def _communities(n_items: int, usual: np.ndarray, random: np.random.Generator) -> np.ndarray:
    community = np.full(n_items, -1)
    community[random.permutation(usual)] = np.arange(len(usual)) % N_COMMUNITIES
    return community


def _destinations(usual: np.ndarray, random: np.random.Generator) -> np.ndarray:
    # No film is a destination twice, so that where people end says where they started.
    chosen = random.permutation(usual)[: N_COMMUNITIES * N_DESTINATIONS]
    return chosen.reshape(N_COMMUNITIES, N_DESTINATIONS)


def _late_arrivals(catalogue: Sequence[Film], random: np.random.Generator) -> np.ndarray:
    recent = [
        row
        for row, film in enumerate(catalogue)
        if film.year >= LATE_FROM and film.franchise is None
    ]
    return np.sort(random.permutation(recent)[:N_LATE])


def _next_parts(catalogue: Sequence[Film]) -> np.ndarray:
    series: dict[str, list[int]] = defaultdict(list)
    for row, film in enumerate(catalogue):
        if film.franchise is not None:
            series[film.franchise].append(row)
    following = np.full(len(catalogue), -1)
    for rows in series.values():
        # Films of one year keep the order of the file.
        rows.sort(key=lambda row: catalogue[row].year)
        following[rows[:-1]] = rows[1:]
    return following
