"""The commands `show` and `sids`."""

import csv
import io

import bundle_toys as toys
import pytest
from typer.testing import CliRunner

from diger.bundle import BundleWriter
from diger.cli import app
from diger.errors import DigerError


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if isinstance(result.exception, DigerError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_show_one(run, tmp_path):
    shown = run("show", toys.write_bundle(tmp_path / "one"))
    words = " ".join(shown.split())
    for expected in (
        "name toys-static-s0",
        "kind complete",
        "dataset Toys & games",
        "4 users, 6 items, 20 events",
        "data simulated",
        "arm static",
        "selected epoch 2",
        "training 12.2",
        "peak memory 3.0 MiB",
        "recall@10 0.5000 0.5000 0.7500",
        "ndcg@10 0.2500 0.2500",
        "Codebooks at epoch 2; 66.7% of items alone on their codes, 16.7% with codes other",
        "1 3 2.7 50.0%",
        "model.safetensors",
    ):
        assert expected in words, expected
    assert "beam, 20" in shown and "exact" in shown


def test_show_escapes_what_came_from_data(run, tmp_path):
    name = "[red]x\x1b[31m"
    shown = run("show", toys.write_bundle(tmp_path / "one", name=name))
    assert "[red]x\\x1b[31m" in shown and "\x1b[31m" not in shown


def test_show_a_folder(run, tmp_path):
    toys.write_bundle(tmp_path / "one")
    (toys.write_bundle(tmp_path / "two", complete=False) / "topk.parquet").unlink()
    words = " ".join(run("show", tmp_path).split())
    assert "one toys static 0 0.5000 0.2500 complete" in words
    assert "two broken two: topk.parquet is missing" in words


def test_show_refuses_by_name(run, tmp_path):
    with pytest.raises(DigerError, match="no such bundle folder"):
        run("show", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DigerError, match="neither a bundle nor a folder with bundles"):
        run("show", tmp_path / "empty")


def test_sids_as_csv(run, tmp_path):
    text = run("sids", toys.write_bundle(tmp_path / "one"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["item_id", "sid", "level_1", "level_2", "level_3", "suffix", "title"]
    assert [row["sid"] for row in rows][:2] == ["1-0-3-0", "1-0-3-1"]
    assert rows[1]["level_3"] == "3" and rows[1]["suffix"] == "1"
    assert rows[5]["title"] == "Tea\\x1b[31m"
    # Formulas are defused, a missing title is empty, other text is untouched.
    assert [row["title"] for row in rows][:5] == ["'=1+1", "Red kite", "", "Blue *kite*", "'-5 mat"]


def test_sids_to_a_file(run, tmp_path):
    bundle = toys.write_bundle(tmp_path / "one", text=False)
    out = tmp_path / "sids.csv"
    out.write_text("older")
    assert run("sids", bundle, "--out", out) == ""
    assert out.read_text(encoding="utf-8").startswith(
        "item_id,sid,level_1,level_2,level_3,suffix\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "sids.csv"]


def test_sids_refuses_bad_places_and_leaves_nothing(run, tmp_path):
    bundle = toys.write_bundle(tmp_path / "one")
    with pytest.raises(DigerError, match="inside a bundle"):
        run("sids", bundle, "--out", bundle / "sids.csv")
    with pytest.raises(DigerError, match="is a folder"):
        run("sids", bundle, "--out", tmp_path)
    with pytest.raises(DigerError, match="cannot write"):
        run("sids", bundle, "--out", tmp_path / "nowhere" / "sids.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_sids_needs_sids(run, tmp_path):
    with BundleWriter(tmp_path / "one") as writer:
        writer.json("config.json", toys.config(backbone="popularity"))
        writer.json("metrics.json", toys.metrics())
        writer.text("README.md", "card")
    with pytest.raises(DigerError, match="has no semantic IDs"):
        run("sids", tmp_path / "one")
