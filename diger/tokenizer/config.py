"""Typed, frozen configuration of a tokenizer. Torch-free, so that anything may read a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class KMeansConfig(_Frozen):
    """How codebooks are fitted: all of residual k-means, the starting point of an RQ-VAE.

    random: draw codewords at random instead, each dimension as spread as what they are to stand
        for: what a warm start saves joint training from.
    """

    iterations: PositiveInt = 50
    restarts: PositiveInt = 1
    random: bool = False


class RQVAEConfig(_Frozen):
    """RQ-VAE and its pre-training. The paper: hidden 2048-1024-512, 10,000 epochs.

    input_width: principal directions of the content to feed in; None feeds all of its dimensions.
    hidden: encoder widths between input and latent; the decoder mirrors them.
    warm_start: start from a linear map on to the principal directions, not from random outputs.
    """

    input_width: PositiveInt | None = None
    hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    epochs: PositiveInt = 100
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-4
    batch_size: PositiveInt = 1024
    warm_start: bool = True


class SinkhornConfig(_Frozen):
    """Balanced assignment; epsilon is relative to costs mapped to [-1, 1].

    every_level: balance all levels, one after another, and not the last alone.
    """

    epsilon: PositiveFloat = 0.003
    iterations: PositiveInt = 50
    every_level: bool = False


class FileConfig(_Frozen):
    """SIDs from a file. key_offset: item_id = key + key_offset. suffix: last number is a suffix."""

    path: str
    key_offset: int = 0
    suffix: bool = False


class TokenizerConfig(_Frozen):
    """What makes an item's codes.

    suffix_size: how many items may share their codes and be told apart by the suffix; where
        `distinct` leaves none to tell apart, models have no suffix to learn.
    width: of codewords and latents; for residual k-means also the number of principal directions
        kept of the content. beta: weight of the commitment loss. balanced: assign the last level by
        Sinkhorn, so that fewer items collide. distinct: give items that would share all their codes
        different last ones, at the least error (`diger.tokenizer.distinct`). checkpoint: a file
        made by `convert rqvae`, taken in place of pre-training an RQ-VAE.
    """

    kind: Literal["residual-kmeans", "rqvae", "file"] = "residual-kmeans"
    levels: Annotated[int, Field(ge=1, le=8)] = 3
    codebook_size: Annotated[int, Field(ge=2)] = 256
    width: PositiveInt = 64
    suffix_size: PositiveInt = 256
    similarity: Literal["l2", "cosine"] = "l2"
    beta: NonNegativeFloat = 0.25
    balanced: bool = False
    distinct: bool = False
    kmeans: KMeansConfig = KMeansConfig()
    rqvae: RQVAEConfig = RQVAEConfig()
    sinkhorn: SinkhornConfig = SinkhornConfig()
    file: FileConfig | None = None
    checkpoint: str | None = None

    @model_validator(mode="after")
    def _checkpoint_of_an_rqvae(self) -> TokenizerConfig:
        if self.checkpoint is not None and self.kind != "rqvae":
            raise ValueError(f'a checkpoint is an RQ-VAE: write kind = "rqvae", not "{self.kind}"')
        return self

    @model_validator(mode="after")
    def _file_where_needed(self) -> TokenizerConfig:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("kind = file and a [file] table with a path go together")
        return self

    @property
    def files(self) -> dict[str, str]:
        """Paths it is read from, by key: of SIDs (`file`) or of an RQ-VAE (`checkpoint`)."""
        paths = {"file": self.file.path if self.file else None, "checkpoint": self.checkpoint}
        return {key: path for key, path in paths.items() if path is not None}

    @property
    def content_width(self) -> int | None:
        """Width to fit `ContentTransform` at; None keeps all dimensions."""
        return self.rqvae.input_width if self.kind == "rqvae" else self.width
