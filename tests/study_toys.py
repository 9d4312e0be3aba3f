"""A study's file over two toy datasets, and an executor that draws bundles instead of training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import core_toys as toys
import toy_bundles

from diger.study.config import Study, load_study
from diger.study.grid import Run, grid, select
from diger.study.process import Job
from diger.study.progress import survey
from diger.study.run import Options, Outcome, run_study
from diger.training.run import Listener, train

# Two arms everywhere, one on the SIDs that another learned, one that is not run everywhere.
STUDY = """
name = "toy"
bundles = "{folder}/bundles"
complete = ["static", "differentiable"]

[datasets.ring]
folder = "{folder}/ring"
seeds = [0, 1]

[datasets.walk]
folder = "{folder}/walk"
seeds = [4]

[arms]
static = "{folder}/recipe.toml"

[arms.frozen] # needs an arm that comes later in the file
recipe = "{folder}/recipe.toml"
sids_from = "differentiable"
datasets = ["ring"]
seeds = [0]

[arms.differentiable]
recipe = "{folder}/recipe.toml"
method = "differentiable"
joint.learning_rate = 1e-2
on.walk.training.epochs = 4

[arms.popularity]
recipe = "{folder}/recipe.toml"
method = "popularity"
backbone.kind = "popularity"

[claims]
baseline = "static"
arm = "differentiable"
"""


def make(folder: Path, text: str = STUDY) -> Study:
    """The study as a file in `folder`, with its datasets and its recipe."""
    if not (folder / "ring").exists():
        toys.make_dataset().save(folder / "ring")
        toys.make_dataset(toys.walks(seed=1), name="walk").save(folder / "walk")
    vectors = toys.write_vectors(folder / "vectors.npy")
    (folder / "recipe.toml").write_text(toys.recipe_toml(toys.make_recipe(vectors)))
    path = folder / "study.toml"
    path.write_text(text.format(folder=folder))
    return load_study(path)


class Drawn:
    """Draws bundles instead of training them; does something else where it is told to."""

    def __init__(self, **instead: Exception | Callable[[Job], None]) -> None:
        self.instead = {name.replace("_", "-"): value for name, value in instead.items()}
        self.made: list[str] = []

    def __call__(self, job: Job, tell: Callable[[dict[str, Any]], None]) -> None:
        self.made.append(job.out.name)
        instead = self.instead.get(job.out.name)
        if isinstance(instead, Exception):
            raise instead
        if instead is not None:
            instead(job)
            return
        if job.force:
            shutil.rmtree(job.out, ignore_errors=True)
        draw(job)


def draw(job: Job, **changes: Any) -> Path:
    """A bundle as the job would leave it, without weights."""
    arm = job.recipe.arm
    data = json.loads((job.data / "dataset.json").read_text())
    return toy_bundles.write_run(
        job.out.parent,
        name=job.out.name,
        **{
            **{"dataset": data["name"], "fingerprint": data["fingerprint"], "seed": job.seed},
            **{"method": arm["method"], "decay": arm["decay"], "noise": arm["noise"]},
            "quality": 0.3 if arm["method"] == "static" else 0.4,
            "whole_recipe": job.recipe.model_dump(mode="json"),
            **changes,
        },
    )


def work(job: Job, tell: Callable[[dict[str, Any]], None]) -> None:
    """Train what a job says in this process."""
    train(
        job.recipe,
        job.data,
        job.out,
        seed=job.seed,
        device=toys.CPU,
        half=job.half,
        force=job.force,
        restart=job.restart,
        sids_from=job.sids_from,
        start_from=job.start_from,
        listener=Listener(epoch=lambda event: tell({"event": "epoch", "epoch": event.epoch})),
    )


def job_of(run: Run) -> Job:
    """What the process of a run without sources is told."""
    own = (run.recipe, run.data, run.out, run.seed)
    return Job(*own, "cpu", 1, run.half, False, False, None, None)


def make_plain(folder: Path) -> Study:
    """The study without the arm that needs another's weights, which drawn bundles lack."""
    start, end = STUDY.index("[arms.frozen]"), STUDY.index("[arms.differentiable]")
    return make(folder, STUDY[:start] + STUDY[end:])


def keys(runs: list[Run]) -> list[str]:
    """Their names."""
    return [run.key for run in runs]


def states(study: Study) -> dict[str, str]:
    """Where each run stands."""
    return {cell.run.key: cell.state for cell in survey(grid(study))}


def go(study: Study, execute: Any, only: str = "") -> Outcome:
    """Run what is left, or one run again."""
    runs = grid(study)
    chosen = [select(runs, only)] if only else runs
    return run_study(runs, chosen, Options("cpu", 1, again=bool(only)), None, execute)
