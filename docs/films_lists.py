"""What the films' bundles recommend, as a page: `python docs/films_lists.py` writes films-lists.md.

After each example of the catalogue and after fifty films that everyone knows: the first five of the
static and of the differentiable model (seed 0, films of the history left out), and how many of them
are sensible by a fixed rule. The rule knows no model, so that popularity's list is judged alike.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill as wrapped

import diger
from diger.data.films.catalogue import Film, example_histories, films
from diger.model import Model

ROOT = Path(__file__).resolve().parents[1]
KNOWN = """
alien-1979 aliens-1986 star-wars-1977 the-matrix-1999 the-terminator-1984 blade-runner-1982
e-t-the-extra-terrestrial-1982 jurassic-park-1993 back-to-the-future-1985 men-in-black-1997
the-godfather-1972 goodfellas-1990 pulp-fiction-1994 fargo-1996 the-usual-suspects-1995
the-silence-of-the-lambs-1991 seven-1995 psycho-1960 rear-window-1954 vertigo-1958
the-shining-1980 the-exorcist-1973 halloween-1978 scream-1996 jaws-1975
toy-story-1995 a-bugs-life-1998 the-lion-king-1994 beauty-and-the-beast-1991 babe-1995
singin-in-the-rain-1952 the-wizard-of-oz-1939 mary-poppins-1964 casablanca-1942 citizen-kane-1941
gone-with-the-wind-1939 titanic-1997 when-harry-met-sally-1989 pretty-woman-1990 annie-hall-1977
shakespeare-in-love-1998 schindlers-list-1993 saving-private-ryan-1998 braveheart-1995
raiders-of-the-lost-ark-1981 goldfinger-1964 rocky-1976 seven-samurai-1954 american-beauty-1999
monty-python-and-the-holy-grail-1975
""".split()  # noqa: SIM905
FIRST = 5
WIDE = {"Action", "Adventure", "Comedy", "Drama", "Family", "Thriller"}  # genres that say little


def sensible(film: Film, history: list[Film]) -> bool:
    """Shares with a film of the history its series, a director, a keyword, or its kind.

    Its kind: a genre that is not among the wide ones, or any two.
    """
    return any(
        (film.franchise is not None and film.franchise == seen.franchise)
        or set(film.directors) & set(seen.directors)
        or set(film.keywords) & set(seen.keywords)
        or (shared := set(film.genres) & set(seen.genres)) - WIDE
        or len(shared) >= 2
        for seen in history
    )


def first_five(model: Model, history: list[str], decoding: str = "telling") -> list[str]:
    """Item ids after `history`, without the films in it."""
    listed = model.recommend(history, FIRST, decoding=decoding, leave_out_seen=True)
    return [one.item_id for one in listed]


def page() -> str:
    """The whole page."""
    catalogue = {film.item_id: film for film in films()}
    models = {
        name: diger.load(ROOT / "checkpoints" / f"films-{name}-s0")
        for name in ("static", "differentiable", "popularity")
    }
    rows: list[str] = []
    sums = dict.fromkeys(models, 0)
    plain = dict.fromkeys(models, 0)
    cases = [(title, list(history)) for title, _, history in example_histories()]
    cases += [(catalogue[one].title, [one]) for one in KNOWN]
    for title, history in cases:
        seen = [catalogue[one] for one in history]
        shown = []
        for name, model in models.items():
            found = first_five(model, history)
            good = [sensible(catalogue[one], seen) for one in found]
            sums[name] += sum(good)
            plain[name] += sum(
                sensible(catalogue[one], seen) for one in first_five(model, history, "beam")
            )
            titles = (
                catalogue[one].title if fits else f"*{catalogue[one].title}*"
                for one, fits in zip(found, good, strict=True)
            )
            shown.append((", ".join(titles), sum(good)))
        (static, a), (joint, b), (_, c) = shown
        rows.append(f"| **{title}** | {static} | {a} | {joint} | {b} | {c} |")
    most = FIRST * len(cases)
    popular = first_five(models["popularity"], [KNOWN[-1]])
    told = (
        "Written by `python docs/films_lists.py` from the bundles of seed 0; films of the history "
        "are left out, and half the logarithm of a film's popularity is taken off its "
        "log-probability (`--decoding telling`). A film counts as **sensible** where it shares "
        "with one of the history its series, a director, a keyword, or its kind: a genre other "
        "than the wide ones "
        f"({', '.join(sorted(WIDE))}), or any two. The others are in italics. The rule goes by the "
        "catalogue alone and knows no model; a reader would let some pass that it does not (*Jaws* "
        "after *Alien*), and the other way round. In all, "
        + ", ".join(f"{name} {count} of {most}" for name, count in sums.items())
        + "; by plain probability "
        + ", ".join(f"{name} {count}" for name, count in plain.items())
        + ". After a single film the models lean on what everyone watches; after five they do not."
    )
    listed = (
        "Popularity has the same list for everyone, but for what was seen: "
        + ", ".join(catalogue[one].title for one in popular)
        + ". How many of its five are sensible stands in the last column."
    )
    head = (
        "| after | static | of 5 | differentiable | of 5 | popularity |\n|---|---|---|---|---|---|"
    )
    parts = ["# What the films' models recommend", wrapped(told, 100), wrapped(listed, 100)]
    return "\n\n".join([*parts, "\n".join([head, *rows])]) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "films-lists.md").write_text(page(), encoding="utf-8")
