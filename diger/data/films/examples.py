"""Evenings and weeks made up for people to start from.

Chosen before any model had been trained, by one rule: each is a theme that a cinema could put on
its programme, told by the films of the catalogue that such a programme would show first.
"""

from __future__ import annotations

from typing import Any

EXAMPLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "A heist evening",
        "Plans, crews and double crosses, from the fifties on.",
        (
            "the-killing-1956",
            "the-sting-1973",
            "reservoir-dogs-1992",
            "heat-1995",
            "the-usual-suspects-1995",
        ),
    ),
    (
        "A Hitchcock week",
        "One director, one film a night.",
        (
            "the-39-steps-1935",
            "rear-window-1954",
            "vertigo-1958",
            "north-by-northwest-1959",
            "psycho-1960",
        ),
    ),
    (
        "Computer animation with children",
        "Toys, insects and talking animals.",
        ("toy-story-1995", "babe-1995", "antz-1998", "a-bugs-life-1998", "toy-story-2-1999"),
    ),
    (
        "A galaxy far away",
        "The space saga in the order of its release, with a neighbour.",
        (
            "star-wars-1977",
            "the-empire-strikes-back-1980",
            "return-of-the-jedi-1983",
            "star-trek-the-wrath-of-khan-1982",
        ),
    ),
    (
        "Things in the dark",
        "Creatures nobody should have let in.",
        ("the-thing-1982", "alien-1979", "jaws-1975", "the-fly-1986"),
    ),
    (
        "Sung and danced",
        "Musicals of the studio years.",
        (
            "the-wizard-of-oz-1939",
            "an-american-in-paris-1951",
            "singin-in-the-rain-1952",
            "west-side-story-1961",
            "my-fair-lady-1964",
        ),
    ),
    (
        "Romance at the end of the century",
        "Letters, bookshops and second chances.",
        (
            "when-harry-met-sally-1989",
            "pretty-woman-1990",
            "sleepless-in-seattle-1993",
            "four-weddings-and-a-funeral-1994",
            "youve-got-mail-1998",
        ),
    ),
    (
        "The family business",
        "Gangsters and what they leave their children.",
        (
            "the-godfather-1972",
            "the-godfather-part-ii-1974",
            "goodfellas-1990",
            "casino-1995",
            "donnie-brasco-1997",
        ),
    ),
    (
        "War, without glory",
        "Soldiers who come back changed, or do not.",
        (
            "paths-of-glory-1957",
            "the-bridge-on-the-river-kwai-1957",
            "platoon-1986",
            "full-metal-jacket-1987",
            "saving-private-ryan-1998",
        ),
    ),
    (
        "Teenagers of the eighties",
        "School, detention and one very long day off.",
        (
            "fast-times-at-ridgemont-high-1982",
            "sixteen-candles-1984",
            "the-breakfast-club-1985",
            "ferris-buellers-day-off-1986",
        ),
    ),
)


def examples(items: list[str]) -> list[dict[str, Any]]:
    """Those of which at least three films are among `items`, with the films that are."""
    there = set(items)
    kept = [(t, s, [f for f in films if f in there]) for t, s, films in EXAMPLES]
    return [{"title": t, "story": s, "items": f} for t, s, f in kept if len(f) >= 3]
