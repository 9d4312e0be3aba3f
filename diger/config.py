"""Recipes: one frozen, typed configuration a component, read from a small TOML file.

An unknown key or a wrong type is refused by its name, with the nearest right one. A recipe holds
everything that decides what is trained; paths, seeds and devices are given on the command line.
"""

from __future__ import annotations

import json
import os
from importlib import import_module, resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from diger import recipes
from diger.errors import DigerError, did_you_mean
from diger.names import BACKBONES, BASELINES, JOINT_METHODS, NOISELESS, Method
from diger.text import printable
from diger.tokenizer.config import TokenizerConfig
from diger.toml import parse_toml, read_toml
from diger.uncertainty.config import NO_UNCERTAINTY, UncertaintyConfig

LAST_SEED = 2**32 - 1  # what every generator of random numbers here takes
Positive = Annotated[int, Field(ge=1)]
Layers = Annotated[int, Field(ge=1, le=256)]  # a bundle's recipe may be anybody's
Rate = Annotated[float, Field(ge=0, lt=1)]


class Config(BaseModel):
    """Base of all configurations: frozen, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BehaviourConfig(Config):
    """Behaviour vectors (`diger.content.behaviour`).

    Attributes:
        window: items at most so many steps apart in a user's training events count as a pair.
        width: numbers a vector.
    """

    window: Positive = 5
    width: Positive = 64


class ContentConfig(Config):
    """What the tokenizer is told of items.

    Attributes:
        sources: weights by source, shares of the whole's variance: `text`, `behaviour` (who uses
            what, from training events only), or the path of a `.npy` (items, dim) of anything
            else, such as pictures; a weight of 0 leaves one out.
        encoder: of `text`: name of a sentence-transformers model, or the path of a .npy of your own
            vectors.
        max_tokens: where an item's text is cut.
        behaviour: how behaviour vectors are made.
    """

    sources: dict[str, Annotated[float, Field(ge=0)]] = {"text": 1.0}
    encoder: str = "all-MiniLM-L6-v2"
    max_tokens: Positive = 64
    behaviour: BehaviourConfig = BehaviourConfig()

    @field_validator("sources")
    @classmethod
    def _sources_exist(cls, sources: dict[str, float]) -> dict[str, float]:
        known = ("text", "behaviour")
        for name in sources:
            if name not in known and not name.endswith(".npy"):
                raise ValueError(
                    f"there is no source {printable(name, 40)}{did_you_mean(name, known)}; known: "
                    "text, behaviour, and the path of a .npy"
                )
        if not any(sources.values()):
            raise ValueError("all weights are zero; give at least one source a weight above 0")
        return sources

    @property
    def weights(self) -> dict[str, float]:
        """The sources that have a weight."""
        return {name: weight for name, weight in self.sources.items() if weight}


class BackboneConfig(Config):
    """What every backbone's table in a recipe has.

    Attributes:
        kind: a name in `diger.names.BACKBONES`.
    """

    kind: str


class CausalConfig(BackboneConfig):
    """The item-level causal backbone with a code decoder (`diger.recommender.causal`).

    Attributes:
        d_model: width of everything between the layers.
        heads: attention heads.
        layers: causal layers over items.
        feed_forward: hidden width of the feed-forward parts.
        item_hidden: hidden width of the perceptron that makes an item of its codes.
        decoder_layers: layers of the code decoder.
        prefix_rows: rows of each hashed table of prefixes; 0 goes without.
        dropout: of residual branches and feed-forward parts.
    """

    kind: Literal["causal"] = "causal"
    d_model: Positive = 128
    heads: Positive = 4
    layers: Layers = 3
    feed_forward: Positive = 256
    item_hidden: Positive = 1024
    decoder_layers: Layers = 1
    prefix_rows: Annotated[int, Field(ge=0)] = 8192
    dropout: Rate = 0.3

    @model_validator(mode="after")
    def _heads_divide(self) -> CausalConfig:
        if self.d_model % self.heads:
            raise ValueError(f"heads must divide d_model ({self.d_model}), got {self.heads}")
        return self


class T5Config(BackboneConfig):
    """The paper's T5 encoder-decoder over code tokens (`diger.recommender.t5`), at its size.

    Attributes:
        d_model: width of everything between the layers.
        heads: attention heads.
        head_width: width of one head; all of them need not add up to `d_model`.
        layers: encoder layers.
        decoder_layers: decoder layers.
        feed_forward: hidden width of the feed-forward parts.
        dropout: of embeddings, attention weights, residual branches and feed-forward parts.
    """

    kind: Literal["t5"]
    d_model: Positive = 128
    heads: Positive = 4
    head_width: Positive = 64
    layers: Layers = 6
    decoder_layers: Layers = 6
    feed_forward: Positive = 512
    dropout: Rate = 0.1


class SasrecConfig(BackboneConfig):
    """SASRec on the same causal encoder, full cross-entropy over the catalogue."""

    kind: Literal["sasrec"]
    d_model: Positive = 128
    heads: Positive = 4
    layers: Layers = 2
    feed_forward: Positive = 256
    dropout: Rate = 0.4

    @model_validator(mode="after")
    def _heads_divide(self) -> SasrecConfig:
        if self.d_model % self.heads:
            raise ValueError(f"heads must divide d_model ({self.d_model}), got {self.heads}")
        return self


class PopularityConfig(BackboneConfig):
    """Items by how often they occur in the training events."""

    kind: Literal["popularity"]


_SETTINGS: dict[str, type[BackboneConfig]] = {
    "causal": CausalConfig,
    "t5": T5Config,
    "sasrec": SasrecConfig,
    "popularity": PopularityConfig,
}


def backbone_settings(kind: object) -> type[BackboneConfig]:
    """The configuration of a backbone: `Settings` of its class, but for those that come along.

    Raises:
        ValueError: there is no such backbone.
    """
    if kind in _SETTINGS:
        return _SETTINGS[str(kind)]
    if kind not in BACKBONES:
        known = tuple(BACKBONES)
        hint = did_you_mean(str(kind), known)
        shown = printable(kind, 40)
        raise ValueError(f"there is no backbone {shown}{hint}; known: {', '.join(known)}")
    module, name = BACKBONES[str(kind)].rsplit(".", 1)
    settings: type[BackboneConfig] = getattr(import_module(module), name).Settings
    return settings


class TrainingConfig(Config):
    """The optimisation.

    Attributes:
        epochs: passes over the training histories; the schedule ends there.
        batch_size: histories a batch; with the T5 backbone, examples of one target each.
        max_history: events of a history that the model sees (the latest ones).
        jitter: events of every other training history move by less than so many steps, anew in
            every epoch: for data whose exact order tells of the shop's shelves more than of people.
        short: share of the training histories that are cut into pieces of a few events, anew in
            every epoch: for data of long histories, so that a short one is no stranger.
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
        precision: "fp32", or "bf16" for autocast with fp32 weights; a CPU without arithmetic for
            it computes in fp32, and says so.
    """

    epochs: Positive = 30
    batch_size: Positive = 64
    max_history: Annotated[int, Field(ge=2)] = 50
    jitter: Annotated[int, Field(ge=0)] = 0
    short: Annotated[float, Field(ge=0, le=1)] = 0.0
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    warmup: Rate = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.2
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Rate = 0.999
    label_smoothing: Rate = 0.0
    alignment: Annotated[float, Field(ge=0)] = 0.5
    patience: Positive = 5
    validate_every: Positive = 1
    validation_users: Annotated[int, Field(ge=0)] = 6000
    precision: Literal["fp32", "bf16"] = "fp32"


GradientPlace = Literal["history", "decoder", "labels", "alignment"]
"""Where the recommendation loss can reach the tokenizer: the items of a history, the codes that the
decoder is given under teacher forcing, the labels of the cross-entropy, and the item vectors of the
alignment loss (for backbones that have one)."""


class JointConfig(Config):
    """Joint training of tokenizer and recommender (`diger.training.joint`).

    Attributes:
        gradients: where the recommendation loss may reach the tokenizer.
        forward: what the recommender reads: the SIDs "cached" at the last refresh, noise acting on
            the backward pass alone; or codes "sampled" anew for every batch.
        temperature: tau of the soft assignment.
        confidence: mean probability of an item's code among its level's, at the start; sets the
            scale of the logits per level, and with it what the noise means. 0 takes similarities
            as they are.
        learning_rate: of the codebooks (and the encoder), peak; on the training's schedule.
        updates: of a whole run, for which the rates, momenta and refreshes in this table are meant;
            a run of another length has them rescaled (`diger.training.task`). 0 takes them as they
            are.
        train_encoder: also train the tokenizer's encoder and decoder, where it has them.
        tokenizer_weight: weight of the tokenizer's own losses (reconstruction and VQ).
        refresh: updates between two assignments of all SIDs, beside the one at the end of every
            epoch; 0 for that alone.
        settle: share of the updates after which the tokenizer holds still; 1 never.
        offsets: learning rate of a free vector an item beside its content, zero at the start, so
            that items with the same content can part; 0 goes without.
        offset_weight: weight of the offsets' mean squared norm: what nothing pulls stays where its
            content puts it.
        mixing: learning rate of a linear map of the content before the codebooks, the identity at
            the start: too few numbers to learn items by heart; 0 goes without.
        balance: weight of the balance of codes at the labels, see `diger.training.joint`; 0 goes
            without.
        changes: of method "shuffled": for each epoch, the shares of items that get another code at
            each level when it ends; nothing changes after the last epoch named.
        nearest: of method "reassigned": of how many SIDs nearest to its content an item may take
            the one under which the recommender expects it most (`diger.training.renaming`).
        uncertainty: exploration noise and its decay.
    """

    gradients: tuple[GradientPlace, ...] = (
        "history",
        "decoder",
        "alignment",
    )
    forward: Literal["cached", "sampled"] = "cached"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    confidence: Annotated[float, Field(ge=0, lt=1)] = 0.8
    learning_rate: Annotated[float, Field(gt=0)] = 3e-5
    updates: Annotated[int, Field(ge=0)] = 0
    train_encoder: bool = False
    tokenizer_weight: Annotated[float, Field(ge=0)] = 1.0
    refresh: Annotated[int, Field(ge=0)] = 0
    settle: Annotated[float, Field(gt=0, le=1)] = 1.0
    offsets: Annotated[float, Field(ge=0)] = 0.0
    offset_weight: Annotated[float, Field(ge=0)] = 0.0
    mixing: Annotated[float, Field(ge=0)] = 0.0
    balance: Annotated[float, Field(ge=0)] = 0.0
    changes: tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...] = ()
    nearest: Annotated[int, Field(ge=0, le=64)] = 0
    uncertainty: UncertaintyConfig = UncertaintyConfig()


class EvaluationConfig(Config):
    """How rankings are made.

    Attributes:
        hybrid: the item-level head reranks what the beam found (`diger.decoding.hybrid`); else
            SIDs count as they are generated.
        beam: beams of the constrained search; at least the largest cut-off, 20.
        batch_size: histories decoded at once.
    """

    hybrid: bool = False
    beam: Annotated[int, Field(ge=20)] = 20
    batch_size: Positive = 256

    @property
    def decoding(self) -> Literal["beam", "hybrid"]:
        """The decoding that counts."""
        return "hybrid" if self.hybrid else "beam"


class Recipe(Config):
    """Everything that decides what is trained."""

    name: str
    about: str = ""
    method: Method = "static"
    content: ContentConfig = ContentConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    backbone: SerializeAsAny[BackboneConfig] = CausalConfig()
    training: TrainingConfig = TrainingConfig()
    joint: JointConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_of_its_kind(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return backbone_settings(values.get("kind")).model_validate(values)
        return values

    @model_validator(mode="after")
    def _method_fits(self) -> Recipe:
        kind = self.backbone.kind
        right = kind if kind in BASELINES else "static"
        if self.method != right and (kind in BASELINES or self.method in BASELINES):
            raise ValueError(
                f'method "{self.method}" does not go with the backbone "{kind}"; '
                f'write method = "{right}"'
            )
        if self.method in JOINT_METHODS and self.joint is None:
            raise ValueError(f'method "{self.method}" needs a [joint] table')
        if self.method not in JOINT_METHODS and self.joint is not None:
            raise ValueError(
                f'method "{self.method}" trains no SIDs, so it has no [joint] table; remove it, or '
                f"choose one of {', '.join(JOINT_METHODS)}"
            )
        if self.training.short and kind == "t5":
            raise ValueError(
                "training.short cuts the histories of models that learn from whole ones, and the "
                "T5 learns from one target at a time; write short = 0"
            )
        if self.evaluation.hybrid and not self.has_item_head:
            raise ValueError(
                "evaluation.hybrid needs the item-level head: the causal backbone, with "
                "training.alignment above 0"
            )
        if self.joint is None:
            return self
        if self.tokenizer.kind == "file":
            raise ValueError(
                f'method "{self.method}" needs a tokenizer to train, and SIDs read from a file '
                "have none"
            )
        noisy = self.joint.uncertainty
        for method, key in (("shuffled", "changes"), ("reassigned", "nearest")):
            if (self.method == method) != bool(getattr(self.joint, key)):
                raise ValueError(
                    f'joint.{key} and method = "{method}" go together: give both or neither'
                )
        if self.method == "reassigned" and not self.tokenizer.distinct:
            raise ValueError(
                'method "reassigned" gives every item codes of its own; write '
                "tokenizer.distinct = true"
            )
        if any(len(shares) != self.tokenizer.levels for shares in self.joint.changes):
            raise ValueError(
                f"every epoch of joint.changes needs {self.tokenizer.levels} shares, one a level"
            )
        if self.joint.balance and self.method not in ("differentiable", "ste"):
            raise ValueError(
                f'method "{self.method}" has no recommendation gradient to balance; write '
                "joint.balance = 0"
            )
        if self.method in NOISELESS and {noisy.noise, noisy.decay} != {"none"}:
            raise ValueError(
                f'method "{self.method}" has no noise, and [joint.uncertainty] says noise = '
                f'"{noisy.noise}", decay = "{noisy.decay}"; write "none" for both, or method = '
                '"differentiable"'
            )
        places = set(self.joint.gradients) - (set() if self.has_item_head else {"alignment"})
        if self.method in ("differentiable", "ste") and not places:
            raise ValueError(
                f'method "{self.method}" with joint.gradients = {list(self.joint.gradients)} sends '
                "the tokenizer no recommendation gradient"
                + ("" if self.has_item_head else " (there is no alignment loss here)")
                + '; name a place, or write method = "detached"'
            )
        return self

    @property
    def has_item_head(self) -> bool:
        """Whether the backbone has an item-level head, and it learns."""
        return self.backbone.kind == "causal" and self.training.alignment > 0

    @property
    def arm(self) -> dict[str, str]:
        """Method, decay and noise, as bundles name them."""
        noisy = self.joint.uncertainty if self.joint else NO_UNCERTAINTY
        return {"method": self.method, "decay": noisy.decay, "noise": noisy.noise}


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
            shown = (
                "" if isinstance(got, dict | BaseModel) else f" (got {printable(repr(got), 80)})"
            )
            message = f"{key}: {text[0].lower() + text[1:]}{shown}"
        raise DigerError(f"{where}: {message}") from None


def _keys_at(values: Any, path: list[str], model: type[BaseModel]) -> list[str]:
    """Names of the fields of the configuration that `path` leads to."""
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
        field = model.model_fields.get(part)
        if field is None:
            return []
        if field.annotation is BackboneConfig:
            model = backbone_settings(values.get("kind") if isinstance(values, dict) else None)
            continue
        inner = (field.annotation, *getattr(field.annotation, "__args__", ()))
        models = [t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


def recipe_names() -> list[str]:
    """Recipes that come with the package."""
    folder = resources.files(recipes)
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe that comes with the package, by name, or one of your own, by path to its TOML.

    A path to JSON is read too: a whole recipe, as a bundle's configuration holds it.

    Raises:
        DigerError: no such recipe, broken TOML, recipes that extend each other, or a key or value
            that is wrong.
    """
    return _load_recipe(name_or_path, ())


def _load_recipe(name_or_path: str, extended_by: tuple[str, ...]) -> Recipe:
    """A recipe that those in `extended_by` are made of, the nearest one last."""
    path = Path(name_or_path)
    if path.suffix == ".json":  # a whole one, as a bundle notes it
        try:
            return recipe_from(json.loads(path.read_text("utf-8")), path.stem, str(path))
        except (OSError, ValueError, TypeError) as error:
            raise DigerError(f"{path}: not a recipe in JSON ({error})") from None
    if path.suffix == ".toml":
        values, where, default_name = read_toml(path, "recipe"), str(path), path.stem
        name_or_path = os.path.realpath(path)
    else:
        known = recipe_names()
        if name_or_path not in known:
            raise DigerError(
                f"no recipe named {name_or_path}{did_you_mean(name_or_path, known)} "
                f"(there are: {', '.join(known)}; or give the path of a .toml file)"
            )
        text = (resources.files(recipes) / f"{name_or_path}.toml").read_text("utf-8")
        where, default_name = f"recipe {name_or_path}", name_or_path
        values = parse_toml(text, where)
    if name_or_path in extended_by:
        chain = " -> ".join(Path(p).name for p in (*extended_by, name_or_path))
        raise DigerError(
            f"{where}: recipes extend each other ({chain}); take extends out of one of them"
        )
    parent = values.pop("extends", None)
    if parent is not None:
        if not isinstance(parent, str) or not parent:
            raise DigerError(f"{where}: extends must name another recipe")
        beside = path.parent / parent if path.suffix == ".toml" else Path(parent)
        name = str(beside) if parent.endswith(".toml") else parent
        base = _load_recipe(name, (*extended_by, name_or_path))
        values = merged(base.model_dump(mode="json", exclude={"name", "about"}), values)
    return recipe_from(values, default_name, where)


def recipe_from(values: dict[str, Any], name: str, where: str) -> Recipe:
    """A recipe from the tables of a TOML file.

    Raises:
        DigerError: a key or value that is wrong; the message begins with `where`.
    """
    backbone = values.get("backbone")
    if isinstance(backbone, dict) and "kind" not in backbone:
        # A table without a kind means the method's own.
        method = values.get("method")
        backbone["kind"] = method if method in BASELINES else "causal"
    if values.get("method") in JOINT_METHODS:
        joint = values.get("joint") or {}
        if values["method"] != "differentiable" and isinstance(joint, dict):
            joint = {"uncertainty": {"noise": "none", "decay": "none"}, **joint}
        values = {**values, "joint": joint}
    return validate(Recipe, {"name": name, **values}, where)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, table by table; a table that changes its `kind` starts afresh."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        same_kind = isinstance(old, dict) and (
            not isinstance(value, dict) or value.get("kind", old.get("kind")) == old.get("kind")
        )
        # A list of sources is a whole: what is not named again is not wanted.
        if key != "sources" and isinstance(value, dict) and isinstance(old, dict) and same_kind:
            result[key] = merged(old, value)
        else:
            result[key] = value
    method = result.get("method")
    if method not in (*JOINT_METHODS, None) and "joint" not in changes:
        result.pop("joint", None)
    joint, asked = result.get("joint"), changes.get("joint")
    own_noise = isinstance(asked, dict) and "uncertainty" in asked
    if method in NOISELESS and isinstance(joint, dict) and not own_noise:
        # What noise the base has is another method's.
        result["joint"] = {key: value for key, value in joint.items() if key != "uncertainty"}
    return result
