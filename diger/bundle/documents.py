"""The layout of a bundle's two JSON documents, `config.json` and `metrics.json`.

The types document the layout; reading is tolerant (a missing key is simply missing), writing is
strict about the few keys that every window and chart relies on. Metrics are item-level only: see
`diger.evaluation.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, TypeGuard

from diger.errors import DigerError, did_you_mean
from diger.names import BACKBONES, METHODS
from diger.text import printable

NOISES = ("gumbel", "gaussian", "none")
SPLITS = ("validation", "test")


class DatasetEntry(TypedDict, total=False):
    """What the bundle says of its data; `text_may_be_published` decides what may travel."""

    name: str
    title: str
    fingerprint: str  # of ids, events and split
    text_fingerprint: str  # of the items' text
    simulated: bool
    text_may_be_published: bool
    licence: str
    source: str
    users: int
    items: int
    events: int
    split: str  # "leave-one-out" or "temporal"


class ArmEntry(TypedDict, total=False):
    """Method (of METHODS), uncertainty decay by its name, and noise (of NOISES)."""

    method: str
    decay: str
    noise: str


class HardwareEntry(TypedDict, total=False):
    """What the run was made on."""

    device: str
    cpu: str
    threads: int
    torch: str
    python: str
    processes: int  # where several trained together; memory is that of the first


class OriginEntry(TypedDict, total=False):
    """A bundle from which a run took something.

    `hash` changes where its weights are dropped later; those of its `files` do not.
    """

    name: str
    arm: ArmEntry
    seed: int
    hash: str
    files: dict[str, str]  # what was taken, or follows from it: name -> SHA-256


class SourceEntry(TypedDict):
    """One source of content."""

    name: str  # "text", "behaviour", or the name of a file of vectors
    revision: str
    weight: float
    items: int  # that had it; the others' share was estimated from what they had


class ContentEntry(TypedDict, total=False):
    """The item vectors that SIDs were made of."""

    encoder: str
    revision: str  # of its weights; of a file of vectors, its hash
    max_tokens: int | None
    vectors_sha256: str  # of the raw (or fused) vectors, float32, row by row
    sources: list[SourceEntry]  # what they were made from


class Config(TypedDict, total=False):
    """`config.json`. `recipe` and `tokenizer` hold whole typed configurations as mappings."""

    format: int
    name: str
    dataset: DatasetEntry
    arm: ArmEntry
    recipe: dict[str, Any]  # has "name"
    seed: int
    sids_from: OriginEntry | None  # whose tokenizer and SIDs it took
    start_from: OriginEntry | None  # whose recommender it started from
    code_version: str
    hardware: HardwareEntry
    seconds: dict[str, float]  # phase (tokenizer, training, evaluation, ...) -> seconds
    peak_memory_bytes: int
    parameters: int
    selected_epoch: int
    tokenizer: dict[str, Any]  # and file_sha256 or checkpoint_sha256, of the file it was read from
    content: ContentEntry
    backbone: str  # one of BACKBONES


class Result(TypedDict, total=False):
    """Metrics of one split under one decoding, means over `users`; in `metrics.json`."""

    split: str  # "validation" or "test"
    decoding: str  # for people: "constrained beam, 50 beams"
    users: int
    metrics: dict[str, float | None]  # "recall@10" -> value
    collision_corrected: dict[str, float | None]
    beyond_accuracy: dict[str, float | None]


def is_number(value: object) -> TypeGuard[int | float]:
    """A finite int or float; booleans are neither."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def entry(document: Mapping[str, Any], *path: str) -> Any:
    """The value at a path of keys, None where any of them is missing.

    >>> entry({"dataset": {"name": "toys"}}, "dataset", "name")
    'toys'
    """
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def results(metrics: Mapping[str, Any], split: str | None = None) -> Iterator[Result]:
    """Well-formed results of `metrics.json` in its order, of one split where given."""
    listed = metrics.get("results")
    for result in listed if isinstance(listed, list) else ():
        if (
            isinstance(result, dict)
            and isinstance(result.get("metrics"), dict)
            and result.get("split") in (SPLITS if split is None else (split,))
        ):
            yield result  # type: ignore[misc]


def headline(metrics: Mapping[str, Any], split: str) -> Result | None:
    """The first result of a split, None where it has none."""
    return next(results(metrics, split), None)


def check_config(config: object) -> None:
    """Raise DigerError unless `config` has what every reader of a bundle relies on."""
    if not isinstance(config, Mapping):
        raise DigerError(f"config.json must be an object, got {type(config).__name__}")
    for path, kind in _CONFIG_KEYS.items():
        keys = path.split(".")
        value = entry(config, *keys)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            got = "nothing" if value is None else printable(repr(value), 40)
            raise DigerError(f"config.json: {path} must be {kind.__name__}, got {got}")
    for path, choices in _CONFIG_CHOICES.items():
        value = entry(config, *path.split("."))
        if value not in choices:
            raise DigerError(
                f"config.json: {path} must be one of {', '.join(choices)}, "
                f"got {printable(repr(value), 40)}{did_you_mean(str(value), choices)}"
            )


def check_metrics(metrics: object) -> None:
    """Raise DigerError unless `metrics` is a `Metrics` whose numbers are numbers or null."""
    if not isinstance(metrics, Mapping) or not isinstance(metrics.get("results"), list):
        raise DigerError('metrics.json must be an object with a list "results"')
    for i, result in enumerate(metrics["results"]):
        where = f"metrics.json: results[{i}]"
        if not isinstance(result, Mapping):
            raise DigerError(f"{where} must be an object, got {type(result).__name__}")
        if result.get("split") not in SPLITS:
            raise DigerError(f"{where}.split must be one of {', '.join(SPLITS)}")
        if not isinstance(result.get("decoding"), str) or not result["decoding"]:
            raise DigerError(f"{where}.decoding must say how the items were decoded")
        if not isinstance(result.get("metrics"), Mapping):
            raise DigerError(f"{where}.metrics must be an object of numbers")
        for group in ("metrics", "collision_corrected", "beyond_accuracy"):
            for name, value in result.get(group, {}).items():
                if value is not None and not is_number(value):
                    raise DigerError(f"{where}.{group}.{name} must be a number or null")


_CONFIG_KEYS: dict[str, type] = {
    "format": int,
    "name": str,
    "dataset": dict,
    "dataset.name": str,
    "dataset.title": str,
    "dataset.fingerprint": str,
    "dataset.simulated": bool,
    "dataset.text_may_be_published": bool,
    "dataset.licence": str,
    "arm": dict,
    "arm.decay": str,
    "recipe": dict,
    "recipe.name": str,
    "seed": int,
}
_CONFIG_CHOICES: dict[str, tuple[str, ...]] = {
    "arm.method": METHODS,
    "arm.noise": NOISES,
    "backbone": BACKBONES,
}
