"""The one interface of uncertainty decay.

A decay is asked, level by level, how much noise each item gets, given the code it is assigned to;
and it is told of every update: how far training is, which codes the batch used, and what a code
cost. Its state lies in parameters and buffers, so that saving and resuming need no further thought.
This base class is the decay `none`: full noise for all, to the end.

A strategy is one class in a file of this folder, with a name of its own: that name in a recipe
(`joint.uncertainty.decay`) chooses it, and nothing else must know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diger.uncertainty.config import UncertaintyConfig


class Decay(nn.Module):
    """Full noise throughout; what a strategy does otherwise it overrides.

    name: in recipes. learning_rate: of its parameters, where it has any.
    """

    name: ClassVar[str] = "none"
    learning_rate: float = 1e-2

    @classmethod
    def build(cls, config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> Decay:
        """One for a catalogue whose codes are LongTensor (n, levels) at the start."""
        return cls()

    def noise_scale(self, level: int, codes: Tensor) -> Tensor:
        """Factor (n,) on the noise of items that are assigned to `codes` (n,)."""
        return torch.ones(codes.shape, device=codes.device)

    def temperature(self) -> float:
        """Factor on the temperature of the soft assignment."""
        return 1.0

    def begin_update(self, done: float) -> None:
        """Told before each update which share of all updates is done, 0 to 1."""

    def observe(self, codes: Tensor) -> None:
        """Told the codes that the batch's events are assigned to: LongTensor (events, levels)."""

    def penalty(self, cross_entropy: Tensor) -> Tensor | None:
        """A loss for the decay's own parameters, given the detached cross-entropy a code (nats)."""
        return None

    def hot(self) -> Tensor | None:
        """(levels, codebook size) true at hot codes, for decays that know such a thing."""
        return None

    def report(self) -> dict[str, float]:
        """Numbers worth a column in the history."""
        return {}
