"""The catalogue as a trie of SIDs, in flat arrays.

Items are sorted by SID, so the children of a node are neighbours in the arrays of the next depth:
two integers a node (first child, number of children) and one code a child say all. Lookups are
gathers, and the same arrays serve a batch on a GPU. A leaf is exactly one item: SIDs must be
unique, which the suffix makes sure of.

Integers are stored as narrow as they fit, and what two arrays would both say is stored once: 11 to
18 bytes an item with three levels of 256 codes.
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

    All arrays are of int16 or int32, as narrow as their values allow; what `child` and `children`
    return is of int64.

    Attributes:
        first_child: per depth, (nodes at depth,), index into the next depth.
        n_children: per depth, (nodes at depth,), at least 1.
        code: per depth, (nodes at next depth,), the code that leads to a child.
        inner_row: `first_row` but for the last depth.
        inner_below: `below` but for the last two depths.
        item: (n_items,), the item row of each leaf.
    """

    first_child: tuple[Tensor, ...]
    n_children: tuple[Tensor, ...]
    code: tuple[Tensor, ...]
    inner_row: tuple[Tensor, ...]
    inner_below: tuple[Tensor, ...]
    item: Tensor

    @cached_property
    def first_row(self) -> tuple[Tensor, ...]:
        """Per depth, (nodes at next depth,), the smallest item row below a child.

        It is what ties are broken by.
        """
        return (*self.inner_row, self.item)

    @cached_property
    def below(self) -> tuple[Tensor, ...]:
        """Per depth, (nodes at next depth,), how many items lie below a child."""
        leaves = self.item.new_ones(1).expand(self.n_items)  # stored once
        return (*self.inner_below, *self.n_children[1:][-1:], leaves)

    @property
    def length(self) -> int:
        """Codes in a SID, the suffix included."""
        return len(self.code)

    @property
    def n_items(self) -> int:
        """Leaves."""
        return self.item.numel()

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        arrays = self.first_child + self.n_children + self.code + self.inner_row + self.inner_below
        return sum(array.nbytes for array in (*arrays, self.item))

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
            move(self.inner_row),
            move(self.inner_below),
            self.item.to(device),
        )

    def children(self, depth: int, node: Tensor) -> tuple[Tensor, Tensor]:
        """The children (n,) of all nodes (m,) at `depth`, one after another, and whose they are.

        The second answer (n,) is the place of each child's parent in `node`.
        """
        counts = self.n_children[depth][node].long()
        place = torch.arange(len(node), device=node.device)
        owner = place.repeat_interleave(counts)
        offset = self.first_child[depth][node].long() - (counts.cumsum(0) - counts)
        return torch.arange(len(owner), device=node.device) + offset[owner], owner

    def child(self, depth: int, node: Tensor, code: Tensor) -> Tensor:
        """The node (any shape) that `code` leads to from `node` at `depth`; -1 for none.

        A `node` of -1 has no children. Children are sorted by code, so this is a binary search.
        """
        alive = node.clamp(min=0)
        low = self.first_child[depth][alive].long()
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
        table = np.asarray(sids.cpu() if isinstance(sids, Tensor) else sids)
        if rows is None:
            rows = np.arange(len(table))
        else:
            rows = np.asarray(rows, dtype=np.int64)
            table = table[rows]
        if not len(rows):
            raise DigerError("a SID trie needs at least one item; the catalogue given is empty")
        columns, rows = _in_order(table, rows)
        n = len(rows)
        new = np.zeros(n, dtype=bool)  # whether an item begins a node of the next depth
        new[0] = True
        starts = np.zeros(1, np.int64)  # the first item below each node of the current depth
        first_child, n_children, codes, inner_row, inner_below = [], [], [], [], []
        for column in columns:
            new[1:] |= column[1:] != column[:-1]
            first = np.cumsum(new, dtype=np.int32)[starts] - 1
            starts = np.flatnonzero(new)
            first_child.append(first)
            n_children.append(np.diff(first, append=len(starts)))
            codes.append(column[starts])
            inner_below.append(np.diff(starts, append=n))
            inner_row.append(starts)  # for now
        if len(starts) != n:
            twin = int(np.flatnonzero(~new)[0])
            sid = "-".join(str(column[twin]) for column in columns)
            raise DigerError(
                f"items in rows {rows[twin - 1]} and {rows[twin]} share the SID {sid}; "
                "give them different suffixes"
            )
        inner_row = [np.minimum.reduceat(rows, at) for at in inner_row[:-1]]
        tensors = lambda arrays: tuple(torch.from_numpy(_narrow(a)) for a in arrays)  # noqa: E731
        return Trie(
            tensors(first_child),
            tensors(n_children),
            tensors(codes),
            tensors(inner_row),
            tensors(inner_below[:-2]),
            torch.from_numpy(rows),
        )


def _in_order(table: np.ndarray, rows: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Each column of SIDs (n, length) and the rows (n,), all in the order of the SIDs, narrow.

    A SID and its row make one integer of 64 bits as a rule, and sorting integers is many times as
    fast as finding the order of a table.
    """
    if table.min() < 0:
        raise ValueError("codes must be >= 0")
    parts = [*table.T, rows]
    bits = [int(part.max()).bit_length() for part in parts]
    if sum(bits) > 64:
        columns = [_narrow(column) for column in table.T]
        order = np.lexsort(columns[::-1])  # by radix, where columns are of 16 bits
        return [column[order] for column in columns], _narrow(rows[order], np.int32)
    key = np.zeros(len(rows), np.uint64)
    for part, width in zip(parts, bits, strict=True):
        key <<= np.uint64(width)
        key |= part.astype(np.uint64)
    key.sort()
    ordered = []
    for width in reversed(bits):
        ordered.append(_narrow(key & np.uint64((1 << width) - 1)))
        key >>= np.uint64(width)
    ordered_rows, *columns = ordered
    return columns[::-1], _narrow(ordered_rows, np.int32)


def _narrow(values: np.ndarray, least: type = np.int16) -> np.ndarray:
    """The same non-negative integers (n,), n >= 1, in as few bytes as hold them all."""
    dtype = np.promote_types(np.min_scalar_type(-int(values.max()) - 1), least)
    return np.ascontiguousarray(values, dtype=dtype)
