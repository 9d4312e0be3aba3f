"""Transformer parts shared by the backbones: attention, feed-forward, block, causal encoder.

Pre-norm residual blocks with RMS norms, learned positions counted from the oldest event shown.
Histories are padded at the end, so a causal mask is all the masking that training needs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diger.recommender.products import Linear


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """`torch.nn.functional.dropout`, three times as fast on a CPU.

    There a random byte decides on each number, eight of them from one draw, so that the rate is
    rounded to 1/256.
    """
    if not training or rate == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate, training)
    kept = round(256 * (1 - rate))
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    mask = (draws.view(torch.uint8)[: x.numel()].view(x.shape) < kept).to(x.dtype)
    return x * mask.mul_(256 / kept)


class Attention(nn.Module):
    """Multi-head attention of queries (B, Q, d) over a memory (B, S, d)."""

    def __init__(self, *, d_model: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(d_model, d_model, bias=False)
        self.key_value = Linear(d_model, 2 * d_model, bias=False)
        self.output = Linear(d_model, d_model, bias=False)

    def keys_values(self, memory: Tensor) -> Tensor:
        """Keys and values (2, B, heads, S, d / heads) of a memory (B, S, d)."""
        kv = self.key_value(memory).unflatten(-1, (2, self.heads, -1))
        return kv.permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend; `mask` is boolean, broadcastable to (B, heads, Q, S), None means causal."""
        batch, queries, d = x.shape
        q = self.query(x).view(batch, queries, self.heads, -1).transpose(1, 2)
        k, v = keys_values
        slow_in_half = q.device.type == "cpu"  # its backward pass, by a factor of four
        if slow_in_half:
            q, k, v = q.float(), k.float(), v.float()
        with torch.autocast(q.device.type, enabled=not slow_in_half and q.dtype != torch.float32):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.output(y.transpose(1, 2).reshape(batch, queries, d))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, *, d_model: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.rise = Linear(d_model, hidden)
        self.fall = Linear(hidden, d_model)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return self.fall(dropout(F.gelu(self.rise(x)), self.dropout, self.training))


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and around a residual."""

    def __init__(self, *, d_model: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(d_model)
        self.attention = Attention(d_model=d_model, heads=heads)
        self.norm_feed_forward = nn.RMSNorm(d_model)
        self.feed_forward = FeedForward(d_model=d_model, hidden=hidden, dropout=dropout)
        self.dropout = dropout

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Causal self-attention over `x` (B, Q, d), or attention over `memory` (B, S, d)."""
        return self.over(x, None if memory is None else self.attention.keys_values(memory), mask)

    def over(self, x: Tensor, keys_values: Tensor | None, mask: Tensor | None) -> Tensor:
        """The same over keys and values of a memory, made once for many `x`."""
        y = self.norm_attention(x)
        if keys_values is None:
            keys_values = self.attention.keys_values(y)
        y = self.attention(y, keys_values, mask)
        x = x + dropout(y, self.dropout, self.training)
        y = self.feed_forward(self.norm_feed_forward(x))
        return x + dropout(y, self.dropout, self.training)


class CausalEncoder(nn.Module):
    """Item vectors (B, T, d) to hidden states (B, T, d), each seeing only what came before it."""

    def __init__(
        self,
        *,
        d_model: int,
        heads: int,
        layers: int,
        hidden: int,
        dropout: float,
        max_history: int,
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(max_history, d_model) * 0.02)
        self.blocks = nn.ModuleList(
            Block(d_model=d_model, heads=heads, hidden=hidden, dropout=dropout)
            for _ in range(layers)
        )
        self.norm = nn.RMSNorm(d_model)
        self.dropout = dropout

    def forward(self, x: Tensor, starts: Tensor | None = None) -> Tensor:
        """(B, T, d) to (B, T, d), T at most `max_history`.

        With `starts`, LongTensor (B, T or more), an event sees those of its own piece only, and
        counts its position from where that begins.
        """
        steps = x.shape[1]
        if starts is None:
            places, mask = self.positions[:steps], None
        else:
            at = torch.arange(steps, device=x.device)
            places = self.positions[at - starts[:, :steps]]
            mask = same_piece(starts[:, :steps])[:, None]
        x = dropout(x + places, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.norm(x)


def same_piece(starts: Tensor) -> Tensor:
    """(B, T, T) whether an event (row) sees another: not after it, and in its piece."""
    at = torch.arange(starts.shape[1], device=starts.device)
    return (at[:, None] >= at) & (at >= starts[:, :, None])
