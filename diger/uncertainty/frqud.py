"""FrqUD, frequency-based uncertainty decay: noise only where the assigned code is hot.

Usage f <- m f + (1 - m) f_batch per level; a code is hot where f > r / K (DIGER, arXiv 2601.19711).
Items on hot codes explore, items on rare ones are assigned without noise. Usage starts at the
catalogue's own, so that the first batches are not all taken for cold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diger.uncertainty.base import Decay
from diger.uncertainty.config import FrqudConfig, UncertaintyConfig


class Frqud(Decay):
    """Noise in full on hot codes, none elsewhere.

    usage: buffer (levels, codebook size), shares that sum to 1 at each level.
    """

    usage: Tensor

    def __init__(self, config: FrqudConfig, codes: Tensor, codebook_size: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("usage", torch.zeros(codes.shape[1], codebook_size))
        self.usage.copy_(self._shares(codes))

    @classmethod
    def build(cls, config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> Frqud:
        """From `[joint.uncertainty.frqud]`; usage starts at that of the codes."""
        return cls(config.frqud, codes, codebook_size)

    def _shares(self, codes: Tensor) -> Tensor:
        size = self.usage.shape[1]
        counts = [torch.bincount(codes[:, j], minlength=size) for j in range(codes.shape[1])]
        return torch.stack(counts).to(self.usage) / max(1, len(codes))

    def observe(self, codes: Tensor) -> None:
        """Move the running usage toward that of codes (events, levels)."""
        self.usage.lerp_(mean_over_processes(self._shares(codes)), 1 - self.config.momentum)

    def hot(self) -> Tensor:
        """(levels, codebook size)."""
        return self.usage > self.config.threshold / self.usage.shape[1]

    def noise_scale(self, level: int, codes: Tensor) -> Tensor:
        """1 on hot codes, 0 on the others."""
        return self.hot()[level][codes].float()


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes of a distributed run; itself where there is one.

    Each process is told of the whole batch's codes, so that all weigh the same.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value = value / torch.distributed.get_world_size()
    return value
