"""The Hub's commands as people run them, and that a token shows up nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bundle_toys
import core_toys
import pytest
from hub_server import TOKEN, USER, serve

REPO = f"{USER}/toy-static"
ADDRESS = f"hub://{REPO}"

hub = pytest.fixture(serve)


@pytest.fixture
def run(hub, tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Run a command that must end with `code`; what it says, on stderr only where it fails."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert core_toys.main(*arguments, monkeypatch=monkeypatch) == code
        said = capsys.readouterr()
        assert code != 2 or said.out == ""
        return said.err if code == 2 else said.out

    return call


@pytest.fixture
def bundle(tmp_path) -> Path:
    return bundle_toys.write_bundle(tmp_path / "here" / "toys-static-s0")


def test_publish_and_what_it_says(run, hub, bundle):
    planned = run("publish", bundle, REPO, "--dry-run")
    assert hub.repos == {} and re.search(r"model\.safetensors\s+\d+ B\s+to send", planned)
    total = re.search(r"would send ([\d,]+) B to (\S+) \(to be made, private\)", planned)
    assert total and total[2] == f"{hub.url}/{REPO}"
    done = run("publish", bundle, REPO, "--tag", "v1")
    assert "to send" not in done and f'load it: diger.load("{ADDRESS}@v1")' in done
    assert f"sent {total[1]} B to {hub.url}/{REPO} (private), commit" in done
    again = run("publish", bundle, REPO)
    assert "all of it is at" in again and re.search(r"config\.json\s+848 B\s+there", again)


def test_list_pull_diff_and_collect(run, bundle):
    assert "no DIGER bundles" in run("list", USER)
    run("publish", bundle, REPO)
    listed = " ".join(run("list").split())
    assert f"{REPO} private toys static 0 0.5000 0.2500 2026-01-02" in listed
    assert json.loads(run("list", USER, "--json"))[0]["metrics"]["recall@10"] == 0.5
    assert run("pull", REPO).startswith(f"checkpoints/toy-static: {ADDRESS}, commit ")
    assert "every byte of it" in run("pull", ADDRESS, "--out", "checkpoints/toy-static")
    assert "identical" in run("diff", "checkpoints/toy-static", REPO)
    assert "the same but for the card" in run("diff", bundle, f"{REPO}@main")
    bundle_toys.write_bundle(bundle, force=True, seed=4)
    assert re.search(r"seed\s+4\s+0", run("diff", bundle, REPO, code=1))
    held = run("collect", "Toy study", REPO)
    assert f"added  {REPO}" in held and "/collections/ann/" in held


def test_an_address_does_where_a_path_does(run, bundle):
    run("publish", bundle, REPO)
    assert "toys-static-s0" in run("show", ADDRESS)
    table = run("sids", ADDRESS)
    assert table.startswith("item_id,sid,level_1") and "Red kite" in table
    wrong = run("show", "hub://nobody", code=2)
    assert wrong.startswith("error: ") and "hub://owner/name" in wrong


def test_a_catalogue_gives_titles_to_a_bundle_without(run, tmp_path, tmp_path_factory):
    path = core_toys.static_run(tmp_path_factory.getbasetemp())[1]
    catalogue = tmp_path / "mine.tsv"
    catalogue.write_text("item_id\ttitle\ni3\tThe third thing\n")
    ask = ["recommend", path, "--history", "i3", "--catalogue", catalogue]
    assert "The third thing" in run(*ask)


def test_the_whole_way_with_a_planted_token(hub, tmp_path, tmp_path_factory):
    """Publish, list, pull, load, recommend in processes of their own; then without a network."""
    trained = core_toys.static_run(tmp_path_factory.getbasetemp())[1]
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(TOKEN)  # as `hf auth login` leaves it; elsewhere HF_TOKEN is used
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))},
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "COLUMNS": "160",
        "OMP_NUM_THREADS": "1",
    }
    said = []

    def diger(*arguments: str, code: int = 0, **extra: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "diger", *arguments],
            cwd=tmp_path,
            env={**environment, **extra},
            capture_output=True,
            text=True,
        )
        said.append(done.stdout + done.stderr)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
        return done.stdout

    # A fault whose answer repeats the token that was sent.
    hub.fail("/commit/", status=403, body=b'{"error": "who is {echo}?"}')
    assert diger("publish", str(trained), REPO, code=2) == ""
    assert re.fullmatch(rf"error: publishing {REPO}: .*who is \[token\].*\n", said[0])
    assert "sent " in diger("publish", str(trained), REPO)
    assert REPO in diger("list")
    diger("pull", REPO, "--out", "mine")
    ask = ["--history", "i3,i4,i5", "--json"]
    here = diger("recommend", str(trained), *ask)
    assert json.loads(diger("recommend", ADDRESS, *ask)) == json.loads(here)
    hub.close()
    offline = diger("recommend", ADDRESS, *ask, HF_HUB_OFFLINE="1")
    assert json.loads(offline) == json.loads(here)

    assert TOKEN in "".join(r.headers.get("authorization", "") for r in hub.requests)  # it was used
    assert TOKEN not in "".join(said)
    secret = TOKEN.encode()
    for path in [*tmp_path.rglob("*"), *trained.rglob("*")]:
        if path.is_file() and path != home / "token":
            assert secret not in path.read_bytes() and TOKEN not in path.name, path
    for name, data in (*hub.repos[REPO].files.items(), *hub.blobs.items()):
        assert secret not in data, name
    for request in hub.requests:
        assert secret not in request.body and TOKEN not in request.path
        assert request.server == "hub" or "authorization" not in request.headers
