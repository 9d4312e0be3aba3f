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
from safetensors.torch import load_file, save_file

import diger
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.recommender import products
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


def same_run(one: Path, other: Path) -> None:
    """Every file the same to the byte; history but for the clock."""
    a, b = Bundle.open(one), Bundle.open(other)
    differ = {name for name, _ in a.manifest.files.items() ^ b.manifest.files.items()}
    assert differ <= {"config.json", "history.parquet", "README.md"}
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


def press(number: int = signal.SIGINT) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def crash() -> None:
    raise Crash


def stopped(place: Place, name: str, epoch: int = 2, done: int | None = 1, **options: Any) -> Path:
    """Begin a run, stop it at a moment and return the folder of what is left."""
    action = options.pop("action", press())
    before = signal.getsignal(signal.SIGINT)
    message = None if action is crash else rf"epoch {epoch}; .*same command to go on"
    with pytest.raises(Crash if action is crash else Interrupted, match=message):
        place.train(name, on_event=at(epoch, done, action), **options)
    assert signal.getsignal(signal.SIGINT) is before
    return place.folder / f"{name}.partial"


AGAIN_AND_AGAIN = [(1, 3), (2, 2), (2, 4)]


@pytest.mark.parametrize(
    ("action", "moments"),
    [
        *((press(), [moment]) for moment in [(1, 1), (1, -1), (2, 2), (2, None), (3, -1)]),
        (press(signal.SIGTERM), [(2, 1)]),  # as a service manager does
        (crash, [(1, 2)]),
        (crash, [(3, -1)]),
        (crash, AGAIN_AND_AGAIN),  # going on from what the clock saved
    ],
)
def test_stopped_and_the_same_call_again(place, whole, name, monkeypatch, action, moments):
    if moments is AGAIN_AND_AGAIN:
        monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0.0)
    for moment in moments:
        left = stopped(place, name, *moment, action=action)
        assert not (place.folder / name).exists()
    epochs: list[int] = []
    same_run(place.train(name, on_event=lambda event: epochs.append(event.epoch)), whole)
    assert action is crash or epochs[0] >= moments[-1][0]
    assert not left.exists()


def test_the_sids_stage_is_not_repeated_and_peak_memory_is_of_all_sittings(
    place, name, monkeypatch
):
    from diger.training import sids

    for epoch, peak in ((1, 7 * 10**12), (2, 10**6)):
        monkeypatch.setattr(loop, "peak_memory", lambda device, peak=peak: peak)
        stopped(place, name, epoch, 2)
    monkeypatch.setattr(sids, "build_tokenizer", lambda *a, **k: crash())
    config = Bundle.open(place.train(name)).config
    assert config["peak_memory_bytes"] == 7 * 10**12
    assert np.isfinite(config["seconds"]["tokenizer"])


def test_a_state_of_an_earlier_version_is_gone_on_with(place, whole, name):
    path = stopped(place, name, 2, 2) / "state.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    progress = json.loads(metadata["progress"])
    assert progress.pop("peak_memory") > 0
    save_file(load_file(path), path, {**metadata, "progress": json.dumps(progress)})
    out = place.train(name)
    same_run(out, whole)
    assert Bundle.open(out).config["peak_memory_bytes"] > 1e6


def test_a_second_ctrl_c_does_not_wait_and_a_last_one_still_ends_the_run(place, whole, name):
    def twice() -> None:
        press()()
        press()()

    with pytest.raises(KeyboardInterrupt):
        place.train(name, on_event=at(1, 1, twice))
    same_run(place.train(name, on_event=at(3, None, press())), whole)


def test_crash_while_ranking_after_training(place, whole, name, monkeypatch):
    from diger.training import run

    with monkeypatch.context() as patch:
        patch.setattr(run, "write_bundle", lambda *a, **k: crash())
        with pytest.raises(Crash):
            place.train(name)
    same_run(place.train(name, on_event=pytest.fail), whole)  # nothing was trained again


def joint(**values: Any) -> dict[str, Any]:
    return {"method": "differentiable", "joint": {"learning_rate": 1e-2, **values}}


OTHERS = {
    "training": {"training": {"ema": 0.0, "precision": "bf16", "validate_every": 2}},
    "patience": {"training": {"epochs": 8, "patience": 1, "learning_rate": 1e-6}},
    "sasrec": toys.SASREC,
    "joint": joint(refresh=3),
    "moving": {
        "training": {"precision": "bf16"},
        **joint(offsets=1e-2, mixing=1e-3, balance=1.0, gradients=("labels",)),
    },
    "shuffled": {
        "method": "shuffled",
        "joint": {
            "changes": ((0.1, 0.3), (0.0, 0.2)),
            "uncertainty": {"noise": "none", "decay": "none"},
        },
    },
    "reassigned": {
        "method": "reassigned",
        "tokenizer": {"distinct": True},
        "joint": {"nearest": 4, "uncertainty": {"noise": "none", "decay": "none"}},
    },
    "sampled": joint(forward="sampled", settle=0.7, uncertainty={"decay": "sdud+frqud"}),
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_other_recipes_go_on_as_exactly(place, name, changes, monkeypatch):
    monkeypatch.setattr(products, "has_bfloat16", lambda: True)
    recipe = place.recipe(**changes)
    undisturbed = place.train(f"{name}-whole", recipe)
    if "patience" in name:
        assert len(Bundle.open(undisturbed).history) == 2  # of 8
    stopped(place, name, 2, 2, recipe=recipe)
    same_run(place.train(name, recipe), undisturbed)


def test_kill_9_and_the_same_command_again(place, name, monkeypatch):
    """The real thing: another process, killed at a moment nobody chose."""
    recipe = place.toml(training={"epochs": 15, "patience": 15})
    out = place.folder / name
    command = ["train", recipe, "--data", place.data, "--out", out, "--threads", 1]
    path = str(Path(diger.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "diger", *map(str, command)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = place.folder / f"{name}.partial" / "state.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.random() * 0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not out.exists():  # else it was faster than we were
        assert state.exists()
        assert toys.main(*command, monkeypatch=monkeypatch) == 0
    recipe = place.recipe(training={"epochs": 15, "patience": 15})
    same_run(out, place.train(f"{name}-whole", recipe))


def test_another_runs_state_is_refused(place, whole, name):
    stopped(place, name)
    for options, changes in (
        ({"seed": 1}, {}),
        ({}, {"training": {"learning_rate": 2e-2}}),
        ({}, {"evaluation": {"beam": 25}}),
    ):
        with pytest.raises(DigerError, match=r"another recipe, seed.*--restart") as caught:
            place.train(name, place.recipe(**changes), **options)
        assert "\n" not in str(caught.value)
    same_run(place.train(name), whole)  # the refusals did no harm


def test_other_data_and_other_content_vectors_are_another_run(place, name, tmp_path):
    other = Place(tmp_path / "other", toys.make_dataset(toys.walks(seed=1)))
    stopped(place, name).rename(other.folder / f"{name}.partial")
    with pytest.raises(DigerError, match="unfinished run with another"):
        other.train(name, place.recipe())
    stopped(other, "mine")
    toys.write_vectors(other.vectors, seed=5)
    with pytest.raises(DigerError, match="unfinished run with another"):
        other.train("mine")


@pytest.mark.parametrize(
    ("options", "changes"),
    [({"seed": 1}, {}), ({}, {"tokenizer": {"codebook_size": 5}})],
    ids=["seed", "codebook"],
)
def test_sids_of_another_run_are_never_taken_over(place, name, options, changes):
    """Stopped before its first state was saved, a run leaves its SIDs; they are not the next's."""
    stopped(place, name, 1, action=crash)
    recipe = place.recipe(**changes)
    try:
        out = place.train(name, recipe, **options)
    except DigerError as error:
        assert "--restart" in str(error)  # a refusal is as good
    else:
        same_run(out, place.train(f"{name}-fresh", recipe, **options))


def test_a_damaged_state_is_named(place, whole, name):
    state = stopped(place, name) / "state.safetensors"
    for damaged in (b"", b"not safetensors", state.read_bytes()[:-100]):
        state.write_bytes(damaged)
        with pytest.raises(DigerError, match=r"state\.safetensors .*--restart") as bad:
            place.train(name)
        assert "\n" not in str(bad.value)
    same_run(place.train(name, restart=True), whole)


def test_damaged_sids_and_half_written_files_do_no_harm(place, whole, name):
    left = stopped(place, name)
    for file in ("sids.safetensors", "state.tmp", "best.tmp", "sids.tmp"):
        (left / file).write_bytes(b"damaged")
    same_run(place.train(name), whole)


def test_one_process_at_a_time(place, whole, name):
    def second() -> None:
        for restart in (False, True):
            with pytest.raises(DigerError, match="another process is training into"):
                place.train(name, restart=restart)

    same_run(place.train(name, on_event=at(1, 1, second)), whole)


def test_an_existing_bundle_is_only_replaced_by_force(place, whole, name):
    out = place.train(name, place.recipe(**toys.POPULARITY))
    before = Bundle.open(out).hash
    with pytest.raises(DigerError, match="already exists"):
        place.train(name)
    assert not (place.folder / f"{name}.partial").exists()
    stopped(place, name, action=crash, force=True)
    assert Bundle.open(out).hash == before  # the old one stands until the new one is whole
    same_run(place.train(name, force=True), whole)


def test_what_fails_before_it_trains_leaves_nothing(place, name):
    crowded = {"levels": 1, "codebook_size": 2, "suffix_size": 2}
    for recipe, message in (
        (place.recipe(tokenizer={"codebook_size": 99}), "codebook_size is 99"),
        (place.recipe(tokenizer=crowded), "share the codes"),
        (toys.make_recipe(place.folder / "nowhere.npy"), r"nowhere\.npy not found"),
    ):
        with pytest.raises(DigerError, match=message):
            place.train(name, recipe)
    assert not list(place.folder.glob(f"*{name}*"))
