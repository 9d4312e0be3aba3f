"""The paper's backbone: a T5 encoder-decoder over code tokens (Raffel et al. 2020).

A history is the sequence of its items' codes, suffixes included; the encoder reads it both ways,
and the decoder spells the next item's SID from a start token on. As published: one embedding table
a code position, shared between the way in and the logits, which are not scaled; no biases; queries
not divided by the root of their width; a learned bias for each bucket of relative positions, in the
first layer's attention and reused by the others; weights drawn with standard deviation 0.02.
The encoder sees what comes later, so a training example has one target, its last event.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diger.config import T5Config
from diger.recommender.base import (
    CodeView,
    Losses,
    Recommender,
    check_prefix,
    code_cross_entropy,
)
from diger.recommender.causal import CodeEmbeddings

BUCKETS = 32  # of relative positions
FARTHEST = 128  # positions from which on all share the last bucket
_STD = 0.02
_EPS = 1e-6


def relative_buckets(length: int, *, both_ways: bool, device: torch.device) -> Tensor:
    """Bucket (length, length) of the key's position relative to the query's, T5's formula.

    Near distances have a bucket each, farther ones share logarithmically wider ones. `both_ways`
    gives half of the buckets to keys after the query; otherwise all of these fall into bucket 0.
    """
    at = torch.arange(length, device=device)
    ahead = at - at[:, None]  # (queries, keys)
    buckets = BUCKETS // 2 if both_ways else BUCKETS
    side = torch.where(ahead > 0, buckets, 0) if both_ways else torch.zeros_like(ahead)
    distance = ahead.abs() if both_ways else (-ahead).clamp(min=0)
    exact = buckets // 2
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(FARTHEST / exact)
    far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    return side + torch.where(distance < exact, distance, far)


class RelativeBias(nn.Module):
    """What the distance of two positions adds to their attention score, per head."""

    def __init__(self, *, heads: int, both_ways: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(BUCKETS, heads))
        self.both_ways = both_ways

    def forward(self, length: int) -> Tensor:
        """(1, heads, length, length)."""
        buckets = relative_buckets(length, both_ways=self.both_ways, device=self.table.device)
        return F.embedding(buckets, self.table).permute(2, 0, 1)[None]


class Attention(nn.Module):
    """Multi-head attention, unscaled and without biases; heads of any width."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        inner = config.heads * config.head_width
        self.heads = config.heads
        self.dropout = config.dropout
        self.query = nn.Linear(config.d_model, inner, bias=False)
        self.key = nn.Linear(config.d_model, inner, bias=False)
        self.value = nn.Linear(config.d_model, inner, bias=False)
        self.output = nn.Linear(inner, config.d_model, bias=False)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, width) of a memory (B, S, d)."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attend from (B, Q, d); `mask` is boolean or added, broadcast to (B, heads, Q, S)."""
        y = F.scaled_dot_product_attention(
            self._split(self.query(x)),
            keys,
            values,
            attn_mask=mask if mask.dtype == torch.bool else mask.to(keys.dtype),
            dropout_p=self.dropout if self.training else 0.0,
            scale=1.0,
        )
        return self.output(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers without biases and a ReLU between."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.rise = nn.Linear(config.d_model, config.feed_forward, bias=False)
        self.fall = nn.Linear(config.feed_forward, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return self.fall(self.dropout(F.relu(self.rise(x))))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind a norm and around a residual."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.norm_self = nn.RMSNorm(config.d_model, eps=_EPS)
        self.self_attention = Attention(config)
        self.norm_feed_forward = nn.RMSNorm(config.d_model, eps=_EPS)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, S, d) to (B, S, d); `bias` is added to the scores."""
        y = self.norm_self(x)
        x = x + self.dropout(self.self_attention(y, *self.self_attention.keys_values(y), bias))
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoded history, and feed-forward."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.norm_self = nn.RMSNorm(config.d_model, eps=_EPS)
        self.self_attention = Attention(config)
        self.norm_cross = nn.RMSNorm(config.d_model, eps=_EPS)
        self.cross_attention = Attention(config)
        self.norm_feed_forward = nn.RMSNorm(config.d_model, eps=_EPS)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, bias: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> Tensor:
        """(B, W, L, d) to the same: W sequences of L codes a history, sharing its keys."""
        y = self.norm_self(x).flatten(0, 1)  # (B * W, L, d)
        y = self.self_attention(y, *self.self_attention.keys_values(y), bias)
        x = x + self.dropout(y).view_as(x)
        y = self.norm_cross(x).flatten(1, 2)  # (B, W * L, d): keys need not be repeated W times
        x = x + self.dropout(self.cross_attention(y, keys, values, mask)).view_as(x)
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


@dataclass(frozen=True, eq=False)
class T5Memory:
    """Encoded histories, as the decoder's layers look at them.

    Attributes:
        keys: per decoder layer, (B, heads, S, width).
        values: per decoder layer, (B, heads, S, width).
        mask: (B, 1, 1, S) true at real code tokens.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor


class T5Recommender(Recommender):
    """See the module's text. Weights are initialised from torch's global random state."""

    prefix_examples: ClassVar[bool] = True

    @classmethod
    def build(
        cls, config: T5Config, *, sizes: tuple[int, ...], n_items: int, max_history: int
    ) -> T5Recommender:
        """See the base class; it reads histories of any length."""
        return cls(sizes=sizes, config=config)

    def __init__(self, *, sizes: tuple[int, ...], config: T5Config) -> None:
        super().__init__()
        self.sizes = sizes
        self.codes = CodeEmbeddings(sizes=sizes, d_model=config.d_model)
        self.start = nn.Parameter(torch.randn(config.d_model) * _STD)
        self.encoder_bias = RelativeBias(heads=config.heads, both_ways=True)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.encoder_norm = nn.RMSNorm(config.d_model, eps=_EPS)
        self.decoder_bias = RelativeBias(heads=config.heads, both_ways=False)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.RMSNorm(config.d_model, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_STD)
            elif isinstance(module, RelativeBias):
                nn.init.normal_(module.table, std=_STD)

    def encode(self, view: CodeView, index: Tensor, lengths: Tensor) -> T5Memory:
        """The memory of histories `index` (B, T), positions in `view`, with `lengths` (B,)."""
        return self._encode(self.codes(view)[index], lengths)

    def _encode(self, history: Tensor, lengths: Tensor) -> T5Memory:
        """The memory of histories of embedded items (B, T, length, d) with `lengths` (B,)."""
        x = self.dropout(history.flatten(1, 2))  # (B, S, d), S = T * length
        at = torch.arange(x.shape[1], device=x.device)
        mask = (at < lengths[:, None] * self.length)[:, None, None]  # (B, 1, 1, S)
        bias = self.encoder_bias(x.shape[1]).masked_fill(~mask, -torch.inf)  # (B, heads, S, S)
        for layer in self.encoder:
            x = layer(x, bias)
        x = self.dropout(self.encoder_norm(x))
        pairs = []
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            pairs.append(layer.cross_attention.keys_values(x))
        return T5Memory(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), mask)

    def _decode(self, memory: T5Memory, known: Tensor) -> Tensor:
        """Hidden states (B, W, l + 1, d) that predict the code after each of 0..l known ones.

        known: (B, W, l, d), embedded codes, W prefixes a history.
        """
        start = self.start.expand(*known.shape[:2], 1, -1)
        x = self.dropout(torch.cat([start, known], dim=2))
        steps = x.shape[2]
        later = torch.ones(steps, steps, dtype=torch.bool, device=x.device).triu(1)
        bias = self.decoder_bias(steps).masked_fill(later, -torch.inf)
        for layer, keys, values in zip(self.decoder, memory.keys, memory.values, strict=True):
            x = layer(x, bias, keys, values, memory.mask)
        return self.dropout(self.decoder_norm(x))

    def _logits(self, hidden: Tensor, position: int) -> Tensor:
        """Logits (..., size) of the code at `position` from hidden states (..., d)."""
        return hidden @ self.codes.tables[position].T

    def next_code_logits(self, memory: T5Memory, prefix: Tensor) -> Tensor:
        """Logits (B, W, sizes[l]) of the code after each prefix (B, W, l)."""
        position = check_prefix(prefix, self.sizes)
        if position:
            known = self.codes.prefix(prefix)
        else:
            known = self.start.new_empty(*prefix.shape, len(self.start))
        return self._logits(self._decode(memory, known)[:, :, -1], position)

    def loss(
        self,
        view: CodeView,
        index: Tensor,
        lengths: Tensor,
        smoothing: float = 0.0,
        starts: Tensor | None = None,
    ) -> Losses:
        """See the base class; the last event of each history is its only target."""
        assert starts is None  # refused when the recipe is read
        history, decoder = view.soft("history"), view.soft("decoder")
        # (n, length, d); one pass for each distinct way in: without joint training there is one.
        embedded = {soft: self.codes(view, soft) for soft in {history, decoder}}
        target = index.gather(1, lengths[:, None] - 1).squeeze(1)  # (B,)
        memory = self._encode(embedded[history][index[:, :-1]], lengths - 1)
        hidden = self._decode(memory, embedded[decoder][target][:, None, :-1])[:, 0]
        codes = view.codes[target]
        losses = []
        for position in range(self.length):
            labels = None
            if view.mixture is not None and view.soft("labels") and position < len(view.mixture):
                labels = view.mixture[position][target]
            logits = self._logits(hidden[:, position], position)
            losses.append(code_cross_entropy(logits, codes[:, position], labels, smoothing))
        return Losses(torch.stack(losses))
