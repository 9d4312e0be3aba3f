"""The simple, Amazon and RecBole readers: what they read, and how they name what is broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from diger.data.log import read_events
from diger.data.readers import open_reader
from diger.data.readers import table as lines_module
from diger.data.readers.base import ItemRecord
from diger.errors import DigerError

EVENTS = "item_id\trating\tuser_id\tposition\nb\t5\tx\t1\na\t4\tx\t0\n"
ITEM = {"item_id": "a", "title": " Tea ", "brand": None, "categories": ["hot", " "], "price": 3}


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def as_lines(*objects: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in objects)


def triples(reader) -> list[tuple[str, str, float]]:
    return [event for batch in reader.events() for event in zip(*batch, strict=True)]


def refused(call, *parts: str) -> None:
    with pytest.raises(DigerError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def simple(folder: Path, events: str | bytes = EVENTS, items: str | None = None, suffix="") -> Path:
    write(folder / f"items.jsonl{suffix}", as_lines(ITEM) if items is None else items)
    return write(folder / f"interactions.tsv{suffix}", events)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_simple(tmp_path, suffix):
    simple(tmp_path, items=as_lines(ITEM, {"item_id": 7}, {"item_id": "z"}), suffix=suffix)
    reader = open_reader(tmp_path)
    assert (reader.format, reader.time_unit) == ("simple", "position")
    assert triples(reader) == [("x", "b", 1.0), ("x", "a", 0.0)]
    assert list(reader.items({"a", "7"})) == [
        ItemRecord("a", "Tea", None, None, ["hot"]),
        ItemRecord("7", None, None, None, []),
    ]
    assert reader.unwanted == 1


def test_simple_prefers_timestamps_and_takes_windows_files(tmp_path):
    simple(tmp_path, "\ufeffuser_id\titem_id\tposition\ttimestamp\r\nx\ta\t0\t1.5e9\r\n\r\n")
    reader = open_reader(tmp_path)
    assert reader.time_unit == "seconds"
    assert triples(reader) == [("x", "a", 1.5e9)]


HEADER = "user_id\titem_id\tposition\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["interactions.tsv is empty"]),
        ("user\titem_id\tposition\n", ["line 1: no column user_id", "did you mean user?"]),
        ("user_id,item_id,position\n", ["separate columns by tabs"]),
        ("user_id\titem_id\n", ["no column timestamp or position"]),
        (HEADER, ["no interactions", "only a header"]),
        (f"{HEADER}x\ta\t0\nx\ta\n", ["line 3: 2 fields, the header has 3"]),
        (f"{HEADER}\nx\t\t0\n", ["line 3: item_id is empty"]),
        (f"{HEADER}x\ta\tnow\n", ["line 2: position 'now' is not a number"]),
        (f"{HEADER}x\ta\tnan\n", ["line 2: position 'nan'"]),
        (HEADER.encode() + b"x\ta\xff\t0\n", ["line 2: byte 4 is not UTF-8", "iconv"]),
    ],
)
def test_simple_names_what_is_wrong_with_interactions(tmp_path, text, parts):
    simple(tmp_path, text)
    refused(lambda: read_events(open_reader(tmp_path)), str(tmp_path), *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["is empty"]),
        ('{"item_id": "a"}\n{"item_id": "b"\n', ["line 2 is not JSON", "column 16", "correct"]),
        ("[1]\n", ["line 1 is not an object"]),
        ("[" * 100_000 + "\n", ["line 1 is not JSON"]),
        ('{"item_id": true}\n', ["line 1: item_id is missing or not text"]),
        ('{"item_id": "a", "title": 3}\n', ["line 1: title must be text or null, not int"]),
        ('{"item_id": "a", "categories": "x"}\n', ["line 1: categories must be a list"]),
        (as_lines(ITEM, ITEM), ["line 2: item_id 'a' is on line 1 already"]),
    ],
)
def test_simple_names_what_is_wrong_with_items(tmp_path, text, parts):
    simple(tmp_path, items=text)
    refused(lambda: list(open_reader(tmp_path).items({"a"})), "items.jsonl", *parts)


def test_damaged_gzip(tmp_path):
    rows = "".join(f"u{n}\ti{n * 7919 % 1000}\t{n}\n" for n in range(5000))
    path = simple(tmp_path, HEADER + rows, suffix=".gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(lambda: read_events(open_reader(tmp_path)), "cut-off gzip file (after line", "again")
    for damaged in (whole[:2000] + b"\x00" * 500 + whole[2500:], whole[:6]):
        path.write_bytes(damaged)
        refused(lambda: read_events(open_reader(tmp_path)), "damaged or cut-off gzip")


def test_a_line_without_end_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "_LONGEST", 1000)
    simple(tmp_path, EVENTS + "x" * 5000)
    refused(lambda: read_events(open_reader(tmp_path)), "line 4 is longer than")


def test_progress_counts_the_bytes_on_disk(tmp_path):
    path = simple(tmp_path, EVENTS + "a\t1\tx\t2\n" * 20_000, suffix=".gz")
    calls = []
    reader = open_reader(tmp_path, progress=lambda *call: calls.append(call))
    assert len(triples(reader)) == 20_002
    size = path.stat().st_size
    assert len(calls) > 2 and calls[-1] == (path, size, size)
    assert all(0 < done <= size for _, done, _ in calls)


REVIEWS = [
    {"reviewerID": "U1", "asin": "B1", "unixReviewTime": 1400000000, "reviewText": "fine"},
    {"reviewerID": "U1", "asin": "B2", "unixReviewTime": 1300000000, "reviewText": "asin"},
]
META_2018 = [
    {
        "asin": "B1",
        "title": "Mill",
        "description": ["One.", "", "Two &lt; three."],
        "brand": "by\nAcme",
        "category": ["Home", "Kitchen", "</span></span>", "Import"],
    },
    {"asin": "B2", "title": "var x = new Date().getTime();", "description": [], "category": []},
]


def test_amazon_2018(tmp_path):
    write(tmp_path / "Toy.json", as_lines(*REVIEWS))
    write(tmp_path / "meta_Toy.json.gz", as_lines(*META_2018))
    reader = open_reader(tmp_path, "amazon")
    assert len(triples(reader)) == 2
    assert list(reader.items({"B1", "B2"})) == [
        ItemRecord("B1", "Mill", "One. Two < three.", "Acme", ["Home", "Kitchen"]),
        ItemRecord("B2", None, None, None, []),
    ]


def test_amazon_files_that_are_not_there(tmp_path):
    write(tmp_path / "meta_Toy.json", as_lines(*META_2018))
    write(tmp_path / "Other.json", as_lines(*REVIEWS))
    refused(lambda: open_reader(tmp_path), "no [reviews_]NAME", str(tmp_path))
    write(tmp_path / "Toy.json", as_lines(*REVIEWS))
    write(tmp_path / "Toy_5.json", as_lines(*REVIEWS))
    refused(lambda: open_reader(tmp_path), "Toy.json, Toy_5.json", "keep only one")
    (tmp_path / "meta_Toy.json").rename(tmp_path / "gone")
    refused(lambda: open_reader(tmp_path, "amazon"), "no meta_NAME.json")


def test_amazon_names_a_bad_line(tmp_path):
    meta = write(tmp_path / "meta_Toy.json", as_lines(*META_2018))
    reviews = tmp_path / "Toy.json"
    write(reviews, as_lines(*REVIEWS) + '{"asin": "B1", ')
    refused(lambda: read_events(open_reader(tmp_path)), "Toy.json line 3 is not JSON")
    write(reviews, as_lines({"user": "U", "asin": "B1"}))
    refused(lambda: read_events(open_reader(tmp_path)), "line 1: no usable reviewerID", "user")
    write(meta, as_lines(META_2018[0]) + "{'asin': 'B2', 'title': }\n")
    refused(lambda: list(open_reader(tmp_path).items({"B2"})), "meta_Toy.json line 2 is not JSON")


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nx\ta\t5\t9.5\nx\tb\t4\t8\n"


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        (
            "item_id:token\tmovie_title:token_seq\tclass:token_seq",
            "a\tMoon Walk\tDrama Children's",
            ItemRecord("a", "Moon Walk", None, None, ["Drama", "Children's"]),
        ),
        (
            "categories:token_seq\ttitle:token\titem_id:token\tbrand:token",
            '\'Home\', \'Garden & Patio\'\t"Big ""Mill"""\ta\tAcme',
            ItemRecord("a", 'Big "Mill"', None, "Acme", ["Home", "Garden & Patio"]),
        ),
        (
            "item_id:token\titem_name:token_seq\tcategories:token_seq",
            "a\tCafe\tFood, Coffee & Tea",
            ItemRecord("a", "Cafe", None, None, ["Food", "Coffee & Tea"]),
        ),
    ],
)
def test_recbole(tmp_path, header, row, expected):
    write(tmp_path / "toy.inter", INTER)
    unwanted = "\t".join("z" for _ in header.split("\t"))
    write(tmp_path / "toy.item", f"{header}\n{row}\n{unwanted}\n")
    reader = open_reader(tmp_path)
    assert reader.format == "recbole"
    assert triples(reader) == [("x", "a", 9.5), ("x", "b", 8.0)]
    assert list(reader.items({"a", "b"})) == [expected]
    assert reader.unwanted == 1


def test_recbole_errors(tmp_path):
    inter = write(tmp_path / "toy.inter", INTER)
    item = write(tmp_path / "toy.item", "item_id:token\n\n")
    write(inter, INTER.replace("timestamp", "when"))
    refused(lambda: open_reader(tmp_path), "toy.inter line 1: no column timestamp")
    write(inter, INTER.replace("rating:float", "item_id_list:token_seq"))
    refused(lambda: open_reader(tmp_path), "whole histories")
    write(inter, INTER)
    write(item, "item_id:token\ttitle:token\n\tX\n")
    refused(lambda: list(open_reader(tmp_path).items({"a"})), "line 2: item_id is empty")
    write(tmp_path / "other.inter", INTER)
    refused(lambda: open_reader(tmp_path), "other.inter, toy.inter", "keep only one")


def test_formats_and_folders(tmp_path):
    refused(lambda: open_reader(tmp_path), "no known data files", "NAME.inter", "interactions.tsv")
    refused(lambda: open_reader(tmp_path / "gone"), "no folder at")
    refused(lambda: open_reader(tmp_path, "amazn"), "unknown format 'amazn'; did you mean amazon?")
    path = write(tmp_path / "toy.inter", INTER)
    refused(lambda: open_reader(path), "is a file", "give the folder")
    refused(lambda: open_reader(tmp_path / "no.csv"), "no file at")
    write(tmp_path / "interactions.tsv", EVENTS)
    refused(lambda: open_reader(tmp_path), "--format simple or recbole")
    refused(lambda: open_reader(tmp_path, "simple"), "no items.jsonl[.gz] in")
    write(tmp_path / "interactions.tsv.gz", EVENTS)
    refused(lambda: open_reader(tmp_path, "simple"), "keep only one of them")


def test_numbering_is_by_first_appearance(tmp_path):
    simple(tmp_path, f"{HEADER}y\tb\t0\nx\ta\t0\ny\ta\t1\n")
    log = read_events(open_reader(tmp_path))
    assert (log.user_ids, log.item_ids) == (["y", "x"], ["b", "a"])
    assert (log.users.tolist(), log.items.tolist()) == ([0, 1, 0], [0, 1, 1])
    assert log.times.tolist() == [0, 0, 1]


def test_recbole_s_own_names_for_items_and_times(tmp_path):
    for name, item, own, time in (
        ("steam", "product_id", "id", "timestamp"),
        ("yelp", "business_id", "business_id", "date"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.inter").write_text(f"user_id:token\t{item}:token\t{time}:float\nu\t10\t5\n")
        (folder / "a.item").write_text(f"{own}:token\ttitle:token\n10\tTen\n")
        reader = open_reader(folder)
        assert [batch.items for batch in reader.events()] == [["10"]]
        assert [record.title for record in reader.items({"10"})] == ["Ten"]


@pytest.mark.parametrize(
    ("cell", "title"),
    [
        ('"Big Al" sings "Ham"', '"Big Al" sings "Ham"'),
        ('"Great Pictures" Cats', '"Great Pictures" Cats'),
        ('"Said ""so"" twice"', 'Said "so" twice'),
        ('"Plain"', "Plain"),
    ],
)
def test_quotes_go_only_where_they_are_csv_s(tmp_path, cell, title):
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu\t1\t5\n")
    (tmp_path / "a.item").write_text(f"item_id:token\ttitle:token_seq\n1\t{cell}\n")
    assert [record.title for record in open_reader(tmp_path).items({"1"})] == [title]
