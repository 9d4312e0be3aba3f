"""Eight hand-written evenings and weeks: histories to try a model on.

They are examples for people, not data: no model is trained or measured on them.
"""

from __future__ import annotations

from typing import TypedDict


class Story(TypedDict):
    """A history with a name: `items` are item ids, oldest first."""

    title: str
    story: str
    items: list[str]


_STORIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "A heist-film evening",
        "It began with a silent break-in in Paris and will not end before one more safe is open.",
        (
            "rififi-1955",
            "the-killing-1956",
            "big-deal-on-madonna-street-1958",
            "the-italian-job-1969",
            "oceans-eleven-2001",
        ),
    ),
    (
        "Back to the stars",
        "A weekend with the old space opera, in the order the films came out, and two neighbours.",
        (
            "2001-a-space-odyssey-1968",
            "star-wars-1977",
            "the-empire-strikes-back-1980",
            "return-of-the-jedi-1983",
            "star-trek-ii-the-wrath-of-khan-1982",
        ),
    ),
    (
        "Rain on the windows",
        "Quiet films for a grey week: families, partings and what is not said.",
        (
            "late-spring-1949",
            "tokyo-story-1953",
            "brief-encounter-1945",
            "in-the-mood-for-love-2000",
            "lost-in-translation-2003",
        ),
    ),
    (
        "Not after dark",
        "Somebody dared somebody to watch the classics of fear, oldest first.",
        (
            "nosferatu-1922",
            "psycho-1960",
            "rosemarys-baby-1968",
            "the-exorcist-1973",
            "halloween-1978",
            "the-shining-1980",
        ),
    ),
    (
        "A matinee with the children",
        "Drawn films for a wet Sunday, from fairy tale to forest spirit to toy box.",
        (
            "snow-white-and-the-seven-dwarfs-1937",
            "pinocchio-1940",
            "my-neighbor-totoro-1988",
            "kikis-delivery-service-1989",
            "toy-story-1995",
        ),
    ),
    (
        "Swords and six-guns",
        "From samurai villages to Italian deserts: the same lone stranger under several hats.",
        (
            "seven-samurai-1954",
            "the-magnificent-seven-1960",
            "yojimbo-1961",
            "a-fistful-of-dollars-1964",
            "for-a-few-dollars-more-1965",
        ),
    ),
    (
        "Discovering Bengal, then Bombay",
        "A first look at Indian cinema, beginning with a boy who runs to see a train.",
        (
            "pather-panchali-1955",
            "aparajito-1956",
            "pyaasa-1957",
            "sholay-1975",
            "lagaan-2001",
        ),
    ),
    (
        "Laughing at the wrong moment",
        "Comedies in which the jokes are about bombs, gangsters and the end of everything.",
        (
            "the-great-dictator-1940",
            "some-like-it-hot-1959",
            "dr-strangelove-1964",
            "monty-pythons-life-of-brian-1979",
            "the-big-lebowski-1998",
        ),
    ),
)


def stories() -> list[Story]:
    """The example histories, each with a title, a one-line story and 4 to 6 item ids."""
    return [{"title": title, "story": story, "items": [*items]} for title, story, items in _STORIES]
