"""Stopped and continued equals never stopped; what does not belong together is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import core_toys as toys
import numpy as np
import pandas as pd
import pytest
from core_toys import Place
from safetensors import safe_open
from safetensors.torch import save_file

import diger
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.training import loop
from diger.training.loop import EpochEvent, Interrupted


class Crash(Exception):
    """Stands for anything that ends a run without warning."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return toys.static_run(tmp_path_factory.getbasetemp())[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The bundle of a run that nothing disturbed."""
    return toys.static_run(tmp_path_factory.getbasetemp())[1]


@pytest.fixture
def name(request) -> str:
    """A bundle name of the test's own; all lie beside the shared one."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)


def partial(place: Place, name: str) -> Path:
    return place.folder / f"{name}.partial"


def same_run(one: Path, other: Path) -> None:
    """Equal weights, SIDs, ranks, lists and metrics; history but for the clock."""
    a, b = Bundle.open(one), Bundle.open(other)
    for file in ("model.safetensors", "content.safetensors", "items.parquet", "codes.parquet"):
        assert a.manifest.files[file] == b.manifest.files[file], file
    for file in ("ranks.parquet", "topk.parquet", "metrics.json"):
        assert a.manifest.files[file] == b.manifest.files[file], file
    pd.testing.assert_frame_equal(
        a.history.drop(columns="seconds"), b.history.drop(columns="seconds"), check_exact=True
    )
    assert a.config["selected_epoch"] == b.config["selected_epoch"]


def at(epoch: int, done: int | None, action: Callable[[], None]) -> Callable[[EpochEvent], None]:
    """Act after a batch of an epoch; -1 is its last batch, None its validation."""

    def on_event(event: EpochEvent) -> None:
        wanted = event.total if done == -1 else done
        finished = event.row is not None
        if event.epoch == epoch and (finished if done is None else event.done == wanted):
            action()

    return on_event


def press(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def crash() -> None:
    raise Crash


# --- going on -------------------------------------------------------------------------------------

MOMENTS = [(1, 1), (1, -1), (2, 2), (2, None), (3, -1)]


@pytest.mark.parametrize(("epoch", "done"), MOMENTS)
def test_ctrl_c_and_the_same_call_again(place, whole, name, epoch, done):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=rf"stopped in epoch {epoch}; .*same command to go on"):
        place.train(name, on_event=at(epoch, done, press(signal.SIGINT)))
    assert signal.getsignal(signal.SIGINT) is before
    assert not (place.folder / name).exists()
    epochs: list[int] = []
    out = place.train(name, on_event=lambda event: epochs.append(event.epoch))
    assert epochs[0] >= epoch
    same_run(out, whole)
    assert not partial(place, name).exists()


@pytest.mark.parametrize(("epoch", "done"), [(1, 2), (3, -1)])
def test_a_crash_loses_only_what_was_not_saved(place, whole, name, epoch, done):
    with pytest.raises(Crash):
        place.train(name, on_event=at(epoch, done, crash))
    same_run(place.train(name), whole)


def test_a_state_saved_by_the_clock_is_as_good(place, whole, name, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0.0)
    for epoch, done in ((1, 3), (2, 2), (2, 4)):  # crash again and again
        with pytest.raises(Crash):
            place.train(name, on_event=at(epoch, done, crash))
    same_run(place.train(name), whole)


def test_peak_memory_is_that_of_all_sittings(place, name, monkeypatch):
    monkeypatch.setattr(loop, "peak_memory", lambda device: 7 * 10**12)
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(1, 2, press(signal.SIGINT)))
    monkeypatch.setattr(loop, "peak_memory", lambda device: 10**6)
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 2, press(signal.SIGINT)))
    assert Bundle.open(place.train(name)).config["peak_memory_bytes"] == 7 * 10**12


def test_a_state_of_an_earlier_version_is_gone_on_with(place, whole, name):
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 2, press(signal.SIGINT)))
    path = partial(place, name) / "state.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    progress = json.loads(metadata["progress"])
    assert progress.pop("peak_memory") > 0
    save_file(tensors, path, {**metadata, "progress": json.dumps(progress)})
    out = place.train(name)
    same_run(out, whole)
    assert Bundle.open(out).config["peak_memory_bytes"] > 1e6


def test_a_service_manager_stops_it_like_ctrl_c(place, whole, name):
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 1, press(signal.SIGTERM)))
    same_run(place.train(name), whole)


def test_a_second_ctrl_c_does_not_wait(place, name):
    def twice() -> None:
        press(signal.SIGINT)()
        press(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        place.train(name, on_event=at(1, 1, twice))


def test_ctrl_c_in_the_last_moment_still_ends_the_run(place, whole, name):
    same_run(place.train(name, on_event=at(3, None, press(signal.SIGINT))), whole)


def test_crash_while_ranking_after_training(place, whole, name, monkeypatch):
    from diger.training import run

    with monkeypatch.context() as patch:
        patch.setattr(run, "write_bundle", lambda *a, **k: crash())
        with pytest.raises(Crash):
            place.train(name)
    events: list[Any] = []
    same_run(place.train(name, on_event=events.append), whole)
    assert events == []  # nothing was trained again


def test_patience_survives(place, name):
    recipe = place.recipe(training={"epochs": 8, "patience": 1, "learning_rate": 1e-6})
    undisturbed = place.train(f"{name}-whole", recipe)
    stopped_at = int(Bundle.open(undisturbed).history["epoch"].max())
    assert stopped_at < 8
    with pytest.raises(Interrupted):
        place.train(name, recipe, on_event=at(stopped_at, 1, press(signal.SIGINT)))
    same_run(place.train(name, recipe), undisturbed)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"ema": 0.0, "precision": "bf16", "validate_every": 2}},
        toys.SASREC,
        {"method": "differentiable", "joint": {"learning_rate": 1e-2, "refresh": 3}},
        {
            "method": "differentiable",
            "joint": {
                "learning_rate": 1e-2,
                "forward": "sampled",
                "settle": 0.7,
                "uncertainty": {"decay": "sdud+frqud"},
            },
        },
    ],
    ids=["other-training", "sasrec", "joint", "joint-sampled"],
)
def test_other_recipes_go_on_as_exactly(place, name, changes):
    recipe = place.recipe(**changes)
    undisturbed = Bundle.open(place.train(f"{name}-whole", recipe))
    with pytest.raises(Interrupted):
        place.train(name, recipe, on_event=at(2, 2, press(signal.SIGINT)))
    bundle = Bundle.open(place.train(name, recipe))
    for file in ("model.safetensors", "ranks.parquet", "metrics.json", "items.parquet"):
        assert bundle.manifest.files[file] == undisturbed.manifest.files[file], file
    if "levels.parquet" in bundle.manifest.files:
        assert bundle.frame("levels.parquet").equals(undisturbed.frame("levels.parquet"))


def test_kill_9_and_the_same_command_again(place, name, monkeypatch):
    """The real thing: another process, killed at a moment nobody chose."""
    recipe = place.toml(training={"epochs": 15, "patience": 15})
    out = place.folder / name
    command = ["train", recipe, "--data", place.data, "--out", out, "--threads", 1]
    environment = {**os.environ, "PYTHONPATH": str(Path(diger.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "diger", *map(str, command)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = partial(place, name) / "state.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.random() * 0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not out.exists():  # else it was faster than we were
        assert state.exists()
        assert toys.main(*command, monkeypatch=monkeypatch) == 0
    whole = place.folder / f"{name}-whole"
    command[command.index(out)] = whole
    assert toys.main(*command, monkeypatch=monkeypatch) == 0
    same_run(out, whole)


# --- what is not gone on with ---------------------------------------------------------------------


def test_another_runs_state_is_refused(place, whole, name):
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 1, press(signal.SIGINT)))
    for options, changes in (
        ({"seed": 1}, {}),
        ({}, {"training": {"learning_rate": 2e-2}}),
        ({}, {"backbone": {"d_model": 8}}),
        ({}, {"evaluation": {"beam": 25}}),
    ):
        with pytest.raises(DigerError, match=r"another recipe, seed.*--restart") as caught:
            place.train(name, place.recipe(**changes), **options)
        assert "\n" not in str(caught.value)
    same_run(place.train(name), whole)  # the refusals did no harm


def test_another_datasets_state_is_refused(place, name, tmp_path):
    other = Place(tmp_path / "other", toys.make_dataset(toys.walks(seed=1)))
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 1, press(signal.SIGINT)))
    partial(place, name).rename(other.folder / f"{name}.partial")
    with pytest.raises(DigerError, match="unfinished run with another"):
        other.train(name, place.recipe())


def test_other_content_vectors_are_other_data(place, name, tmp_path):
    mine = Place(tmp_path / "mine")
    with pytest.raises(Interrupted):
        mine.train(name, on_event=at(2, 1, press(signal.SIGINT)))
    toys.write_vectors(mine.vectors, seed=5)
    with pytest.raises(DigerError, match="--restart"):
        mine.train(name)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"seed": 1}, {}),
        ({}, {"tokenizer": {"codebook_size": 5}}),
        ({}, {"tokenizer": {"levels": 3}}),
    ],
    ids=["seed", "codebook", "levels"],
)
def test_sids_of_another_run_are_never_taken_over(place, name, options, changes):
    """Stopped before its first state was saved, a run leaves its SIDs; they are not the next's."""
    with pytest.raises(Crash):
        place.train(name, on_event=at(1, 1, crash))
    recipe = place.recipe(**changes)
    try:
        out = place.train(name, recipe, **options)
    except DigerError as error:
        assert "--restart" in str(error)  # a refusal is as good
    else:
        same_run(out, place.train(f"{name}-fresh", recipe, **options))


def test_a_damaged_state_is_named(place, whole, name):
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 1, press(signal.SIGINT)))
    state = partial(place, name) / "state.safetensors"
    for damaged in (b"", b"not safetensors", state.read_bytes()[:-100]):
        state.write_bytes(damaged)
        with pytest.raises(
            DigerError, match=r"state\.safetensors cannot be read.*--restart"
        ) as bad:
            place.train(name)
        assert "\n" not in str(bad.value)
    same_run(place.train(name, restart=True), whole)


def test_damaged_sids_and_half_written_files_do_no_harm(place, whole, name):
    with pytest.raises(Interrupted):
        place.train(name, on_event=at(2, 1, press(signal.SIGINT)))
    (partial(place, name) / "sids.safetensors").write_bytes(b"damaged")
    for half_written in ("state.tmp", "best.tmp", "sids.tmp"):
        (partial(place, name) / half_written).write_bytes(b"half")
    same_run(place.train(name), whole)


def test_one_process_at_a_time(place, whole, name):
    def second() -> None:
        with pytest.raises(DigerError, match="another process is training into"):
            place.train(name)
        with pytest.raises(DigerError, match="another process is training into"):
            place.train(name, restart=True)

    out = place.train(name, on_event=at(1, 1, second))
    same_run(out, whole)


def test_an_existing_bundle_is_only_replaced_by_force(place, whole, name):
    out = place.train(name, place.recipe(**toys.POPULARITY))
    before = Bundle.open(out).hash
    with pytest.raises(DigerError, match="already exists"):
        place.train(name)
    assert Bundle.open(out).hash == before
    assert not partial(place, name).exists()
    with pytest.raises(Crash):
        place.train(name, force=True, on_event=at(2, 1, crash))
    assert Bundle.open(out).hash == before  # the old one stands until the new one is whole
    same_run(place.train(name, force=True), whole)


def test_what_fails_before_it_trains_leaves_nothing(place, name):
    too_large = place.recipe(tokenizer={"codebook_size": 99})
    with pytest.raises(DigerError, match="codebook_size is 99"):
        place.train(name, too_large)
    missing = toys.make_recipe(place.folder / "nowhere.npy")
    with pytest.raises(DigerError, match=r"nowhere\.npy not found"):
        place.train(name, missing)
    assert not list(place.folder.glob(f"*{name}*"))


def test_the_sids_stage_is_not_repeated(place, name, monkeypatch):
    from diger.training import sids

    with pytest.raises(Interrupted):
        place.train(name, on_event=at(1, 1, press(signal.SIGINT)))
    monkeypatch.setattr(sids, "build_tokenizer", lambda *a, **k: crash())
    bundle = Bundle.open(place.train(name))
    assert np.isfinite(bundle.config["seconds"]["tokenizer"])
