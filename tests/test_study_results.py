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
from safetensors import safe_open
from study_toys import STUDY, Drawn, draw, go, job_of, make, make_plain, states, work

import diger
from diger.bundle.reader import Bundle
from diger.bundle.writer import strip_weights
from diger.errors import DigerError
from diger.study.config import Study
from diger.study.grid import grid, select
from diger.study.process import Job, run_in_process
from diger.study.run import Options, run_study
from diger.study.table import collect


@pytest.fixture
def plain(tmp_path) -> Study:
    return make_plain(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Study:
    study = make(tmp_path_factory.mktemp("trained"))
    runs = grid(study)
    outcome = run_study(runs, runs, Options("cpu", 1), None, work)
    assert not outcome.failed and len(outcome.made) == len(runs)
    return study


def opened(study: Study, *names: str) -> list[Bundle]:
    return [Bundle.open(study.bundles / name) for name in names]


def ndcg(study: Study, arm: str) -> list[float]:
    bundles = opened(study, f"ring-{arm}-s0", f"ring-{arm}-s1")
    return [bundle.metrics["results"][1]["metrics"]["ndcg@10"] for bundle in bundles]


def test_only_what_is_to_be_kept_keeps_its_weights(trained):
    kept = {run.key for run in grid(trained) if Bundle.open(run.out).kind == "complete"}
    assert kept == {
        *("ring/static/0", "ring/differentiable/0"),
        *("walk/static/4", "walk/differentiable/4"),
    }
    (bundle,) = opened(trained, "ring-static-s0")
    assert bundle.config["precision"] == "half"


def nothing_kept(folder: Path) -> tuple[Study, Path, Path]:
    """A study that keeps no weights, a source in it, and what is made from that."""
    text = STUDY.replace('complete = ["static", "differentiable"]', "complete = []")
    study = make(folder, text)
    return study, study.bundles / "ring-differentiable-s0", study.bundles / "ring-frozen-s0"


def test_weights_stay_while_somebody_needs_them(tmp_path, trained):
    study, source, frozen = nothing_kept(tmp_path)
    shutil.copytree(trained.bundles / source.name, source)
    go(study, Drawn(ring_frozen_s0=DigerError("not yet")))
    assert Bundle.open(source).kind == "complete"

    def finish(job: Job) -> None:
        shutil.copytree(trained.bundles / frozen.name, frozen)

    go(study, Drawn(ring_frozen_s0=finish))
    assert Bundle.open(source).kind == "results-only"
    assert states(study)["ring/frozen/0"] == "done"


def test_a_source_made_again_keeps_its_weights_for_what_needs_them(tmp_path, trained):
    study, source, _ = nothing_kept(tmp_path)
    shutil.copytree(trained.bundles, study.bundles)

    def remake(job: Job) -> None:
        shutil.rmtree(job.out)
        work(job, lambda event: None)

    for kind, state in (("results-only", "done"), ("complete", "in the way")):
        go(study, Drawn(ring_differentiable_s0=remake), only="ring/differentiable/0")
        assert Bundle.open(source).kind == kind  # the same once more, then another
        assert states(study)["ring/frozen/0"] == state
        toys.write_vectors(tmp_path / "vectors.npy", seed=1)


def test_learned_sids_are_taken_over(trained):
    learned, frozen = opened(trained, "ring-differentiable-s0", "ring-frozen-s0")
    columns = ["code_1", "code_2", "suffix"]
    assert frozen.items[columns].equals(learned.items[columns])
    told = frozen.config["sids_from"]
    assert (told["name"], told["seed"], told["arm"]) == (learned.name, 0, learned.config["arm"])
    assert told["files"] == {"items.parquet": learned.manifest.files["items.parquet"].sha256}
    assert frozen.config["start_from"] is None and learned.config["sids_from"] is None


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
    bare = strip_weights(path, lists=False)
    assert after.manifest.files.keys() - bare.manifest.files.keys() == {"topk.parquet"}


def test_the_table_by_hand(trained):
    rows = collect(trained).summary.set_index(["dataset", "arm"])
    assert list(rows.index) == [
        *(("ring", arm) for arm in ("static", "differentiable", "frozen", "popularity")),
        *(("walk", arm) for arm in ("static", "differentiable", "popularity")),
    ]
    bundles = opened(trained, "ring-static-s0", "ring-static-s1")
    found, row = ndcg(trained, "static"), rows.loc["ring", "static"]
    assert row["test_ndcg@10"] == pytest.approx(mean(found))
    assert row["test_ndcg@10_std"] == pytest.approx(stdev(found))
    assert row["seeds"] == row["planned"] == 2
    assert row["memory_bytes"] == mean(b.config["peak_memory_bytes"] for b in bundles)
    seconds = mean(b.history["seconds"].mean() for b in bundles)
    assert row["seconds_per_epoch"] == pytest.approx(seconds)
    assert pd.isna(rows.loc["walk", "static"]["test_ndcg@10_std"])  # one seed


def test_the_claims_are_those_declared(trained):
    ring, walk = collect(trained).claims
    assert (ring.dataset, ring.baseline, ring.arm) == ("ring", "static", "differentiable")
    pairs = zip(ndcg(trained, "static"), ndcg(trained, "differentiable"), strict=True)
    differences = [b - a for a, b in pairs]
    assert dict(ring.difference.per_seed) == pytest.approx(dict(enumerate(differences)))
    assert ring.difference.interval.low <= mean(differences) <= ring.difference.interval.high
    assert ring.outcome == walk.outcome == "too few seeds"
    assert walk.difference.interval is None  # one seed has no interval


def test_what_was_not_run_is_blank_and_what_does_not_count_is_said(plain, tmp_path):
    summary = collect(plain).summary
    assert (summary["seeds"] == 0).all() and len(summary) == 6  # a table of nothing yet
    for key, changes in (("ring/static/0", {}), ("ring/static/1", {"fingerprint": "f" * 64})):
        draw(job_of(select(grid(plain), key)), **changes)
    results = collect(plain)
    rows = results.summary.set_index(["dataset", "arm"])
    assert rows["seeds"].sum() == rows.loc["ring", "static"]["seeds"] == 1
    assert pd.isna(rows.loc["ring", "popularity"]["test_ndcg@10"])
    assert len(results.left_out) == 1 and "made on other data" in results.left_out[0]
    assert [claim.outcome for claim in results.claims] == ["not compared"] * 2
    # The bundles alone are enough: without the data the first bundle's is the study's.
    shutil.rmtree(tmp_path / "ring")
    assert len(collect(plain).left_out) == 1


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
    assert {"ring static 0 1 about 60 s", "ring differentiable 0, 1 unknown time"} <= set(lines)
    assert any(line.startswith("1 of 9 runs done, 8 left: at least") for line in lines)
    assert [p.name for p in plain.bundles.iterdir()] == ["ring-static-s0"]


def test_the_tables_are_printed_and_written(say, trained):
    path = trained.bundles.parent / "study.toml"
    code, out, err = say(path, "--table", "--write")
    assert code == 0 and not err
    assert "ring: differentiable against static, test ndcg@10" in out
    assert "about these trained models, not about the method" in out
    summary = pd.read_csv(trained.bundles / "toy.summary.csv")
    expected = collect(trained).summary["test_ndcg@10"]
    assert summary["test_ndcg@10"].tolist() == pytest.approx(expected.tolist())
    text = (trained.bundles / "toy.json").read_text()
    document = json.loads(text)
    assert len(document["runs"]) == len(grid(trained)) and len(document["claims"]) == 2
    assert str(trained.bundles) not in text  # no paths of this machine
    claims = pd.read_csv(trained.bundles / "toy.claims.csv")
    assert claims["difference_per_seed"].iloc[0].startswith("0: ")
    shutil.rmtree(trained.bundles.parent / "walk")  # the data is not needed
    assert say(path, "--table")[1] == out[: out.index("wrote ")]


@pytest.mark.parametrize(
    ("arguments", "world_size", "message"),
    [
        (["--only", "ring/statc/0"], "1", "no run ring/statc/0"),
        (["--table", "--dry-run"], "1", "--table runs nothing"),
        ([], "2", "a study is not started by torchrun"),
        ([], "x", "WORLD_SIZE must be a whole number, got 'x'"),
    ],
)
def test_the_command_refuses(say, plain, tmp_path, monkeypatch, arguments, world_size, message):
    monkeypatch.setenv("WORLD_SIZE", world_size)
    code, _, err = say(tmp_path / "study.toml", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1


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
    root = str(Path(diger.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "diger", "study", str(tmp_path / "study.toml"), "--only", run.key],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
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
    with safe_open(state, "pt") as file:
        epoch = json.loads(file.metadata()["progress"])["epoch"]
    seen: list[int] = []
    work(job_of(run), lambda event: seen.append(event["epoch"]))
    assert min(seen) > epoch
    assert states(study)[run.key] == "done"
