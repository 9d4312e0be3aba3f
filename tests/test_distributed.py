"""Two processes do what one does with the same global batches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import core_toys as toys
import numpy as np
import process_toys
import pytest
import torch

import diger
from diger.bundle.reader import Bundle
from diger.data.batches import Batch
from diger.errors import DigerError
from diger.training import distributed
from diger.training.launcher import LAUNCHER, launched

HERE = Path(__file__).parent
ROOT = Path(diger.__file__).parents[1]


def launch(command: list[str], processes: int = 2) -> list[str]:
    """Run a command in several processes as a launcher would; what each said on stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}",
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        said = [process.communicate(timeout=900)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * processes, "\n".join(said)
    return said


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The folder of all runs, each made by two processes."""
    folder = tmp_path_factory.mktemp("two")
    launch([str(HERE / "process_toys.py"), str(folder)])
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> toys.Place:
    return process_toys.make_place(tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("name", ["static", "sasrec", "t5", "differentiable"])
def test_two_processes_do_what_one_does(runs, alone, name):
    two = Bundle.open(runs / name)
    one = Bundle.open(alone.train(name, process_toys.recipes(alone)[name]))
    ours, theirs = (b.history.drop(columns="seconds") for b in (two, one))
    assert ours.columns.tolist() == theirs.columns.tolist()
    np.testing.assert_allclose(ours.to_numpy(float), theirs.to_numpy(float), rtol=2e-4, atol=2e-5)
    weights = one.tensors("model.safetensors")
    for key, value in two.tensors("model.safetensors").items():
        if key.endswith("align_item.bias"):
            continue  # no loss depends on it: its gradient is rounding, which Adam blows up
        np.testing.assert_allclose(value, weights[key], rtol=1e-2, atol=2e-4, err_msg=key)
    assert two.items.equals(one.items)  # SIDs
    if name == "differentiable":
        assert theirs["drift"].iloc[-1] > 0  # they moved, and alike


def test_processes_hold_the_same_weights_throughout(runs):
    first, second = (json.loads((runs / f"digests-{i}.json").read_text()) for i in (0, 1))
    assert first == second
    for name in process_toys.RECIPES:
        assert len(first[name]) == 3 and len(set(first[name])) == 3


def test_nothing_of_the_group_outlives_it(runs):
    for index in (0, 1):  # a thread left behind can abort an interpreter that is closing
        assert json.loads((runs / f"digests-{index}.json").read_text())["threads"] == []


def test_noise_and_dropout_run_through(runs):
    history = Bundle.open(runs / "noisy").history
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["sigma"].iloc[-1] != history["sigma"].iloc[0]
    assert (history["agreement"] < 1).all()


def test_stopped_in_one_process_all_stop_and_go_on_exactly(runs):
    (said,) = json.loads((runs / "digests-0.json").read_text())["stopped"]
    assert "stopped in epoch 2" in said
    resumed, whole = Bundle.open(runs / "resumed"), Bundle.open(runs / "dropout")
    for file in ("model.safetensors", "ranks.parquet", "items.parquet", "levels.parquet"):
        assert resumed.manifest.files[file] == whole.manifest.files[file], file


def test_the_first_process_alone_writes(runs):
    bundles = {p.name for p in runs.iterdir() if p.is_dir()} - {"data", "other"}
    assert bundles == {*process_toys.RECIPES, "resumed"}
    assert not list(runs.rglob("*.tmp")) and not list(runs.glob("*.partial"))


# --- the parts, in one process --------------------------------------------------------------------


def test_a_share_knows_the_whole_batch(monkeypatch):
    items = torch.tensor([[3, 5, 3, 9], [4, 5, 5, 5], [9, 3, 3, 3]])
    whole = Batch(items, torch.tensor([4, 2, 2]))
    unique, index = whole.distinct()
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    part, present = distributed.share(whole)
    assert present and part.items.tolist() == [[4, 5]] and part.lengths.tolist() == [2]
    same, mine = part.distinct()
    assert same.tolist() == unique.tolist() == [3, 4, 5, 9]
    assert mine.tolist() == [[1, 2]] == index[1:2, :2].tolist()
    assert part.events().tolist() == whole.events().tolist() == [3, 5, 3, 9, 4, 5, 9, 3]
    # Targets, 5 3 9, 5 and 3, counted for items 3 4 5 9.
    assert part.frequency(same).tolist() == [2, 0, 2, 1]
    assert whole.frequency(unique) is None


def test_a_process_without_a_history_has_no_say(monkeypatch):
    whole = Batch(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    part, present = distributed.share(whole)
    assert not present and part.items.tolist() == [[1, 2, 3]]


def test_one_process_is_left_alone():
    whole = Batch(torch.tensor([[1, 2]]), torch.tensor([2]))
    assert distributed.share(whole) == (whole, True)
    assert distributed.weighted_sum({"a": 2.0}, 0.5) == {"a": 2.0}
    assert distributed.anywhere(True, False) == [True, False]
    assert distributed.of_first(1.5, 2.0) == [1.5, 2.0]
    distributed.wait()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("meta", "cannot be used here"),
        ("cuda:0" if torch.cuda.is_available() else "cuda", "cannot"),
    ],
)
def test_a_device_that_cannot_be_shared_is_named(monkeypatch, device, message):
    for name, value in zip(LAUNCHER, ("0", "2", "127.0.0.1", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert launched()
    with pytest.raises(DigerError, match=message), distributed.joined(device):
        pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WORLD_SIZE", "x", "WORLD_SIZE must be a whole number, got 'x'"),
        ("WORLD_SIZE", "-2", "WORLD_SIZE must be a whole number"),
        ("RANK", "1.0", "RANK must be a whole number"),
        ("RANK", "2", "do not go together"),
        ("MASTER_PORT", "http", "MASTER_PORT must be a whole number"),
        ("MASTER_PORT", "70000", "do not go together"),
        ("LOCAL_RANK", "first", "LOCAL_RANK must be a whole number"),
    ],
)
def test_what_no_launcher_sets_is_said_in_one_line(monkeypatch, name, value, message):
    for variable, usual in zip(LAUNCHER, ("0", "2", "127.0.0.1", "1"), strict=True):
        monkeypatch.setenv(variable, usual)
    monkeypatch.setenv(name, value)
    with pytest.raises(DigerError, match=message) as caught, distributed.joined("cpu"):
        pass
    assert "\n" not in str(caught.value)


def test_a_launcher_of_one_is_none(monkeypatch):
    for variable in LAUNCHER:
        monkeypatch.setenv(variable, "")
    assert not launched()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not launched()
