"""Runs as a tidy frame: one row a bundle, with what identifies, describes and costs it.

Two runs are seeds of one arm only where everything but the seed is the same: data, method, decay,
noise, recipe, backbone and decoding. That is a `group`; its readable name is the `arm`, which says
the recipe too where a dataset has several groups of one method, decay and noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diger.bundle import documents
from diger.bundle.documents import Config, OriginEntry, is_number
from diger.bundle.reader import Bundle
from diger.bundle.settings import settings
from diger.config import recipe_names
from diger.names import SID_METHODS

# Phases that are not part of making the model.
_NOT_TRAINING = frozenset(("evaluation", "this sitting"))


def runs_frame(bundles: Sequence[Bundle]) -> pd.DataFrame:
    """One row a bundle, in their order.

    Columns: `bundle, path, hash, kind`; `dataset, title, simulated, fingerprint, split, users,
    items`; `method, decay, noise, arm, origin, group, variant, recipe, backbone,
    tokenizer, suffix, seed, content, setting, histories, freedom, way`; `decoding,
    test_users` of the headline test result; `parameters, memory_bytes, seconds` (all but
    evaluation), `seconds_<phase>`, `epochs, selected_epoch, device, cpu, threads, code_version`;
    then `test_<metric>`, `validation_<metric>`, `corrected_<metric>` (test, collision-corrected)
    and `test_coverage@k`, `test_head_share@k`, `test_mean_popularity@k`. What a bundle does not
    say is missing, never 0.
    """
    frame = pd.DataFrame([run_row(bundle) for bundle in bundles], columns=None)
    if frame.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    frame["arm"] = _arm_names(frame)
    rest = [c for c in frame.columns if c not in _COLUMNS]
    return _compact(frame.reindex(columns=[*_COLUMNS, *rest]))


def run_row(bundle: Bundle) -> dict[str, Any]:
    """The row of one bundle; `arm` is its plain label, without the recipe."""
    about, dataset, hardware = bundle.about, bundle.about.dataset, bundle.about.hardware
    origin = _origin(about)
    test = documents.headline(bundle.metrics, "test")
    validation = documents.headline(bundle.metrics, "validation")
    row: dict[str, Any] = {
        "bundle": bundle.name,
        "path": str(bundle.path),
        "hash": bundle.hash,
        "kind": bundle.kind,
        "dataset": dataset.name or "unknown",
        "title": dataset.label,
        "simulated": dataset.simulated,
        "fingerprint": dataset.fingerprint,
        "split": dataset.split,
        "users": _or_nan(dataset.users),
        "items": _or_nan(dataset.items),
        **about.arm.model_dump(),
        "arm": arm_label(*about.arm.parts) + (f", {origin}" if origin else ""),
        "origin": origin,
        "variant": _recipe_digest(about),
        "recipe": str(about.recipe.get("name") or ""),
        "backbone": about.backbone,
        "tokenizer": str(about.tokenizer.get("kind") or ""),
        "suffix": not about.tokenizer.get("distinct", False),
        "content": content_of(about),
        "setting": _digest(shared := _shared_settings(about)),
        "histories": _histories(about),
        "freedom": _freedom(about),
        "way": _digest({k: v for k, v in shared.items() if not k.startswith(_MEANING)}),
        "seed": -1 if about.seed is None else about.seed,
        "decoding": str((test or {}).get("decoding") or ""),
        "test_users": _or_nan((test or {}).get("users")),
        "parameters": _or_nan(about.parameters),
        "memory_bytes": _or_nan(about.peak_memory_bytes),
        "selected_epoch": _or_nan(about.selected_epoch),
        "epochs": _or_nan((about.recipe.get("training") or {}).get("epochs")),
        "device": hardware.device,
        "cpu": hardware.cpu,
        "threads": _or_nan(hardware.threads),
        "code_version": about.code_version,
    }
    row["group"] = _digest(
        [row[k] for k in ("dataset", "fingerprint", "split", "arm", "variant", "decoding")]
    )
    return row | _seconds(about) | _metrics(test, validation)


def arm_label(method: str, decay: str = "none", noise: str = "none") -> str:
    """Method, and decay and noise where they are not the method's own.

    >>> arm_label("static"), arm_label("differentiable", "frqud", "gumbel")
    ('static', 'differentiable (frqud)')
    >>> arm_label("differentiable", "none", "none"), arm_label("detached", "none", "none")
    ('differentiable (no noise)', 'detached')
    """
    plain = {decay, noise} <= {"none", ""}
    if method not in ("differentiable", "detached") or (method == "detached" and plain):
        return method
    if noise in ("none", ""):
        return f"{method} (no noise)" if decay in ("none", "") else f"{method} ({decay}, no noise)"
    shown = "no decay" if decay in ("none", "") else decay
    return f"{method} ({shown})" if noise == "gumbel" else f"{method} ({shown}, {noise})"


def _metrics(test: Any, validation: Any) -> dict[str, float]:
    row: dict[str, float] = {}
    for prefix, result, family in (
        ("test", test, "metrics"),
        ("validation", validation, "metrics"),
        ("corrected", test, "collision_corrected"),
        ("test", test, "beyond_accuracy"),
    ):
        values = (result or {}).get(family)
        for name, value in (values if isinstance(values, Mapping) else {}).items():
            if is_number(value):
                row[f"{prefix}_{name}"] = float(value)
    return row


def _seconds(about: Config) -> dict[str, float]:
    known = about.seconds
    row = {f"seconds_{phase.replace(' ', '_')}": value for phase, value in known.items()}
    training = [value for phase, value in known.items() if phase not in _NOT_TRAINING]
    return row | ({"seconds": sum(training)} if training else {})


def _arm_names(frame: pd.DataFrame) -> list[str]:
    """Plain labels where a dataset has one group of them, else with recipe and digest.

    Where a dataset has SIDs of several contents, what is not text is named first. The group on
    the dataset's usual histories with the most seeds keeps the plain label; of equals the one whose
    recipe is called like the method, or else the first.
    """
    names: dict[str, str] = {}
    shipped = recipe_names()
    usual = usual_histories(frame)
    several = frame[frame["content"] != ""].groupby("dataset")["content"].nunique() > 1
    labels = [
        arm + (_ON.get(content, f" on {content}") if several.get(dataset, False) else "")
        for dataset, arm, content in zip(
            frame["dataset"], frame["arm"], frame["content"], strict=True
        )
    ]
    for (dataset, label), part in frame.assign(arm=labels).groupby(["dataset", "arm"], sort=False):
        seeds = part.groupby("group", sort=False)["seed"].nunique()
        one = part.drop_duplicates("group").set_index("group")
        rank = pd.DataFrame(
            {
                "other": one["histories"] != usual[dataset],
                "seeds": -seeds,
                "named": one["recipe"] != one["method"],
            }
        ).reindex(seeds.index)
        order = list(rank.sort_values(list(rank.columns), kind="stable").index)
        recipes = [one.loc[group, "recipe"] for group in order]
        for place, (group, recipe) in enumerate(zip(order, recipes, strict=True)):
            shown = recipe or "recipe"
            # What differs says more than the name of a recipe that everybody has.
            if recipe in shipped and one.loc[group, "suffix"] > one.loc[order[0], "suffix"]:
                shown = "with a suffix"
            if recipes.count(recipe) > 1:
                shown = f"{shown} {group[:4]}"
            suffix = f" [{shown}]" if place else ""
            names[group] = f"{label}{suffix}"
    return [names[group] for group in frame["group"]]


_ON = {
    "": "",
    "text": "",
    "given": "",
    "both": " on both",  # the windows say of what: a phone has no room for it
    "random": " on random codes",
}


def _origin(about: Config) -> str:
    """What a run took from another bundle, in words; empty for nothing, or for static SIDs.

    Static SIDs are where every arm begins; sharing them between arms of a seed is no difference.
    """
    told = []
    start, sids = about.start_from, about.sids_from
    if start is not None:
        told.append(f"from {_label(start)}")
    same = start is not None and sids is not None and start.hash == sids.hash
    if sids is not None and _label(sids) != "static" and not same:
        told.append(f"SIDs of {_label(sids)}")
    return ", ".join(told)


def _label(origin: OriginEntry) -> str:
    return arm_label(*(part or "none" for part in origin.arm.parts))


def content_of(about: Config) -> str:
    """What SIDs were made of: `text`, `behaviour`, `both`, or the sources' names; "" without SIDs.

    `random` where the codebooks were drawn at random, `given` where the SIDs came from a file.
    """
    if about.arm.method not in SID_METHODS:
        return ""
    tokenizer = about.recipe.get("tokenizer") or {}
    if about.tokenizer.get("kind") == "file" or tokenizer.get("file"):
        return "given"
    if (tokenizer.get("kmeans") or {}).get("random"):
        return "random"
    told = [source.name for source in about.content.sources if source.weight != 0]
    named = (about.recipe.get("content") or {}).get("sources") or {"text": 1.0}
    names = sorted(told or [name for name, weight in named.items() if weight], reverse=True)
    return "both" if names == ["text", "behaviour"] else " and ".join(names)


# What makes SIDs mean something; and what arms must share, besides data and split.
_MEANING = ("content.", "tokenizer.kmeans.random")
_SETTING = ("content.", "tokenizer.", "backbone.", "training.")


def _shared_settings(about: Config) -> dict[str, Any]:
    counted = settings(about.recipe, about.arm.method)
    counted.pop("training.patience", None)  # when a run is given up, not what is trained
    return {k: v for k, v in counted.items() if k.startswith(_SETTING)} | {"on": about.backbone}


def _histories(about: Config) -> str:
    """How training histories were varied: models of other ones answer another question."""
    training = about.recipe.get("training") or {}
    return f"{training.get('short') or 0} {training.get('jitter') or 0}"


def _freedom(about: Config) -> str:
    """What joint training moves beside the codewords: each item, a map of all content, nothing."""
    joint = about.recipe.get("joint") or {}
    if about.arm.method != "differentiable":
        return ""
    return "items" if joint.get("offsets") else "map" if joint.get("mixing") else ""


def usual_histories(runs: pd.DataFrame) -> dict[str, str]:
    """By dataset, the `histories` that most runs were trained on, the first of equals."""
    counts = runs.groupby(["dataset", "histories"], sort=False).size()
    most = counts.sort_values(ascending=False, kind="stable").reset_index()
    most = most.drop_duplicates("dataset")
    return dict(zip(most["dataset"], most["histories"], strict=True))


def _recipe_digest(about: Config) -> str:
    counted = settings(about.recipe, about.arm.method)
    # SIDs read from a file may differ from seed to seed.
    counted = {k: v for k, v in counted.items() if not k.endswith(".path")}
    return _digest([counted, about.backbone])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _or_nan(value: object) -> float:
    return float(value) if is_number(value) else float("nan")


_COLUMNS = (
    *("bundle", "path", "hash", "kind", "dataset", "title", "simulated", "fingerprint", "split"),
    *("users", "items", "method", "decay", "noise", "arm", "origin", "group", "variant", "recipe"),
    *(
        "backbone",
        "tokenizer",
        "suffix",
        "content",
        "setting",
        "histories",
        "freedom",
        "way",
        "seed",
        "decoding",
        "test_users",
        "parameters",
        "memory_bytes",
        "seconds",
    ),
    *("selected_epoch", "epochs", "device", "cpu", "threads", "code_version"),
)


# The summary table of a study: a row an arm and dataset, over its seeds.
#
# Seeds are pooled only within a group (`diger.statistics.runs`). A mean is over all seeds of the
# group or it is blank: a cell that one seed did not measure is never averaged over the rest. The
# standard deviation is that of a sample (n - 1), blank with one seed.

_KEYS = ["dataset", "group"]
_SHARED = (
    *("title", "simulated", "fingerprint", "split", "users", "items", "arm", "origin", "method"),
    *("decay", "noise", "recipe", "backbone", "tokenizer", "decoding"),
    *("content", "setting", "histories", "freedom", "way"),
)
_COSTS = ("seconds", "memory_bytes", "parameters")
_MEASURED = ("test_", "validation_", "corrected_")


def summarise(bundles: Sequence[Bundle]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs and their summary: `runs_frame(bundles)` and `summary_frame` of it."""
    runs = runs_frame(bundles)
    return runs, summary_frame(runs)


def summary_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a dataset and arm, in the order in which they first occur.

    Columns: `dataset, group` and what its runs share (`title, simulated, arm, method, decay,
    noise, recipe, backbone, decoding, ...`); `usual`, whether they are on the histories that most
    runs of the dataset are on; `seeds` (how many) and `seed_list`; `left_out`, runs
    that repeat a seed of their group (the first counts); for every metric and cost column `c` of
    the runs, `c` (mean) and `c_std`; `hardware`, every machine the runs were made on.
    """
    measured = [c for c in runs.columns if c.startswith(_MEASURED) and c != "test_users"]
    columns = [*measured, *_COSTS]
    names = [*_KEYS, *_SHARED, "usual", "seeds", "seed_list", "left_out", "hardware"]
    names += [name for c in columns for name in (c, f"{c}_std")]
    if runs.empty:
        return pd.DataFrame(columns=names)
    again = repeated(runs)
    counted = runs[~again].groupby(_KEYS, sort=False)
    summary = counted[list(_SHARED)].first()
    usual = summary.index.get_level_values("dataset").map(usual_histories(runs[~again]))
    summary["usual"] = summary["histories"] == usual
    summary["seeds"] = counted.size()
    summary["seed_list"] = counted["seed"].agg(lambda seeds: ", ".join(map(str, sorted(seeds))))
    left_out = runs[again].groupby(_KEYS, sort=False)["bundle"].agg(", ".join)
    summary["left_out"] = left_out.reindex(summary.index).fillna("")
    machines = runs[~again].assign(machine=[_machine(r) for r in runs[~again].itertuples()])
    by_arm = machines.groupby(_KEYS, sort=False)["machine"]
    summary["hardware"] = by_arm.agg(lambda names: ", ".join(dict.fromkeys(names)))
    values = counted[columns]
    whole = values.count().eq(summary["seeds"], axis=0)
    means, spreads = values.mean().where(whole), values.std(ddof=1).where(whole)
    frame = pd.concat([summary, means, spreads.add_suffix("_std")], axis=1).reset_index()[names]
    return _compact(frame)


def _compact(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with words as objects: as Arrow strings each column is copied by itself."""
    words = [name for name in frame.columns if isinstance(frame[name].dtype, pd.StringDtype)]
    return frame.astype(dict.fromkeys(words, object)).copy()


def repeated(runs: pd.DataFrame) -> pd.Series:
    """Mask of runs whose group already has a run of their seed."""
    return runs.duplicated(subset=[*_KEYS, "seed"], keep="first")


def _machine(run: Any) -> str:
    on_cpu = run.device in ("", "cpu")
    name = (run.cpu if on_cpu else run.device) or "unknown"
    if not on_cpu or not run.threads > 0:
        return str(name)
    return f"{name}, {run.threads:.0f} thread{'' if run.threads == 1 else 's'}"
