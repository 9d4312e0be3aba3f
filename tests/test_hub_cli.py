"""The Hub's commands as people run them, and that a token shows up nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import bundle_toys
import core_toys
import pytest
from hub_server import TOKEN, USER, Hub, point_client_at

REPO = f"{USER}/toy-static"
ROOT = Path(__file__).parents[1]
# Several commands in one process, each as if typed; a line of its own between them.
DRIVER = """
import json, sys
from diger import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["diger", *arguments]
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    print(f"--- {code}", flush=True)
"""


class Said(NamedTuple):
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture
def run(hub, tmp_path, monkeypatch, capsys) -> Callable[..., Said]:
    point_client_at(hub.url, tmp_path / "home", monkeypatch)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = core_toys.main(*arguments, monkeypatch=monkeypatch)
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def bundle(tmp_path) -> Path:
    return bundle_toys.write_bundle(tmp_path / "here" / "toys-static-s0")


def words(text: str) -> str:
    return " ".join(text.split())


def test_publish_and_what_it_says(run, hub, bundle):
    planned = run("publish", bundle, REPO, "--dry-run")
    assert planned.code == 0 and hub.repos == {}
    assert re.search(r"model\.safetensors\s+\d+ B\s+to send", planned.out)
    total = re.search(r"would send ([\d,]+) B to (\S+) \(to be made, private\)", planned.out)
    assert total and total[2] == f"{hub.url}/{REPO}"
    done = run("publish", bundle, REPO, "--tag", "v1")
    assert done.code == 0 and "to send" not in done.out and done.err == ""
    assert f"sent {total[1]} B to {hub.url}/{REPO} (private), commit" in done.out
    assert f'load it: diger.load("hub://{REPO}@v1")' in done.out
    again = run("publish", bundle, REPO)
    assert "all of it is at" in again.out and re.search(r"config\.json\s+848 B\s+there", again.out)


def test_list_pull_diff_and_collect(run, hub, bundle, tmp_path):
    assert "no DIGER bundles" in run("list", USER).out
    run("publish", bundle, REPO)
    listed = words(run("list").out)
    assert f"{REPO} private toys static 0 0.5000 0.2500 2026-01-02" in listed
    assert json.loads(run("list", USER, "--json").out)[0]["metrics"]["recall@10"] == 0.5
    pulled = run("pull", REPO)
    assert pulled.out.startswith(f"checkpoints/toy-static: hub://{REPO}, commit ")
    assert "every byte of it" in run("pull", f"hub://{REPO}", "--out", "checkpoints/toy-static").out
    same = run("diff", "checkpoints/toy-static", REPO)
    assert same.code == 0 and "identical" in same.out
    card = run("diff", bundle, f"{REPO}@main")
    assert card.code == 0 and "the same but for the card" in card.out
    bundle_toys.write_bundle(bundle, force=True, seed=4)
    other = run("diff", bundle, REPO)
    assert other.code == 1 and "seed 4 0" in words(other.out)
    held = run("collect", "Toy study", REPO)
    assert held.code == 0 and f"added  {REPO}" in held.out and "/collections/ann/" in held.out
    assert f"is in  {REPO}" in run("collect", "Toy study", REPO).out


def test_an_address_does_where_a_path_does(run, hub, bundle, tmp_path):
    run("publish", bundle, REPO)
    address = f"hub://{REPO}"
    assert "toys-static-s0" in run("show", address).out
    assert run("sids", address).out.startswith("item_id,sid,level_1")
    assert "Red kite" in run("sids", address).out
    wrong = run("show", "hub://nobody")
    assert wrong.code == 2 and wrong.err.startswith("error: ") and "hub://owner/name" in wrong.err


def test_a_catalogue_on_the_command_line(run, tmp_path, tmp_path_factory):
    path = core_toys.static_run(tmp_path_factory.getbasetemp())[1]
    (tmp_path / "mine.tsv").write_text("item_id\ttitle\ni3\tThe third thing\n")
    said = run("recommend", path, "--history", "i3", "--catalogue", "mine.tsv")
    assert "The third thing" in said.out
    wrong = run("recommend", path, "--history", "i3", "--catalogue", "nothing.tsv")
    assert wrong.code == 2 and "there is no such catalogue file" in wrong.err


def test_faults_are_one_line(run, hub, bundle):
    hub.fail("/commit/", status=500)
    said = run("publish", bundle, REPO)
    assert said.code == 2 and said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"error: publishing {REPO}: the Hub has trouble of its own (500)")


def test_the_whole_way_with_a_planted_token(hub, tmp_path, tmp_path_factory):
    """Publish, list, pull, load, recommend in processes of their own; then without a network."""
    trained = core_toys.static_run(tmp_path_factory.getbasetemp())[1]
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))},
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
        "OMP_NUM_THREADS": "1",
    }
    (home / "token").write_text(TOKEN)  # as `hf auth login` leaves it; elsewhere HF_TOKEN is used
    said = []

    def process(*commands: list[str], **extra: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(commands)],
            cwd=work,
            env={**environment, **extra},
            capture_output=True,
            text=True,
        )
        said.append(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return re.split(r"--- \d+\n", done.stdout)[:-1]

    ask = ["--history", "i3,i4,i5", "--json"]
    # A fault whose answer repeats the token that was sent.
    hub.fail("/commit/", status=403, body=b'{"error": "who is {echo}?"}')
    refused, published, listed, _pulled, here, there, compared = process(
        ["publish", str(trained), REPO],
        ["publish", str(trained), REPO],
        ["list"],
        ["pull", REPO, "--out", "mine"],
        ["recommend", str(trained), *ask],
        ["recommend", f"hub://{REPO}", *ask],
        ["diff", "mine", REPO],
    )
    assert refused == "" and "who is [token]" in said[0]
    assert "sent " in published and REPO in listed and "identical" in compared
    assert json.loads(here) == json.loads(there)
    held = hub.repos[REPO].files
    assert {p.name: p.read_bytes() for p in (work / "mine").iterdir()}.items() <= held.items()
    hub.close()
    (offline,) = process(["recommend", f"hub://{REPO}", *ask], HF_HUB_OFFLINE="1")
    assert json.loads(offline) == json.loads(here)

    assert TOKEN in "".join(r.headers.get("authorization", "") for r in hub.requests)  # it was used
    assert TOKEN not in "".join(said)
    secret = TOKEN.encode()
    for path in [*tmp_path.rglob("*"), *trained.rglob("*")]:
        if path.is_file() and path != home / "token":
            assert secret not in path.read_bytes(), path
            assert TOKEN not in path.name
    for name, data in (*held.items(), *hub.blobs.items()):
        assert secret not in data, name
    for request in hub.requests:
        assert secret not in request.body and TOKEN not in request.path
        if request.server == "storage":
            assert "authorization" not in request.headers
