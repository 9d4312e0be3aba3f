"""SASRec (Kang and McAuley 2018) on the same causal encoder: the baseline that knows item ids.

Trained with full softmax cross-entropy over the catalogue, which is known to lift it well above the
original's sampled binary loss (Klenitskiy and Vasilev 2023); item embeddings are shared between the
way in and the way out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diger.config import SasrecConfig
from diger.recommender.base import last_positions, masked
from diger.recommender.layers import CausalEncoder
from diger.recommender.products import linear


class Sasrec(nn.Module):
    """Scores every item of the catalogue after a history."""

    def __init__(self, *, n_items: int, config: SasrecConfig, max_history: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.randn(n_items, config.d_model) * 0.02)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.encoder = CausalEncoder(
            d_model=config.d_model,
            heads=config.heads,
            layers=config.layers,
            hidden=config.feed_forward,
            dropout=config.dropout,
            max_history=max_history,
        )

    @classmethod
    def build(
        cls, config: SasrecConfig, *, sizes: tuple[int, ...], n_items: int, max_history: int
    ) -> Sasrec:
        """One for a catalogue of `n_items`."""
        return cls(n_items=n_items, config=config, max_history=max_history)

    def scores(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_items) of the next item after histories (B, T) of `lengths` (B,)."""
        hidden = self.encoder(F.embedding(items, self.items))
        return last_positions(hidden, lengths) @ self.items.T + self.bias

    def loss(
        self,
        items: Tensor,
        lengths: Tensor,
        smoothing: float = 0.0,
        starts: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats an event; each event but a history's first is a target.

        `starts` as in `Batch`.
        """
        hidden = self.encoder(F.embedding(items[:, :-1], self.items), starts)
        at = torch.arange(hidden.shape[1], device=items.device)
        real = at < (lengths - 1)[:, None]
        logits = linear(hidden.flatten(0, 1), self.items, self.bias)
        wanted = masked(items[:, 1:].flatten(), real.flatten())
        return F.cross_entropy(logits, wanted, label_smoothing=smoothing)
