"""`prepare` and `embed` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import core_toys as toys
import numpy as np
import pytest
from typer.testing import CliRunner

from diger.cli import app
from diger.cli.prepare import parse_cuts
from diger.content import encoder as encoder_module
from diger.content.models import TextEncoder
from diger.data.dataset import Dataset
from diger.errors import DigerError


@pytest.fixture
def run():
    def call(*arguments: object):
        result = CliRunner().invoke(app, ["prepare", *map(str, arguments)])
        if isinstance(result.exception, DigerError):
            raise result.exception
        return result

    return call


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = [(u, i, 100 * i + u) for u in range(4) for i in range(u, u + 4)]
    text = "".join(f"u{u}\ti{i}\t{time}\n" for u, i, time in rows)
    (folder / "interactions.tsv").write_text("user_id\titem_id\ttimestamp\n" + text)
    items = [{"item_id": f"i{i}", "title": f"Thing {i}"} for i in range(7)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def test_prepare_writes_a_dataset_and_reports(run, source, tmp_path):
    out = tmp_path / "data" / "shop-1"
    result = run(source, "--out", out)
    assert result.exit_code == 0
    assert "events read" in result.stdout
    assert "already in the history" in result.stdout
    data = Dataset.load(out)
    assert data.info.fingerprint[:12] in result.stdout
    assert (data.name, data.n_users, data.n_items, data.n_events) == ("shop-1", 4, 7, 16)
    assert data.info.licence == "unknown"
    assert not data.info.text_may_be_published


def test_blanks_are_part_of_an_id_and_records_that_do_not_match_are_noticed(run, source, tmp_path):
    path = source / "items.jsonl"
    path.write_text(path.read_text().replace('": "i', '": " i').replace('" i0"', '"i0"'))
    out = tmp_path / "out"
    assert "6 of 7 items have no record" in run(source, "--out", out).stdout
    data = Dataset.load(out)
    assert set(data.items["item_id"]) == {f"i{n}" for n in range(7)}
    assert data.items["title"].notna().sum() == 1


def test_options_arrive(run, source, tmp_path):
    out = tmp_path / "out"
    options = ["--name", "shop", "--k-core", 2, "--drop-repeats", "--licence", "CC0-1.0"]
    temporal = ["--split", "temporal", "--cuts", "300,400", "--publish-text"]
    assert run(source, "--format", "simple", "--out", out, *options, *temporal).exit_code == 0
    info = Dataset.load(out).info
    assert (info.name, info.split, info.licence) == ("shop", "temporal", "CC0-1.0")
    assert info.text_may_be_published
    assert info.preparation == {
        "format": "simple",
        "k_core": 2,
        "drop_repeats": True,
        "validation_cut": 300.0,
        "test_cut": 400.0,
    }


def test_an_existing_folder_is_looked_at_before_the_work(run, source, tmp_path):
    out = tmp_path / "out"
    run(source, "--out", out)
    (source / "items.jsonl").write_text("")  # would fail later on
    with pytest.raises(DigerError, match="add --force"):
        run(source, "--out", out)
    with pytest.raises(DigerError, match=r"items\.jsonl is empty"):
        run(source, "--out", out, "--force")
    assert Dataset.load(out).n_events == 16
    with pytest.raises(DigerError, match="not a diger-dataset folder"):
        run(source, "--out", source, "--force")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--publish-text"], "--publish-text needs --licence"),
        (["--cuts", "0.8,0.9"], "add --split temporal"),
        (["--split", "temporal", "--cuts", "0.8"], "give two values"),
        (["--split", "temporal", "--cuts", "0.8,soon"], "neither a number nor a date"),
        (["--split", "loo"], "unknown split 'loo'"),
        (["--format", "csv"], "unknown format 'csv'"),
        (["--name", "a/b"], "dataset name 'a/b'"),
    ],
)
def test_options_that_do_not_fit(run, source, tmp_path, options, message):
    with pytest.raises(DigerError, match=message):
        run(source, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_dates_are_utc():
    assert parse_cuts("2014-01-01, 2014-01-02T01:00:00+01:00") == (1388534400.0, 1388620800.0)
    assert parse_cuts("0.8,0.95") == (0.8, 0.95)


def test_the_made_up_dataset_comes_along(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("made-up", "--out", "a").exit_code == 0
    dataset = Dataset.load("a")
    assert dataset.info.simulated and dataset.info.text_may_be_published
    assert (dataset.info.licence, dataset.name, dataset.n_items) == ("CC0-1.0", "a", 160)
    Path("made-up").mkdir()
    with pytest.raises(DigerError, match="no known data files in made-up"):
        run("made-up", "--out", "b")


class LengthModel:
    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts])


def test_embed_keeps_vectors_in_the_dataset_folder(tmp_path, monkeypatch):
    folder = toys.make_dataset().save(tmp_path / "toy")
    model = TextEncoder("toy/encoder", "r1", "hub", 16, LengthModel())
    monkeypatch.setattr(encoder_module, "load_text_encoder", lambda *_, **__: model)

    def embed(encoder: object):
        options = ["--encoder", str(encoder), "--max-tokens", "16"]
        return CliRunner().invoke(app, ["embed", str(folder), *options])

    said = embed("toy/encoder").output
    assert "toy: 26 items, 2 numbers each" in said and "0 without text" in said
    assert (folder / "content" / "toy-encoder-16.safetensors").is_file()
    Dataset.load(folder)  # still whole
    vectors = toys.write_vectors(tmp_path / "mine.npy")
    assert "6 numbers each (mine.npy)" in embed(vectors).output
    toys.write_vectors(vectors, n_items=2)
    assert "(26 items, dim), got (2, 6)" in str(embed(vectors).exception)
