"""What one of two processes does in the tests of distributed training.

Started by `test_distributed.py` as `python process_toys.py FOLDER` with a launcher's variables set.
Every run lies in FOLDER; `digests-RANK.json` tells what this process's weights were after each
epoch, by run, and what was left of the group of processes at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import core_toys as toys
import torch

from diger.config import Recipe
from diger.training.distributed import joined, rank, wait
from diger.training.joint import JointTask
from diger.training.loop import Interrupted
from diger.training.task import PlainTask

QUIET = {"noise": "none", "decay": "none"}
STILL = {**toys.RECIPE["backbone"], "dropout": 0.0}
DIFFERENTIABLE = {"method": "differentiable", "backbone": STILL}
# Batches of 7 leave one history over, so that a process is without any.
RECIPES: dict[str, dict[str, Any]] = {
    "static": {"backbone": STILL, "training": {"batch_size": 7}},
    "sasrec": {**toys.SASREC, "backbone": {**toys.SASREC["backbone"], "dropout": 0.0}},
    "t5": {
        "backbone": {
            **{"kind": "t5", "d_model": 16, "heads": 2, "head_width": 8, "layers": 1},
            **{"decoder_layers": 1, "feed_forward": 16, "dropout": 0.0},
        },
        "training": {"batch_size": 25},
    },
    "differentiable": {
        **DIFFERENTIABLE,
        "training": {"batch_size": 7},
        "joint": {"learning_rate": 2e-2, "refresh": 3, "uncertainty": QUIET},
    },
    "noisy": {
        **DIFFERENTIABLE,
        "joint": {
            "learning_rate": 1e-2,
            "forward": "sampled",
            "uncertainty": {"noise": "gumbel", "decay": "sdud+frqud"},
        },
    },
    "dropout": {"method": "differentiable", "joint": {"learning_rate": 1e-2}},
}
USERS = 38  # 36 of them with two training events or more: 36 = 5 * 7 + 1


def make_place(folder: Path) -> toys.Place:
    """The dataset of all these runs."""
    return toys.Place(folder, toys.make_dataset(toys.walks(USERS)))


def recipes(place: toys.Place) -> dict[str, Recipe]:
    """What is trained, by the name of the run."""
    # Histories in one window each: the counts above are of users.
    whole = {"max_history": 12}
    return {
        name: place.recipe(**{**changes, "training": {**changes.get("training", {}), **whole}})
        for name, changes in RECIPES.items()
    }


def _watch_weights(into: list[str]) -> None:
    for task in (PlainTask, JointTask):
        original = task.end_epoch

        def end_epoch(self: Any, original: Any = original) -> Any:
            result = original(self)
            digest = hashlib.sha256()
            for tensor in self.module.state_dict().values():
                digest.update(tensor.numpy().tobytes())
            into.append(digest.hexdigest())
            return result

        task.end_epoch = end_epoch  # type: ignore[method-assign]


def _press_in_second_epoch() -> None:
    """Ctrl-C in the second process alone, in the middle of an epoch."""
    original, calls = JointTask.begin_update, iter(range(1000))

    def begin_update(self: Any, update: int, updates: int) -> None:
        if rank() == 1 and next(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # a launcher may send two
        original(self, update, updates)

    JointTask.begin_update = begin_update  # type: ignore[method-assign]


def _threads_of_the_group() -> list[str]:
    """The names of this process's threads that exchange tensors; none where there is no /proc."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sorted(name for name in names if "gloo" in name)


def main(folder: Path) -> None:
    """Train everything, and one run in two sittings."""
    digests: dict[str, list[str]] = {}
    weights: list[str] = []
    _watch_weights(weights)
    place = make_place(folder) if os.environ["RANK"] == "0" else None
    with joined("cpu"):
        wait()
        place = place or make_place(folder / "other")
        place.data, place.vectors = folder / "data", folder / "vectors.npy"
        place.folder = folder
        for name, recipe in recipes(place).items():
            weights.clear()
            place.train(name, recipe)
            digests[name] = list(weights)
        _press_in_second_epoch()
        try:
            place.train("resumed", recipes(place)["dropout"])
        except Interrupted as stop:
            digests["stopped"] = [str(stop)]
        place.train("resumed", recipes(place)["dropout"])
    digests["threads"] = _threads_of_the_group()
    (folder / f"digests-{os.environ['RANK']}.json").write_text(json.dumps(digests))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
