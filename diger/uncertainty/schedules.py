"""Decays that follow the clock, not the model: the ablations the paper compares with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diger.uncertainty.base import Decay
from diger.uncertainty.config import UncertaintyConfig


class CosineDecay(Decay):
    """Noise of all items falls from 1 to 0 along half a cosine over training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def begin_update(self, done: float) -> None:
        """Set the scale from the share of updates done."""
        self.scale = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def noise_scale(self, level: int, codes: Tensor) -> Tensor:
        """The same for every item."""
        return torch.full(codes.shape, self.scale, device=codes.device)


class TemperatureAnnealing(Decay):
    """Full noise; the temperature falls exponentially to `final` times its start."""

    def __init__(self, *, final: float) -> None:
        super().__init__()
        self.final = final
        self.factor = 1.0

    @classmethod
    def build(
        cls, config: UncertaintyConfig, codes: Tensor, codebook_size: int
    ) -> TemperatureAnnealing:
        """From `[joint.uncertainty.tau_anneal]`."""
        return cls(final=config.tau_anneal.final)

    def begin_update(self, done: float) -> None:
        """Set the factor from the share of updates done."""
        self.factor = self.final ** min(1.0, done)

    def temperature(self) -> float:
        """final ** (share of updates done)."""
        return self.factor
