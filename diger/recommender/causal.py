"""The default backbone: causal over items, with a small decoder that spells the next SID.

A history is read as a sequence of items, not of codes: an item is its code embeddings, put side by
side and passed through a two-layer perceptron, which lets a code mean different things beside
different codes (residual codes mean little alone). Every position of a history predicts its next
item in one pass: the supervision of one example a prefix, at a fraction of the arithmetic. The
decoder forms one query for each code position from the hidden state and the codes so far, lets it
look back over the history, and scores it against the code embeddings, which are shared with the way
in. Codes of the target never see each other, so all positions of its SID are scored at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diger.config import CausalConfig
from diger.data.batches import recurring
from diger.recommender.base import (
    CodeView,
    Losses,
    Recommender,
    check_prefix,
    code_cross_entropy,
    last_positions,
    masked,
)
from diger.recommender.layers import Block, CausalEncoder, same_piece
from diger.recommender.products import Linear, linear
from diger.tokenizer.trie import Trie

# What the catalogue alone says about the next code: a prior inside the decoder's logits.
#
# Of the 256 codes that could follow a prefix, a catalogue of 12,000 items has a handful. Left to
# itself a decoder must learn by heart which: most of its loss, and of its capacity, goes into the
# trie. So the logits of a code c after a prefix p get the term
#
#     log(n(p c) + alpha) - log(n(p) + alpha K),
#
# n counting items of the catalogue below a prefix (items, not events: nothing about users enters),
# K codes at that position, alpha a small pseudo-count. The softmax still runs over the full
# codebook and invalid codes keep a chance, so the model can be decoded freely, and a new item only
# needs the trie built again. Where a prefix is in no SID the term is the same for all codes.


class CataloguePrior:
    """The term above for one catalogue; rebuilt whenever SIDs change."""

    def __init__(self, trie: Trie, sizes: tuple[int, ...], alpha: float = 0.01) -> None:
        self.trie = trie
        self.sizes = sizes
        self.alpha = alpha

    def __call__(self, depth: int, node: Tensor) -> Tensor:
        """Log-prior (..., sizes[depth]) of the code after the prefixes `node` (...) at `depth`.

        A node of -1 stands for a prefix that no SID has.
        """
        trie, size = self.trie, self.sizes[depth]
        known = node >= 0
        node = node.clamp(min=0)
        if depth == 0:
            total = torch.full(node.shape, float(trie.n_items), device=node.device)
        else:
            total = trie.below[depth - 1][node].float()
        total = torch.where(known, total, 0.0)
        floor = (total + self.alpha * size).log()[..., None]
        # One column more than there are codes takes what is written for absent children.
        logs = (math.log(self.alpha) - floor).expand(*node.shape, size + 1)
        count = torch.where(known, trie.n_children[depth][node], 0)
        # Few nodes have anything like the most children, of a suffix least of all.
        step = torch.arange(int(count.max()) if count.numel() else 0, device=node.device)
        real = step < count[..., None]
        child = torch.where(real, trie.first_child[depth][node][..., None] + step, 0)
        code = torch.where(real, trie.code[depth][child].long(), size)
        value = (trie.below[depth][child].float() + self.alpha).log() - floor
        return logs.scatter(-1, code, value)[..., :size]


_EMBEDDED = ("history", "decoder", "alignment")  # places reached through embeddings


class CodeEmbeddings(nn.Module):
    """One table a code position; a mixture over codewords embeds as the mixture of its rows."""

    def __init__(self, *, sizes: tuple[int, ...], d_model: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList(
            nn.Parameter(torch.randn(size, d_model) * 0.02) for size in sizes
        )

    def forward(self, view: CodeView, soft: bool = True) -> Tensor:
        """(n, length, d) embeddings of the codes in `view`, soft where it has a mixture."""
        parts = []
        for position, table in enumerate(self.tables):
            if soft and view.mixture is not None and position < len(view.mixture):
                parts.append(linear(view.mixture[position], table.T))
            else:
                parts.append(F.embedding(view.codes[:, position], table))
        return torch.stack(parts, dim=1)

    def prefix(self, prefix: Tensor) -> Tensor:
        """(..., l) codes to (..., l, d)."""
        parts = [F.embedding(prefix[..., j], self.tables[j]) for j in range(prefix.shape[-1])]
        return torch.stack(parts, dim=-2)


class PrefixTables(nn.Module):
    """A vector for each prefix of two or more codes, hashed: prefix n-grams (Zheng et al. 2025).

    Residual codes mean little alone; this gives a prefix, and with the longest one nearly every
    item, a vector of its own. Prefixes that fall on one row share it. It learns by heart, so it
    wants the weight decay that item vectors want.
    """

    def __init__(self, *, lengths: int, rows: int, d_model: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList(
            nn.Parameter(torch.randn(rows, d_model) * 0.02) for _ in range(lengths)
        )

    def forward(self, prefix: Tensor) -> Tensor:
        """(..., l) codes, l >= 2, to (..., d): the table of length l."""
        return F.embedding(self._rows(prefix), self.tables[prefix.shape[-1] - 2])

    @torch.no_grad()
    def forget_unreached(self, sids: Tensor) -> None:
        """Zeros in every row that no prefix of SIDs (items, length) falls on."""
        for length, table in enumerate(self.tables, start=2):
            unreached = torch.ones(len(table), dtype=torch.bool, device=table.device)
            unreached[self._rows(sids[:, :length])] = False
            table[unreached] = 0

    def _rows(self, prefix: Tensor) -> Tensor:
        key = prefix[..., 0]
        for position in range(1, prefix.shape[-1]):
            key = (key * 1_000_003 + prefix[..., position] + 1) % 2_147_483_647
        return key % len(self.tables[prefix.shape[-1] - 2])


@dataclass(frozen=True, eq=False)
class Memory:
    """Encoded histories.

    Attributes:
        keys_values: per decoder block, (2, B, heads, T, d / heads) of every event.
        last: (B, d) at the last event.
        mask: (B, 1, 1, T) true at real events.
    """

    keys_values: tuple[Tensor, ...]
    last: Tensor
    mask: Tensor


class CausalRecommender(Recommender):
    """See the module's text. Weights are initialised from torch's global random state."""

    def __init__(self, *, sizes: tuple[int, ...], config: CausalConfig, max_history: int) -> None:
        super().__init__()
        d = config.d_model
        self.sizes = sizes
        self.codes = CodeEmbeddings(sizes=sizes, d_model=d)
        self.item = nn.Sequential(
            nn.LayerNorm(len(sizes) * d),
            Linear(len(sizes) * d, config.item_hidden),
            nn.GELU(),
            Linear(config.item_hidden, d),
        )
        self.encoder = CausalEncoder(
            d_model=d,
            heads=config.heads,
            layers=config.layers,
            hidden=config.feed_forward,
            dropout=config.dropout,
            max_history=max_history,
        )
        self.query = Linear(d, d)
        # Prefixes without the suffix: that number means nothing from one prefix to the next.
        lengths = max(0, len(sizes) - 2) if config.prefix_rows else 0
        # A last position with one code, as of SIDs that need no suffix, says nothing to predict.
        self.spelled = len(sizes) - (sizes[-1] == 1)
        self.item_prefixes = PrefixTables(lengths=lengths, rows=config.prefix_rows, d_model=d)
        self.query_prefixes = PrefixTables(lengths=lengths, rows=config.prefix_rows, d_model=d)
        self.position = nn.Parameter(torch.randn(self.spelled, d) * 0.02)
        self.prefix = nn.ModuleList(
            Linear(position * d, d, bias=False) for position in range(1, self.spelled)
        )
        self.decoder = nn.ModuleList(
            Block(d_model=d, heads=config.heads, hidden=config.feed_forward, dropout=config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.RMSNorm(d)
        spelled = sizes[: self.spelled]
        self.head = nn.ModuleList(Linear(d, d) for _ in spelled)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in spelled)
        self.align_hidden = Linear(d, d)
        self.align_item = nn.LayerNorm(d)
        self.align_scale = nn.Parameter(torch.tensor(-0.5 * math.log(d)))
        self.prior_weight = nn.Parameter(torch.ones(self.spelled))
        self.prior: CataloguePrior | None = None

    def know_catalogue(self, trie: Trie) -> None:
        """Give the decoder the catalogue's SIDs; again whenever they change."""
        self.prior = CataloguePrior(trie, self.sizes)

    def forget_unreached(self, sids: Tensor) -> None:
        """Rows of prefix tables that the catalogue does not use: never trained, or no longer."""
        for tables in (self.item_prefixes, self.query_prefixes):
            tables.forget_unreached(sids)

    def _node(self, prefix: Tensor) -> Tensor:
        """Trie nodes (...) of prefixes (..., l)."""
        if self.prior is None:
            return prefix.new_zeros(prefix.shape[:-1])
        return self.prior.trie.find(prefix)

    def item_vectors(self, embedded: Tensor, codes: Tensor) -> Tensor:
        """Item vectors (n, d) of codes (n, length), embedded (n, length, d)."""
        vectors = self.item(embedded.flatten(1))
        for length in range(2, 2 + len(self.item_prefixes.tables)):
            vectors = vectors + self.item_prefixes(codes[:, :length])
        return vectors

    def encode(self, view: CodeView, index: Tensor, lengths: Tensor) -> Memory:
        """The memory of histories `index` (B, T), positions in `view`, with `lengths` (B,)."""
        return self.encode_inputs(self.item_vectors(self.codes(view), view.codes)[index], lengths)

    def item_inputs(self, sids: Tensor) -> Tensor:
        """(items, d) item vectors of SIDs (items, length), as `encode_inputs` reads them."""
        parts = sids.split(4096)  # the perceptron is wide
        return torch.cat([self.item_vectors(self.codes.prefix(p), p) for p in parts])

    def encode_inputs(self, inputs: Tensor, lengths: Tensor) -> Memory:
        """The memory of histories of item vectors (B, T, d) with `lengths` (B,)."""
        hidden = self.encoder(inputs)
        steps = torch.arange(inputs.shape[1], device=inputs.device)
        mask = (steps < lengths[:, None])[:, None, None]
        pairs = tuple(block.attention.keys_values(hidden) for block in self._blocks())
        return Memory(pairs, last_positions(hidden, lengths), mask)

    def _blocks(self) -> list[Block]:
        return [block for block in self.decoder if isinstance(block, Block)]

    def item_keys(self, sids: Tensor) -> Tensor:
        """(items, d) item vectors of SIDs (items, length) on the side of the alignment loss."""
        return self._keys(self.item_inputs(sids))

    def _keys(self, vectors: Tensor) -> Tensor:
        return self.align_item(vectors) * self.align_scale.exp()

    def item_query(self, memory: Memory) -> Tensor:
        """(B, d) of the last events."""
        return self.align_hidden(memory.last)

    def _query(self, state: Tensor, embedded: Tensor, prefix: Tensor) -> Tensor:
        """Query (..., d) for the code after prefix (..., l), embedded (..., l, d), from state."""
        position = prefix.shape[-1]
        query = state + self.position[position]
        if position:
            query = query + self.prefix[position - 1](embedded.flatten(-2))
        if position >= 2 and len(self.query_prefixes.tables):
            query = query + self.query_prefixes(prefix)
        return query

    def _logits(self, query: Tensor, position: int, node: Tensor) -> Tensor:
        """Logits (..., size) from queries (..., d) at the trie nodes (...) of their prefixes."""
        logits = linear(
            self.head[position](query), self.codes.tables[position], self.bias[position]
        )
        if self.prior is None:
            return logits
        return logits + self.prior_weight[position] * self.prior(position, node)

    def next_code_logits(self, memory: Memory, prefix: Tensor) -> Tensor:
        """Logits (B, W, sizes[l]) of the code after each prefix (B, W, l)."""
        return self._next(memory, prefix, self._node(prefix))

    def logits_at(self, memory: Memory, prefix: Tensor, trie: Trie, node: Tensor) -> Tensor:
        """See the base class; what the nodes are for is the prior of the same trie."""
        own = self.prior is not None and self.prior.trie is trie
        return self._next(memory, prefix, node if own else self._node(prefix))

    def _next(self, memory: Memory, prefix: Tensor, node: Tensor) -> Tensor:
        position = check_prefix(prefix, self.sizes)
        if position == self.spelled:
            return memory.last.new_zeros((*prefix.shape[:2], 1))
        state = self.query(memory.last)[:, None].expand(-1, prefix.shape[1], -1)
        embedded = self.codes.prefix(prefix) if position else state
        query = self._query(state, embedded, prefix)
        for block, keys_values in zip(self._blocks(), memory.keys_values, strict=True):
            query = block.over(query, keys_values, memory.mask)
        return self._logits(self.norm(query), position, node)

    def loss(
        self,
        view: CodeView,
        index: Tensor,
        lengths: Tensor,
        smoothing: float = 0.0,
        starts: Tensor | None = None,
    ) -> Losses:
        """See the base class; every position of every history is a target but the first."""
        items = len(view.codes)
        view = view.padded(recurring(items))
        # One pass for each distinct way in: without joint training there is one.
        embedded = {soft: self.codes(view, soft) for soft in {view.soft(p) for p in _EMBEDDED}}
        vectors = {
            soft: self.item_vectors(embedded[soft], view.codes)
            for soft in {view.soft("history"), view.soft("alignment")}
        }
        hidden = self.encoder(vectors[view.soft("history")][index[:, :-1]], starts)  # (B, T, d)
        target = index[:, 1:]
        batch, steps, d = hidden.shape
        length = self.spelled
        state = self.query(hidden)
        known = embedded[view.soft("decoder")][target]  # (B, T, length, d)
        targets = view.codes[target]  # (B, T, length)
        query = torch.stack(
            [
                self._query(state, known[:, :, :position], targets[..., :position])
                for position in range(length)
            ],
            dim=2,
        ).flatten(1, 2)  # (B, T * length, d)
        at = torch.arange(steps, device=index.device)
        seen = at[:, None] >= at if starts is None else same_piece(starts[:, :steps])[:, None]
        seen = seen.repeat_interleave(length, dim=-2)  # (..., T * length, T)
        for block in self.decoder:
            query = block(query, hidden, seen)
        query = self.norm(query).view(batch * steps, length, d)
        # Padding is masked in the losses, not cut out: see `recurring`.
        real = (at < (lengths - 1)[:, None]).flatten()  # (B * T,)
        target, codes = target.flatten(), targets.flatten(0, 1)
        losses = []
        node = codes.new_zeros(len(codes))  # where in the trie the codes so far lead
        for position in range(length):
            logits = self._logits(query[:, position], position, node)
            labels = None
            if view.mixture is not None and view.soft("labels") and position < len(view.mixture):
                labels = view.mixture[position][target]
            code = codes[:, position]
            losses.append(code_cross_entropy(logits, code, labels, smoothing, real))
            if self.prior is not None:
                node = self.prior.trie.child(position, node, code)
        frequency = view.frequency
        if frequency is None:
            frequency = torch.bincount(target[real], minlength=items)
        alignment = self._alignment(
            hidden.flatten(0, 1), vectors[view.soft("alignment")], target, frequency, real
        )
        losses += [losses[0].new_zeros(())] * (len(self.sizes) - length)
        return Losses(torch.stack(losses), alignment)

    def _alignment(
        self, hidden: Tensor, vectors: Tensor, target: Tensor, frequency: Tensor, real: Tensor
    ) -> Tensor:
        """In-batch softmax of hidden states (N, d) over the batch's item vectors (n or more, d).

        Scores are corrected by how often an item is a target in the batch (log-Q correction of
        Yi et al. 2019), or popular items would be pushed away for being sampled often. Vectors
        beyond `frequency` (n,) are padding, as hidden states are where not `real` (N,).
        """
        scores = linear(self.align_hidden(hidden), self._keys(vectors))
        correction = frequency.clamp(min=1).log()
        correction = F.pad(correction, (0, len(vectors) - len(frequency)), value=math.inf)
        return F.cross_entropy(scores - correction, masked(target, real))
