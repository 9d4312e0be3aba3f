"""Typed, frozen configuration of uncertainty decay. Torch-free, so that anything may read it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    field_validator,
    model_validator,
)

from diger.errors import did_you_mean

# Every decay: its name in recipes, and where its class is. As text, so that reading a recipe takes
# no torch; a new decay is one file of this folder and one line here.
DECAYS = {
    "none": "diger.uncertainty.base.Decay",
    "sdud": "diger.uncertainty.sdud.Sdud",
    "frqud": "diger.uncertainty.frqud.Frqud",
    "sdud+frqud": "diger.uncertainty.sdud_frqud.SdudFrqud",
    "tau-anneal": "diger.uncertainty.schedules.TemperatureAnnealing",
    "cosine": "diger.uncertainty.schedules.CosineDecay",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SdudConfig(_Frozen):
    """Standard-deviation decay. The paper: offset 1.7, initial 2, learning rate 1e-3.

    offset: lambda; the noise is gone where the loss per code falls below its square, in nats.
    initial: sigma at the start. learning_rate: sigma's own.
    """

    offset: PositiveFloat = 1.3
    initial: NonNegativeFloat = 1.0
    learning_rate: PositiveFloat = 1e-2

    def paced(self, factor: float) -> SdudConfig:
        """The same for a run with 1 / `factor` times as many updates: sigma moves that slower."""
        return self.model_copy(update={"learning_rate": self.learning_rate * factor})


class FrqudConfig(_Frozen):
    """Frequency decay. The paper: momentum 0.99; threshold 1.5, 2.0 or 1.1.

    momentum: of the running usage of codes, an update. threshold: r; a code is hot where its share
    of the codes at its level is more than r / K.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    threshold: PositiveFloat = 1.5

    def paced(self, factor: float) -> FrqudConfig:
        """The same for a run with 1 / `factor` times as many updates: usage forgets that slower."""
        return self.model_copy(update={"momentum": self.momentum**factor})


class TauAnnealConfig(_Frozen):
    """Temperature annealing. final: what the temperature is multiplied by at the end."""

    final: Annotated[float, Field(gt=0, le=1)] = 0.1


class UncertaintyConfig(_Frozen):
    """Which noise is put on the logits of codes, and how it decays.

    noise: Gumbel (0, 1), Gaussian of the same standard deviation, or none.
    decay: how it goes away, a name in `DECAYS`; some have a table of their own.
    """

    noise: Literal["gumbel", "gaussian", "none"] = "gumbel"
    decay: Annotated[str, Field(max_length=40)] = "frqud"
    sdud: SdudConfig = SdudConfig()
    frqud: FrqudConfig = FrqudConfig()
    tau_anneal: TauAnnealConfig = TauAnnealConfig()

    @field_validator("decay")
    @classmethod
    def _decay_exists(cls, name: str) -> str:
        if name not in DECAYS:
            known = sorted(DECAYS)
            raise ValueError(
                f"there is no such decay; known: {', '.join(known)}{did_you_mean(name, known)}"
            )
        return name

    @model_validator(mode="after")
    def _decay_needs_noise(self) -> UncertaintyConfig:
        # Annealing goes by the temperature, with noise or without.
        if self.noise == "none" and self.decay not in ("none", "tau-anneal"):
            raise ValueError(
                f'decay "{self.decay}" needs noise to decay, and noise is "none"; '
                'write decay = "none", or noise = "gumbel"'
            )
        return self

    def paced(self, factor: float) -> UncertaintyConfig:
        """What is set per update, for a run with 1 / `factor` times as many updates."""
        return self.model_copy(
            update={"sdud": self.sdud.paced(factor), "frqud": self.frqud.paced(factor)}
        )


NO_UNCERTAINTY = UncertaintyConfig(noise="none", decay="none")
