"""Whatever may go wrong between here and the Hub: what is said, and that nothing is half done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundle_toys as toys
import pytest
from hub_server import TOKEN, USER, Hub, point_client_at

from diger.errors import DigerError
from diger.hub import collect, diff, list_hub, local_path, publish, pull

REPO = f"{USER}/toys"
KEPT = "nobody sees a change, so the same command goes on"
UNCHANGED = "Nothing on the Hub was changed"
MODEL = r"/model\.safetensors"


@pytest.fixture
def hub():
    with Hub() as server:
        yield server


@pytest.fixture(autouse=True)
def clock(hub, tmp_path, monkeypatch):
    return point_client_at(hub.url, tmp_path / "home", monkeypatch)


@contextlib.contextmanager
def hurry(how: dict[str, Any]) -> Iterator[None]:
    """Little patience with a server that says nothing; elsewhere this machine may be slow."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "diger.hub.client.TIMEOUT",
            "huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT",
            "huggingface_hub.file_download._ETAG_RETRY_TIMEOUT",
        ):
            if "stall" in how:
                patch.setattr(name, 0.4)
        yield


@pytest.fixture
def bundle(tmp_path) -> Path:
    return toys.write_bundle(tmp_path / "here")


@pytest.fixture
def published(bundle, hub) -> Path:
    publish(bundle, REPO)
    hub.forget()
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


def nothing_half_taken(tmp_path: Path) -> None:
    """No folder that could be taken for a bundle, nowhere."""
    assert {p.name for p in tmp_path.iterdir()} <= {"here", "home"}
    bundles = tmp_path / "home" / "assets" / "diger" / "bundles"
    assert all(p.suffix in (".partial", ".lock") for p in bundles.glob("*/*") if p.name != "refs")


def large(bundle: Path, name: str) -> str:
    """What the Hub calls a large file of a bundle: its SHA-256."""
    return hashlib.sha256((bundle / name).read_bytes()).hexdigest()


def sent(hub: Hub) -> set[str]:
    return {r.path.rsplit("/", 1)[-1] for r in hub.requests if r.method == "PUT"}


# --- on the way up: refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "how", "message"),
    [
        (
            "POST /api/repos/create",
            {"status": 403, "body": b'{"error": "no rights"}'},
            rf"the Hub does not allow it \(it says: no rights\): your token.*{UNCHANGED}",
        ),
        ("POST /api/repos/create", {"status": 500}, rf"trouble of its own \(500\).*{UNCHANGED}"),
        ("POST /api/repos/create", {"stall": True}, rf"no answer in time.*{UNCHANGED}"),
        ("GET /api/models/.*/revision", {"cut": 10}, rf"connection was cut.*{UNCHANGED}"),
        (
            "GET /api/models/.*/revision",
            {"status": 200, "body": b"<html>Please log in to the airport's network</html>"},
            rf"was not understood; a proxy or a login page.*{UNCHANGED}",
        ),
        ("POST .*objects/batch", {"status": 403}, rf"does not allow it.*{KEPT}"),
        ("POST .*/commit/", {"status": 409}, rf"in conflict.*{KEPT}"),
        ("POST .*/commit/", {"status": 412}, rf"somebody else changed it.*{KEPT}"),
        (
            "POST .*/commit/",
            {"status": 429, "headers": {"Retry-After": "900"}},
            rf"again in 900 s.*{KEPT}",
        ),
    ],
)
def test_a_fault_while_publishing(hub, bundle, match, how, message):
    before = files(bundle)
    hub.fail(match, times=20, **how)
    with hurry(how):
        line = refused(publish, bundle, REPO)
    assert re.search(message, line), line
    assert line.startswith(f"publishing {REPO}: ")
    assert all(len(repo.order) == 1 for repo in hub.repos.values())  # no commit of ours
    assert files(bundle) == before
    # Once the fault is gone, the same command does all that is left to do.
    hub.faults.clear()
    done = publish(bundle, REPO)
    assert len(hub.repos[REPO].order) == 2 and set(hub.repos[REPO].files) > set(done.sizes)


def test_a_token_that_is_wrong_or_missing(hub, bundle, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mistypedmistypedmistyped")
    hub.make(REPO)
    assert "refuses your token; it may be mistyped" in refused(publish, bundle, f"{USER}/new")
    assert "hf auth login" in refused(publish, bundle, REPO)
    monkeypatch.delenv("HF_TOKEN")
    hub.forget()
    assert "you are not logged in: log in with `hf auth login`" in refused(publish, bundle, REPO)
    assert hub.requests == []
    plan = publish(bundle, REPO, dry_run=True)  # still told what would go
    assert plan.exists is None and plan.send and "could not be asked" in plan.notes[-1]
    assert list(hub.repos) == [REPO] and len(hub.repos[REPO].order) == 1


def test_somebody_elses_place(hub, bundle):
    line = refused(publish, bundle, "bob/toys")
    assert "it says: you have no rights on bob" in line and UNCHANGED in line
    assert hub.repos == {}


def test_a_commit_of_somebody_else_is_not_overwritten(hub, published):
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

    repo.resolve = resolve
    line = refused(publish, published, REPO)
    assert "somebody else changed it" in line and KEPT in line
    assert repo.files == theirs
    publish(published, REPO)
    assert repo.files["LICENSE"] == b"theirs"


# --- on the way up: limits, cuts and lost answers -------------------------------------------------


@pytest.mark.parametrize("how", [{"cut": 60}, {"status": 500}, {"stall": True}])
def test_an_upload_that_is_cut_goes_on(hub, bundle, how):
    hub.fail("PUT", times=2, **how)
    with hurry(how):
        publish(bundle, REPO)
    assert len(hub.repos[REPO].order) == 2


def test_after_a_cut_that_lasts_only_the_rest_is_sent(hub, bundle):
    lost = large(bundle, "ranks.parquet")
    hub.fail(f"PUT .*{lost}", times=99, status=500)
    assert KEPT in refused(publish, bundle, REPO)
    assert len(hub.repos[REPO].order) == 1 and lost not in hub.blobs
    arrived = set(hub.blobs)
    hub.faults.clear()
    hub.forget()
    publish(bundle, REPO)
    assert lost in sent(hub) and not sent(hub) & arrived
    assert len(hub.repos[REPO].order) == 2


def test_a_commit_whose_answer_is_lost_is_found_again(hub, bundle):
    hub.fail("POST .*/commit/", after=True)
    line = refused(publish, bundle, REPO)
    assert "cut" in line and "the same command goes on" in line
    assert len(hub.repos[REPO].order) == 2  # it was made all the same
    hub.forget()
    again = publish(bundle, REPO)
    assert again.send == () and again.commit == hub.repos[REPO].head
    assert len(hub.repos[REPO].order) == 2 and sent(hub) == set()


def test_bytes_that_change_on_their_way_up_are_noticed(hub, bundle, tmp_path):
    held = large(bundle, "model.safetensors")
    hub.fail(f"PUT .*{held}", wrong=True)
    line = refused(publish, bundle, REPO)
    assert "the Hub holds something else than was sent as model.safetensors" in line
    # Nobody can take it for the bundle.
    assert "model.safetensors on the Hub is not the file" in refused(pull, REPO, tmp_path / "out")
    nothing_half_taken(tmp_path)


def test_files_that_the_hub_leaves_out_are_noticed(hub, bundle):
    answer = {"files": [{"path": "topk.parquet", "uploadMode": "lfs", "shouldIgnore": True}]}
    others = [n for n in (p.name for p in bundle.iterdir()) if n != "topk.parquet"]
    answer["files"] += [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in others]
    hub.fail("POST .*/preupload", status=200, body=json.dumps(answer).encode(), times=9)
    assert "as topk.parquet (does a .gitignore" in refused(publish, bundle, REPO)


def test_a_tag_that_fails_leaves_the_bundle(hub, bundle):
    hub.fail("POST .*/tag/", status=500)
    line = refused(publish, bundle, REPO, tag="v1")
    assert "tagging" in line and f"The bundle is there, at commit {hub.repos[REPO].head[:12]}" in (
        line
    )
    assert publish(bundle, REPO, tag="v1").send == () and "v1" in hub.repos[REPO].tags


# --- on the way down ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "how", "message"),
    [
        ("/revision/", {"status": 500}, r"trouble of its own \(500\)"),
        ("/revision/", {"stall": True}, "no answer in time"),
        ("/revision/", {"status": 200, "body": b"[]"}, "was not understood"),
        (
            "/revision/",
            {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}},
            "access is granted by its owner",
        ),
        ("HEAD .*manifest", {"status": 500}, r"trouble of its own \(500\)"),
        (f"HEAD .*{MODEL}", {"status": 404}, "not on the Hub"),
        ("GET /lfs/", {"status": 403}, "does not allow it"),
        ("GET /lfs/", {"cut": 0}, "the connection was cut"),
        ("GET /lfs/", {"wrong": True}, "does not match .*thrown away"),
    ],
)
def test_a_fault_while_fetching(hub, published, tmp_path, match, how, message):
    hub.fail(match, times=99, **how)
    with hurry(how):
        line = refused(pull, REPO, tmp_path / "out")
    assert re.search(message, line), line
    assert f"hub://{REPO}: " in line
    nothing_half_taken(tmp_path)
    hub.faults.clear()
    pull(REPO, tmp_path / "out")
    assert files(tmp_path / "out").items() <= hub.repos[REPO].files.items()


def test_what_is_not_there(hub, published, monkeypatch):
    assert "not on the Hub, or it is private" in refused(local_path, f"hub://{USER}/nothing")
    assert "no such revision" in refused(local_path, f"hub://{REPO}@v9")
    monkeypatch.delenv("HF_TOKEN")
    line = refused(local_path, f"hub://{REPO}")
    assert "it is private and you are not logged in: log in with `hf auth login`" in line


def test_after_a_cut_that_lasts_whole_files_are_not_fetched_again(hub, published, tmp_path):
    model = large(published, "model.safetensors")
    hub.fail(f"GET .*{model}", cut=10, times=99)
    refused(pull, REPO, tmp_path / "out")
    nothing_half_taken(tmp_path)
    hub.faults.clear()
    came = {r.path for r in hub.requests if r.server == "storage" and model not in r.path}
    hub.forget()
    pull(REPO, tmp_path / "out")
    again = {r.path for r in hub.requests if r.method == "GET" and r.server == "storage"}
    assert f"/lfs/{model}" in again and not again & came
    assert files(tmp_path / "out").items() <= hub.repos[REPO].files.items()


def test_a_manifest_that_lies_is_refused_before_anything_large_comes(hub, published, tmp_path):
    repo = hub.repos[REPO]
    manifest = json.loads(repo.files["manifest.json"])
    manifest["files"]["model.safetensors"]["sha256"] = "0" * 64
    repo.commit({**repo.files, "manifest.json": json.dumps(manifest).encode()})
    assert "model.safetensors on the Hub is not the file that its manifest lists" in refused(
        pull, REPO, tmp_path / "out"
    )
    assert hub.count("GET /lfs/") == 0
    del manifest["files"]["model.safetensors"], manifest["files"]["content.safetensors"]
    manifest["files"]["../../evil.json"] = {"sha256": "0" * 64, "bytes": 1}
    repo.commit({**repo.files, "manifest.json": json.dumps(manifest).encode()})
    assert "is a path, not the name" in refused(pull, REPO, tmp_path / "out")
    nothing_half_taken(tmp_path)


def test_files_sent_from_elsewhere_are_checked_and_no_token_goes_there(hub, published, tmp_path):
    data = hub.repos[REPO].files["model.safetensors"]
    with Hub() as elsewhere:
        elsewhere.blobs["weights"] = bytes(len(data))
        headers = {
            "X-Repo-Commit": hub.repos[REPO].head,
            "X-Linked-Size": str(len(data)),
            "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "Location": f"{elsewhere.storage}/lfs/weights",
        }
        hub.fail(f"HEAD .*{MODEL}", status=302, headers=headers, times=9)
        assert "thrown away" in refused(pull, REPO, tmp_path / "out")
        nothing_half_taken(tmp_path)
        elsewhere.blobs["weights"] = data  # the very file is as good as from here
        pull(REPO, tmp_path / "out")
        assert elsewhere.requests
        assert all("authorization" not in request.headers for request in elsewhere.requests)
    for request in hub.requests:
        if request.server == "storage":
            assert "authorization" not in request.headers


# --- without a network ----------------------------------------------------------------------------


@pytest.fixture
def offline(hub, monkeypatch):
    def go(how: str) -> None:
        if how == "switch":
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        else:
            hub.close()

    return go


@pytest.mark.parametrize("how", ["switch", "cable"])
def test_what_was_fetched_loads_without_a_network(hub, published, tmp_path, offline, how, clock):
    before = local_path(f"hub://{REPO}")
    commit = hub.repos[REPO].head
    offline(how)
    notes = []
    assert local_path(f"hub://{REPO}", say=notes.append) == before
    assert f"cannot be reached: taking hub://{REPO} as last seen, commit {commit[:12]}" in notes[0]
    assert local_path(f"hub://{REPO}@{commit}", say=notes.append) == before and len(notes) == 1
    pull(REPO, tmp_path / "out", say=notes.append)
    assert files(tmp_path / "out").items() <= hub.repos[REPO].files.items()
    assert clock.naps == []


@pytest.mark.parametrize("how", ["switch", "cable"])
def test_what_was_not_fetched_is_told_at_once(hub, published, tmp_path, offline, how, clock):
    offline(how)
    reason = "HF_HUB_OFFLINE is set" if how == "switch" else "no connection"
    for call in (
        lambda: local_path(f"hub://{REPO}"),
        lambda: local_path(f"hub://{REPO}@{'0' * 40}"),
        lambda: pull(REPO, tmp_path / "out"),
        lambda: publish(published, REPO),
        lambda: collect("Study", [REPO]),
        lambda: diff(published, f"hub://{REPO}"),
    ):
        assert f"the Hub cannot be reached ({reason})" in refused(call)
    assert clock.naps == []
    # For a list the client itself insists for a while.
    assert f"the Hub cannot be reached ({reason})" in refused(list_hub, USER)
    nothing_half_taken(tmp_path)
    assert publish(published, REPO, dry_run=True).exists is None


@pytest.mark.parametrize("how", [{"status": 500}, {"stall": True}])
def test_a_hub_in_trouble_is_worked_around_with_a_copy(hub, published, how):
    before = local_path(f"hub://{REPO}")
    hub.fail("/revision/", times=9, **how)
    notes = []
    with hurry(how):
        assert local_path(f"hub://{REPO}", say=notes.append) == before
    assert "as last seen" in notes[0]


def test_a_copy_does_not_outlive_a_refusal(hub, published):
    local_path(f"hub://{REPO}")
    hub.fail("/revision/", status=403)
    assert "does not allow it" in refused(local_path, f"hub://{REPO}")


# --- others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429])
def test_faults_of_lists_comparisons_and_collections(hub, published, status):
    hub.fail("GET /api/models", status=status, times=9)
    for call in (
        lambda: list_hub(USER),
        lambda: diff(published, f"hub://{REPO}"),
        lambda: collect("Study", [REPO]),
    ):
        refused(call)
    hub.faults.clear()
    hub.fail("items", status=status, times=9)
    refused(collect, "Study", [REPO])
    hub.faults.clear()
    assert collect("Study", [REPO]).added == (REPO,) and len(hub.collections) == 1


def test_a_token_in_a_bundle_does_not_leave(hub, tmp_path):
    for planted in (TOKEN, "hf_" + "SomeBodyElses" * 3):
        bundle = toys.write_bundle(tmp_path / planted[:8], code_version=planted)
        line = refused(publish, bundle, REPO)
        assert "config.json holds what looks like an access token: nothing was sent" in line
    assert hub.requests == []


def test_a_token_that_the_hub_sends_back_is_not_shown(hub, published, capfd):
    notes = []
    body = b'{"error": "bad header {echo}"}'
    hub.fail("POST|GET /api", status=403, body=body, times=99)
    for call in (
        lambda: publish(published, REPO, say=notes.append),
        lambda: pull(REPO, say=notes.append),
        lambda: list_hub(USER),
        lambda: collect("Study", [REPO]),
    ):
        assert "[token]" in refused(call)
    out, err = capfd.readouterr()
    assert TOKEN not in out + err + "".join(notes)
