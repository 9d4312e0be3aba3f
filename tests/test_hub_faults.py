"""Whatever may go wrong between here and the Hub: what is said, and that nothing is half done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import bundle_toys as toys
import pytest
from hub_server import TOKEN, USER, Hub, serve, sha256

from diger.errors import DigerError
from diger.hub import collect, diff, list_hub, local_path, publish, pull

REPO = f"{USER}/toys"
KEPT = "nobody sees a change, so the same command goes on"
UNCHANGED = "Nothing on the Hub was changed"

hub = pytest.fixture(serve)


@pytest.fixture
def bundle(hub, tmp_path) -> Path:
    return toys.write_bundle(tmp_path / "here")


@pytest.fixture
def published(bundle, hub) -> Path:
    publish(bundle, REPO)
    hub.requests.clear()
    return bundle


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def refused(call, *arguments, **options) -> str:
    """The one line of a call that must fail."""
    with pytest.raises(DigerError) as caught:
        call(*arguments, **options)
    line = str(caught.value)
    assert line.isprintable() and TOKEN not in line and len(line) < 700
    return line


def asking(folder: Path) -> list[Callable]:
    """Calls that need an answer of the Hub; the list comes last."""
    return [
        lambda: local_path(f"hub://{REPO}"),
        lambda: pull(REPO, folder.with_name("out")),
        lambda: publish(folder, REPO),
        lambda: collect("Study", [REPO]),
        lambda: diff(folder, f"hub://{REPO}"),
        lambda: list_hub(USER),
    ]


def nothing_half_taken(tmp_path: Path) -> None:
    """No folder that could be taken for a bundle, nowhere."""
    assert {p.name for p in tmp_path.iterdir()} <= {"here", "home"}
    bundles = tmp_path / "home" / "assets" / "diger" / "bundles"
    assert all(p.suffix in (".partial", ".lock") for p in bundles.glob("*/*") if p.name != "refs")


def pulled_whole(hub: Hub, out: Path) -> None:
    pull(REPO, out)
    assert files(out).items() <= hub.repos[REPO].files.items()


def sent(hub: Hub) -> set[str]:
    return {r.path.rsplit("/", 1)[-1] for r in hub.requests if r.method == "PUT"}


@pytest.mark.parametrize(
    ("match", "how", "message"),
    [
        ("/create", {"status": 403, "body": b'{"error": "no"}'}, rf"it says: no\).*{UNCHANGED}"),
        ("/create", {"stall": True}, rf"no answer in time.*{UNCHANGED}"),
        ("/revision/", {"status": 200, "body": b"<html>"}, rf"; a proxy or a login.*{UNCHANGED}"),
        ("PUT", {"cut": 60}, rf"connection was cut.*{KEPT}"),
        ("/commit/", {"status": 409}, rf"in conflict.*{KEPT}"),
        ("/commit/", {"status": 429, "headers": {"Retry-After": "900"}}, rf"in 900 s.*{KEPT}"),
    ],
)
def test_a_fault_while_publishing(hub, bundle, monkeypatch, match, how, message):
    before = files(bundle)
    hub.fail(match, times=99, **how)
    with monkeypatch.context() as patch:
        if "stall" in how:
            patch.setattr("diger.hub.client.TIMEOUT", 0.4)
        line = refused(publish, bundle, REPO)
    assert re.search(message, line) and line.startswith(f"publishing {REPO}: "), line
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())  # none of ours
    assert files(bundle) == before
    hub.faults.clear()
    done = publish(bundle, REPO)  # the same command does all that is left to do
    assert len(hub.repos[REPO].commits) == 2 and set(hub.repos[REPO].files) > set(done.sizes)


def test_a_token_that_is_wrong_or_missing(hub, bundle, monkeypatch):
    hub.make(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_mistypedmistypedmistyped")
    assert "refuses your token; it may be mistyped" in refused(publish, bundle, REPO)
    monkeypatch.delenv("HF_TOKEN")
    hub.requests.clear()
    assert "you are not logged in: log in with `hf auth login`" in refused(publish, bundle, REPO)
    assert hub.requests == []
    plan = publish(bundle, REPO, dry_run=True)  # still told what would go
    assert plan.exists is None and plan.send and "could not be asked" in plan.notes[-1]
    assert len(hub.repos[REPO].commits) == 1


def test_a_commit_of_somebody_else_is_not_overwritten(hub, published, monkeypatch):
    repo = hub.repos[REPO]
    toys.write_bundle(published, force=True, seed=1)
    theirs = {**repo.files, "LICENSE": b"theirs"}
    look = repo.resolve

    def resolve(revision: str) -> str | None:
        """Their commit arrives after we have looked, and before ours."""
        answer = look(revision)
        if "LICENSE" not in repo.files:
            repo.commit(theirs)
        return answer

    monkeypatch.setattr(repo, "resolve", resolve)
    line = refused(publish, published, REPO)
    assert "somebody else changed it" in line and KEPT in line
    assert repo.files == theirs
    publish(published, REPO)
    assert repo.files["LICENSE"] == b"theirs"


def test_a_commit_whose_answer_is_lost_is_found_again(hub, bundle):
    hub.fail("POST .*/commit/", after=True)
    line = refused(publish, bundle, REPO)
    assert "cut" in line and "the same command goes on" in line
    hub.requests.clear()
    again = publish(bundle, REPO)
    assert again.send == () and again.commit == hub.repos[REPO].head
    assert len(hub.repos[REPO].commits) == 2 and sent(hub) == set()


def test_bytes_that_change_on_their_way_up_are_noticed(hub, bundle, tmp_path):
    hub.fail(f"PUT .*{sha256((bundle / 'model.safetensors').read_bytes())}", wrong=True)
    line = refused(publish, bundle, REPO)
    assert "the Hub holds something else than was sent as model.safetensors" in line
    assert "model.safetensors on the Hub is not the file" in refused(pull, REPO, tmp_path / "out")
    nothing_half_taken(tmp_path)


def test_a_tag_that_fails_leaves_the_bundle(hub, bundle):
    hub.fail("POST .*/tag/", status=500)
    line = refused(publish, bundle, REPO, tag="v1")
    assert f"The bundle is there, at commit {hub.repos[REPO].head[:12]}" in line
    assert publish(bundle, REPO, tag="v1").send == () and "v1" in hub.repos[REPO].tags


@pytest.mark.parametrize(
    ("match", "how", "message"),
    [
        ("/revision/", {"status": 500}, r"trouble of its own \(500\)"),
        ("/revision/", {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, "by its owner"),
        ("GET /lfs/", {"cut": 10}, "the connection was cut"),
        ("GET /lfs/", {"wrong": True}, "does not match .*thrown away"),
    ],
)
def test_a_fault_while_fetching(hub, published, tmp_path, match, how, message):
    hub.fail(match, times=99, **how)
    line = refused(pull, REPO, tmp_path / "out")
    assert re.search(message, line) and f"hub://{REPO}: " in line, line
    nothing_half_taken(tmp_path)
    hub.faults.clear()
    pulled_whole(hub, tmp_path / "out")


def test_what_is_not_there(hub, published, monkeypatch):
    assert "not on the Hub, or it is private" in refused(local_path, f"hub://{USER}/nothing")
    assert "no such revision" in refused(local_path, f"hub://{REPO}@v9")
    monkeypatch.delenv("HF_TOKEN")
    line = refused(local_path, f"hub://{REPO}")
    assert "it is private and you are not logged in: log in with `hf auth login`" in line


def test_a_manifest_that_lies_is_refused_before_anything_large_comes(hub, published, tmp_path):
    repo = hub.repos[REPO]
    manifest = json.loads(repo.files["manifest.json"])
    manifest["files"]["model.safetensors"] = {"sha256": "0" * 64, "bytes": 1}
    repo.commit({**repo.files, "manifest.json": json.dumps(manifest).encode()})
    assert "model.safetensors on the Hub is not the file" in refused(pull, REPO, tmp_path / "out")
    assert hub.count("GET /lfs/") == 0
    nothing_half_taken(tmp_path)


@pytest.fixture(params=["HF_HUB_OFFLINE is set", "no connection"])
def offline(request, hub, monkeypatch) -> Callable[[], str]:
    """Go off the network, by the client's switch or the cable; the reason that is then given."""

    def go() -> str:
        if "OFFLINE" in request.param:
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        else:
            hub.close()
        return f"the Hub cannot be reached ({request.param})"

    return go


def test_what_was_fetched_loads_without_a_network(hub, published, tmp_path, offline, capsys):
    before = local_path(f"hub://{REPO}")
    commit = hub.repos[REPO].head
    offline()
    assert local_path(f"hub://{REPO}") == before
    note = f"cannot be reached: taking hub://{REPO} as last seen, commit {commit[:12]}"
    assert note in capsys.readouterr().err
    assert local_path(f"hub://{REPO}@{commit}") == before and capsys.readouterr().err == ""
    pulled_whole(hub, tmp_path / "out")
    assert hub.naps == []


def test_what_was_not_fetched_is_told_at_once(hub, published, tmp_path, offline):
    reason = offline()
    *calls, ask_for_list = asking(published)
    for call in (*calls, lambda: local_path(f"hub://{REPO}@{'0' * 40}")):
        assert reason in refused(call)
    assert hub.naps == []
    assert reason in refused(ask_for_list)  # for this the client itself insists for a while
    nothing_half_taken(tmp_path)
    assert publish(published, REPO, dry_run=True).exists is None


def test_a_copy_helps_in_trouble_and_does_not_outlive_a_refusal(hub, published, capsys):
    before = local_path(f"hub://{REPO}")
    hub.fail("/revision/", times=9, status=500)
    assert local_path(f"hub://{REPO}") == before and "as last seen" in capsys.readouterr().err
    hub.faults.clear()
    hub.fail("/revision/", status=403)
    assert "does not allow it" in refused(local_path, f"hub://{REPO}")


@pytest.mark.parametrize("planted", [TOKEN, "hf_" + "SomeBodyElses" * 3])
def test_a_token_in_a_bundle_does_not_leave(hub, bundle, planted):
    toys.write_bundle(bundle, force=True, code_version=planted)
    line = refused(publish, bundle, REPO)
    assert "config.json holds what looks like an access token: nothing was sent" in line
    assert hub.requests == []


def test_a_token_that_the_hub_sends_back_is_not_shown(hub, published, capfd):
    hub.fail("POST|GET /api", status=403, body=b'{"error": "bad header {echo}"}', times=99)
    for call in asking(published):
        assert "[token]" in refused(call)
    assert TOKEN not in "".join(capfd.readouterr())
