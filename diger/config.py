"""Recipes: one frozen, typed configuration a component, read from a small TOML file.

An unknown key or a wrong type is refused by its name, with the nearest right one. A recipe holds
everything that decides what is trained; paths, seeds and devices are given on the command line.
"""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diger.errors import DigerError, did_you_mean
from diger.tokenizer.config import TokenizerConfig

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Config(BaseModel):
    """Base of all configurations: frozen, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ContentConfig(Config):
    """How item vectors reach the tokenizer.

    Attributes:
        encoder: name of a sentence-transformers model, or the path of a .npy of your own vectors.
        max_tokens: where an item's text is cut.
    """

    encoder: str = "all-MiniLM-L6-v2"
    max_tokens: Positive = 64


class CausalConfig(Config):
    """The item-level causal backbone with a code decoder (`diger.recommender.causal`).

    Attributes:
        d_model: width of everything between the layers.
        heads: attention heads.
        layers: causal layers over items.
        feed_forward: hidden width of the feed-forward parts.
        item_hidden: hidden width of the perceptron that makes an item of its codes.
        decoder_layers: layers of the code decoder.
        dropout: of residual branches and feed-forward parts.
    """

    kind: Literal["causal"] = "causal"
    d_model: Positive = 128
    heads: Positive = 4
    layers: Positive = 3
    feed_forward: Positive = 256
    item_hidden: Positive = 1024
    decoder_layers: Positive = 1
    dropout: Rate = 0.2

    @model_validator(mode="after")
    def _heads_divide(self) -> CausalConfig:
        if self.d_model % self.heads:
            raise ValueError(f"heads must divide d_model ({self.d_model}), got {self.heads}")
        return self


class SasrecConfig(Config):
    """SASRec on the same causal encoder, full cross-entropy over the catalogue."""

    kind: Literal["sasrec"]
    d_model: Positive = 128
    heads: Positive = 4
    layers: Positive = 2
    feed_forward: Positive = 256
    dropout: Rate = 0.4

    @model_validator(mode="after")
    def _heads_divide(self) -> SasrecConfig:
        if self.d_model % self.heads:
            raise ValueError(f"heads must divide d_model ({self.d_model}), got {self.heads}")
        return self


class PopularityConfig(Config):
    """Items by how often they occur in the training events."""

    kind: Literal["popularity"]


Backbone = Annotated[CausalConfig | SasrecConfig | PopularityConfig, Field(discriminator="kind")]


class TrainingConfig(Config):
    """The optimisation.

    Attributes:
        epochs: passes over the training histories; the schedule ends there.
        batch_size: histories a batch.
        max_history: events of a history that the model sees (the latest ones).
        learning_rate: its peak; linear warm-up, then cosine decay to a fiftieth.
        warmup: share of all updates spent warming up.
        weight_decay: AdamW's, on matrices only.
        clip: largest gradient norm.
        ema: decay of the average of the weights that is evaluated and kept; 0 turns it off.
        label_smoothing: of the cross-entropy.
        alignment: weight of the item-level auxiliary loss, relative to a whole SID's
            cross-entropy.
        patience: validations without a better ndcg@10 before stopping.
        validate_every: epochs between validations.
        validation_users: how many users, drawn once with the seed 0, choose the epoch; 0 takes
            all. The metrics in a bundle are over all users in any case.
        precision: "fp32", or "bf16" for autocast with fp32 weights.
    """

    epochs: Positive = 30
    batch_size: Positive = 64
    max_history: Annotated[int, Field(ge=2)] = 50
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    warmup: Rate = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Rate = 0.999
    label_smoothing: Rate = 0.0
    alignment: Annotated[float, Field(ge=0)] = 0.5
    patience: Positive = 5
    validate_every: Positive = 1
    validation_users: Annotated[int, Field(ge=0)] = 6000
    precision: Literal["fp32", "bf16"] = "fp32"


class EvaluationConfig(Config):
    """How rankings are made.

    Attributes:
        beam: beams of the constrained search; at least the largest cut-off, 20.
        batch_size: histories decoded at once.
    """

    beam: Annotated[int, Field(ge=20)] = 20
    batch_size: Positive = 256


class Recipe(Config):
    """Everything that decides what is trained."""

    name: str
    about: str = ""
    method: Literal["static", "popularity", "sasrec"] = "static"
    content: ContentConfig = ContentConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    backbone: Backbone = CausalConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _method_fits_backbone(self) -> Recipe:
        kind = self.backbone.kind
        expected = kind if kind in ("sasrec", "popularity") else "static"
        if self.method != expected:
            raise ValueError(
                f'method "{self.method}" does not go with the backbone "{kind}"; '
                f'write method = "{expected}"'
            )
        return self


AnyConfig = TypeVar("AnyConfig", bound=BaseModel)


def validate(model: type[AnyConfig], values: dict[str, Any], where: str) -> AnyConfig:
    """`model` made from `values`; the first thing wrong is said in one line with `where`.

    Raises:
        DigerError: an unknown key, a missing key, a wrong type or a value out of bounds.
    """
    try:
        # By way of JSON: strict about types, and lists may still become tuples.
        return model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key = ".".join(path) or "the recipe"
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(path[-1], _keys_at(values, path[:-1], model))
            message = f"unknown key {key}{hint}"
        elif first["type"] == "missing":
            message = f"{key} is missing; add it"
        else:
            text = first["msg"].removeprefix("Value error, ")
            got = first["input"]
            shown = "" if isinstance(got, dict | BaseModel) else f" (got {got!r})"
            message = f"{key}: {text[0].lower() + text[1:]}{shown}"
        raise DigerError(f"{where}: {message}") from None


def _keys_at(values: Any, path: list[str], model: type[BaseModel]) -> list[str]:
    """Names of the fields of the configuration that `path` leads to."""
    current: list[type[BaseModel]] = [model]
    for part in path:
        found: list[type[BaseModel]] = []
        for one in current:
            field = one.model_fields.get(part)
            if field is not None:
                found += _models_in(field.annotation)
        # A union's branch appears in the path by its tag and is no field.
        current = found or current
    return [name for one in current for name in one.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]


def recipe_names() -> list[str]:
    """Recipes that come with the package."""
    folder = resources.files("diger.recipes")
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe that comes with the package, by name, or one of your own, by path to its TOML.

    Raises:
        DigerError: no such recipe, broken TOML, or a key or value that is wrong.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        try:
            text, where = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise DigerError(f"cannot read the recipe {path}: {error}") from None
        default_name = path.stem
    else:
        known = recipe_names()
        if name_or_path not in known:
            raise DigerError(
                f"no recipe named {name_or_path}{did_you_mean(name_or_path, known)} "
                f"(there are: {', '.join(known)}; or give the path of a .toml file)"
            )
        text = (resources.files("diger.recipes") / f"{name_or_path}.toml").read_text("utf-8")
        where, default_name = f"recipe {name_or_path}", name_or_path
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DigerError(f"{where}: not valid TOML: {error}") from None
    backbone = values.get("backbone")
    if isinstance(backbone, dict) and "kind" not in backbone:
        # A table without a kind means the method's own.
        method = values.get("method")
        backbone["kind"] = method if method in ("sasrec", "popularity") else "causal"
    return validate(Recipe, {"name": default_name, **values}, where)
