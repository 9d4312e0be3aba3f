"""Publish, list, pull, load, compare, collect: the real client against a Hub on this machine."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import bundle_toys as toys
import pytest
from hub_server import GIT_ATTRIBUTES, USER, Hub, serve
from test_bundle_damage import seal

from diger.bundle import Bundle
from diger.errors import DigerError
from diger.hub import collect, diff, is_address, list_hub, local_path, members, parse, publish, pull

REPO = f"{USER}/toys"
ADDRESS = f"hub://{REPO}"

hub = pytest.fixture(serve)


@pytest.fixture
def bundle(hub, tmp_path) -> Path:
    return toys.write_bundle(tmp_path / "here" / "toys-static-s0")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def on_hub(hub: Hub, repo_id: str = REPO) -> dict[str, bytes]:
    held = dict(hub.repos[repo_id].files)
    assert held.pop(".gitattributes") == GIT_ATTRIBUTES
    return held


def test_what_is_published_is_pulled_byte_for_byte(hub, bundle, tmp_path):
    before = files(bundle)
    done = publish(bundle, REPO)
    held = on_hub(hub)
    assert done.private and hub.repos[REPO].private and done.commit == hub.repos[REPO].head
    assert len(hub.repos[REPO].commits) == 2  # the Hub's own, and one of ours
    assert set(done.send) == set(held) and done.remove == ()
    assert files(bundle) == before  # publishing leaves the bundle alone

    out = tmp_path / "out"
    pulled = pull(REPO, out)
    assert files(out) == held and pulled.commit == done.commit
    # All but the card and so the manifest is what was on the disk.
    same = before.keys() - {"README.md", "manifest.json"}
    assert held.keys() == before.keys() and all(held[name] == before[name] for name in same)
    assert Bundle.open(out).items["title"].tolist()[1] == "Red kite"  # text goes where it may
    assert {e.name for e in tmp_path.iterdir()} == {"here", "home", "out"}


def test_a_dry_run_changes_nothing_and_nothing_is_sent_twice(hub, bundle):
    plan = publish(bundle, REPO, dry_run=True)
    assert plan.commit is None and plan.exists is False and plan.private
    assert set(plan.send) == set(files(bundle))
    assert sum(plan.sizes.values()) > 10_000 and hub.repos == {}
    first = publish(bundle, REPO)
    hub.requests.clear()
    plan = publish(bundle, REPO, dry_run=True)
    assert plan.exists is True and plan.send == ()
    again = publish(bundle, REPO)
    assert again.send == () and set(again.sizes) == set(first.send)
    assert again.commit == first.commit and hub.count("^(PUT|POST)") == 0


def test_only_what_changed_goes_and_what_is_gone_is_removed(hub, bundle):
    publish(bundle, REPO)
    toys.write_bundle(bundle, force=True, complete=False, seed=1)
    hub.requests.clear()
    done = publish(bundle, REPO)
    assert done.remove == ("content.safetensors", "model.safetensors")
    assert set(done.send) == {"README.md", "config.json", "manifest.json"}
    assert hub.count("^PUT") == 0 and set(on_hub(hub)) == set(done.sizes)
    assert Bundle.open(local_path(ADDRESS)).kind == "results-only"


def test_earlier_versions_stay_reachable(hub, bundle):
    first = publish(bundle, REPO, tag="v1")
    toys.write_bundle(bundle, force=True, seed=1)
    second = publish(bundle, REPO, tag="v2")
    for revision, seed in (("", 1), ("@v1", 0), ("@v2", 1), (f"@{first.commit}", 0)):
        assert Bundle.open(local_path(ADDRESS + revision)).config["seed"] == seed
    with pytest.raises(DigerError, match=r"the tag v1 is there already.*choose another"):
        publish(bundle, REPO, tag="v1")
    assert publish(bundle, REPO, tag="v2").commit == second.commit  # what it names already
    with pytest.raises(DigerError, match="is not a revision"):
        publish(bundle, REPO, tag="v 3")
    with pytest.raises(DigerError, match="without a revision"):
        publish(bundle, f"{REPO}@v3")
    assert len(hub.repos[REPO].commits) == 3


def test_private_unless_told_otherwise(hub, bundle):
    assert publish(bundle, f"{USER}/open", public=True).private is False
    assert hub.repos[f"{USER}/open"].private is False
    toys.write_bundle(bundle, force=True, seed=2)
    with pytest.raises(DigerError, match=r"is public: add --public.*on the Hub was changed"):
        publish(bundle, f"{USER}/open")
    assert len(hub.repos[f"{USER}/open"].commits) == 2
    publish(bundle, REPO)
    done = publish(bundle, REPO, public=True)
    assert done.private and "private and stays so" in " ".join(done.notes)


def test_what_is_not_ours_stays(hub, bundle):
    hub.make(REPO, **{"README.md": b"mine", "pytorch_model.bin": b"weights"})
    with pytest.raises(DigerError, match=r"something else than a bundle \(pytorch_model\.bin\)"):
        publish(bundle, REPO)
    assert hub.repos[REPO].files["README.md"] == b"mine"
    hub.make(REPO, **{"README.md": b"made on the web", "LICENSE": b"terms"})
    for call in (local_path, lambda address: diff(address, address)):
        with pytest.raises(DigerError, match="is no DIGER bundle: it has no manifest"):
            call(ADDRESS)
    publish(bundle, REPO)
    assert hub.repos[REPO].files["LICENSE"] == b"terms"
    assert "LICENSE" not in files(local_path(ADDRESS))


@pytest.mark.parametrize("held_back", [True, False])
def test_text_stays_here_where_it_may_not_go(hub, bundle, held_back):
    if held_back:  # by the owner's setting; else by an option
        path = bundle / "config.json"
        path.write_text(re.sub('("text_may_be_published"): true', r"\1: false", path.read_text()))
        seal(bundle)
    done = publish(bundle, REPO, without_text=not held_back)
    assert "item text stays here" in done.notes[0]
    assert ("does not allow" in done.notes[0]) is held_back
    assert "examples.parquet" not in on_hub(hub)
    fetched = Bundle.open(local_path(ADDRESS))
    assert "title" not in fetched.items and fetched.examples is None
    assert "| item text in the bundle | no |" in fetched.card
    for name, data in on_hub(hub).items():
        assert b"Red kite" not in data, name


def test_the_card_is_set_beside_its_sibling(hub, bundle):
    arm = {"method": "differentiable", "decay": "none", "noise": "gumbel"}
    other = toys.write_bundle(bundle.with_name("toys-diff-s0"), name="toys-diff-s0", arm=arm)
    toys.write_bundle(bundle.with_name("other-seed"), arm=arm, seed=1)
    alien = toys.write_bundle(bundle.with_name("a-other-data"), arm=arm, backbone="t5")
    done = publish(bundle, REPO)
    assert "beside toys-diff-s0" in " ".join(done.notes)
    card = on_hub(hub)["README.md"].decode()
    assert "### Beside its differentiable sibling" in card
    assert "| recall@10 | 0.5000 | 0.5000 | +0.0000 (+0.0%) |" in card
    assert "The sibling is toys-diff-s0" in card and f'diger.load("{ADDRESS}")' in card

    publish(other, f"{USER}/diff", sibling=ADDRESS)
    card = on_hub(hub, f"{USER}/diff")["README.md"].decode()
    assert f"[toys-static-s0](https://huggingface.co/{REPO})" in card
    publish(bundle, REPO, sibling="none")
    assert "Beside" not in on_hub(hub)["README.md"].decode()
    with pytest.raises(DigerError, match="its backbone is another"):
        publish(bundle, REPO, sibling=alien)


def test_a_card_of_ones_own_is_kept(hub, bundle):
    publish(bundle, REPO, keep_card=True)
    assert on_hub(hub) == files(bundle) and diff(bundle, ADDRESS).identical


def test_a_card_that_the_hub_does_not_take(hub, bundle):
    hub.fail("validate-yaml", status=400, body=b'{"errors": [{"message": "no such licence"}]}')
    with pytest.raises(DigerError, match=r"does not accept the model card \(.*no such licence"):
        publish(bundle, REPO)
    assert hub.count("^PUT") == 0 and len(hub.repos[REPO].commits) == 1


def test_bundles_are_listed_by_owner(hub, bundle, monkeypatch):
    publish(bundle, REPO)
    for name in (f"{USER}/open", "study-group/shared"):
        hub.make(name, private=False, **on_hub(hub))
    hub.make(f"{USER}/other-model", **{"README.md": b"---\ntags: [bert]\n---\n"})
    mine = list_hub()
    assert mine == list_hub(USER)
    assert [(one.repo_id, one.private) for one in mine] == [(f"{USER}/open", False), (REPO, True)]
    one = dataclasses.asdict(mine[1])
    assert one["metrics"] == {"recall@10": 0.5, "ndcg@10": 0.25}
    assert (one["dataset"], one["method"], one["seed"]) == ("toys", "static", 0)
    monkeypatch.delenv("HF_TOKEN")
    assert [one.repo_id for one in list_hub(USER)] == [f"{USER}/open"]
    with pytest.raises(DigerError, match="whose bundles"):
        list_hub()
    card = b"---\ntags: [diger]\ndiger: [1]\ndataset: 3\nmodel-index: 7\n---\n"
    hub.make("anybody/odd", private=False, **{"README.md": card})
    (one,) = list_hub("anybody")
    assert one.method is None and one.metrics == {}


def test_differences_are_told_file_by_file(hub, bundle, tmp_path):
    publish(bundle, REPO)
    found = diff(bundle, ADDRESS)
    assert set(found.changed) == {"README.md"} and found.same_content and not found.identical
    assert found.settings == found.metrics == ()

    changed = toys.write_bundle(tmp_path / "changed", seed=5, complete=False, selected_epoch=1)
    found = diff(changed, Path(ADDRESS))
    assert not found.same_content and "config.json" in found.changed
    assert found.only_right == ("content.safetensors", "model.safetensors")
    assert found.settings == (("seed", 5, 0), ("selected_epoch", 1, 2))
    assert diff(bundle, changed).settings == (("seed", 0, 5), ("selected_epoch", 2, 1))
    assert hub.count("GET /lfs/") == 0


def test_a_study_is_gathered_in_a_collection(hub, bundle):
    names = [f"{USER}/run-{i}" for i in range(6)]
    publish(bundle, names[0])
    for name in names[1:]:
        hub.make(name, **on_hub(hub, names[0]))
    done = collect("Toy study", names[:5], description="six runs")
    (held,) = hub.collections.values()
    assert held["private"] and held["description"] == "six runs" and done.private
    assert [item["id"] for item in held["items"]] == names[:5] == list(done.added)
    assert held["items"][0]["note"] == {"text": "static, seed 0, recall@10 0.5000, ndcg@10 0.2500"}
    more = collect("Toy study", names)
    assert more.added == (names[5],) and set(more.were_in) == set(names[:5])
    assert more.url == done.url
    assert members(done.url.partition("/collections/")[2]) == [f"hub://{name}" for name in names]
    hub.make(f"{USER}/other", **{"README.md": b"---\ntags: [bert]\n---\n"})
    for wrong, why in (("other", "no DIGER bundle"), ("none", "not on the Hub")):
        with pytest.raises(DigerError, match=f"{why}.*Nothing on the Hub was changed"):
            collect("Another", [names[0], f"{USER}/{wrong}"])
    assert len(hub.collections) == 1


def test_pulling_again_changes_nothing_and_other_things_are_not_replaced(hub, bundle, tmp_path):
    publish(bundle, REPO)
    out = tmp_path / "out"
    assert not pull(REPO, out).was_there
    stamp = out.stat().st_mtime_ns
    assert pull(REPO, out).was_there and out.stat().st_mtime_ns == stamp
    toys.write_bundle(bundle, force=True, seed=1)
    publish(bundle, REPO)
    with pytest.raises(DigerError, match="it already exists"):
        pull(REPO, out)
    assert Bundle.open(out).config["seed"] == 0
    pull(REPO, out, force=True)
    assert Bundle.open(out).config["seed"] == 1


def test_a_pulled_folder_is_its_own_and_a_damaged_cache_is_repaired(hub, bundle, tmp_path):
    publish(bundle, REPO)
    pull(REPO, tmp_path / "out")
    (tmp_path / "out" / "config.json").write_bytes(b"scribble")
    folder = local_path(ADDRESS)
    assert files(folder) == on_hub(hub)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)  # the client's cache shares its content
    pull(REPO, tmp_path / "again")
    assert files(tmp_path / "again") == on_hub(hub) == files(folder)


@pytest.mark.parametrize(
    ("text", "repo_id", "revision"),
    [
        ("hub://ann/demo", "ann/demo", "main"),
        ("hub://ann/demo.v-1_x@v1.0", "ann/demo.v-1_x", "v1.0"),
        ("ann/demo@refs/pr/3", "ann/demo", "refs/pr/3"),
        (Path("hub://ann/demo@v1"), "ann/demo", "v1"),
        ("https://huggingface.co/ann/demo/", "ann/demo", "main"),
        ("https://huggingface.co/ann/demo/tree/v1", "ann/demo", "v1"),
    ],
)
def test_addresses_are_read(text, repo_id, revision):
    address = parse(text)
    assert (address.repo_id, address.revision) == (repo_id, revision)
    assert parse(str(address)) == address


NO_ADDRESSES = ("", "hub://", "demo", "hub://demo", "a/b/c", "hub://a/..", "hub://a/b--c")
NO_ADDRESSES += ("hub://-a/b", "hub://a/b.", "hub://a/b c", "https://example.org/a/b")


@pytest.mark.parametrize("text", [*NO_ADDRESSES, "hub://a/\x1b[31m"])
def test_what_is_no_address_is_refused_in_one_line(text):
    with pytest.raises(DigerError, match="hub://owner/name") as caught:
        parse(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("revision", ["", "../x", "a//b", "-f", "a b"])
def test_revisions_are_checked(revision):
    with pytest.raises(DigerError, match="not a revision"):
        parse(f"hub://ann/demo@{revision}")


def test_paths_stay_paths(tmp_path):
    assert local_path(tmp_path) == tmp_path
    assert local_path("ann/demo") == Path("ann/demo")  # a folder of that name, not the Hub
    assert not is_address("C:\\hub\\ann") and not is_address("hubs/a/b")


def test_neither_the_client_nor_torch_is_imported_for_a_path():
    code = (
        "import sys, diger, diger.hub as h; h.local_path('somewhere'); "
        "print([m for m in ('torch', 'huggingface_hub', 'httpx', 'httpx2') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr
