"""A study's TOML: what is trained on what, what is kept, and which claims are declared beforehand.

An arm is a recipe's name, or a table with the recipe and whatever is laid over it, in a recipe's
own tables; `on.<dataset>` holds what is different on one dataset. Everything is checked when the
file is read, every arm on every dataset, so that a misspelt key never waits for its turn. Paths
are as on the command line: from the folder in which the command is run. `docs/study.md` explains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from diger.config import LAST_SEED, Config, Recipe, load_recipe, merged, recipe_from, validate
from diger.errors import DigerError, did_you_mean
from diger.evaluation.metrics import CUTOFFS, METRICS
from diger.text import printable
from diger.toml import read_toml


def _no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is listed twice")
    return values


OnceEach = AfterValidator(_no_repeats)
Seed = Annotated[int, Field(ge=0, le=LAST_SEED)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), OnceEach]
Names = Annotated[tuple[str, ...], Field(min_length=1), OnceEach]


class StudyDataset(Config):
    """A dataset of the study."""

    folder: Path  # where `prepare` left it
    seeds: Seeds  # of every arm that does not ask for fewer; the first one may be kept complete


class StudyArm(Config):
    """The keys of an arm's table that are not a recipe's.

    The arms of `sids_from` and `start_from` are taken with the same dataset and seed.
    """

    recipe: str  # what the rest of the table is laid over: a name, or the path of a .toml
    sids_from: str | None = None  # take tokenizer and SIDs from this arm's bundle
    start_from: str | None = None  # start from that arm's recommender and its SIDs
    datasets: Names | None = None  # where it is run; by default everywhere
    seeds: Seeds | None = None  # with which of the datasets' seeds; by default with all
    # By dataset, what is laid over the recipe there and nowhere else.
    on: dict[str, dict[str, Any]] = Field(default_factory=dict)


class StudyClaims(Config):
    """The family of claims, declared before any result is seen: one a dataset.

    Simulated datasets are compared as well, but belong to no family.
    """

    baseline: str  # an arm
    arm: str  # the one arm that is claimed to differ from it
    metric: str = "ndcg@10"  # on the test split
    datasets: Names | None = None  # of the family; by default all of the study


class StudyHead(Config):
    """The top of the file.

    Of the arms in `complete` the first listed seed keeps its weights, all else being results-only
    and, but for two seeds of the two arms of the claim, without the users' lists; None keeps
    everything.
    """

    name: str  # names the files of its tables
    about: str = ""  # a sentence
    bundles: Path  # folder in which the bundles lie, `<dataset>-<arm>-s<seed>`
    half: bool = True  # keep weights in half precision
    complete: Annotated[tuple[str, ...], OnceEach] | None = None


@dataclass(frozen=True)
class Arm:
    """An arm, worked out."""

    name: str  # in folder names and tables
    recipes: Mapping[str, Recipe]  # what is trained, by dataset
    seeds: Mapping[str, tuple[int, ...]]  # by dataset
    sids_from: str | None  # another arm
    start_from: str | None  # another arm

    @property
    def sources(self) -> tuple[str, ...]:
        """Arms whose bundles it needs."""
        return tuple(name for name in (self.sids_from, self.start_from) if name)


class Study(StudyHead):
    """A study, checked."""

    datasets: Mapping[str, StudyDataset]  # by name
    arms: Mapping[str, Arm]  # by name, each after those it needs
    claims: StudyClaims | None


def load_study(path: Path) -> Study:
    """Read a study and everything it names but the data."""
    tables = read_toml(path, "study")
    own = {"datasets", "arms", "claims"}
    for key in sorted(tables.keys() - StudyHead.model_fields.keys() - own):
        hint = did_you_mean(key, [*StudyHead.model_fields, *own])
        raise DigerError(f"{path}: unknown key {key}{hint}")
    head = validate(StudyHead, {k: v for k, v in tables.items() if k not in own}, str(path))
    _check_name(head.name, f"{path}: name")
    datasets = {
        name: _dataset(table, f"{path}: datasets.{name}", name)
        for name, table in _entries(tables, "datasets", path).items()
    }
    arms = {
        name: _arm(name, table, datasets, f"{path}: arms.{name}")
        for name, table in _entries(tables, "arms", path).items()
    }
    claims = None
    if "claims" in tables:
        claims = validate(StudyClaims, tables["claims"], f"{path}: claims")
        _check_claims(claims, datasets, arms, f"{path}: claims")
    _known(head.complete or (), arms, f"{path}: complete", "arm")
    return Study(
        **head.model_dump(),
        datasets=datasets,
        arms={name: arms[name] for name in _in_order(arms, path)},
        claims=claims,
    )


def _entries(tables: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    found = tables.get(key)
    if not isinstance(found, dict) or not found:
        raise DigerError(f"{path}: a study needs a table [{key}] with at least one entry")
    return found


def _dataset(table: Any, where: str, name: str) -> StudyDataset:
    _check_name(name, where)
    if not isinstance(table, dict):
        raise DigerError(f"{where}: must be a table with folder and seeds, got {_show(table)}")
    return validate(StudyDataset, table, where)


def _arm(name: str, table: Any, datasets: Mapping[str, StudyDataset], where: str) -> Arm:
    _check_name(name, where)
    if isinstance(table, str):
        table = {"recipe": table}
    if not isinstance(table, dict):
        raise DigerError(f"{where}: must be a recipe's name or a table, got {_show(table)}")
    own = {key: value for key, value in table.items() if key in StudyArm.model_fields}
    changes = {key: value for key, value in table.items() if key not in own}
    laid_over = [key for key in Recipe.model_fields if key != "name"]
    for key in changes:
        if key not in laid_over:
            hint = did_you_mean(key, [*StudyArm.model_fields, *laid_over])
            raise DigerError(f"{where}: unknown key {key}{hint}")
    arm = validate(StudyArm, own, where)
    _known(arm.on, datasets, f"{where}.on", "dataset")
    _known(arm.datasets or (), datasets, f"{where}.datasets", "dataset")
    try:
        base = load_recipe(arm.recipe)
    except DigerError as error:
        raise DigerError(f"{where}: {error}") from None
    runs_on = [d for d in datasets if arm.datasets is None or d in arm.datasets]
    for dataset in arm.on:
        if dataset not in runs_on:
            raise DigerError(f"{where}.on.{dataset}: the arm is not run on {dataset}")
    seeds = {}
    for dataset in runs_on:
        everyone = datasets[dataset].seeds
        seeds[dataset] = tuple(s for s in everyone if arm.seeds is None or s in arm.seeds)
    for seed in arm.seeds or ():
        if not any(seed in found for found in seeds.values()):
            raise DigerError(f"{where}.seeds: {seed} is not a seed of any of its datasets")
    for dataset in arm.datasets or ():
        if not seeds[dataset]:
            raise DigerError(f"{where}.datasets: none of its seeds is one of {dataset}'s")
    recipes = {d: _recipe(base, name, (changes, arm.on.get(d, {})), where, d) for d in runs_on}
    return Arm(name, recipes, seeds, arm.sids_from, arm.start_from)


def _recipe(
    base: Recipe, arm: str, changes: Iterable[dict[str, Any]], where: str, dataset: str
) -> Recipe:
    """`base` with changes laid over it; named after the arm once something is different."""
    values = base.model_dump(mode="json", exclude={"name"})
    different = False
    for change in changes:
        if change:
            values, different = merged(values, change), True
    return recipe_from(values, arm if different else base.name, f"{where} on {dataset}")


def _check_claims(
    claims: StudyClaims, datasets: Mapping[str, StudyDataset], arms: Mapping[str, Arm], where: str
) -> None:
    _known((claims.baseline,), arms, f"{where}.baseline", "arm")
    _known((claims.arm,), arms, f"{where}.arm", "arm")
    _known(claims.datasets or (), datasets, f"{where}.datasets", "dataset")
    known = [f"{name}@{k}" for name in METRICS for k in CUTOFFS]
    if claims.metric not in known:
        hint = did_you_mean(claims.metric, known)
        raise DigerError(f"{where}.metric: no metric {claims.metric}{hint}")
    if claims.baseline == claims.arm:
        raise DigerError(f"{where}: an arm cannot be compared with itself ({claims.arm})")
    sides = [arms[name] for name in (claims.baseline, claims.arm)]
    compared = False
    for dataset in datasets if claims.datasets is None else claims.datasets:
        absent = [arm.name for arm in sides if not arm.seeds.get(dataset)]
        if absent and claims.datasets is None:
            continue  # said of all that both are run on
        if absent:
            raise DigerError(f"{where}.datasets: the arm {absent[0]} is not run on {dataset}")
        if not set(sides[0].seeds[dataset]) & set(sides[1].seeds[dataset]):
            raise DigerError(
                f"{where}: {claims.baseline} and {claims.arm} have no seed in common on {dataset}, "
                "so there is nothing to compare; give them one in arms.<name>.seeds"
            )
        compared = True
    if not compared:
        raise DigerError(f"{where}: {claims.baseline} and {claims.arm} share no dataset")


def _in_order(arms: Mapping[str, Arm], path: Path) -> list[str]:
    """Names of arms, those that others need before them, else as in the file."""
    for arm in arms.values():
        for key, source in (("sids_from", arm.sids_from), ("start_from", arm.start_from)):
            if source is None:
                continue
            where = f"{path}: arms.{arm.name}.{key}"
            _known((source,), arms, where, "arm")
            for dataset, seeds in arm.seeds.items():
                missing = set(seeds) - set(arms[source].seeds.get(dataset, ()))
                if missing:
                    raise DigerError(
                        f"{where}: {source} is not run on {dataset} with seed {min(missing)}"
                    )
    place = {name: i for i, name in enumerate(arms)}
    sorter = TopologicalSorter({name: arm.sources for name, arm in arms.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise DigerError(f"{path}: arms need each other: {' -> '.join(error.args[1])}") from None
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=place.__getitem__)
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return order


def _show(value: object) -> str:
    return printable(repr(value), 60)


def _known(names: Iterable[str], known: Mapping[str, Any], where: str, what: str) -> None:
    for name in names:
        if name not in known:
            raise DigerError(f"{where}: no {what} named {name}{did_you_mean(name, known)}")


def _check_name(name: str, where: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DigerError(
            f"{where}: {name!r} cannot be part of a file's name; use letters, digits, . _ and -"
        )
