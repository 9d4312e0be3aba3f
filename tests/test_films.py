"""The films: what can be checked of the catalogue, MovieLens' reader, and nobody is shown."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from core_toys import CPU, main, make_dataset, make_recipe, walks, write_vectors
from typer.testing import CliRunner

import diger
from diger.bundle.reader import Bundle
from diger.cli import app
from diger.data.dataset import Dataset
from diger.data.films.catalogue import example_histories, film_slug, films, parse_film
from diger.data.prepare import prepare
from diger.data.readers.films import FilmsReader
from diger.errors import DigerError
from diger.statistics.paired import pair
from diger.training.run import train

BY_ID = {film.movielens_id: film for film in films()}
SHIPPED = Path(__file__).parents[1] / "checkpoints"


def test_every_film_is_there_once_and_has_its_movielens_id():
    assert None not in BY_ID and len(BY_ID) == len(films())
    titles = Counter((film.title.lower(), film.year) for film in films())
    assert titles.most_common(1)[0][1] == 1


def test_a_franchise_has_several_films_and_one_spelling():
    spellings = defaultdict(set)
    counts = Counter(film.franchise for film in films() if film.franchise)
    for name in counts:
        spellings[re.sub(r"^the |[^a-z0-9]", "", name.lower())].add(name)
    assert min(counts.values()) >= 2
    assert [names for names in spellings.values() if len(names) > 1] == []


LINE = {
    "item_id": "the-long-tide-1961",
    "movielens_id": 1,
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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"genres": ["Dramma"]}, "genres.0"),
        ({"keywords": ["sea", "sea", "letters"]}, "occurs twice"),
        ({"keywords": ["Sea", "harbour", "letters"]}, "lower case"),
        ({"year": "1961"}, "year"),
        ({"description": "Too short."}, "10 to 22 words"),
        ({"item_id": "long-tide-1961"}, "the-long-tide-1961"),
        ({"rating": 5}, "rating"),
    ],
)
def test_a_bad_line_is_refused_in_one_line(change, complaint):
    with pytest.raises(DigerError, match=complaint) as error:
        parse_film(json.dumps(LINE | change), where="x.jsonl line 7")
    assert "x.jsonl line 7" in str(error.value)


def test_ids_are_titles_in_plain_letters():
    assert film_slug("8½", 1963) == "8-half-1963"
    assert film_slug("Léon: The Professional", 1994) == "leon-the-professional-1994"
    assert film_slug("Thelma & Louise", 1991) == "thelma-and-louise-1991"


def test_no_description_gives_its_whole_title_away():
    small = {"the", "a", "an", "of", "and", "in", "to", "for", "on", "at", "with", "is"}
    words = lambda text: set(re.findall(r"[a-z0-9']+", text.lower()))  # noqa: E731
    told = [f.title for f in films() if words(f.title) - small <= words(f.description)]
    assert told == []


def test_examples_name_films_of_the_catalogue():
    there = {film.item_id for film in films()}
    assert 8 <= len(example_histories()) <= 12
    assert [f for _, _, history in example_histories() for f in history if f not in there] == []


def test_years_are_movielens_own_or_the_one_beside(real_movielens):
    items = real_movielens.items.set_index("item_id")
    years = items["title"].str.extract(r"\((\d{4})\)")[0].to_dict()
    wrong = {f.title for i, f in BY_ID.items() if abs(int(years[str(i)]) - f.year) > 1}
    assert wrong == {"A Grand Day Out"}  # of 1989; MovieLens has its year in American cinemas


@pytest.fixture(scope="session")
def real_movielens():
    import os

    import pandas as pd

    folder = Path(os.environ.get("DIGER_DATA", "nowhere")) / "movielens1m"
    if not folder.is_dir():
        pytest.skip("MovieLens 1M is not here: set DIGER_DATA to a folder that holds movielens1m")

    class Items:
        items = pd.read_json(folder / "items.jsonl.gz", lines=True, dtype={"item_id": str})

    return Items


@pytest.fixture
def download(tmp_path) -> Path:
    """As GroupLens serves it: `::` between cells, latin-1, ratings in no order of time."""
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    wanted = [i for i in BY_ID if i is not None][:12]
    lines = []
    for user in range(1, 13):
        for step in range(8):
            film = wanted[(user + step) % 12]
            lines.append(f"{user}::{film}::{1 + step % 5}::{978300000 + step // 2}")
    lines.insert(3, "1::999999::5::978300009")  # a film that is not ours
    (folder / "ratings.dat").write_text("\n".join(lines) + "\n", encoding="latin-1")
    (folder / "movies.dat").write_bytes("1::Amélie (2001)::Comedy\n".encode("latin-1"))
    (folder / "users.dat").write_bytes(b"1::F::1::10::48067\n")
    return folder


def test_the_download_becomes_a_dataset_with_our_text(download):
    made = prepare(FilmsReader(download), name="films").dataset
    assert made.n_users == 12 and made.n_events == 96 and made.n_items == 12
    assert set(made.items["item_id"]) <= {film.item_id for film in films()}
    assert made.info.text_may_be_published and made.info.viewers_are_private
    assert "Harper" in made.info.source and made.info.title == "Films"
    wanted = [i for i in BY_ID if i is not None][:12]
    first = [made.items["item_id"][row] for row in made.events[:8]]
    # Ties in time stay in file order.
    assert first == [BY_ID[wanted[(1 + step) % 12]].item_id for step in range(8)]


def test_the_command(download, tmp_path):
    runner = CliRunner()
    out = tmp_path / "films"
    done = runner.invoke(app, ["prepare", "films", str(download), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert Dataset.load(out).info.title == "Films"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"1::2::3\n", r"ratings.dat line 1: 3 fields"),
        (b"UserID::MovieID::Rating::Timestamp\n", "line 1: .*not a number"),
        (b"1::999999::5::978300009\n", "no event is about a film of the catalogue"),
        (b"\xff\xfe\x00garbage\n", "line 1: 1 fields"),
    ],
)
def test_broken_downloads_are_one_line(tmp_path, content, says):
    (tmp_path / "ratings.dat").write_bytes(content)
    with pytest.raises(DigerError, match=says):
        prepare(FilmsReader(tmp_path), name="films")


def test_a_folder_without_ratings_is_told_where_to_get_them(tmp_path, monkeypatch, capsys):
    assert main("prepare", "films", tmp_path, "--out", tmp_path / "out", monkeypatch=monkeypatch)
    assert "give the folder of a MovieLens 1M download" in capsys.readouterr().err
    assert main("prepare", "beauty", "films", "--out", tmp_path / "out", monkeypatch=monkeypatch)
    assert "one source at a time" in capsys.readouterr().err


def test_a_bundle_of_private_viewers_gives_nobody_back(tmp_path):
    data = tmp_path / "data"
    shown = make_dataset(walks(users=60), publish=True)
    private = shown.info.model_copy(update={"viewers_are_private": True})
    type(shown)(**{**vars(shown), "info": private}).save(data)
    recipe = make_recipe(write_vectors(tmp_path / "vectors.npy"))
    paths = [train(recipe, data, tmp_path / f"s{s}", seed=s, device=CPU) for s in (0, 1)]
    bundles = [Bundle.open(path) for path in paths]
    assert bundles[0].topk is None and bundles[0].examples is None
    ranks = bundles[0].ranks
    assert set(ranks) == {"split", "user", "rank", "history_length", "target_popularity", "cold"}
    assert set(ranks["target_popularity"]) <= {0, 1, 5, 10, 20, 50}
    paired = pair(bundles[:1], bundles[1:], by_seed=False)  # users still pair
    assert len(paired.users) == int((shown.test_at >= 0).sum())
    metric = next(r for r in bundles[0].metrics["results"] if r["split"] == "test")["metrics"]
    hits = (ranks.loc[ranks["split"] == "test", "rank"] <= 10).fillna(False).mean()
    assert hits == pytest.approx(metric["recall@10"])
    in_order = np.flatnonzero(shown.test_at >= 0)
    assert not np.array_equal(ranks.loc[ranks["split"] == "test", "user"], in_order)


@pytest.mark.parametrize("arm", ["static", "differentiable"])
@pytest.mark.parametrize(
    ("history", "brings"),
    [
        (["alien-1979"], {"aliens-1986"}),
        (["the-godfather-1972"], {"the-godfather-part-ii-1974"}),
        (["toy-story-1995", "a-bugs-life-1998", "antz-1998"], set()),
    ],
)
def test_lists_of_the_shipped_models_make_sense(arm, history, brings):
    model = diger.load(SHIPPED / f"films-{arm}-s0")
    found = model.recommend(history, 5, decoding="telling", leave_out_seen=True)
    listed = {one.item_id for one in found}
    assert brings <= listed
    if not brings:
        drawn = {film.item_id for film in films() if "Animation" in film.genres}
        assert len(listed & drawn) >= 4


def test_no_shipped_bundle_of_the_films_tells_who_watched_what():
    for path in SHIPPED.glob("films-*/*.parquet"):
        if path.name == "examples.parquet":  # made up by us, and nothing came after them
            table = pq.read_table(path)
            assert table["target"].null_count == len(table), path
            assert set(table["name"].to_pylist()) <= {
                title for title, _, _ in example_histories()
            }, path
            continue
        columns = set(pq.read_schema(path).names)
        assert path.name != "topk.parquet" and not columns & {"target", "target_row"}, path
