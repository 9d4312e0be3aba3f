"""Publish, list, pull, load, compare, collect: the real client against a Hub on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bundle_toys as toys
import core_toys
import pytest
from hub_server import GIT_ATTRIBUTES, USER, Hub, point_client_at

import diger
from diger.bundle import Bundle
from diger.errors import DigerError
from diger.hub import collect, diff, list_hub, local_path, members, publish, pull

REPO = f"{USER}/toys"


@pytest.fixture
def hub():
    with Hub() as server:
        yield server


@pytest.fixture
def clock(hub, tmp_path, monkeypatch):
    return point_client_at(hub.url, tmp_path / "home", monkeypatch)


@pytest.fixture
def bundle(tmp_path) -> Path:
    return toys.write_bundle(tmp_path / "here" / "toys-static-s0")


@pytest.fixture(autouse=True)
def _use(clock):
    """Every test here talks to the server."""


@pytest.fixture
def said() -> list[str]:
    return []


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def on_hub(hub: Hub, repo_id: str = REPO) -> dict[str, bytes]:
    held = dict(hub.repos[repo_id].files)
    assert held.pop(".gitattributes") == GIT_ATTRIBUTES
    return held


# --- there and back -------------------------------------------------------------------------------


def test_what_is_published_is_pulled_byte_for_byte(hub, bundle, tmp_path):
    before = files(bundle)
    done = publish(bundle, REPO)
    held = on_hub(hub)
    assert done.private and hub.repos[REPO].private and done.commit == hub.repos[REPO].head
    assert len(hub.repos[REPO].order) == 2  # the Hub's own, and one of ours
    assert set(done.send) == set(held) and done.same == done.remove == ()
    assert files(bundle) == before  # publishing leaves the bundle alone

    pulled = pull(REPO, tmp_path / "out")
    assert files(tmp_path / "out") == held and pulled.commit == done.commit
    # All but the card and so the manifest is what was on the disk.
    written_anew = {"README.md", "manifest.json"}
    assert {n: d for n, d in held.items() if n not in written_anew} == {
        n: d for n, d in before.items() if n not in written_anew
    }
    assert {e.name for e in tmp_path.iterdir()} == {"here", "home", "out"}


def test_a_trained_model_recommends_the_same_from_the_hub(hub, tmp_path_factory):
    path = core_toys.static_run(tmp_path_factory.getbasetemp())[1]
    publish(path, f"{USER}/trained", tag="v1")
    history = ["i3", "i4", "i5"]
    here = diger.load(path)
    for address in (f"hub://{USER}/trained", Path(f"hub://{USER}/trained@v1")):
        there = diger.load(address)
        assert there.recommend(history, k=5) == here.recommend(history, k=5)
    assert (there.sids == here.sids).all()


def test_nothing_is_sent_twice(hub, bundle):
    first = publish(bundle, REPO)
    hub.forget()
    again = publish(bundle, REPO)
    assert again.send == () and set(again.same) == set(first.send)
    assert again.commit == first.commit and len(hub.repos[REPO].order) == 2
    assert hub.count("^(PUT|POST)") == 0


def test_only_what_changed_goes_and_what_is_gone_is_removed(hub, bundle):
    publish(bundle, REPO)
    toys.write_bundle(bundle, force=True, complete=False, seed=1)
    hub.forget()
    done = publish(bundle, REPO)
    assert done.remove == ("content.safetensors", "model.safetensors")
    assert set(done.send) == {"README.md", "config.json", "manifest.json"}
    assert hub.count("^PUT") == 0 and set(on_hub(hub)) == set(done.sizes)
    assert Bundle.open(local_path(f"hub://{REPO}")).kind == "results-only"


def test_earlier_versions_stay_reachable(hub, bundle, tmp_path):
    first = publish(bundle, REPO, tag="v1")
    toys.write_bundle(bundle, force=True, seed=1)
    second = publish(bundle, REPO, tag="v2")
    seeds = {
        revision: Bundle.open(local_path(f"hub://{REPO}{revision}")).config["seed"]
        for revision in ("", "@v1", "@v2", f"@{first.commit}", f"@{second.commit}")
    }
    assert list(seeds.values()) == [1, 0, 1, 0, 1]
    with pytest.raises(DigerError, match=r"the tag v1 is there already.*choose another"):
        publish(bundle, REPO, tag="v1")
    assert publish(bundle, REPO, tag="v2").commit == second.commit  # what it names already
    with pytest.raises(DigerError, match="is not a revision"):
        publish(bundle, REPO, tag="v 3")
    assert len(hub.repos[REPO].order) == 3


def test_a_dry_run_lists_everything_and_changes_nothing(hub, bundle):
    plan = publish(bundle, REPO, dry_run=True)
    assert plan.commit is None and plan.exists is False and plan.private
    assert set(plan.send) == set(files(bundle))
    assert sum(plan.sizes.values()) > 10_000 and hub.repos == {}
    publish(bundle, REPO)
    hub.forget()
    plan = publish(bundle, REPO, dry_run=True)
    assert plan.exists is True and plan.send == () and hub.count("^(PUT|POST)") == 0


# --- private, public, and other people's things ---------------------------------------------------


def test_private_unless_told_otherwise(hub, bundle):
    assert publish(bundle, f"{USER}/open", public=True).private is False
    assert hub.repos[f"{USER}/open"].private is False
    toys.write_bundle(bundle, force=True, seed=2)
    with pytest.raises(DigerError, match=r"is public: add --public.*on the Hub was changed"):
        publish(bundle, f"{USER}/open")
    assert len(hub.repos[f"{USER}/open"].order) == 2
    publish(bundle, REPO)
    toys.write_bundle(bundle, force=True, seed=3)
    done = publish(bundle, REPO, public=True)
    assert done.private and "private and stays so" in " ".join(done.notes)


def test_something_else_is_not_overwritten(hub, bundle):
    hub.make(REPO, **{"README.md": b"mine", "pytorch_model.bin": b"weights"})
    with pytest.raises(DigerError, match=r"something else than a bundle \(pytorch_model\.bin\)"):
        publish(bundle, REPO)
    assert hub.repos[REPO].files["README.md"] == b"mine"


def test_files_that_are_not_ours_stay_and_do_no_harm(hub, bundle):
    hub.make(REPO, **{"README.md": b"made on the web", "LICENSE": b"terms"})
    publish(bundle, REPO)
    assert hub.repos[REPO].files["LICENSE"] == b"terms"
    assert "LICENSE" not in files(local_path(f"hub://{REPO}"))


def test_a_repository_without_a_bundle_is_not_loaded(hub):
    hub.make(REPO, **{"README.md": b"hello"})
    with pytest.raises(DigerError, match="is no DIGER bundle: it has no manifest"):
        local_path(f"hub://{REPO}")
    with pytest.raises(DigerError, match="is no DIGER bundle"):
        diff(f"hub://{REPO}", f"hub://{REPO}")


# --- text goes only where it may ------------------------------------------------------------------


def hold_back(path: Path) -> None:
    """The same bundle as if the owner's setting did not allow its text to go."""
    toys.write_bundle(path, force=True)
    from test_bundle_damage import seal

    config = (path / "config.json").read_text()
    allowed = '"text_may_be_published": true'
    assert allowed in config
    (path / "config.json").write_text(config.replace(allowed, allowed.replace("true", "false")))
    seal(path)


@pytest.mark.parametrize("held_back", [True, False])
def test_text_stays_here_where_it_may_not_go(hub, bundle, held_back):
    if held_back:
        hold_back(bundle)
    done = publish(bundle, REPO, without_text=not held_back)
    assert "item text stays here" in done.notes[0]
    assert ("does not allow" in done.notes[0]) is held_back
    assert "examples.parquet" not in on_hub(hub)
    fetched = Bundle.open(local_path(f"hub://{REPO}"))
    assert "title" not in fetched.items and fetched.examples is None
    assert "| item text in the bundle | no |" in fetched.card
    for name, data in on_hub(hub).items():
        assert b"Red kite" not in data, name
    assert "Red kite" in Bundle.open(bundle).items["title"].tolist()
    assert publish(bundle, REPO, without_text=not held_back).send == ()


def test_text_goes_where_it_may(hub, bundle):
    done = publish(bundle, REPO)
    assert not any("stays here" in note for note in done.notes)
    fetched = Bundle.open(local_path(f"hub://{REPO}"))
    assert fetched.items["title"].tolist()[1] == "Red kite" and fetched.examples is not None


def test_a_catalogue_gives_titles_to_a_bundle_without(tmp_path, tmp_path_factory):
    path = core_toys.static_run(tmp_path_factory.getbasetemp())[1]
    catalogue = tmp_path / "mine.csv"
    catalogue.write_text("item_id,title\n" + "".join(f"i{i},Thing {i}\n" for i in range(20)))
    plain, titled = diger.load(path), diger.load(path, catalogue=catalogue)
    assert {r.title for r in plain.recommend(["i3"])} == {None}
    for one in titled.recommend(["i3"]):
        number = int(one.item_id.removeprefix("i"))
        assert one.title == (f"Thing {number}" if number < 20 else None)
    catalogue.write_text("item_id,title\nelse,where\n")
    with pytest.raises(DigerError, match="give the catalogue of the same dataset"):
        diger.load(path, catalogue=catalogue)


# --- the card -------------------------------------------------------------------------------------


def test_the_card_is_set_beside_its_sibling(hub, bundle):
    differentiable = {"method": "differentiable", "decay": "none", "noise": "gumbel"}
    other = bundle.with_name("toys-diff-s0")
    toys.write_bundle(other, name="toys-diff-s0", arm=differentiable)
    toys.write_bundle(bundle.with_name("other-seed"), arm=differentiable, seed=1)
    toys.write_bundle(bundle.with_name("a-other-data"), arm=differentiable, backbone="t5")
    done = publish(bundle, REPO)
    assert "beside toys-diff-s0" in " ".join(done.notes)
    card = on_hub(hub)["README.md"].decode()
    assert "### Beside its differentiable sibling" in card
    assert "| recall@10 | 0.5000 | 0.5000 | +0.0000 (+0.0%) |" in card
    assert "The sibling is toys-diff-s0" in card and "One run each (seed 0)" in card
    assert "| level | codes used |" in card
    assert f'diger.load("hub://{REPO}")' in card and "2601.19711" in card

    publish(other, f"{USER}/diff", sibling=f"hub://{REPO}")
    card = hub.repos[f"{USER}/diff"].files["README.md"].decode()
    assert f"[toys-static-s0](https://huggingface.co/{REPO})" in card
    publish(bundle, REPO, sibling="none")
    assert "Beside" not in on_hub(hub)["README.md"].decode()
    with pytest.raises(DigerError, match="its backbone is another"):
        publish(bundle, REPO, sibling=bundle.with_name("a-other-data"))


def test_a_card_of_ones_own_is_kept(hub, bundle):
    publish(bundle, REPO, keep_card=True)
    assert on_hub(hub) == files(bundle)
    assert diff(bundle, f"hub://{REPO}").identical


def test_a_card_that_the_hub_does_not_take(hub, bundle):
    hub.fail("validate-yaml", status=400, body=b'{"errors": [{"message": "no such licence"}]}')
    with pytest.raises(DigerError, match=r"does not accept the model card \(.*no such licence"):
        publish(bundle, REPO)
    assert hub.count("^PUT") == 0 and len(hub.repos[REPO].order) == 1


# --- list, compare, collect -----------------------------------------------------------------------


def test_bundles_are_listed_by_owner(hub, bundle, monkeypatch):
    publish(bundle, REPO)
    publish(bundle, f"{USER}/open", public=True)
    publish(bundle, "study-group/shared")
    hub.make(f"{USER}/other-model", **{"README.md": b"---\ntags: [bert]\n---\n"})
    mine = list_hub()
    assert mine == list_hub(USER)
    assert [(one.repo_id, one.private) for one in mine] == [(f"{USER}/open", False), (REPO, True)]
    one = dataclasses.asdict(mine[1])
    assert one["metrics"] == {"recall@10": 0.5, "ndcg@10": 0.25}
    assert (one["dataset"], one["method"], one["seed"]) == ("toys", "static", 0)
    assert [one.repo_id for one in list_hub("study-group")] == ["study-group/shared"]
    monkeypatch.delenv("HF_TOKEN")
    assert [one.repo_id for one in list_hub(USER)] == [f"{USER}/open"]
    with pytest.raises(DigerError, match="whose bundles"):
        list_hub()


def test_a_card_of_anybody_does_not_break_the_list(hub):
    card = b"---\ntags: [diger]\ndiger: [1]\ndataset: 3\nmodel-index: 7\n---\n"
    hub.make(REPO, **{"README.md": card})
    (one,) = list_hub(USER)
    assert one.method is None and one.metrics == {}


def test_differences_are_told_file_by_file(hub, bundle, tmp_path):
    publish(bundle, REPO)
    found = diff(bundle, f"hub://{REPO}")
    assert set(found.changed) == {"README.md"} and found.same_content and not found.identical
    assert found.settings == found.metrics == ()
    pull(REPO, tmp_path / "out")
    hub.forget()
    assert diff(tmp_path / "out", f"hub://{REPO}").identical
    assert hub.count("storage") == 0

    changed = toys.write_bundle(tmp_path / "changed", seed=5, complete=False, selected_epoch=1)
    found = diff(changed, Path(f"hub://{REPO}"))
    assert not found.same_content and "config.json" in found.changed
    assert found.only_right == ("content.safetensors", "model.safetensors")
    assert found.settings == (("seed", 5, 0), ("selected_epoch", 1, 2))
    assert diff(bundle, changed).settings == (("seed", 0, 5), ("selected_epoch", 2, 1))


def test_a_card_edited_on_the_web_is_named(hub, bundle, tmp_path):
    publish(bundle, REPO)
    repo = hub.repos[REPO]
    repo.commit({**repo.files, "README.md": b"edited by hand on the web"})
    with pytest.raises(
        DigerError, match=r"README\.md on the Hub is not the file that its manifest"
    ):
        pull(REPO, tmp_path / "out")
    assert "README.md" in diff(bundle, f"hub://{REPO}").changed
    publish(bundle, REPO)  # its owner can put it right
    pull(REPO, tmp_path / "out")


def test_a_study_is_gathered_in_a_collection(hub, bundle):
    names = [f"{USER}/run-{i}" for i in range(6)]
    for name in names:
        publish(bundle, name)
    done = collect("Toy study", names[:5], description="six runs")
    (held,) = hub.collections.values()
    assert held["private"] and held["description"] == "six runs" and done.private
    assert [item["id"] for item in held["items"]] == names[:5] == list(done.added)
    assert held["items"][0]["note"] == {"text": "static, seed 0, recall@10 0.5000, ndcg@10 0.2500"}
    more = collect("Toy study", names)
    assert more.added == (names[5],) and set(more.were_in) == set(names[:5])
    assert len(hub.collections) == 1 and more.url == done.url
    slug = done.url.partition("/collections/")[2]
    assert members(slug) == [f"hub://{name}" for name in names]
    with pytest.raises(DigerError, match=r"reading the collection ann/none: it is not on the Hub"):
        members("ann/none")
    hub.make(f"{USER}/other", **{"README.md": b"---\ntags: [bert]\n---\n"})
    for wrong, message in (
        (f"{USER}/other", "no DIGER bundle"),
        (f"{USER}/none", "not on the Hub"),
    ):
        with pytest.raises(DigerError, match=f"{message}.*Nothing on the Hub was changed"):
            collect("Another", [names[0], wrong])
    assert len(hub.collections) == 1


# --- the folder that is pulled to -----------------------------------------------------------------


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
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DigerError, match="not a bundle"):
        pull(REPO, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_default_folder(hub, bundle, tmp_path, monkeypatch):
    publish(bundle, REPO)
    monkeypatch.chdir(tmp_path)
    assert pull(REPO).path == Path("checkpoints/toys")
    assert Bundle.open(tmp_path / "checkpoints" / "toys").config["seed"] == 0


def test_a_pulled_folder_is_its_own(hub, bundle, tmp_path):
    publish(bundle, REPO)
    pull(REPO, tmp_path / "out")
    (tmp_path / "out" / "config.json").write_bytes(b"scribble")
    Bundle.open(local_path(f"hub://{REPO}"))  # the cache has not changed


def test_a_damaged_cache_is_repaired(hub, bundle, tmp_path):
    publish(bundle, REPO)
    folder = local_path(f"hub://{REPO}")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)  # the client's cache shares its content
    with pytest.raises(DigerError, match=r"model\.safetensors does not match"):
        Bundle.open(folder)
    pull(REPO, tmp_path / "out")
    assert files(tmp_path / "out") == on_hub(hub) == files(folder)
