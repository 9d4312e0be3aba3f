"""Catalogue files: item text kept beside a bundle that may not carry it."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from diger.bundle.catalogue import load_catalogue, with_text
from diger.errors import DigerError

ROWS = [
    {"item_id": "b", "title": " Bee ", "brand": "B.", "categories": ["tag", " "]},
    {"item_id": "x", "title": "Ex", "brand": None, "categories": []},
]


def write(path: Path) -> Path:
    frame = pd.DataFrame(ROWS)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if path.name.endswith(".jsonl"):
        path.write_text(lines)
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.csv", "c.tsv", "items.parquet"])
def test_every_kind_of_file_fills_in_text(tmp_path, name):
    path = write(tmp_path / name)
    items = pd.DataFrame({"item_id": ["a", "b"], "title": ["own", None]})
    filled = with_text(items, load_catalogue(path), str(path))
    assert filled["title"].tolist() == ["own", "Bee"]
    assert filled["brand"].tolist() == [None, "B."]
    assert items["title"].isna().tolist() == [False, True], "the bundle's own table stays"
    if name == "items.parquet":
        assert load_catalogue(tmp_path)["categories"].tolist() == [["tag"], []]


@pytest.mark.parametrize("name", ["c.csv", "c.tsv"])
def test_ids_are_taken_byte_for_byte_and_quotes_where_they_are_csv_s(tmp_path, name, caplog):
    between = "\t" if name == "c.tsv" else ","
    rows = ("item_id,title", "NA,One", ' a,"Said ""so"""', '007,Big "Al"')
    (tmp_path / name).write_text("\n".join(rows).replace(",", between))
    items = pd.DataFrame({"item_id": ["NA", " a", "007", "a", "7", "8", "9"]})
    filled = with_text(items, load_catalogue(tmp_path / name), name)
    assert filled["title"].tolist()[:4] == ["One", 'Said "so"', 'Big "Al"', None]
    assert "3 of the bundle's 7 items" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "", "a catalogue is a dataset folder, or a file of .parquet"),
        ("c.jsonl", '{"item_id": "a"\n', "line 1"),
        ("c.csv", "item,title\na,b\n", r"needs an item_id \(the file has item, title\)"),
        ("c.csv", "item_id,title\na,b\na,c\n", "item_id a is there twice"),
        ("c.csv", "item_id,title\na,\n", "none of its items has any text"),
        ("c.parquet", "PAR1 no", "not readable parquet"),
        ("c.jsonl.gz", "nonsense", "c.jsonl.gz"),
    ],
)
def test_bad_catalogues_are_refused_by_name(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DigerError, match=message) as caught:
        load_catalogue(path)
    assert path.name in str(caught.value) and str(caught.value).isprintable()


def test_a_catalogue_of_other_items_is_refused(tmp_path):
    with pytest.raises(DigerError, match="there is no such catalogue file"):
        load_catalogue(tmp_path / "nowhere.csv")
    other = pd.DataFrame({"item_id": ["z"], "title": ["Zed"]})
    with pytest.raises(DigerError, match="none of the bundle's items"):
        with_text(pd.DataFrame({"item_id": ["a"]}), other, "other.csv")
