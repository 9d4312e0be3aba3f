"""Items that change their codes without any gradient: two controls of joint training.

`Shuffled` deals codes at random, as many and as often as another run changed. `Reassigned` asks the
recommender: of the SIDs nearest to its content each item takes the one under which the recommender
expects it most where it was a target, one item a SID, and the whole round counts only if the
recommender then expects the validation targets no less than before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from diger.data.batches import Histories, evaluation_order
from diger.data.dataset import Dataset
from diger.recommender.base import Recommender, encode_items
from diger.tokenizer.base import Tokenizer
from diger.tokenizer.distinct import distinct_codes
from diger.tokenizer.trie import Trie

EVERY = 2  # epochs between two rounds of reassignment
EVENTS = 8  # of an item, drawn anew for every round, that say where it is expected
JUDGES = 3000  # validation targets at most that accept a round or refuse it
BATCH = 256

log = logging.getLogger("diger.training")


class Renaming(Protocol):
    """Says what items are called when an epoch ends."""

    def __call__(self, model: Recommender, sids: Tensor, epoch: int) -> Tensor:
        """Codes (items, levels) after `epoch` (from 0) of items called `sids` (items, levels + 1).

        `model` is in evaluation mode and knows `sids`; what it is left knowing does not matter.
        """


class Shuffled:
    """As many codes as `changes` says, by epoch and level, change hands.

    The items are drawn once, so that one that loses its first code loses the others too, as items
    that move do; a level's codes are dealt again among its items, so that usage stays.
    """

    def __init__(
        self,
        changes: Sequence[Sequence[float]],
        tokenizer: Tokenizer,
        content: Tensor,
        start: Tensor,
        distinct: bool,
    ) -> None:
        self.changes = changes
        self.tokenizer, self.content, self.distinct = tokenizer, content, distinct
        self.seed = int(start.sum())

    def __call__(self, model: Recommender, sids: Tensor, epoch: int) -> Tensor:
        """See `Renaming`."""
        codes = sids[:, :-1].cpu().numpy().copy()
        if epoch < len(self.changes):
            rng = np.random.default_rng([epoch, self.seed])
            order = rng.permutation(len(codes))
            for level, share in enumerate(self.changes[epoch]):
                rows = order[: round(share * len(codes))]
                codes[rows, level] = codes[np.roll(rows, 1), level]
        dealt = torch.from_numpy(codes).to(sids.device)
        return distinct_codes(self.tokenizer, self.content, dealt) if self.distinct else dealt


class Reassigned:
    """See the module's text; `nearest` SIDs an item to choose from, beside the one it has."""

    def __init__(
        self,
        nearest: int,
        tokenizer: Tokenizer,
        content: Tensor,
        dataset: Dataset,
        max_history: int,
    ) -> None:
        device = content.device
        self.nearest = nearest_codes(tokenizer, content, nearest)
        position = np.arange(len(dataset.events)) - np.repeat(
            dataset.offsets[:-1], np.diff(dataset.offsets)
        )
        trained = np.flatnonzero(dataset.training_mask() & (position > 0))
        held = dataset.validation_at[dataset.validation_at >= 0]
        held = np.random.default_rng(0).permutation(held)[:JUDGES]
        self.trained, self.held = (
            Histories.before(dataset, targets, max_history, device) for targets in (trained, held)
        )
        self.target, self.held_target = (
            torch.from_numpy(np.asarray(dataset.events[at], dtype=np.int64)).to(device)
            for at in (trained, held)
        )

    @torch.inference_mode()
    def __call__(self, model: Recommender, sids: Tensor, epoch: int) -> Tensor:
        """See `Renaming`."""
        codes = sids[:, :-1].clone()
        if (epoch + 1) % EVERY:
            return codes
        own = (sids[:, -1] == 0).nonzero().squeeze(1)  # those behind a suffix stay where they are
        choice = torch.cat([codes[own, None], self.nearest[own]], dim=1)
        # Every choice is in the catalogue for now: a name must not be unlikely for being free.
        free = torch.unique(choice.flatten(0, 1), dim=0)
        model.know_catalogue(Trie.build(_with_suffix(free)).to(sids.device))
        drawn = self._drawn(epoch)
        place = torch.full((len(sids),), -1, device=sids.device)
        place[own] = torch.arange(len(own), device=sids.device)
        drawn = drawn[place[self.target[drawn]] >= 0]
        asked = place[self.target[drawn]]
        found = expectation(model, sids, self.trained, drawn, choice, asked)
        value = torch.zeros(choice.shape[:2], device=sids.device).index_add_(0, asked, found)
        codes[own] = one_each(choice, value)
        before = self._judged(model, sids)
        after = self._judged(model, _with_suffix(codes))
        changed = (codes != sids[:, :-1]).any(1).float().mean().item()
        log.info(
            "reassignment after epoch %d: %.1f %% of the items, validation %.4f -> %.4f nats, %s",
            epoch + 1,
            100 * changed,
            before,
            after,
            "kept" if after <= before else "refused",
        )
        return codes if after <= before else sids[:, :-1].clone()

    def _drawn(self, epoch: int) -> Tensor:
        """Rows of `trained`: at most `EVENTS` of each target, by the epoch alone."""
        order = np.random.default_rng(epoch).permutation(len(self.target))
        items = self.target.cpu().numpy()[order]
        by_item = np.argsort(items, kind="stable")
        first = np.searchsorted(items[by_item], items[by_item])
        keep = by_item[np.arange(len(items)) - first < EVENTS]
        return torch.from_numpy(np.sort(order[keep])).to(self.target.device)

    def _judged(self, model: Recommender, sids: Tensor) -> float:
        """Mean cross-entropy in nats of the validation targets' whole names."""
        model.know_catalogue(Trie.build(torch.unique(sids, dim=0)).to(sids.device))
        rows = torch.arange(len(self.held), device=sids.device)
        names = sids[:, None, :-1]
        return -expectation(model, sids, self.held, rows, names, self.held_target).mean().item()


def _with_suffix(codes: Tensor) -> Tensor:
    """SIDs of codes (n, levels), all of suffix 0."""
    return torch.cat([codes, codes.new_zeros(len(codes), 1)], dim=1)


@torch.inference_mode()
def expectation(
    model: Recommender,
    sids: Tensor,
    histories: Histories,
    rows: Tensor,
    names: Tensor,
    of: Tensor,
) -> Tensor:
    """Log-probability in nats (n, W) of names after histories.

    Args:
        model: in evaluation mode.
        sids: (items, length), what the histories' items are called.
        histories: of the targets.
        rows: (n,) which of them.
        names: (m, W, levels) codes to choose from.
        of: (n,) row of `names` for each of `rows`.
    """
    answer = torch.empty(len(rows), names.shape[1], device=sids.device)
    for part in evaluation_order(histories.length[rows], BATCH):
        batch = histories.batch(rows[part])
        memory = encode_items(model, sids, batch.items, batch.lengths)
        asked = names[of[part]]
        total = torch.zeros(asked.shape[:2], device=sids.device)
        for level in range(asked.shape[2]):
            # Nothing stands before the first code: one prefix for all.
            prefix = asked[:, :, :level] if level else asked[:, :1, :0]
            log_p = model.next_code_logits(memory, prefix).float().log_softmax(-1)
            log_p = log_p.expand(-1, asked.shape[1], -1)
            total += log_p.gather(-1, asked[:, :, level, None]).squeeze(-1)
        answer[part] = total
    return answer


def one_each(choice: Tensor, value: Tensor) -> Tensor:
    """Codes (n, levels), one of each row's `choice` (n, W, levels), no two alike.

    Their summed `value` (n, W) is the largest possible (the assignment problem on a sparse graph,
    solved by scipy's variant of Jonker and Volgenant). The first choices must differ, so that there
    is an answer.
    """
    from scipy.sparse import csr_array  # here: a loaded model needs none of it
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, width, levels = choice.shape
    flat = choice.reshape(-1, levels).cpu().numpy()
    names, column = np.unique(flat, axis=0, return_inverse=True)
    column = column.reshape(n, width)
    rank = np.arange(width)
    gain = value.double().cpu().numpy() - 1e-6 * rank  # what nothing speaks for stays near
    cost = 1 + gain.max() - gain  # above 0: an edge of 0 would be none
    keep = np.ones((n, width), bool)
    keep[:, 1:] = column[:, 1:] != column[:, :1]
    row = np.repeat(np.arange(n), width).reshape(n, width)
    graph = csr_array((cost[keep], (row[keep], column[keep])), shape=(n, len(names)))
    rows, taken = min_weight_full_bipartite_matching(graph)
    codes = np.empty((n, levels), dtype=np.int64)
    codes[rows] = names[taken]
    return torch.from_numpy(codes).to(choice.device)


@torch.no_grad()
def nearest_codes(tokenizer: Tokenizer, content: Tensor, n: int) -> Tensor:
    """The `n` SIDs nearest to each item: long (items, n, levels), nearest first.

    Found by a beam of `n` over the levels, by the tokenizer's own similarity.
    """
    parts = []
    for x in content.split(2048):
        residual = tokenizer.latent(x)[:, None]
        codes = torch.zeros(len(x), 1, 0, dtype=torch.long, device=x.device)
        for level in range(tokenizer.levels):
            logits = tokenizer.level_logits(residual, level).flatten(1)
            best = logits.topk(min(n, logits.shape[1]), dim=1).indices
            beam, code = best // tokenizer.codebook_size, best % tokenizer.codebook_size
            row = torch.arange(len(x), device=x.device)[:, None]
            residual = residual[row, beam] - tokenizer.codebooks[level, code]
            codes = torch.cat([codes[row, beam], code[..., None]], dim=2)
        parts.append(codes)
    return torch.cat(parts)
