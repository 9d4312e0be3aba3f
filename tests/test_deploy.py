"""Both windows as Spaces: what goes up, what is refused, and that it runs from there alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bundle_toys
import core_toys
import pytest
import toy_bundles
import yaml
from hub_server import TOKEN, USER, serve

from diger.deploy import WINDOWS, build
from diger.hub import parse
from diger.hub.client import look, talking
from diger.hub.fetch import bring

SPACE = f"{USER}/try-it"
SECRET = "a-secret-that-nobody-may-see"

hub = pytest.fixture(serve)


@pytest.fixture
def run(hub, tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Run `deploy`, which must end with `code`; what it says."""
    monkeypatch.setenv("READ_TOKEN", SECRET)

    def call(*arguments: object, code: int = 0) -> str:
        assert core_toys.main("deploy", *arguments, monkeypatch=monkeypatch) == code
        said = "".join(capsys.readouterr())
        assert SECRET not in said and TOKEN not in said
        return said

    return call


@pytest.fixture
def bundles(tmp_path) -> Path:
    for seed in (0, 1):
        bundle_toys.write_bundle(tmp_path / "here" / f"toys-static-s{seed}", seed=seed)
    bundle_toys.write_bundle(tmp_path / "here" / "toys-static-s2", complete=False)
    return tmp_path / "here"


def front_matter(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


def test_a_space_is_made_and_then_brought_up_to_date(run, hub, bundles):
    ask = ("app", SPACE, "--checkpoints", bundles, "--secret", "READ_TOKEN")
    planned = run(*ask, "--dry-run")
    assert hub.repos == {} and "secret    READ_TOKEN" in planned and "to be made" in planned
    done = run(*ask)
    space = hub.repos[SPACE]
    assert space.private and space.sdk == "gradio" and "https://ann-try-it.hf.space" in done
    assert space.settings == {"DIGER_BUNDLES": "checkpoints", "READ_TOKEN": SECRET}
    folders = {name.split("/")[1] for name in space.files if name.startswith("checkpoints/")}
    assert folders == {path.name for path in bundles.iterdir()}
    assert {"app.py", "pre-requirements.txt", "diger/hub/fetch.py"} <= space.files.keys()
    assert not [n for n in space.files if re.match("diger/(training|cli|deploy)/|dashboard", n)]
    version = front_matter(space.files["README.md"])["sdk_version"]
    wanted = space.files["requirements.txt"].decode()
    assert f"\ngradio[oauth,mcp]=={version}\n" in wanted
    for data in (*space.files.values(), *hub.blobs.values()):
        assert SECRET.encode() not in data and TOKEN.encode() not in data

    before = space.head
    assert "sent 0 B" in run(*ask) and space.head == before
    run("app", SPACE, "--checkpoints", bundles / "toys-static-s1")
    assert len(space.commits) == 3 and "checkpoints/toys-static-s0/config.json" not in space.files


def test_what_is_not_ours_or_would_be_seen_is_refused(run, hub, bundles, monkeypatch):
    ask = ("dashboard", SPACE, "--checkpoints", bundles)
    hub.make(SPACE, **{"model.py": b""})
    assert "holds something else" in run(*ask, code=2)
    hub.make(SPACE, private=False)
    assert "is public" in run(*ask, code=2)
    assert "lends its GPU" in run(*ask, "--hardware", "zero-a10g", code=2)
    assert "NO_SUCH_NAME" in run(*ask, "--secret", "NO_SUCH_NAME", code=2)
    hub.make(f"{USER}/toy", **{"manifest.json": b"{}"})
    held = ("app", SPACE, "--public", "--checkpoints", f"hub://{USER}/toy")
    assert "--secret HF_TOKEN" in run(*held, code=2)
    with monkeypatch.context() as patch:
        patch.setattr("diger.hub.commit.current_token", lambda: "sdk: docker")
        assert "access token" in run(*ask, "--public", code=2)
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())


def test_bundles_on_the_hub_are_pinned_and_found_where_they_were_preloaded(run, hub, bundles):
    one = bundles / "toys-static-s0"
    repo = hub.make(f"{USER}/toy", private=False, **{p.name: p.read_bytes() for p in one.iterdir()})
    run("app", SPACE, "--checkpoints", f"hub://{USER}/toy")
    pinned = f"hub://{USER}/toy@{repo.head}"
    assert hub.repos[SPACE].settings["DIGER_BUNDLES"] == pinned
    front = front_matter(hub.repos[SPACE].files["README.md"])
    (line,) = front["preload_from_hub"]
    repo_id, names, commit = line.split(" ")
    assert front["models"] == [repo_id] == [repo.name] and commit == repo.head

    from huggingface_hub import hf_hub_download

    for name in names.split(","):  # as a Space does while it is built
        hf_hub_download(repo_id, name, revision=commit)
    asked = len(hub.requests)
    bring(parse(pinned), commit, names.split(","), bundles / "fetched")
    assert len(hub.requests) == asked and (bundles / "fetched" / "manifest.json").is_file()
    with talking("looking") as api:
        assert set(names.split(",")) == look(api, parse(pinned)).files.keys() - {".gitattributes"}


def test_the_dashboard_runs_alone_and_without_torch(tmp_path):
    bundle = toy_bundles.write_runs(tmp_path / "bundles", "static", "differentiable")
    out = tmp_path / "space"
    built = build(WINDOWS["dashboard"], [str(bundle.parent)], out)
    assert (out / "Dockerfile").is_file() and (out / "checkpoints" / bundle.name).is_dir()
    assert front_matter((out / "README.md").read_bytes())["app_port"] == 8501
    assert "torch" not in re.sub(r"#.*", "", (out / "requirements.txt").read_text())
    # An editable installation would lend what the Space lacks.
    alone = "import sys; sys.meta_path = [f for f in sys.meta_path if 'ditable' not in str(f)]\n"
    code = alone + WINDOWS["dashboard"].ask
    given = {**os.environ, **built.variables}
    subprocess.run([sys.executable, "-c", code], cwd=out, env=given, check=True, timeout=180)


@pytest.mark.skipif("DIGER_DEPLOY" not in os.environ, reason="minutes of pip: set DIGER_DEPLOY=1")
@pytest.mark.parametrize("window", ["app", "dashboard"])
def test_what_would_go_up_runs_in_a_clean_environment(window, run, hub, monkeypatch):
    """With one bundle copied, and one that the window fetches from the Hub as it starts."""
    checkpoints = Path(__file__).parents[1] / "checkpoints"
    files = (checkpoints / "films-differentiable-s0").iterdir()
    hub.make(f"{USER}/films", private=False, **{path.name: path.read_bytes() for path in files})
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    sources = (checkpoints / "films-static-s0", f"hub://{USER}/films")
    said = run(window, SPACE, *(x for one in sources for x in ("--checkpoints", one)), "--local")
    assert "answers at http://127.0.0.1" in said
    assert ("torch none" in said) == (window == "dashboard")
    assert hub.count("ann/films/resolve/.*ranks.parquet") > 0
    assert not any("authorization" in r.headers for r in hub.requests if "resolve" in r.path)
