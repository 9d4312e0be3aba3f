"""Every format people have: from files in the true format to a recommendation.

Fixtures are written as the sources write them (keys, quoting, encodings, units), with users and
items that nobody ever was or made.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import core_toys as toys
import pandas as pd
import pytest
from test_convert import write_release
from typer.testing import CliRunner

from diger.cli import app
from diger.data.dataset import Dataset
from diger.data.prepare import prepare
from diger.data.readers import open_reader
from diger.data.readers.columns import parse_columns
from diger.errors import DigerError
from diger.model import load_model
from diger.training.run import train

ITEMS, START = 9, 1_500_000_000
DAY = 86_400
# User u begins at item u and goes on by one a day: (user, item, Unix seconds), in no order of time.
EVENTS = [(u, (u + n) % ITEMS, START + DAY * (20 * u + n)) for n in range(6) for u in range(12)]
EVENTS = EVENTS[::-1]


class Toy(NamedTuple):
    """What a writer made: what to give `prepare`, an item's id, and item 1's text."""

    arguments: list[object]
    item_id: Callable[[int], str] = str
    title: str | None = None
    brand: str | None = None
    categories: list[str] = []  # noqa: RUF012 (nobody writes to it)


def write(path: Path, lines: list[Any], encoding: str = "utf-8") -> None:
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def date(time: int, form: str) -> str:
    return datetime.fromtimestamp(time, UTC).strftime(form)


def amazon_2014(folder: Path) -> Toy:
    reviews = [
        {
            "reviewerID": f"A{u}",
            "asin": f"B{i:09}",
            "reviewerName": 'N. "Nobody"',
            "helpful": [0, 0],
            "reviewText": "Fine.",
            "overall": 5.0,
            "summary": "Fine",
            "unixReviewTime": time,
            "reviewTime": date(time, "%m %d, %Y"),
        }
        for u, i, time in EVENTS
    ]
    meta = [
        {
            "asin": f"B{i:09}",
            "description": "It's &quot;good&quot;.",
            "title": f"Salt &amp; Mill {i}",
            "imUrl": "http://example.com/i.jpg",
            "related": {"also_bought": ["B000000001"]},
            "salesRank": {"Beauty": 1},
            "brand": "Acme",
            "categories": [["Beauty", "Skin Care"], ["Beauty", "Hair"]],
        }
        for i in range(ITEMS)
    ]
    meta.insert(1, {"asin": "B9", "related": {"also_bought": ["B000000001"]}})
    meta.append({"asin": "B000000001", "title": "A second record"})
    write(folder / "reviews_Beauty_5.json.gz", reviews)
    write(folder / "meta_Beauty.json.gz", list(map(repr, meta)))
    return Toy([folder], "B{:09}".format, "Salt & Mill 1", "Acme", ["Beauty", "Skin Care", "Hair"])


def amazon_2018(folder: Path) -> Toy:
    reviews = [
        {
            "overall": 4.0,
            "verified": True,
            "reviewTime": date(time, "%m %d, %Y"),
            "reviewerID": f"A{u}",
            "asin": f"B{i:09}",
            "style": {"Size:": " Large"},
            "unixReviewTime": time,
        }
        for u, i, time in EVENTS
    ]
    meta = [
        {
            "category": ["Home", "Kitchen", "</span></span></span>", "Import"],
            "tech1": "",
            "description": ["One.", "Two."],
            "title": f"Mill {i}",
            "brand": "by\n    \n    Acme",
            "feature": [],
            "asin": f"B{i:09}",
        }
        for i in range(ITEMS)
    ]
    write(folder / "Home_5.json.gz", reviews)
    write(folder / "meta_Home.json.gz", meta)
    return Toy([folder], "B{:09}".format, "Mill 1", "Acme", ["Home", "Kitchen"])


def amazon_2023(folder: Path) -> Toy:
    reviews = [
        {
            "rating": 5.0,
            "title": "Such a lovely scent",
            "text": "Nice.",
            "images": [],
            "asin": f"C{i}{u:08}",  # a variant; the product is the parent
            "parent_asin": f"B{i:09}",
            "user_id": f"AGK{u}",
            "timestamp": time * 1000 + 923,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for u, i, time in EVENTS
    ]
    meta = [
        {
            "main_category": "All Beauty",
            "title": f"Mill {i}",
            "average_rating": 4.8,
            "rating_number": 10,
            "features": ["Grinds."],
            "description": [],
            "price": None,
            "images": [{"thumb": "https://example.com/t.jpg", "variant": "MAIN"}],
            "videos": [],
            "store": "Acme",
            "categories": [],
            "details": {"Package Dimensions": "7 x 2 inches"},
            "parent_asin": f"B{i:09}",
            "bought_together": None,
        }
        for i in range(ITEMS)
    ]
    write(folder / "All_Beauty.jsonl", reviews)
    write(folder / "meta_All_Beauty.jsonl", meta)
    return Toy([folder], "B{:09}".format, "Mill 1", "Acme", ["All Beauty"])


def movielens_100k(folder: Path) -> Toy:
    write(folder / "u.data", [f"{u + 1}\t{i + 1}\t3\t{time}" for u, i, time in EVENTS])
    genres = "|".join("1" if n in (5, 8) else "0" for n in range(19))
    films = [f"{i + 1}|Été {i} (1995)|01-Jan-1995||http://x/?a%20b|{genres}" for i in range(ITEMS)]
    write(folder / "u.item", films, "latin-1")
    return Toy([folder], lambda i: str(i + 1), "Été 1 (1995)", None, ["Comedy", "Drama"])


def movielens_1m(folder: Path) -> Toy:
    write(folder / "ratings.dat", [f"{u + 1}::{i + 1}::5::{time}" for u, i, time in EVENTS])
    films = [f"{i + 1}::Été: {i} (1995)::Comedy|Children's" for i in range(ITEMS)]
    write(folder / "movies.dat", films, "latin-1")
    write(folder / "users.dat", ["1::F::1::10::48067"])
    return Toy([folder], lambda i: str(i + 1), "Été: 1 (1995)", None, ["Comedy", "Children's"])


def movielens_32m(folder: Path) -> Toy:
    rows = [f"{u + 1},{i + 1},3.5,{time}" for u, i, time in EVENTS]
    write(folder / "ratings.csv", ["userId,movieId,rating,timestamp", *rows])
    films = [f'{i + 1},"Été, ""that"" {i} (1995)",Comedy|Drama' for i in range(ITEMS)]
    films[2] = "3,No Kind (1996),(no genres listed)"
    write(folder / "movies.csv", ["movieId,title,genres", *films])
    return Toy([folder], lambda i: str(i + 1), 'Été, "that" 1 (1995)', None, ["Comedy", "Drama"])


def yelp(folder: Path) -> Toy:
    reviews = [
        {
            "review_id": f"r{u}-{i}",
            "user_id": f"mh_-{u}",
            "business_id": f"-Q{i}_w",
            "stars": 3.0,
            "useful": 0,
            "funny": 0,
            "cool": 0,
            "text": "Fine.\nReally.",
            "date": date(time, "%Y-%m-%d %H:%M:%S"),
        }
        for u, i, time in EVENTS
    ]
    places = [
        {
            "business_id": f"-Q{i}_w",
            "name": f"Café {i}, LLC",
            "address": "1 Main St",
            "city": "Tucson",
            "state": "AZ",
            "postal_code": "85711",
            "stars": 4.0,
            "review_count": 7,
            "is_open": 1,
            "attributes": {"BusinessParking": "{'garage': False}"},
            "categories": "Coffee & Tea, Food",
            "hours": None,
        }
        for i in range(ITEMS)
    ]
    write(folder / "yelp_academic_dataset_review.json", reviews)
    write(folder / "yelp_academic_dataset_business.json", places)
    return Toy([folder], "-Q{}_w".format, "Café 1, LLC", None, ["Coffee & Tea", "Food"])


def steam(folder: Path) -> Toy:
    reviews = [
        f"{{u'username': u'Ch\\xe4os {u}', u'hours': 0.1, u'products': 41, u'product_id': "
        f"u'{i}0', u'page_order': 0, u'date': u'{date(time, '%Y-%m-%d')}', "
        "u'text': u'It\\'s fun', u'early_access': False, u'page': 1}"
        for u, i, time in EVENTS
    ]
    games = [
        f"{{u'publisher': u'Kuro', u'genres': [u'Action', u'Indie'], u'app_name': u'Game {i}', "
        f"u'title': u'Game {i}', u'tags': [u'Indie', u'2D'], u'price': 4.99, "
        f"u'early_access': False, u'id': u'{i}0', u'developer': u'Koto'}}"
        for i in range(ITEMS)
    ]
    write(folder / "steam_reviews.json.gz", reviews)
    write(folder / "steam_games.json.gz", [*games, "{u'title': u'Without an id'}"])
    return Toy([folder], "{}0".format, "Game 1", "Koto", ["Action", "Indie", "2D"])


def letter(folder: Path) -> Toy:
    histories: dict[str, list[int]] = {}
    for u, i, _ in sorted(EVENTS, key=lambda event: event[2]):
        histories.setdefault(str(u), []).append(i)
    (folder / "Games.inter.json").write_text(json.dumps(histories))
    items = {
        str(i): {
            "title": f"Game {i}",
            "description": "Good.",
            "brand": "Acme",
            "categories": "Video Games,PC",
        }
        for i in range(ITEMS)
    }
    (folder / "Games.item.json").write_text(json.dumps(items))
    sids = {str(i): [f"<a_{i % 3}>", f"<b_{i // 3}>"] for i in range(ITEMS)}
    (folder / "Games.index.json").write_text(json.dumps(sids))
    return Toy([folder], str, "Game 1", "Acme", ["Video Games", "PC"])


def letter_without_text(folder: Path) -> Toy:
    letter(folder)
    (folder / "Games.item.json").unlink()
    return Toy([folder])


def diger(folder: Path) -> Toy:
    sequences: list[list[int]] = [[] for _ in range(12)]
    for u, i, _ in sorted(EVENTS, key=lambda event: event[2]):
        sequences[u].append(i + 1)
    folder.rmdir()
    write_release(folder, sequences, items=ITEMS)
    return Toy([folder], lambda i: str(i + 1))


def csv(folder: Path) -> Toy:
    rows = [f'"who {u}",sku-{i},{date(time, "%Y-%m-%dT%H:%M:%SZ")},1' for u, i, time in EVENTS]
    write(folder / "clicks.csv", ["visitor,sku,at,n", *rows])
    goods = [f'"Tea, ""black"" {i}",sku-{i},hot|dry' for i in range(ITEMS)]
    write(folder / "goods.csv", ["name,sku,kinds", *goods])
    named = "user=visitor,item=sku,time=at,title=name,categories=kinds"
    arguments = [folder / "clicks.csv", "--columns", named, "--items", folder / "goods.csv"]
    return Toy(arguments, "sku-{}".format, 'Tea, "black" 1', None, ["hot", "dry"])


def tsv(folder: Path) -> Toy:
    rows = [f'{u}\t{i}\t{time}\t"Big" and "Small" {i}' for u, i, time in EVENTS]
    write(folder / "clicks.tsv.gz", ["user_id\titem_id\ttimestamp\ttitle", *rows])
    return Toy([folder / "clicks.tsv.gz"], str, '"Big" and "Small" 1')


def parquet(folder: Path) -> Toy:
    users, items, times = zip(*EVENTS, strict=True)
    at = pd.to_datetime(pd.Series(times), unit="s", utc=True)
    frame = pd.DataFrame({"uid": users, "item_id": items, "at": at, "n": 1.5})
    frame.to_parquet(folder / "clicks.parquet")
    goods = {"id": range(ITEMS), "title": [f"Tea {i}" for i in range(ITEMS)], "brand": None}
    pd.DataFrame(goods | {"categories": [["hot", "dry"]] * ITEMS}).to_parquet(folder / "g.parquet")
    arguments = [folder / "clicks.parquet", "--columns", "user=uid,time=at"]
    arguments += ["--items", folder / "g.parquet"]
    return Toy(arguments, str, "Tea 1", None, ["hot", "dry"])


def recbole(folder: Path) -> Toy:
    rows = [f"{u}\t{i}\t4\t{time}" for u, i, time in EVENTS]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    write(folder / "ml.inter", [header, *rows])
    films = [f"{i}\tFilm {i}\t1995\tDrama Comedy" for i in range(ITEMS)]
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    write(folder / "ml.item", [header, *films])
    return Toy([folder], str, "Film 1", None, ["Drama", "Comedy"])


def recbole_without_items(folder: Path) -> Toy:
    recbole(folder)
    (folder / "ml.item").unlink()
    return Toy([folder])


FORMATS = (
    *(amazon_2014, amazon_2018, amazon_2023, movielens_100k, movielens_1m, movielens_32m, yelp),
    *(steam, letter, letter_without_text, diger, csv, tsv, parquet, recbole, recbole_without_items),
)


@pytest.mark.parametrize("fixture", FORMATS, ids=lambda fixture: fixture.__name__)
def test_from_the_true_format_to_a_recommendation(tmp_path, fixture):
    folder = tmp_path / "source"
    folder.mkdir()
    toy = fixture(folder)
    command = ["prepare", *toy.arguments, "--out", tmp_path / "data"]
    told = CliRunner().invoke(app, list(map(str, command)))
    assert told.exit_code == 0, told.exception or told.output
    data = Dataset.load(tmp_path / "data")

    # Every user's items, oldest first, and the times where the format has some.
    rows = {item: row for row, item in enumerate(data.items["item_id"])}
    assert set(rows) == {toy.item_id(i) for i in range(ITEMS)} and data.n_events == len(EVENTS)
    found = {
        tuple(data.items["item_id"][data.events[begin:end]])
        for begin, end in zip(data.offsets[:-1], data.offsets[1:], strict=True)
    }
    walks = {tuple(toy.item_id((u + n) % ITEMS) for n in range(6)) for u in range(12)}
    assert found == walks
    assert data.times is not None
    if data.info.time_unit == "seconds":
        days = sorted((time // DAY) * DAY for _, _, time in EVENTS)
        assert sorted((data.times // DAY) * DAY) == days

    item = data.items.iloc[rows[toy.item_id(1)]]
    assert (item["title"], item["brand"]) == (toy.title, toy.brand)
    assert list(item["categories"]) == toy.categories
    assert ("bare ids" in told.output) == (toy.title is None and fixture is not diger)

    vectors = toys.write_vectors(tmp_path / "vectors.npy", ITEMS)
    tokenizer: dict[str, Any] = {"levels": 2}
    if fixture in (letter, letter_without_text):  # the SIDs that came with it
        file = {"path": str(folder / "Games.index.json"), "suffix": False}
        tokenizer |= {"kind": "file", "codebook_size": 4, "suffix_size": 4, "file": file}
    own = next(folder.glob("*.npy")).name if fixture is diger else str(vectors)  # came with it
    recipe = toys.make_recipe(None, content={"encoder": own}, tokenizer=tokenizer)
    bundle = train(recipe, tmp_path / "data", tmp_path / "b", device=toys.CPU)
    best = load_model(bundle).recommend([toy.item_id(3), toy.item_id(4)], 5)
    assert len({one.item_id for one in best}) == 5 and {one.item_id for one in best} <= set(rows)


def test_what_may_not_be_passed_on_is_not_published(tmp_path):
    movielens_1m(tmp_path)
    with pytest.raises(DigerError, match="forbid passing it on"):
        prepare(open_reader(tmp_path), name="films", publish_text=True, licence="CC0-1.0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user", "write it like user=visitor_id"),
        ("usr=a", "usr is none of .*did you mean user"),
    ],
)
def test_columns_that_are_not_understood(text, message):
    with pytest.raises(DigerError, match=message):
        parse_columns(text)


def test_tables_that_cannot_be_read_are_named(tmp_path):
    csv(tmp_path)
    parquet(tmp_path)
    clicks, table = tmp_path / "clicks.csv", tmp_path / "clicks.parquet"
    for source, columns, message in (
        (clicks, {}, r"no column user_id; say .*--columns user=NAME .*visitor, sku, at"),
        (clicks, {"user": "visitr"}, "no column visitr .*did you mean visitor"),
        (clicks, {"user": "visitor", "item": "sku"}, "no column timestamp or position"),
        (table, {"user": "uid", "item": "n", "time": "at"}, "column n holds double; ids must be"),
        (tmp_path, {"user": "visitor"}, "is a folder; name the file"),
        (tmp_path / "no.csv", {}, "no file at"),
    ):
        with pytest.raises(DigerError, match=message):
            list(open_reader(source, columns=columns).events())
    write(tmp_path / "goods.csv", ["sku,label", "a,Mug"])
    named = {"user": "visitor", "item": "sku", "time": "at"}
    with pytest.raises(DigerError, match=r"--columns title=NAME \(there are sku, label"):
        open_reader(clicks, columns=named, items=tmp_path / "goods.csv")
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(DigerError, match="not a whole parquet file"):
        open_reader(table)
    write(clicks, ["user_id,item_id,timestamp", '"Big" Al,a,1'])
    with pytest.raises(DigerError, match=r"line 2 or before it: .*a quote too many"):
        list(open_reader(clicks).events())
