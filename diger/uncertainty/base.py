"""The one interface of uncertainty decay.

A decay is asked, level by level, how much noise each item gets, given the code that it would have
without noise; and it is told of every update: how far training is, which codes the batch used, and
what a code cost. Its state lies in parameters and buffers, so that saving and resuming need no
further thought. This base class is the decay `none`: full noise for all, to the end.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Decay(nn.Module):
    """Full noise throughout; what a strategy does otherwise it overrides."""

    def noise_scale(self, level: int, codes: Tensor) -> Tensor:
        """Factor (n,) on the noise of items whose codes without noise are `codes` (n,)."""
        return torch.ones(codes.shape, device=codes.device)

    def temperature(self) -> float:
        """Factor on the temperature of the soft assignment."""
        return 1.0

    def begin_update(self, done: float) -> None:
        """Told before each update which share of all updates is done, 0 to 1."""

    def observe(self, codes: Tensor) -> None:
        """Told the codes without noise of the batch's events: LongTensor (events, levels)."""

    def penalty(self, cross_entropy: Tensor) -> Tensor | None:
        """A loss for the decay's own parameters, given the detached cross-entropy a code (nats)."""
        return None

    def hot(self) -> Tensor | None:
        """(levels, codebook size) true at hot codes, for decays that know such a thing."""
        return None

    def report(self) -> dict[str, float]:
        """Numbers worth a column in the history."""
        return {}
