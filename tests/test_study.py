"""Studies: the file, the grid, what is skipped, kept and refused, what happens when runs fail."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import core_toys as toys
import numpy as np
import pytest
from study_toys import STUDY, Drawn, draw, go, job_of, keys, make, make_plain, states

import diger
from diger.bundle.reader import Bundle
from diger.config import ContentConfig
from diger.content.encoder import revision_here
from diger.content.vectors import write_tensors
from diger.errors import Busy, DigerError, Stopped
from diger.files import file_sha256
from diger.study.config import Study, load_study
from diger.study.grid import Run, grid, select
from diger.study.match import file_digest
from diger.study.process import Job
from diger.study.progress import duration, estimate, expected_seconds, survey
from diger.tokenizer.config import TokenizerConfig

ROOT = Path(diger.__file__).parents[1]


@pytest.fixture
def plain(tmp_path) -> Study:
    return make_plain(tmp_path)


def state_of(run: Run) -> str:
    return survey([run])[0].state


def changed(run: Run, **recipe: Any) -> Run:
    return replace(run, recipe=run.recipe.model_copy(update=recipe))


def test_the_grid_is_in_an_order_in_which_it_can_be_made(tmp_path):
    runs = grid(make(tmp_path))
    assert keys(runs) == [
        *("ring/static/0", "ring/differentiable/0", "ring/frozen/0", "ring/popularity/0"),
        *("ring/static/1", "ring/differentiable/1", "ring/popularity/1"),
        *("walk/static/4", "walk/differentiable/4", "walk/popularity/4"),
    ]
    assert [run.key for run in runs if run.complete] == [
        *("ring/static/0", "ring/differentiable/0"),  # the first seed of the arms named
        *("walk/static/4", "walk/differentiable/4"),
    ]
    every = make(tmp_path, STUDY.replace('complete = ["static", "differentiable"]', ""))
    assert all(run.complete for run in grid(every))
    with pytest.raises(DigerError, match=r"no run ring/statc/0 .*did you mean ring/static/0"):
        select(runs, "ring/statc/0")


def test_an_arm_is_a_recipe_and_what_is_laid_over_it(tmp_path):
    runs = grid(make(tmp_path))
    keys = ("ring/static/0", "ring/differentiable/1", "walk/differentiable/4")
    base, joint, elsewhere = (select(runs, key).recipe for key in keys)
    assert joint.method == "differentiable" and joint.joint.learning_rate == 1e-2
    assert joint.backbone == base.backbone and joint.training == base.training
    assert elsewhere.training.epochs == 4 and elsewhere.joint == joint.joint
    frozen = select(runs, "ring/frozen/0")
    assert frozen.sids_from == "ring/differentiable/0" and frozen.start_from is None
    assert frozen.out == tmp_path / "bundles" / "ring-frozen-s0"


CIRCLE = 'method = "differentiable"\ndatasets = ["ring"]\nseeds = [0]\nsids_from = "frozen"\n'
RECIPE = 'static = "{folder}/recipe.toml"'
WALK_EPOCHS = "on.walk.training.epochs = 4\n"
ON_RING = 'datasets = ["ring"]'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy"', "", "study.toml: name is missing; add it"),
        ('name = "toy"', 'name = "../x"', "name: '../x' cannot be part of a file's name"),
        ('["static", "diff', '["sttic", "diff', "complete: no arm named sttic; did you mean"),
        ("seeds = [4]", "seeds = []", r"datasets.walk: seeds: .*at least 1"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "datasets.ring: seeds: 0 is listed twice"),
        (RECIPE, "static = 3", "arms.static: must be a recipe's name"),
        ("sids_from =", "sid_from =", "arms.frozen: unknown key sid_from; did you mean sids_from"),
        ("seeds = [0]", "seeds = [7]", "arms.frozen.seeds: 7 is not a seed of any"),
        (ON_RING, 'datasets = ["ring", "walk"]', "none of its seeds is one of walk's"),
        ("joint.learning_rate", "joint.lerning_rate", "unknown key joint.lerning_rate; did you"),
        ("on.walk", "on.wlk", "arms.differentiable.on: no dataset named wlk; did you mean walk"),
        ("on.walk", 'datasets = ["ring"]\non.walk', "on.walk: the arm is not run on walk"),
        ('arm = "differentiable"', 'arm = "static"', "claims: an arm cannot be compared with it"),
        (
            RECIPE,
            'static = {{recipe = "{folder}/recipe.toml", sids_from = "frozen"}}',
            "arms.static.sids_from: frozen is not run on ring with seed 1",
        ),
        ('method = "differentiable"\n', CIRCLE, "arms need each other: .*frozen"),
        ("[datasets.ring]", "[datasets.ring", "not valid TOML"),
        ("seeds = [4]", f"seeds = [{'7' * 5000}]", "study.toml: a number in it is too long"),
        ("seeds = [4]", f"seeds = [{'7' * 400}]", r"datasets.walk: seeds.0: .{,99}got 7{79}…"),
        ("seeds = [4]", f"seeds = {'[' * 900}{']' * 900}", "study.toml: nested too deeply"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_in_one_line(tmp_path, old, new, message):
    assert old in STUDY
    text = STUDY.replace(old, new, 1)
    if new == CIRCLE:
        text = text.replace(WALK_EPOCHS, "")
    with pytest.raises(DigerError, match=message) as caught:
        make(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("static", "own", "claimed", "message"),
    [
        (", seeds = [1, 4]", "seeds = [0, 4]", "", "no seed in common on ring"),
        (', datasets = ["walk"]', ON_RING, "", "static and differentiable share no dataset"),
        ("", ON_RING, 'datasets = ["ring", "walk"]', "differentiable is not run on walk"),
        ("", ON_RING, "", None),  # said of all datasets: of those that both arms are run on
    ],
)
def test_a_claim_has_two_arms_with_a_seed_in_common(tmp_path, static, own, claimed, message):
    text = STUDY.replace(WALK_EPOCHS, f"{own}\n")
    text = text.replace(RECIPE, f'static = {{{{recipe = "{{folder}}/recipe.toml"{static}}}}}')
    text += f"{claimed}\n"
    if message is None:
        assert make(tmp_path, text).claims is not None
        return
    with pytest.raises(DigerError, match=f"claims.*: .*{message}"):
        make(tmp_path, text)


def test_two_runs_never_share_a_folder(tmp_path):
    text = STUDY.replace("[datasets.walk]", "[datasets.ring-b]").replace("on.walk", "on.ring-b")
    text = text.replace("[arms]", '[arms]\nb-static = "{folder}/recipe.toml"')
    study = make(tmp_path, text.replace("seeds = [4]", "seeds = [0]"))
    with pytest.raises(DigerError, match="ring/b-static/0 and ring-b/static/0 would both be"):
        grid(study)


def test_the_studies_that_come_along_are_whole():
    studies = {path.stem: load_study(path) for path in (ROOT / "studies").glob("*.toml")}
    for name, study in studies.items():
        one_seed = name in ("ablations", "instruments")
        assert grid(study) and (study.claims is None) == one_seed
    for arm in ("static", "detached", "differentiable"):
        key = f"scientific/{arm}/0"
        main, ablations = (select(grid(studies[name]), key) for name in ("main", "ablations"))
        assert main.recipe == ablations.recipe and main.out == ablations.out


def test_the_example_in_the_documentation(tmp_path):
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    runs = grid(load_study(tmp_path / "study.toml"))
    assert select(runs, "beauty/continued/2").start_from == "beauty/static/2"


def test_all_is_made_once_and_one_row_again_when_asked(plain):
    first, second = Drawn(), Drawn()
    assert len(go(plain, first).made) == len(first.made) == 9
    assert set(states(plain).values()) == {"done"}
    outcome = go(plain, second)
    assert second.made == outcome.made == [] and not outcome.failed
    before = Bundle.open(plain.bundles / "ring-static-s1").hash
    execute = Drawn(ring_static_s1=lambda job: (shutil.rmtree(job.out), draw(job, quality=0.5)))
    assert go(plain, execute, only="ring/static/1").made == ["ring/static/1"]
    assert Bundle.open(plain.bundles / "ring-static-s1").hash != before


def test_what_fails_holds_up_nobody(plain):
    execute = Drawn(ring_static_s1=DigerError("not that one"), walk_static_s4=lambda job: None)
    outcome = go(plain, execute)
    assert outcome.failed.keys() == {"ring/static/1", "walk/static/4"}
    assert outcome.failed["ring/static/1"] == "not that one"
    assert "no bundle at" in outcome.failed["walk/static/4"]  # it left nothing
    assert len(outcome.made) == 7
    again = Drawn()
    go(plain, again)
    assert again.made == ["ring-static-s1", "walk-static-s4"]


def test_ctrl_c_ends_the_study(plain):
    execute, rest = Drawn(ring_popularity_s0=Stopped("stopped")), Drawn()
    with pytest.raises(Stopped):
        go(plain, execute)
    assert len(execute.made) == 3
    go(plain, rest)
    assert len(rest.made) == 7 and rest.made[0] == "ring-popularity-s0"


def test_a_run_that_another_process_is_at_is_left_to_it(plain):
    def meanwhile(job: Job) -> None:
        draw(job)  # the other process is through
        raise DigerError(f"{job.out}: it already exists")

    execute = Drawn(ring_static_s0=Busy("busy"), ring_static_s1=meanwhile)
    outcome = go(plain, execute)
    assert outcome.elsewhere == ["ring/static/0"] and not outcome.failed
    assert execute.made.count("ring-static-s0") == 2  # it was asked again at the end
    assert "ring/static/1" in outcome.made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 5}, "seed is 5 there, 0 here"),
        ({"fingerprint": "f" * 64}, r"made on other data \(fingerprint ffffffff there"),
        ({"sids_from": {"name": "ring-x-s0"}}, "sids_from is ring-x-s0 there, not set here"),
    ],
)
def test_a_bundle_made_otherwise_is_refused(plain, changes, message):
    run = grid(plain)[0]
    draw(job_of(run), **changes)
    execute = Drawn()
    with pytest.raises(DigerError, match=f"was made otherwise: {message}.*--only ring/static/0"):
        go(plain, execute)
    assert execute.made == []
    go(plain, execute, only="ring/static/0")  # makes it as it should be
    assert states(plain)["ring/static/0"] == "done"


def test_content_counts_where_it_is_used_and_known(plain, tmp_path):
    run, other = (select(grid(plain), f"ring/{arm}/0") for arm in ("static", "popularity"))
    vectors = tmp_path / "vectors.npy"
    for each in (run, other):
        draw(job_of(each), content={"revision": f"sha256:{file_sha256(vectors)}"})
    assert state_of(run) == "done"
    toys.write_vectors(vectors, seed=1)
    with pytest.raises(DigerError, match="was made otherwise: made on other content vectors"):
        go(plain, Drawn())
    assert state_of(other) == "done"
    vectors.unlink()
    assert state_of(run) == "done"  # nothing to compare with


def test_encoded_text_counts_where_it_is_used(plain, tmp_path):
    runs = [select(grid(plain), f"ring/{arm}/0") for arm in ("static", "popularity")]
    runs[0] = changed(runs[0], content=ContentConfig(encoder="a/b"))
    path = tmp_path / "ring" / "dataset.json"
    info = json.loads(path.read_text())
    for run in runs:
        draw(job_of(run), text_fingerprint=info["text_fingerprint"])
    assert [cell.state for cell in survey(runs)] == ["done"] * 2
    path.write_text(json.dumps({**info, "text_fingerprint": "f" * 64}))
    static, popularity = survey(runs)
    assert "other item text (fingerprint" in static.reason and popularity.state == "done"
    kept = tmp_path / "content" / "a-b-64.safetensors"
    metadata = {"encoder": "a/b", "revision": "1"}
    write_tensors(kept, {"vectors": np.zeros((1, 2), "f4")}, metadata)
    for name, revision in (("a/b", "1"), ("a/b@1", "1"), ("a/b@2", None)):
        assert revision_here(name, folder=tmp_path, digest=file_digest) == revision


def test_files_of_sids_count(plain, tmp_path):
    path = tmp_path / "sids.csv"
    path.write_text("item_id,sid\n")
    tokenizer = TokenizerConfig(kind="file", file={"path": str(path)})
    run = changed(grid(plain)[0], tokenizer=tokenizer)
    draw(job_of(run), tokenizer={"file_sha256": file_sha256(path)})
    assert state_of(run) == "done"
    path.write_text("item_id,sid\ni1,1\n")
    assert "made on other SIDs from a file (fingerprint" in survey([run])[0].reason


def test_without_data_bundles_are_measured_against_each_other(plain, tmp_path):
    for seed in (0, 1):
        run = select(grid(plain), f"ring/static/{seed}")
        draw(job_of(run), content={"revision": f"sha256:{seed}"})
    shutil.rmtree(tmp_path / "ring")
    (tmp_path / "vectors.npy").unlink()
    found = states(plain)
    assert [found[f"ring/static/{seed}"] for seed in (0, 1)] == ["done", "in the way"]


@pytest.mark.parametrize(
    ("arm", "table", "change", "said"),
    [
        ("static", "training", {"epochs": 99}, "training.epochs is 99 there, 3 here"),
        ("static", "training", {"ema": None}, "training.ema is not set there, 0.9 here"),
        ("static", "tokenizer", {"balanced": None}, None),  # off, and not known then
        ("static", "content", {"encoder": "/elsewhere/vectors.npy"}, None),  # a file's place
        ("popularity", "training", {"weight_decay": 0.5}, None),  # it plays no part there
    ],
)
def test_the_setting_that_differs_is_named(plain, arm, table, change, said):
    run = select(grid(plain), f"ring/{arm}/0")
    recipe = run.recipe.model_dump(mode="json")
    recipe["name"], recipe["about"] = "another name", "does not matter"
    laid = {**recipe[table], **change}
    recipe[table] = {key: value for key, value in laid.items() if change.get(key, 0) is not None}
    draw(job_of(run), whole_recipe=recipe)
    (cell,) = survey([run])
    assert cell.state == ("in the way" if said else "done")
    assert said is None or cell.reason.endswith(said)


def test_what_was_made_from_a_former_bundle_is_not_done(tmp_path):
    runs = grid(make(tmp_path, STUDY.replace('sids_from = "diff', 'start_from = "diff')))
    source, run = select(runs, "ring/differentiable/0"), select(runs, "ring/frozen/0")
    draw(job_of(source))
    name = source.out.name
    items = Bundle.open(source.out).manifest.files["items.parquet"].sha256
    same = {"items.parquet": items, "model.safetensors": "f" * 64}  # weights dropped since
    for files, state in ((same, "done"), ({"items.parquet": "e" * 64}, "in the way")):
        shutil.rmtree(run.out, ignore_errors=True)
        draw(job_of(run), start_from={"name": name, "files": files}, sids_from={"name": name})
        (cell,) = survey([run])
        assert cell.state == state
    assert cell.reason.endswith("which was made again since (items.parquet is another)")
    shutil.rmtree(source.out)  # moved away: nothing to compare with
    assert state_of(run) == "done"


def test_something_else_in_the_way_is_never_replaced(plain):
    (plain.bundles / "ring-static-s0").mkdir(parents=True)
    (plain.bundles / "ring-static-s0" / "thesis.txt").write_text("mine")
    for only in ("", "ring/static/0"):
        with pytest.raises(DigerError, match="holds something that is not a bundle"):
            go(plain, Drawn(), only=only)


def test_data_that_is_not_there_stops_only_its_own_runs(plain, tmp_path):
    shutil.rmtree(tmp_path / "walk")
    outcome = go(plain, Drawn())
    assert len(outcome.made) == 6 and len(outcome.failed) == 3
    assert "no dataset folder at" in outcome.failed["walk/static/4"]
    assert states(plain)["walk/static/4"] == "no data"


def test_what_needs_weights_says_so(tmp_path):
    outcome = go(make(tmp_path), Drawn())  # drawn bundles have none
    (said,) = outcome.failed.values()
    assert "needs the weights of ring-differentiable-s0" in said
    assert "--only ring/differentiable/0" in said
    outcome = go(make(tmp_path / "b"), Drawn(ring_differentiable_s0=DigerError("no")))
    assert outcome.failed["ring/frozen/0"] == "it needs ring-differentiable-s0, which failed"


def test_time_left_by_hand(tmp_path):
    runs = grid(make(tmp_path))
    draw(job_of(select(runs, "ring/static/0")), seconds=54.3)  # 1.5 before and 4.2 after it
    cells = survey(runs)
    # On other data in proportion to events and epochs; both recipes have 3 epochs.
    elsewhere = select(runs, "walk/static/4")
    events = json.loads((elsewhere.data / "dataset.json").read_text())["n_events"]
    expected = 60 * events / cells[0].bundle.config["dataset"]["events"]
    for key, seconds in (
        ("ring/static/1", 60),
        ("ring/frozen/0", 60),  # an arm that ran nowhere takes as long as its like
        ("walk/static/4", expected),
    ):
        assert expected_seconds(select(runs, key), cells) == pytest.approx(seconds)
    for key in ("ring/differentiable/0", "ring/popularity/0"):
        assert expected_seconds(select(runs, key), cells) is None
    left = estimate([c.run for c in cells if c.state != "done"], cells)
    assert left.seconds == pytest.approx(120 + expected) and left.unknown == 6
    assert str(left).startswith("at least ")
    assert duration(0.2) == "1 s" and duration(7260) == "2 h 01 min"
