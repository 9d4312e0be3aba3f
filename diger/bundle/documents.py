"""The layout of a bundle's two JSON documents, `config.json` and `metrics.json`.

Reading is tolerant: what is missing, or is not what it should be, is None (or empty). Writing is
strict about the few keys that every window and chart relies on. Metrics are item-level only: see
`diger.evaluation.metrics`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, TypedDict, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diger.bundle import schema
from diger.config import validate
from diger.errors import DigerError, did_you_mean
from diger.names import BACKBONES, METHODS
from diger.text import printable

NOISES = ("gumbel", "gaussian", "none")
SPLITS = ("validation", "test")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class DatasetEntry(_Entry):
    """What the bundle says of its data; `text_may_be_published` decides what may travel."""

    name: str = ""
    title: str = ""
    fingerprint: str = ""  # of ids, events and split
    text_fingerprint: str | None = None  # of the items' text
    simulated: bool = False
    text_may_be_published: bool = False
    licence: str = ""
    source: str = ""
    users: int | None = None
    items: int | None = None
    events: int | None = None
    split: str = ""  # "leave-one-out" or "temporal"

    @property
    def label(self) -> str:
        """Its title; where that is the folder's name, as people write names."""
        name = self.title or self.name
        return name if name != self.name else name[:1].upper() + name[1:].replace("-", " ")


class ArmEntry(_Entry):
    """Method (of METHODS), uncertainty decay by its name, and noise (of NOISES)."""

    method: str = ""
    decay: str = ""
    noise: str = ""

    @property
    def parts(self) -> tuple[str, str, str]:
        """Method, decay and noise."""
        return self.method, self.decay, self.noise


class HardwareEntry(_Entry):
    """What the run was made on."""

    device: str = ""
    cpu: str = ""
    threads: int | None = None
    torch: str = ""
    python: str = ""
    arithmetic: str = ""  # fp32 or bf16; older bundles lack it and have what their recipe says
    processes: int | None = None  # where several trained together; memory is that of the first


class OriginEntry(_Entry):
    """A bundle from which a run took something.

    `hash` changes where its weights are dropped later; those of its `files` do not.
    """

    name: str = ""
    arm: ArmEntry = ArmEntry()
    seed: int | None = None
    hash: str = ""
    files: dict[str, str] = {}  # what was taken, or follows from it: name -> SHA-256


class SourceEntry(_Entry):
    """One source of content."""

    name: str = ""  # "text", "behaviour", or the name of a file of vectors
    revision: str = ""
    weight: float | None = None
    items: int | None = None  # that had it; the others' share was estimated from what they had
    foretold: float | None = None  # share of its variance that the first source tells, held out


class ContentEntry(_Entry):
    """The item vectors that SIDs were made of."""

    encoder: str = ""
    revision: str | None = None  # of its weights; of a file of vectors, its hash
    max_tokens: int | None = None
    vectors_sha256: str = ""  # of the raw (or fused) vectors, float32, row by row
    sources: list[SourceEntry] = []  # what they were made from


class Config(_Entry):
    """`config.json`. `recipe` and `tokenizer` hold whole typed configurations as mappings."""

    format: int | None = None
    name: str = ""
    dataset: DatasetEntry = DatasetEntry()
    arm: ArmEntry = ArmEntry()
    recipe: dict[str, Any] = {}  # has "name"
    seed: int | None = None
    sids_from: OriginEntry | None = None  # whose tokenizer and SIDs it took
    start_from: OriginEntry | None = None  # whose recommender it started from
    code_version: str = ""
    hardware: HardwareEntry = HardwareEntry()
    seconds: dict[str, float] = {}  # phase (tokenizer, training, evaluation, ...) -> seconds
    peak_memory_bytes: int | None = None
    parameters: int | None = None
    selected_epoch: int | None = None
    tokenizer: dict[str, Any] = {}  # and file_sha256 or checkpoint_sha256, of what it was read from
    content: ContentEntry = ContentEntry()
    backbone: str = ""  # one of BACKBONES

    @classmethod
    def read(cls, document: object) -> Config:
        """`document` as far as it is what it should be; never an error."""
        values = dict(document) if isinstance(document, Mapping) else {}
        while True:
            try:
                return cls.model_validate_json(json.dumps(values, default=str))
            except ValidationError as error:
                for fault in error.errors():
                    if not fault["loc"]:  # not even JSON of ours: numbers or text that none has
                        return cls()
                    _drop(values, fault["loc"])


def _drop(values: dict[Any, Any], path: tuple[int | str, ...]) -> None:
    """Take out of `values` the key at `path`, or the nearest one above it that is there."""
    for key in path[:-1]:
        if not isinstance(values.get(key), dict):
            values.pop(key, None)
            return
        values[key] = dict(values[key])
        values = values[key]
    values.pop(path[-1], None)


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


def check_config(config: Mapping[str, Any]) -> None:
    """Raise DigerError unless `config` has what every reader of a bundle relies on."""
    understood = Config.read(config).model_dump()
    for path in _NEEDED:
        value = _at(config, path)
        if value is None:
            raise DigerError(f"config.json: {path} is missing")
        if value != _at(understood, path):
            raise DigerError(f"config.json: {path} cannot be {printable(repr(value), 40)}")
    for path, choices in _CHOICES.items():
        value = _at(config, path)
        if value not in choices:
            raise DigerError(
                f"config.json: {path} must be one of {', '.join(choices)}, "
                f"got {printable(repr(value), 40)}{did_you_mean(str(value), choices)}"
            )


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


class _Written(_Entry):
    """What a `Result` must be when it is written."""

    split: Literal["validation", "test"]
    decoding: Annotated[str, Field(min_length=1)]
    metrics: dict[str, float | None]
    collision_corrected: dict[str, float | None] = {}
    beyond_accuracy: dict[str, float | None] = {}


class _Metrics(_Entry):
    results: list[_Written]


def check_metrics(metrics: dict[str, Any]) -> None:
    """Raise DigerError unless `metrics` lists results whose numbers are numbers or null."""
    validate(_Metrics, metrics, schema.METRICS)


_NEEDED = (
    *("format", "name", "seed", "recipe.name", "arm.decay"),
    *("dataset.name", "dataset.title", "dataset.fingerprint", "dataset.licence"),
    *("dataset.simulated", "dataset.text_may_be_published"),
)
_CHOICES: dict[str, Collection[str]] = {
    "arm.method": METHODS,
    "arm.noise": NOISES,
    "backbone": BACKBONES,
}
