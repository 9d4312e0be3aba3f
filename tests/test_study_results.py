"""Studies: trained for real, what is kept of them, their tables, and the command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import core_toys as toys
import pandas as pd
import pytest
from study_toys import STUDY, Drawn, draw, go, job_of, make, make_plain, states, work

import diger
from diger.bundle.reader import Bundle
from diger.bundle.writer import strip_weights
from diger.errors import DigerError
from diger.study.config import Study
from diger.study.grid import Run, grid, select
from diger.study.process import Job, run_in_process
from diger.study.run import Options, Watcher, run_study
from diger.study.table import collect


@pytest.fixture
def plain(tmp_path) -> Study:
    return make_plain(tmp_path)


# --- trained, and what is kept --------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Study:
    """The whole study, trained in this process."""
    study = make(tmp_path_factory.mktemp("trained"))
    kinds: dict[str, str] = {}

    def look(run: Run, cell: Any, why: str) -> None:
        source = study.bundles / "ring-differentiable-s0"
        if source.exists():
            kinds[run.key] = Bundle.open(source).kind

    runs = grid(study)
    outcome = run_study(runs, runs, Options("cpu", 1), Watcher(ended=look), work)
    assert not outcome.failed and len(outcome.made) == len(runs)
    return study


def test_only_what_is_to_be_kept_keeps_its_weights(trained):
    kinds = {run.key: Bundle.open(run.out).kind for run in grid(trained)}
    assert {key for key, kind in kinds.items() if kind == "complete"} == {
        *("ring/static/0", "ring/differentiable/0"),
        *("walk/static/4", "walk/differentiable/4"),
    }
    assert Bundle.open(trained.bundles / "ring-static-s0").config["precision"] == "half"


def test_weights_stay_while_somebody_needs_them(tmp_path, trained):
    """The differentiable arm is not to be kept here, but the frozen arm starts from it."""
    text = STUDY.replace('complete = ["static", "differentiable"]', "complete = []")
    study = make(tmp_path, text)
    source, frozen = study.bundles / "ring-differentiable-s0", study.bundles / "ring-frozen-s0"
    study.bundles.mkdir()
    shutil.copytree(trained.bundles / source.name, source)
    go(study, Drawn(ring_frozen_s0=DigerError("not yet")))
    assert Bundle.open(source).kind == "complete"
    go(
        study,
        Drawn(ring_frozen_s0=lambda job: shutil.copytree(trained.bundles / frozen.name, frozen)),
    )
    assert Bundle.open(source).kind == "results-only"
    assert states(study)["ring/frozen/0"] == "done"


def test_a_source_made_again_keeps_its_weights_for_what_needs_them(tmp_path, trained):
    text = STUDY.replace('complete = ["static", "differentiable"]', "complete = []")
    study = make(tmp_path, text)
    shutil.copytree(trained.bundles, study.bundles)

    def remake(job: Any) -> None:
        shutil.rmtree(job.out)
        work(job, lambda event: None)

    source = study.bundles / "ring-differentiable-s0"
    again = Drawn(ring_differentiable_s0=remake)
    for kind, state in (("results-only", "done"), ("complete", "in the way")):
        go(study, again, only="ring/differentiable/0")
        assert Bundle.open(source).kind == kind  # the same once more, then another
        assert states(study)["ring/frozen/0"] == state
        toys.write_vectors(tmp_path / "vectors.npy", seed=1)


def test_learned_sids_are_taken_over(trained):
    learned = Bundle.open(trained.bundles / "ring-differentiable-s0")
    frozen = Bundle.open(trained.bundles / "ring-frozen-s0")
    columns = ["code_1", "code_2", "suffix"]
    assert frozen.items[columns].equals(learned.items[columns])
    told = frozen.config["sids_from"]
    assert told["name"] == learned.name and told["seed"] == 0
    assert told["arm"] == learned.config["arm"] and len(told["hash"]) == 64
    assert told["files"] == {"items.parquet": learned.manifest.files["items.parquet"].sha256}
    assert frozen.config["start_from"] is None
    assert Bundle.open(trained.bundles / "ring-static-s0").config["sids_from"] is None


def test_dropping_weights_leaves_the_results_to_the_byte(tmp_path, trained):
    path = tmp_path / "ring-static-s0"
    shutil.copytree(trained.bundles / "ring-static-s0", path)
    before = Bundle.open(path)
    after = strip_weights(path)
    assert after.kind == "results-only"
    gone = before.manifest.files.keys() - after.manifest.files.keys()
    assert gone == {"model.safetensors", "content.safetensors"}
    changed = {n for n, f in after.manifest.files.items() if f != before.manifest.files[n]}
    assert changed == {"README.md"}
    assert "carries no weights" in after.card and "diger.load" not in after.card
    assert strip_weights(path).hash == after.hash


# --- tables ---------------------------------------------------------------------------------------


def test_the_table_by_hand(trained):
    results = collect(trained)
    rows = results.summary.set_index(["dataset", "arm"])
    assert list(rows.index) == [
        *(("ring", arm) for arm in ("static", "differentiable", "frozen", "popularity")),
        *(("walk", arm) for arm in ("static", "differentiable", "popularity")),
    ]
    bundles = [Bundle.open(trained.bundles / f"ring-static-s{seed}") for seed in (0, 1)]
    found = [b.metrics["results"][1]["metrics"]["ndcg@10"] for b in bundles]
    row = rows.loc["ring", "static"]
    assert row["test_ndcg@10"] == pytest.approx(mean(found))
    assert row["test_ndcg@10_std"] == pytest.approx(stdev(found))
    assert row["seeds"] == row["planned"] == 2
    assert row["memory_bytes"] == mean(b.config["peak_memory_bytes"] for b in bundles)
    assert row["seconds_per_epoch"] == pytest.approx(
        mean(b.history["seconds"].mean() for b in bundles)
    )
    assert pd.isna(rows.loc["walk", "static"]["test_ndcg@10_std"])  # one seed


def test_the_claims_are_those_declared(trained):
    ring, walk = collect(trained).claims
    assert (ring.dataset, ring.baseline, ring.arm) == ("ring", "static", "differentiable")
    sides = {}
    for arm in ("static", "differentiable"):
        paths = [trained.bundles / f"ring-{arm}-s{seed}" for seed in (0, 1)]
        sides[arm] = [Bundle.open(p).metrics["results"][1]["metrics"]["ndcg@10"] for p in paths]
    differences = [b - a for a, b in zip(sides["static"], sides["differentiable"], strict=True)]
    assert [seed for seed, _ in ring.difference.per_seed] == [0, 1]
    assert [value for _, value in ring.difference.per_seed] == pytest.approx(differences)
    assert ring.difference.interval.low <= mean(differences) <= ring.difference.interval.high
    assert ring.outcome == walk.outcome == "too few seeds"
    assert walk.difference.interval is None  # one seed has no interval


def test_what_was_not_run_is_blank_and_what_does_not_count_is_said(plain, tmp_path):
    for key, changes in (("ring/static/0", {}), ("ring/static/1", {"fingerprint": "f" * 64})):
        draw(job_of(select(grid(plain), key)), **changes)
    results = collect(plain)
    rows = results.summary.set_index(["dataset", "arm"])
    assert rows.loc["ring", "static"]["seeds"] == 1
    assert rows.loc["ring", "popularity"]["seeds"] == 0
    assert pd.isna(rows.loc["ring", "popularity"]["test_ndcg@10"])
    assert len(results.left_out) == 1 and "made on other data" in results.left_out[0]
    assert {claim.outcome for claim in results.claims} == {"not compared"}
    # The bundles alone are enough: without the data the first bundle's is the study's.
    shutil.rmtree(tmp_path / "ring")
    assert len(collect(plain).left_out) == 1


def test_a_study_of_nothing_yet_has_a_table(plain):
    results = collect(plain)
    assert (results.summary["seeds"] == 0).all() and len(results.summary) == 6
    assert [claim.outcome for claim in results.claims] == ["not compared"] * 2


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def say(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = toys.main("study", *arguments, monkeypatch=monkeypatch)
        return code, *capsys.readouterr()

    return call


def test_dry_run_says_where_it_stands(say, plain, tmp_path):
    draw(job_of(grid(plain)[0]), seconds=54.3)
    code, out, _ = say(tmp_path / "study.toml", "--dry-run")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "dataset arm seeds done seeds to do time left" in lines
    assert "ring static 0 1 about 60 s" in lines
    assert "ring differentiable 0, 1 unknown time" in lines
    assert any(line.startswith("1 of 9 runs done, 8 left: at least") for line in lines)
    assert [p.name for p in plain.bundles.iterdir()] == ["ring-static-s0"]


def test_the_tables_are_printed_and_written(say, trained):
    path = trained.bundles.parent / "study.toml"
    code, out, err = say(path, "--table", "--write")
    assert code == 0 and not err
    assert "ring: differentiable against static, test ndcg@10" in out
    assert "about these trained models, not about the method" in out
    assert "over seeds then users" in out
    summary = pd.read_csv(trained.bundles / "toy.summary.csv")
    row = collect(trained).summary.iloc[0]
    assert summary.iloc[0]["test_ndcg@10"] == pytest.approx(row["test_ndcg@10"])
    document = json.loads((trained.bundles / "toy.json").read_text())
    assert len(document["runs"]) == len(grid(trained)) and len(document["claims"]) == 2
    claims = pd.read_csv(trained.bundles / "toy.claims.csv")
    assert claims["difference_per_seed"].iloc[0].startswith("0: ")
    assert str(trained.bundles) not in json.dumps(document)  # no paths of this machine
    shutil.rmtree(trained.bundles.parent / "walk")  # the data is not needed
    assert say(path, "--table")[1] == out[: out.index("wrote ")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "ring/statc/0"], "no run ring/statc/0"),
        (["--table", "--dry-run"], "--table runs nothing"),
        (["--table", "--only", "ring/static/0"], "--table runs nothing"),
    ],
)
def test_what_does_not_go_together(say, plain, tmp_path, arguments, message):
    code, _, err = say(tmp_path / "study.toml", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1


def test_a_launcher_is_the_wrong_way_to_start_it(say, plain, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = say(tmp_path / "study.toml")
    assert code == 2 and "a study is not started by torchrun" in err
    monkeypatch.setenv("WORLD_SIZE", "x")
    code, _, err = say(tmp_path / "study.toml")
    assert code == 2 and "WORLD_SIZE must be a whole number, got 'x'" in err
    assert err.count("\n") == 1


# --- processes ------------------------------------------------------------------------------------


def test_a_run_in_a_process_of_its_own(plain):
    run = select(grid(plain), "ring/popularity/0")
    events: list[dict[str, Any]] = []
    run_in_process(job_of(run), events.append)
    assert states(plain)["ring/popularity/0"] == "done"
    assert {"event": "ranked", "split": "test", "done": 38, "total": 38} in events
    with pytest.raises(DigerError, match="it already exists"):
        run_in_process(job_of(run), events.append)


def test_a_run_that_dies_unforeseen_leaves_its_last_words(plain, monkeypatch):
    run = select(grid(plain), "ring/static/0")
    dies = [sys.executable, "-c", "raise ValueError('so it goes')"]
    monkeypatch.setattr(Job, "command", lambda self, recipe: dies)
    with pytest.raises(DigerError, match=r"in a way nobody foresaw .*ValueError") as caught:
        run_in_process(job_of(run), lambda event: None)
    assert "\n" not in str(caught.value)
    notes = run.out.with_name("ring-static-s0.failed.txt")
    assert str(notes) in str(caught.value) and "Traceback" in notes.read_text()


def test_ctrl_c_and_the_same_command_again(tmp_path):
    """The real thing: the first press reaches the run, which saves; the command goes on from it."""
    text = STUDY.replace("on.walk.training.epochs = 4\n", "training.epochs = 40\n")
    study = make(tmp_path, text.replace("joint.learning_rate = 1e-2", "training.patience = 40"))
    run = select(grid(study), "ring/differentiable/0")
    root = Path(diger.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "diger", "study", str(tmp_path / "study.toml"), "--only", run.key],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    state = run.out.with_name(f"{run.out.name}.partial") / "state.safetensors"
    try:
        deadline = time.monotonic() + 300
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "stopped; all is kept, run the same command to go on"
    assert "Traceback" not in said
    assert "1/1 ring/differentiable/0: epoch   1/40  loss" in said  # a log
    assert states(study)[run.key] == "unfinished"
    epoch = json.loads(_progress(state))["epoch"]
    seen: list[int] = []
    work(job_of(run), lambda event: seen.append(event.get("epoch", 0)))
    assert min(e for e in seen if e) > epoch
    assert states(study)[run.key] == "done"


def _progress(state: Path) -> str:
    from safetensors import safe_open

    with safe_open(state, "pt") as file:
        return file.metadata()["progress"]
