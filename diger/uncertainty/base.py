"""The one interface of uncertainty decay.

A decay is asked, level by level, how much noise each item gets, given the code it is assigned to;
and it is told of every update: how far training is, which codes the batch used, and what a code
cost. Its state lies in parameters and buffers, so that saving and resuming need no further thought.
This base class is the decay `none`: full noise for all, to the end.

A strategy is one class in a file of this folder and one line in `diger.uncertainty.config.DECAYS`,
under the name by which a recipe (`joint.uncertainty.decay`) chooses it.
"""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor, nn

from diger.uncertainty.config import DECAYS, UncertaintyConfig


class Decay(nn.Module):
    """Full noise throughout; what a strategy does otherwise it overrides.

    learning_rate: of its parameters, where it has any.
    """

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


def build_decay(config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> Decay:
    """The decay that `config` names, for a catalogue of codes (n, levels)."""
    module, kind = DECAYS[config.decay].rsplit(".", 1)
    made = getattr(import_module(module), kind)
    decay: Decay = made.build(config, codes, codebook_size)
    return decay
