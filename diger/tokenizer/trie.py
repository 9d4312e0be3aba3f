"""The catalogue as a trie of SIDs, in flat arrays.

Items are sorted by SID, so the children of a node are neighbours in the arrays of the next depth:
two integers a node (first child, number of children) and one code a child say all. 20,000 items
with four code positions take about a megabyte, lookups are gathers, and the same arrays serve a
batch on a GPU. A leaf is exactly one item: SIDs must be unique, which the suffix makes sure of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from diger.errors import DigerError


@dataclass(frozen=True, eq=False)
class Trie:
    """A SID trie over `n_items` items; depth `l` holds the distinct prefixes of `l` codes.

    Attributes:
        first_child: per depth, LongTensor (nodes at depth,), index into the next depth.
        n_children: per depth, LongTensor (nodes at depth,), at least 1.
        code: per depth, LongTensor (nodes at next depth,), the code that leads to a child.
        first_row: per depth, LongTensor (nodes at next depth,), the smallest item row below a
            child: what ties are broken by.
        below: per depth, LongTensor (nodes at next depth,), how many items lie below a child.
        item: LongTensor (n_items,), the item row of each leaf.
    """

    first_child: tuple[Tensor, ...]
    n_children: tuple[Tensor, ...]
    code: tuple[Tensor, ...]
    first_row: tuple[Tensor, ...]
    below: tuple[Tensor, ...]
    item: Tensor

    @property
    def length(self) -> int:
        """Codes in a SID, the suffix included."""
        return len(self.code)

    @property
    def n_items(self) -> int:
        """Leaves."""
        return self.item.numel()

    def nodes(self, depth: int) -> int:
        """Distinct prefixes of `depth` codes (1 at depth 0, `n_items` at the last)."""
        return 1 if depth == 0 else self.code[depth - 1].numel()

    def to(self, device: torch.device | str) -> Trie:
        """The same trie on another device."""
        move = lambda arrays: tuple(a.to(device) for a in arrays)  # noqa: E731
        return Trie(
            move(self.first_child),
            move(self.n_children),
            move(self.code),
            move(self.first_row),
            move(self.below),
            self.item.to(device),
        )

    def child(self, depth: int, node: Tensor, code: Tensor) -> Tensor:
        """The node (any shape) that `code` leads to from `node` at `depth`; -1 for none.

        A `node` of -1 has no children. Children are sorted by code, so this is a binary search.
        """
        alive = node.clamp(min=0)
        low = self.first_child[depth][alive]
        last = low + self.n_children[depth][alive] - 1
        high = last
        for _ in range(self.most_children[depth].bit_length()):
            middle = (low + high) // 2
            less = self.code[depth][middle] < code
            low = torch.where(less, torch.minimum(middle + 1, last), low)
            high = torch.where(less, high, middle)
        found = (self.code[depth][low] == code) & (node >= 0)
        return torch.where(found, low, -1)

    def find(self, prefix: Tensor) -> Tensor:
        """The node (...,) of each prefix (..., l); -1 where no item's SID begins so."""
        node = torch.zeros(prefix.shape[:-1], dtype=torch.long, device=prefix.device)
        for depth in range(prefix.shape[-1]):
            node = self.child(depth, node, prefix[..., depth])
        return node

    @cached_property
    def most_children(self) -> tuple[int, ...]:
        """The largest number of children of a node, per depth."""
        return tuple(int(counts.max()) for counts in self.n_children)

    @staticmethod
    def build(sids: Tensor | np.ndarray, rows: np.ndarray | None = None) -> Trie:
        """Build from full SIDs (items, codes in a SID); `rows` restricts it to some item rows.

        Raises:
            DigerError: no item, or two items with the same SID.
        """
        table = np.asarray(sids.cpu() if isinstance(sids, Tensor) else sids, dtype=np.int64)
        rows = np.arange(len(table)) if rows is None else np.asarray(rows, dtype=np.int64)
        if not len(rows):
            raise DigerError("a SID trie needs at least one item; the catalogue given is empty")
        table = table[rows]
        order = np.lexsort(table.T[::-1])
        table, rows = table[order], rows[order]
        n, length = table.shape
        node = np.zeros(n, dtype=np.int64)  # the node of each item at the current depth
        first_child, n_children, codes, first_row, below = [], [], [], [], []
        for level in range(length):
            new = np.ones(n, dtype=bool)
            new[1:] = (node[1:] != node[:-1]) | (table[1:, level] != table[:-1, level])
            starts = np.flatnonzero(new)
            parents = node[starts]
            counts = np.bincount(parents)
            first_child.append(np.cumsum(counts) - counts)
            n_children.append(counts)
            codes.append(table[starts, level])
            first_row.append(np.minimum.reduceat(rows, starts))
            below.append(np.diff(np.append(starts, n)))
            node = np.cumsum(new) - 1
        if node[-1] + 1 != n:
            twin = int(np.flatnonzero(np.diff(node) == 0)[0])
            sid = "-".join(map(str, table[twin]))
            raise DigerError(
                f"items in rows {rows[twin]} and {rows[twin + 1]} share the SID {sid}; "
                "give them different suffixes"
            )
        tensors = lambda arrays: tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)  # noqa: E731
        return Trie(
            tensors(first_child),
            tensors(n_children),
            tensors(codes),
            tensors(first_row),
            tensors(below),
            torch.from_numpy(rows.copy()),
        )
