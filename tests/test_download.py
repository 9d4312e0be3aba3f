"""Datasets by name, from a server on the loopback: whole, gone on with, checked, or not at all."""

from __future__ import annotations

import io
import json
import zipfile
from hashlib import md5
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub, serve, sha256
from test_formats import amazon_2023, diger, movielens_1m
from typer.testing import CliRunner

from diger.cli import app
from diger.data.readers import recognised
from diger.errors import DigerError
from diger.hub import datasets
from diger.hub.datasets import download

hub = pytest.fixture(serve)


@pytest.fixture
def archive(hub: Hub, tmp_path, monkeypatch) -> bytes:
    """What the server gives out as ml-1m.zip."""
    (tmp_path / "made").mkdir()
    movielens_1m(tmp_path / "made")
    (tmp_path / "made" / "README").write_text("terms")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.mkdir("ml-1m")
        for path in (tmp_path / "made").iterdir():
            packed.write(path, f"ml-1m/{path.name}")
        packed.writestr("../README-elsewhere", "nothing may land outside")
    hub.blobs["ml-1m.zip"] = data.getvalue()
    monkeypatch.setattr(datasets, "GROUPLENS", f"{hub.storage}/")
    monkeypatch.setitem(datasets.ARCHIVES, "ml-1m", md5(data.getvalue()).hexdigest())
    return data.getvalue()


def test_an_archive_is_fetched_checked_and_unpacked(hub, archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["download", "ml-1m"])
    folder = tmp_path / "downloads" / "ml-1m"
    assert told.exit_code == 0 and f"prepare {folder} --out data/ml-1m" in told.output
    names = {"ratings.dat", "movies.dat", "README", "README-elsewhere"}
    assert {path.name for path in folder.iterdir()} == names
    assert recognised(folder) == ["movielens"] and list(folder.parent.iterdir()) == [folder]
    assert all(TOKEN not in str(request.headers) for request in hub.requests)
    with pytest.raises(DigerError, match="is there already"):
        download("ml-1m", folder)


def test_what_came_before_a_cut_is_gone_on_with(hub, archive, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    out = tmp_path / "out"
    hub.fail("GET /ml-1m.zip", cut=1000)
    hub.fail("GET /ml-1m.zip", cut=0, times=99)
    with pytest.raises(DigerError, match=r"connection was cut.*what came is kept"):
        download("ml-1m", out)
    assert not out.exists()
    assert (tmp_path / ".out.partial" / "ml-1m.zip").read_bytes() == archive[:1000]
    hub.faults.clear()
    hub.requests.clear()
    download("ml-1m", out)
    assert [request.headers["range"] for request in hub.requests] == ["bytes=1000-"]
    assert recognised(out) and not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize("came", [b"another file altogether", b"x" * 10**5])
def test_what_does_not_have_its_hash_is_thrown_away(hub, archive, tmp_path, came):
    part = tmp_path / ".out.partial" / "ml-1m.zip"
    part.parent.mkdir()
    part.write_bytes(came)
    with pytest.raises(DigerError, match=r"came with the MD5 .* and its source publishes"):
        download("ml-1m", tmp_path / "out")
    assert not part.exists()
    hub.fail("GET /ml-1m.zip", wrong=True)
    with pytest.raises(DigerError, match="thrown away"):
        download("ml-1m", tmp_path / "out")
    assert recognised(download("ml-1m", tmp_path / "out"))


def test_a_whole_archive_needs_no_server(hub, archive, tmp_path):
    part = tmp_path / ".out.partial" / "ml-1m.zip"
    part.parent.mkdir()
    part.write_bytes(archive)
    hub.close()
    assert recognised(download("ml-1m", tmp_path / "out"))


def test_datasets_on_the_hub(hub, tmp_path):
    files: dict[str, bytes] = {"README.md": b"terms"}
    for name, make in (("amazon", amazon_2023), ("beauty", diger)):
        folder = tmp_path / name
        folder.mkdir()
        make(folder)
        for path in folder.iterdir():
            kind = "meta" if path.name.startswith("meta") else "review"
            place = f"raw/{kind}_categories" if name == "amazon" else name
            files[f"{place}/{path.name}"] = path.read_bytes()
    for repo in datasets.REPOSITORIES.values():
        hub.make(repo, private=False, **files)

    out = download("amazon-2023/All_Beauty", tmp_path / "one")
    assert {path.name for path in out.iterdir()} == {"All_Beauty.jsonl", "meta_All_Beauty.jsonl"}
    assert recognised(out) == ["amazon"]
    assert recognised(download("diger", tmp_path / "two") / "beauty") == ["diger"]
    with pytest.raises(DigerError, match="is amazon-2023/Beuty spelt right"):
        download("amazon-2023/Beuty", tmp_path / "three")

    large = sha256(files["raw/review_categories/All_Beauty.jsonl"])
    for match in (f"GET /lfs/{large}", "GET .*/emb_map|GET .*README.md"):
        hub.fail(match, wrong=True)
    for name in ("amazon-2023/All_Beauty", "diger"):
        with pytest.raises(DigerError, match="is not what the Hub says it is"):
            download(name, tmp_path / "four")
        assert not (tmp_path / "four").exists()
    assert recognised(download("amazon-2023/All_Beauty", tmp_path / "four")) == ["amazon"]


def test_names_and_answers_that_are_no_use(hub, archive, tmp_path):
    for name in ("ml-1n", "amazon-2023/", "amazon-2023/../x", "amazon-2023/*"):
        with pytest.raises(DigerError, match="no dataset is called"):
            download(name, tmp_path / "out")
    hub.fail("GET /ml-1m.zip", status=404, body=json.dumps({"error": "gone"}).encode())
    with pytest.raises(DigerError, match=r"127.0.0.1: the server answers 404"):
        download("ml-1m", tmp_path / "out")
    Path(tmp_path / "file").write_text("")
    with pytest.raises(DigerError, match="cannot write"):
        download("ml-1m", tmp_path / "file" / "out")
