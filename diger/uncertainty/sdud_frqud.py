"""SDUD and FrqUD together: sigma-scaled noise on hot codes only."""

from __future__ import annotations

from torch import Tensor

from diger.uncertainty.base import Decay
from diger.uncertainty.config import UncertaintyConfig
from diger.uncertainty.frqud import Frqud
from diger.uncertainty.sdud import Sdud


class SdudFrqud(Decay):
    """The product of the two scales; each keeps its own state."""

    def __init__(self, sdud: Sdud, frqud: Frqud) -> None:
        super().__init__()
        self.learning_rate = sdud.learning_rate
        self.sdud = sdud
        self.frqud = frqud

    @classmethod
    def build(cls, config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> SdudFrqud:
        """From the tables of both."""
        return cls(
            Sdud.build(config, codes, codebook_size), Frqud.build(config, codes, codebook_size)
        )

    def noise_scale(self, level: int, codes: Tensor) -> Tensor:
        """Sigma on hot codes, 0 on the others."""
        return self.sdud.noise_scale(level, codes) * self.frqud.noise_scale(level, codes)

    def observe(self, codes: Tensor) -> None:
        """See FrqUD."""
        self.frqud.observe(codes)

    def penalty(self, cross_entropy: Tensor) -> Tensor:
        """See SDUD."""
        return self.sdud.penalty(cross_entropy)

    def hot(self) -> Tensor:
        """See FrqUD."""
        return self.frqud.hot()

    def report(self) -> dict[str, float]:
        """See SDUD."""
        return self.sdud.report()
