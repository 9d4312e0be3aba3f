"""Studies: the file, the grid, what is skipped, kept and refused, what happens when runs fail."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

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
from diger.study.config import Study, load_study
from diger.study.grid import grid, select
from diger.study.match import file_digest
from diger.study.process import Job
from diger.study.progress import duration, estimate, expected_seconds, survey
from diger.tokenizer.config import TokenizerConfig

ROOT = Path(diger.__file__).parents[1]


@pytest.fixture
def plain(tmp_path) -> Study:
    return make_plain(tmp_path)


# --- the file -------------------------------------------------------------------------------------


def test_the_grid_is_in_an_order_in_which_it_can_be_made(tmp_path):
    study = make(tmp_path)
    assert list(study.arms) == ["static", "differentiable", "frozen", "popularity"]
    assert keys(grid(study)) == [
        *("ring/static/0", "ring/differentiable/0", "ring/frozen/0", "ring/popularity/0"),
        *("ring/static/1", "ring/differentiable/1", "ring/popularity/1"),
        *("walk/static/4", "walk/differentiable/4", "walk/popularity/4"),
    ]


def test_an_arm_is_a_recipe_and_what_is_laid_over_it(tmp_path):
    runs = grid(make(tmp_path))
    base, joint = select(runs, "ring/static/0").recipe, select(runs, "ring/differentiable/1").recipe
    assert base.name == "toy" and joint.name == "differentiable"
    assert joint.method == "differentiable" and joint.joint.learning_rate == 1e-2
    assert joint.backbone == base.backbone and joint.training == base.training
    elsewhere = select(runs, "walk/differentiable/4").recipe
    assert elsewhere.training.epochs == 4 and elsewhere.joint == joint.joint
    frozen = select(runs, "ring/frozen/0")
    assert frozen.sids_from == "ring/differentiable/0" and frozen.start_from is None
    assert frozen.out == tmp_path / "bundles" / "ring-frozen-s0"


def test_the_first_seed_of_the_arms_named_is_kept_complete(tmp_path):
    kept = [run.key for run in grid(make(tmp_path)) if run.complete]
    assert kept == [
        *("ring/static/0", "ring/differentiable/0"),
        *("walk/static/4", "walk/differentiable/4"),
    ]
    every = make(tmp_path, STUDY.replace('complete = ["static", "differentiable"]', ""))
    assert all(run.complete for run in grid(every))


CIRCLE = 'method = "differentiable"\ndatasets = ["ring"]\nseeds = [0]\nsids_from = "frozen"\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy"', "", "study.toml: name is missing; add it"),
        ('name = "toy"', 'name = "../x"', "name: '../x' cannot be part of a file's name"),
        ("complete =", "compleet =", "unknown key compleet; did you mean complete"),
        ('["static", "diff', '["sttic", "diff', "complete: no arm named sttic; did you mean"),
        ("seeds = [4]", "", "datasets.walk: seeds is missing"),
        ("seeds = [4]", "seeds = []", r"datasets.walk: seeds: .*at least 1"),
        ("seeds = [4]", "seeds = [-1]", r"datasets.walk: seeds.0: .*got -1"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "datasets.ring.seeds: 0 is listed twice"),
        ("[arms]", "[arm]", "unknown key arm; did you mean arms"),
        ('static = "{folder}/recipe.toml"', 'static = "fest"', "arms.static: no recipe named fest"),
        ('static = "{folder}/recipe.toml"', "static = 3", "arms.static: must be a recipe's name"),
        ("sids_from =", "sid_from =", "arms.frozen: unknown key sid_from; did you mean sids_from"),
        ('sids_from = "diff', 'sids_from = "dif', "arms.frozen.sids_from: no arm named dif"),
        ("seeds = [0]", "seeds = [7]", "arms.frozen.seeds: 7 is not a seed of any"),
        ('datasets = ["ring"]', 'datasets = ["rng"]', "arms.frozen.datasets: no dataset named rng"),
        ("joint.learning_rate", "joint.lerning_rate", "unknown key joint.lerning_rate; did you"),
        ("joint.learning_rate = 1e-2", "joint.learning_rate = 0", "greater than 0"),
        ("on.walk", "on.wlk", "arms.differentiable.on: no dataset named wlk; did you mean walk"),
        ("on.walk.training.epochs", "on.walk.training.epoch", "differentiable on walk: unknown"),
        ('arm = "differentiable"', 'arm = "static"', "claims: an arm cannot be compared with it"),
        ('arm = "differentiable"', 'arm = "x"\nmetric = "ndcg@10"', "claims.arm: no arm named x"),
        (
            'baseline = "static"',
            'baseline = "static"\nmetric = "ndcg@11"',
            "no metric ndcg@11; did",
        ),
        (
            'static = "{folder}/recipe.toml"',
            'static = {{recipe = "{folder}/recipe.toml", sids_from = "frozen"}}',
            "arms.static.sids_from: frozen is not run on ring with seed 1",
        ),
        ('method = "differentiable"\n', CIRCLE, "arms need each other: .*frozen"),
        ("on.walk", 'datasets = ["ring"]\non.walk', "on.walk: the arm is not run on walk"),
        ("[datasets.ring]", "[datasets.ring", "not valid TOML"),
        ("[claims]", "[claims]\ndatasets = []", "claims: datasets: .*at least 1"),
        (
            "[claims]",
            '[claims]\ndatasets = ["ring", "ring"]',
            "claims.datasets: ring is listed twi",
        ),
        ("[claims]", '[claims]\ndatasets = ["rng"]', "claims.datasets: no dataset named rng"),
        ('datasets = ["ring"]', "datasets = []", "arms.frozen: datasets: .*at least 1"),
        (
            'datasets = ["ring"]',
            'datasets = ["ring", "ring"]',
            "frozen.datasets: ring is listed tw",
        ),
        (
            'datasets = ["ring"]',
            'datasets = ["ring", "walk"]',
            "none of its seeds is one of walk's",
        ),
        ("seeds = [0]\n", "seeds = [0, 0]\n", "arms.frozen.seeds: 0 is listed twice"),
        (
            'complete = ["static", ',
            'complete = ["static", "static", ',
            "complete: static is listed",
        ),
        ("seeds = [4]", f"seeds = [{2**32}]", "seeds.0: .*less than or equal to 4294967295"),
        ("seeds = [4]", f"seeds = [{'7' * 5000}]", "study.toml: a number in it is too long"),
        ("seeds = [4]", f"seeds = [0x{'f' * 5000}]", "study.toml: a number in it is too long"),
        ("seeds = [4]", f"seeds = [{'7' * 400}]", r"datasets.walk: seeds.0: .{,99}got 7{79}…"),
        ("seeds = [4]", f"seeds = {'[' * 900}{']' * 900}", "study.toml: nested too deeply"),
        ("joint.learning_rate", f"joint{'.a' * 3000}", "study.toml: nested too deeply"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_in_one_line(tmp_path, old, new, message):
    assert old in STUDY
    text = STUDY.replace(old, new, 1)
    if new == CIRCLE:
        text = text.replace("on.walk.training.epochs = 4\n", "")
    with pytest.raises(DigerError, match=message) as caught:
        make(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_claim_has_two_arms_with_a_seed_in_common(tmp_path):
    def claims(*changes: tuple[str, str]) -> Study:
        text = STUDY.replace("on.walk.training.epochs = 4\n", "{differentiable}")
        text = text.replace('static = "{folder}/recipe.toml"', "{static}")
        for arm, settings in changes:
            text = text.replace(f"{{{arm}}}", settings)
        own = 'static = {{recipe = "{folder}/recipe.toml"}}'
        return make(tmp_path, text.replace("{static}", own).replace("{differentiable}", ""))

    static = 'static = {{recipe = "{folder}/recipe.toml", seeds = [1, 4]}}'
    on_ring = 'datasets = ["ring"]\n'
    said = "claims: static and differentiable have no seed in common on ring"
    with pytest.raises(DigerError, match=said):
        claims(("static", static), ("differentiable", "seeds = [0, 4]\n"))
    # Said of all datasets, it is said of those that both arms are run on.
    assert claims(("differentiable", on_ring)).claims is not None
    explicit = STUDY.replace("on.walk.training.epochs = 4\n", on_ring)
    for named, message in (
        ('["ring", "walk"]', "claims.datasets: the arm differentiable is not run on walk"),
        ('["walk"]', "claims.datasets: the arm differentiable is not run on walk"),
    ):
        with pytest.raises(DigerError, match=message):
            make(tmp_path, f"{explicit}datasets = {named}\n")
    assert make(tmp_path, f'{explicit}datasets = ["ring"]\n').claims is not None
    on_walk = explicit.replace(
        'static = "{folder}/recipe.toml"',
        'static = {{recipe = "{folder}/recipe.toml", datasets = ["walk"]}}',
    )
    with pytest.raises(DigerError, match="claims: static and differentiable share no dataset"):
        make(tmp_path, on_walk)


def test_two_runs_never_share_a_folder(tmp_path):
    text = STUDY.replace("[datasets.walk]", "[datasets.ring-b]").replace("on.walk", "on.ring-b")
    text = text.replace("[arms]", '[arms]\nb-static = "{folder}/recipe.toml"')
    study = make(tmp_path, text.replace("seeds = [4]", "seeds = [0]"))
    with pytest.raises(DigerError, match="ring/b-static/0 and ring-b/static/0 would both be"):
        grid(study)


def test_a_run_is_named_by_its_place(tmp_path):
    with pytest.raises(DigerError, match=r"no run ring/statc/0 .*did you mean ring/static/0"):
        select(grid(make(tmp_path)), "ring/statc/0")


def test_the_studies_that_come_along_are_whole():
    for path in (ROOT / "studies").glob("*.toml"):
        study = load_study(path)
        assert grid(study)
        if path.stem in ("ablations", "instruments"):
            assert study.claims is None  # one seed each: nothing to claim
        else:
            assert study.claims is not None and study.claims.metric == "ndcg@10"


def test_the_ablations_share_their_first_arms_with_the_main_study():
    runs = {
        run.key: run for name in ("main", "ablations") for run in grid(load_study(_study(name)))
    }
    main = {run.key: run for run in grid(load_study(_study("main")))}
    for arm in ("static", "detached", "differentiable"):
        key = f"scientific/{arm}/0"
        assert runs[key].recipe == main[key].recipe and runs[key].out == main[key].out


def _study(name: str) -> Path:
    return ROOT / "studies" / f"{name}.toml"


def test_the_example_in_the_documentation(tmp_path):
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    study = load_study(tmp_path / "study.toml")
    assert keys(grid(study))[:4] == [
        f"beauty/{arm}/0" for arm in ("static", "differentiable", "frozen", "continued")
    ]
    assert select(grid(study), "beauty/continued/2").start_from == "beauty/static/2"


# --- running --------------------------------------------------------------------------------------


def test_all_is_made_once(plain):
    first, second = Drawn(), Drawn()
    assert len(go(plain, first).made) == len(first.made) == 9
    assert set(states(plain).values()) == {"done"}
    outcome = go(plain, second)
    assert second.made == outcome.made == [] and not outcome.failed


def test_what_fails_holds_up_nobody(plain):
    fails = {
        "ring-static-s1": DigerError("not that one"),
        "walk-static-s4": DigerError("nor that"),
    }
    execute = Drawn(**fails)
    outcome = go(plain, execute)
    assert outcome.failed == {"ring/static/1": "not that one", "walk/static/4": "nor that"}
    assert len(outcome.made) == 7
    again = Drawn()
    go(plain, again)
    assert again.made == list(fails)


def test_a_run_that_leaves_nothing_has_failed(plain):
    outcome = go(plain, Drawn(**{"ring-static-s0": lambda job: None}))
    assert "no bundle at" in outcome.failed["ring/static/0"]


def test_ctrl_c_ends_the_study(plain):
    execute = Drawn(**{"ring-popularity-s0": Stopped("stopped")})
    with pytest.raises(Stopped):
        go(plain, execute)
    assert len(execute.made) == 3
    rest = Drawn()
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


def test_only_one_row_is_made_again(plain):
    go(plain, Drawn())
    before = Bundle.open(plain.bundles / "ring-static-s1").hash
    execute = Drawn(ring_static_s1=lambda job: (shutil.rmtree(job.out), draw(job, quality=0.5)))
    assert go(plain, execute, only="ring/static/1").made == ["ring/static/1"]
    assert execute.made == ["ring-static-s1"]
    assert Bundle.open(plain.bundles / "ring-static-s1").hash != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 5}, "seed is 5 there, 0 here"),
        ({"fingerprint": "f" * 64}, r"made on other data \(fingerprint ffffffff there"),
        ({"sids_from": {"name": "ring-x-s0"}}, "sids_from is ring-x-s0 there, not set here"),
        ({"whole_recipe": {"name": "x", "method": "ste"}}, "backbone.d_model is not set there, 16"),
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
    vectors = hashlib.sha256((tmp_path / "vectors.npy").read_bytes()).hexdigest()
    content = {"encoder": "file:vectors.npy", "revision": f"sha256:{vectors}"}
    draw(job_of(run), content=content)
    assert survey([run])[0].state == "done"
    toys.write_vectors(tmp_path / "vectors.npy", seed=1)
    assert f"other content vectors (fingerprint {vectors[:8]} there" in survey([run])[0].reason
    with pytest.raises(DigerError, match="was made otherwise: made on other content vectors"):
        go(plain, Drawn())
    (tmp_path / "vectors.npy").unlink()
    assert survey([run])[0].state == "done"  # nothing to compare with
    shutil.rmtree(run.out)
    draw(job_of(run))  # by a version that did not note it
    draw(job_of(other), content=content)
    assert {cell.state for cell in survey([run, other])} == {"done"}


def test_encoded_text_counts(plain, tmp_path):
    runs = [select(grid(plain), f"ring/{arm}/0") for arm in ("static", "popularity")]
    encoded = {"content": ContentConfig(encoder="a/b")}
    runs[0] = replace(runs[0], recipe=runs[0].recipe.model_copy(update=encoded))
    info = json.loads((tmp_path / "ring" / "dataset.json").read_text())
    for run in runs:
        draw(job_of(run), text_fingerprint=info["text_fingerprint"])
    assert [cell.state for cell in survey(runs)] == ["done"] * 2
    info["text_fingerprint"] = "f" * 64
    (tmp_path / "ring" / "dataset.json").write_text(json.dumps(info))
    static, popularity = survey(runs)
    assert "other item text (fingerprint" in static.reason and popularity.state == "done"
    kept = tmp_path / "ring" / "content" / "a-b-64.safetensors"
    for revision in ("1", None):
        metadata = {"encoder": "a/b", "revision": "1"}
        write_tensors(kept, {"vectors": np.zeros((1, 2), "f4")}, metadata)
        name = "a/b" if revision is None else f"a/b@{revision}"
        assert revision_here(name, folder=tmp_path / "ring", digest=file_digest) == "1"
    assert revision_here("a/b@2", folder=tmp_path / "ring", digest=file_digest) is None


def test_files_of_sids_count(plain, tmp_path):
    run = grid(plain)[0]
    path = tmp_path / "sids.csv"
    path.write_text("item_id,sid\n")
    tokenizer = TokenizerConfig(kind="file", file={"path": str(path)})
    run = replace(run, recipe=run.recipe.model_copy(update={"tokenizer": tokenizer}))
    draw(job_of(run), tokenizer={"file_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    assert survey([run])[0].state == "done"
    path.write_text("item_id,sid\ni1,1\n")
    assert "made on other SIDs from a file (fingerprint" in survey([run])[0].reason


def test_without_data_bundles_are_measured_against_each_other(plain, tmp_path):
    for seed in (0, 1):
        run = select(grid(plain), f"ring/static/{seed}")
        draw(job_of(run), content={"revision": f"sha256:{seed}"})
    shutil.rmtree(tmp_path / "ring")
    (tmp_path / "vectors.npy").unlink()
    assert states(plain)["ring/static/0"] == "done"
    assert states(plain)["ring/static/1"] == "in the way"


def test_the_setting_that_differs_is_named(plain):
    run = grid(plain)[0]
    recipe = run.recipe.model_dump(mode="json")
    recipe["training"]["epochs"] = 99
    recipe["name"], recipe["about"] = "another name", "does not matter"
    recipe["content"]["encoder"] = "/elsewhere/vectors.npy"  # nor does the place of a file
    del recipe["tokenizer"]["balanced"]  # nor a setting that is off and was not known then
    draw(job_of(run), whole_recipe=recipe)
    (cell,) = survey([run])
    assert cell.state == "in the way"
    assert cell.reason.endswith("training.epochs is 99 there, 3 here")
    recipe["training"]["epochs"] = 3
    shutil.rmtree(run.out)
    draw(job_of(run), whole_recipe=recipe)
    assert survey([run])[0].state == "done"
    del recipe["training"]["ema"]  # this one is on
    shutil.rmtree(run.out)
    draw(job_of(run), whole_recipe=recipe)
    assert survey([run])[0].reason.endswith("training.ema is not set there, 0.9 here")


def test_what_was_made_from_a_former_bundle_is_not_done(tmp_path):
    text = STUDY.replace('sids_from = "diff', 'start_from = "diff')
    runs = grid(make(tmp_path, text))
    source, run = select(runs, "ring/differentiable/0"), select(runs, "ring/frozen/0")
    draw(job_of(source))
    name = source.out.name
    files = Bundle.open(source.out).manifest.files
    hashes = {file: files[file].sha256 for file in ("items.parquet", "ranks.parquet")}
    hashes["model.safetensors"] = "f" * 64  # dropped since
    for told, at in (
        ({}, ""),  # of an earlier version
        ({"files": hashes}, ""),
        ({"files": {**hashes, "items.parquet": "e" * 64}}, "items.parquet"),
        ({"files": {**hashes, "ranks.parquet": "e" * 64}}, "ranks.parquet"),
    ):
        origin = {"name": name, **told}
        draw(job_of(run), start_from=origin, sids_from={"name": name})
        (cell,) = survey([run])
        assert cell.state == ("in the way" if at else "done")
        if at:
            what = f"start_from is {name}, which was made again since ({at} is another)"
            assert cell.reason.endswith(what)
        shutil.rmtree(run.out)
    draw(job_of(run), start_from=origin, sids_from=origin)
    shutil.rmtree(source.out)  # moved away: nothing to compare with
    assert survey([run])[0].state == "done"


def test_settings_that_play_no_part_do_not_count(plain):
    for arm, state in (("popularity", "done"), ("static", "in the way")):
        run = select(grid(plain), f"ring/{arm}/0")
        recipe = run.recipe.model_dump(mode="json")
        recipe["training"]["weight_decay"] = 0.5
        draw(job_of(run), whole_recipe=recipe)
        assert survey([run])[0].state == state


def test_something_else_in_the_way_is_never_replaced(plain):
    (plain.bundles / "ring-static-s0").mkdir(parents=True)
    (plain.bundles / "ring-static-s0" / "thesis.txt").write_text("mine")
    for only in ("", "ring/static/0"):
        with pytest.raises(DigerError, match="holds something that is not a bundle"):
            go(plain, Drawn(), only=only)


def test_data_that_is_not_there_stops_only_its_own_runs(plain, tmp_path):
    shutil.rmtree(tmp_path / "walk")
    assert states(plain)["walk/static/4"] == "no data"
    outcome = go(plain, Drawn())
    assert len(outcome.made) == 6
    assert set(outcome.failed) == {
        f"walk/{a}/4" for a in ("static", "differentiable", "popularity")
    }
    assert "no dataset folder at" in outcome.failed["walk/static/4"]


def test_what_needs_weights_says_so(tmp_path):
    outcome = go(make(tmp_path), Drawn())  # drawn bundles have none
    (said,) = outcome.failed.values()
    assert "needs the weights of ring-differentiable-s0" in said
    assert "--only ring/differentiable/0" in said
    outcome = go(make(tmp_path / "b"), Drawn(ring_differentiable_s0=DigerError("no")))
    assert outcome.failed["ring/frozen/0"] == "it needs ring-differentiable-s0, which failed"


# --- how long -------------------------------------------------------------------------------------


def test_time_left_by_hand(plain):
    runs = grid(plain)
    draw(job_of(select(runs, "ring/static/0")), seconds=54.3)  # 1.5 before and 4.2 after it
    cells = survey(runs)
    assert expected_seconds(select(runs, "ring/static/1"), cells) == pytest.approx(60)
    assert expected_seconds(select(runs, "ring/differentiable/0"), cells) is None
    # On other data in proportion to events and epochs; both recipes have 3 epochs.
    events = cells[0].bundle.config["dataset"]["events"]
    elsewhere = select(runs, "walk/static/4")
    expected = 60 * json.loads((elsewhere.data / "dataset.json").read_text())["n_events"] / events
    assert expected_seconds(elsewhere, cells) == pytest.approx(expected)
    left = estimate([c.run for c in cells if c.state != "done"], cells)
    assert left.seconds == pytest.approx(60 + expected) and left.unknown == 6
    assert str(left).startswith("at least ")
    assert duration(0.2) == "1 s" and duration(7260) == "2 h 01 min"


def test_an_arm_that_ran_nowhere_takes_as_long_as_its_like(tmp_path):
    runs = grid(make(tmp_path))
    draw(job_of(select(runs, "ring/static/0")), seconds=54.3)
    cells = survey(runs)
    assert expected_seconds(select(runs, "ring/frozen/0"), cells) == pytest.approx(60)
    assert expected_seconds(select(runs, "ring/popularity/0"), cells) is None
