"""The demo dataset: its film files, the plan of the simulated viewers, and what comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from diger.content.text import catalogue_texts
from diger.data.dataset import Dataset
from diger.data.demo import build, film_slug, stories
from diger.data.demo import habits as habit_module
from diger.data.demo import viewers as viewer_module
from diger.data.demo.films import FILM_FILES, GENRES, MOODS, item_frame, parse_film, read_films
from diger.data.demo.habits import CLASSICS, N_DESTINATIONS, N_LATE, Habits, draw_habits
from diger.data.demo.tastes import FilmTraits
from diger.data.demo.viewers import LONGEST, N_VIEWERS, SHORTEST, _draw, simulate
from diger.errors import DigerError

SEED = 2026
# The demo's identity. Changing the films or the plan makes it another dataset, on which no
# published result holds.
FINGERPRINT = "e641fd21b4e9a4a3387ecc56e6cbbaab17db3dca89a1b31f1576a901994795a1"

LINE = {
    "item_id": "the-long-tide-1961",
    "title": "The Long Tide",
    "year": 1961,
    "directors": ["Ann Example"],
    "country": "Nowhere",
    "genres": ["Drama"],
    "keywords": ["sea", "harbour", "letters"],
    "mood": ["warm"],
    "franchise": None,
    "description": "A pilot waits in a small harbour for a letter which the tide brings back.",
}


@pytest.fixture(scope="module")
def demo() -> Dataset:
    return build()


@pytest.fixture(scope="module")
def habits() -> Habits:
    return draw_habits(read_films(), SEED)


def steps(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Item rows of all pairs of neighbouring events of one viewer."""
    user = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))
    same = user[1:] == user[:-1]
    return dataset.events[:-1][same], dataset.events[1:][same]


# The films.


def test_films_keep_to_the_closed_lists_and_are_unique():
    catalogue = read_films()
    assert len(catalogue) > 600
    assert {genre for film in catalogue for genre in film.genres} <= set(GENRES)
    assert {mood for film in catalogue for mood in film.mood} <= set(MOODS)
    for unique in ("item_id", "description"):
        assert len({getattr(film, unique) for film in catalogue}) == len(catalogue)
    assert len({film.country for film in catalogue}) > 20


@pytest.mark.parametrize(
    ("title", "year", "expected"),
    [
        ("M", 1931, "m-1931"),
        ("8½", 1963, "8-half-1963"),
        ("Amélie", 2001, "amelie-2001"),
        ("Ocean's Eleven", 2001, "oceans-eleven-2001"),
        ("Thelma & Louise", 1991, "thelma-and-louise-1991"),
        ("2001: A Space Odyssey", 1968, "2001-a-space-odyssey-1968"),
    ],
)
def test_slug(title: str, year: int, expected: str):
    assert film_slug(title, year) == expected


def test_each_film_is_in_the_file_of_its_time():
    years = [film.year for film in read_films()]
    first_of_second = next(row for row, year in enumerate(years) if year >= 1990)
    assert max(years[:first_of_second]) <= 1989
    assert min(years[first_of_second:]) >= 1990


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"genres": ["Dramma"]}, "genres.0"),
        ({"mood": []}, "mood"),
        ({"keywords": ["sea", "sea", "letters"]}, "occurs twice"),
        ({"keywords": ["Sea", "harbour", "letters"]}, "lower case"),
        ({"year": "1961"}, "year"),
        ({"description": "Too short."}, "10 to 22 words"),
        ({"item_id": "long-tide-1961"}, "the-long-tide-1961"),
        ({"rating": 5}, "rating"),
    ],
)
def test_a_bad_line_is_refused_in_one_line(change: dict, complaint: str):
    with pytest.raises(DigerError, match=complaint) as error:
        parse_film(json.dumps(LINE | change), where="x.jsonl line 7")
    assert "x.jsonl line 7" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_line_that_is_not_json_is_refused():
    with pytest.raises(DigerError, match=r"x\.jsonl line 7, column 2"):
        parse_film("{oops", where="x.jsonl line 7")


def test_the_text_shows_era_country_director_and_mood():
    film = parse_film(json.dumps(LINE), where="here")
    assert catalogue_texts(item_frame((film,))) == [
        "The Long Tide (1961). Ann Example. Drama, sea, harbour, letters. A pilot waits in a small "
        "harbour for a letter which the tide brings back. Nowhere, 1960s. Mood: warm"
    ]


def test_two_files_make_the_catalogue(demo: Dataset):
    assert len(FILM_FILES) == 2
    assert demo.items["item_id"].tolist() == [film.item_id for film in read_films()]


def test_stories_are_playable():
    ids = {film.item_id for film in read_films()}
    assert len(stories()) == 8
    for story in stories():
        assert 4 <= len(story["items"]) <= 6
        assert set(story["items"]) <= ids
        assert len(set(story["items"])) == len(story["items"])
        assert story["title"] and "\n" not in story["story"]


# The plan.


def test_classics_exist():
    assert set(CLASSICS) <= {film.item_id for film in read_films()}
    assert len(set(CLASSICS)) == len(CLASSICS)


def test_hidden_structure_is_well_formed(habits: Habits):
    n_items = len(read_films())
    paired = np.flatnonzero(habits.partner >= 0)
    assert np.array_equal(habits.partner[habits.partner[paired]], paired)
    assert (habits.partner[paired] != paired).all()
    assert len(np.unique(habits.destinations)) == habits.destinations.size
    assert habits.destinations.shape[1] == N_DESTINATIONS
    assert len(habits.late) == N_LATE
    for apart in (paired, habits.destinations.ravel(), np.flatnonzero(habits.community >= 0)):
        assert not np.isin(habits.late, apart).any()
    assert np.array_equal(np.flatnonzero(habits.fame == 0), habits.late)
    assert habits.fame.shape == habits.community.shape == (n_items,)


def test_franchises_run_in_order_of_release(habits: Habits):
    catalogue = read_films()
    for row in np.flatnonzero(habits.following >= 0):
        part, following = catalogue[row], catalogue[habits.following[row]]
        assert part.franchise == following.franchise is not None
        assert part.year <= following.year
        assert habits.preceding[habits.following[row]] == row


def test_no_text_tells_of_the_hidden_structure(habits: Habits):
    # The same films with all their text made alike get the same habits.
    blank = {
        "genres": ("Drama",),
        "mood": ("warm",),
        "directors": ("Nobody",),
        "country": "Nowhere",
    }
    blank |= {"keywords": ("a", "b", "c"), "description": "None."}
    alike = draw_habits([film.model_copy(update=blank) for film in read_films()], SEED)
    for name in Habits.__dataclass_fields__:
        assert np.array_equal(getattr(alike, name), getattr(habits, name))


def test_each_habit_has_its_own_stream(habits: Habits, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(habit_module, "PAIRED_SHARE", 0.1)
    fewer = draw_habits(read_films(), SEED)
    assert (fewer.partner >= 0).sum() < (habits.partner >= 0).sum()
    for name in set(Habits.__dataclass_fields__) - {"partner"}:
        assert np.array_equal(getattr(fewer, name), getattr(habits, name))


def test_fit_by_hand(monkeypatch: pytest.MonkeyPatch):
    # Everything is remembered: 1.25 a genre, 1 a mood, 1.5 the country, 2 the year; 3 the director.
    base = parse_film(json.dumps(LINE), where="here")
    same_director = base.model_copy(update={"mood": ("dark",), "country": "Elsewhere"})
    stranger = same_director.model_copy(update={"directors": ("Al Other",), "genres": ("War",)})
    for keep in ("GENRE", "MOOD", "ERA", "COUNTRY", "DIRECTOR"):
        monkeypatch.setattr(f"diger.data.demo.tastes.KEEP_{keep}", 1.0)
    traits = FilmTraits([base, same_director, stranger])
    interests = traits.draw(np.array([0]), np.random.default_rng(0))
    assert traits.fit(interests, np.array([0])).tolist() == [
        [1.25 + 1 + 1.5 + 2 + 3, 1.25 + 2 + 3, 2]
    ]


def test_draws_follow_the_weights_and_never_take_a_zero():
    weights = np.tile([0.0, 3.0, 0.0, 1.0, 0.0], (4000, 1))
    counts = np.bincount(_draw(weights, np.random.default_rng(0)), minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert counts[1] / 4000 == pytest.approx(0.75, abs=0.03)


# What comes out.


def test_the_demo_is_the_same_everywhere(demo: Dataset):
    assert demo.info.fingerprint == FINGERPRINT


def test_another_seed_is_another_world(habits: Habits):
    offsets, events = simulate(read_films(), habits, SEED, n_viewers=50)
    again = simulate(read_films(), habits, SEED, n_viewers=50)
    other = simulate(read_films(), habits, SEED + 1, n_viewers=50)
    assert np.array_equal(again[0], offsets) and np.array_equal(again[1], events)
    assert not np.array_equal(other[1], events)
    assert not np.array_equal(draw_habits(read_films(), SEED + 1).partner, habits.partner)


def test_counts_and_terms(demo: Dataset):
    lengths = np.diff(demo.offsets)
    assert demo.n_users == N_VIEWERS
    assert lengths.min() == SHORTEST and lengths.max() == LONGEST
    assert np.median(lengths) == 11
    assert (demo.test_at == demo.offsets[1:] - 1).all()
    assert (demo.validation_at == demo.test_at - 1).all()
    assert demo.info.simulated and demo.info.text_may_be_published
    assert demo.info.licence == "CC0-1.0"
    assert "imulated" in demo.info.source


def test_training_shows_every_film_but_the_late_arrivals(demo: Dataset, habits: Habits):
    popularity = demo.training_popularity()
    assert np.array_equal(np.flatnonzero(popularity == 0), habits.late)
    assert popularity[popularity > 0].min() >= 5
    assert np.isin(habits.late, demo.events[demo.test_at]).all()


def test_some_films_are_watched_again_but_few(demo: Dataset):
    repeats = sum(
        len(history) - len(np.unique(history))
        for history in np.split(demo.events, demo.offsets[1:-1])
    )
    assert 0.01 < repeats / demo.n_events < 0.03
    before, after = steps(demo)
    assert (before != after).all()


def test_double_bills_stand_out(demo: Dataset, habits: Habits):
    before, after = steps(demo)
    paired = habits.partner[before] >= 0
    completed = (habits.partner[before] == after)[paired].mean()
    # A film picked by fame would be the partner about once in n_items steps.
    assert completed > 0.2 > 100 / demo.n_items


def test_franchises_are_watched_forwards(demo: Dataset, habits: Habits):
    before, after = steps(demo)
    forwards = (habits.following[before] == after).sum()
    backwards = (habits.preceding[before] == after).sum()
    assert forwards > 5 * backwards


def test_where_people_start_says_where_they_end(demo: Dataset, habits: Habits):
    first = demo.events[demo.offsets[:-1]]
    ends = demo.events[demo.test_at]
    destinations = habits.destinations[habits.community[first]]
    others = habits.destinations[(habits.community[first] + 1) % len(habits.destinations)]
    at_mine = (destinations == ends[:, None]).any(axis=1).mean()
    at_others = (others == ends[:, None]).any(axis=1).mean()
    assert at_mine > 0.1 > 5 * at_others


def test_canons_gather_their_community(demo: Dataset, habits: Habits):
    # The first film is mostly of the viewer's canon, and so are many later ones.
    first = np.repeat(habits.community[demo.events[demo.offsets[:-1]]], np.diff(demo.offsets))
    later = np.ones(demo.n_events, dtype=bool)
    later[demo.offsets[:-1]] = False
    share = (habits.community[demo.events] == first)[later].mean()
    assert share > 3 / len(habits.destinations)


def test_the_document_has_the_numbers_of_the_build(demo: Dataset):
    path = Path(__file__).parents[1] / "docs" / "demo-dataset.md"
    text = path.read_text(encoding="utf-8")
    info = demo.info
    for number in (info.n_users, info.n_items, info.n_events, info.n_training_events):
        assert f"{number:,}" in text
    # Every constant that the document names has the value that it gives.
    named = dict(re.findall(r"`([A-Z_]+)` = ([0-9.]+[0-9]|[0-9]+)", text))
    assert len(named) > 15
    for name, value in named.items():
        held = [getattr(m, name) for m in (viewer_module, habit_module) if hasattr(m, name)]
        assert held and held[0] == float(value), name
