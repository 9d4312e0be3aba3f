"""SDUD, standard-deviation uncertainty decay: a learnt scale of the noise.

    L_sigma = L_gen / (2 (sigma + lambda)^2) + log(sigma + lambda)

(DIGER, arXiv 2601.19711), L_gen being the detached mean cross-entropy a code position, in nats. Its
minimum lies at sigma* = max(0, sqrt(L_gen) - lambda): noise dies as the generator improves. sigma
scales the noise and nothing else; the recommendation loss is not rescaled by it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diger.uncertainty.base import Decay
from diger.uncertainty.config import SdudConfig, UncertaintyConfig


class Sdud(Decay):
    """Noise of all items times sigma."""

    def __init__(self, config: SdudConfig) -> None:
        super().__init__()
        self.offset = config.offset
        self.learning_rate = config.learning_rate
        self.sigma = nn.Parameter(torch.tensor(float(config.initial)))

    @classmethod
    def build(cls, config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> Sdud:
        """From `[joint.uncertainty.sdud]`."""
        return cls(config.sdud)

    def noise_scale(self, level: int, codes: Tensor) -> Tensor:
        """Sigma for every item; never below 0, and without a gradient."""
        return self.sigma.detach().clamp(min=0).expand(codes.shape)

    def penalty(self, cross_entropy: Tensor) -> Tensor:
        """L_sigma. Below 0 sigma is held by its own gradient there: the minimum is never under."""
        # The floor keeps the logarithm defined should a step overshoot by more than lambda.
        spread = self.sigma.clamp(min=0) + self.offset
        outside = self.sigma.clamp(max=0).square()  # pulls an overshoot back to 0
        return cross_entropy.detach() / (2 * spread.square()) + spread.log() + outside

    def report(self) -> dict[str, float]:
        """Sigma as it scales the noise."""
        return {"sigma": max(0.0, float(self.sigma.detach()))}
