"""From a configuration to a decay."""

from __future__ import annotations

from torch import Tensor

from diger.uncertainty.base import Decay
from diger.uncertainty.both import SdudFrqud
from diger.uncertainty.config import UncertaintyConfig
from diger.uncertainty.frqud import Frqud
from diger.uncertainty.schedules import CosineDecay, TemperatureAnnealing
from diger.uncertainty.sdud import Sdud


def build_decay(config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> Decay:
    """The decay that `config` names; usage starts at that of the catalogue's codes (n, levels)."""
    sdud = Sdud(offset=config.sdud.offset, initial=config.sdud.initial)
    frqud = Frqud(
        levels=codes.shape[1],
        codebook_size=codebook_size,
        momentum=config.frqud.momentum,
        threshold=config.frqud.threshold,
    )
    frqud.start(codes)
    match config.decay:
        case "sdud":
            return sdud
        case "frqud":
            return frqud
        case "sdud+frqud":
            return SdudFrqud(sdud, frqud)
        case "tau-anneal":
            return TemperatureAnnealing(final=config.tau_anneal.final)
        case "cosine":
            return CosineDecay()
    return Decay()
