"""The trie and decoding from ten thousand to ten million items.

SIDs are generated: at every level the chances of 256 codes fall with the square root of their rank
(a usage entropy of 5.34 nats, of 5.55 at most), in another order after every prefix, and the suffix
counts. The networks are untrained, which takes the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from diger.benchmark.clock import Measurement, Times, timed
from diger.benchmark.training import matmul_rate
from diger.config import BackboneConfig, Recipe
from diger.decoding.beam import constrained_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.recommender.base import Recommender, encode_items
from diger.recommender.build import build_backbone
from diger.tokenizer.trie import Trie
from diger.training.loop import peak_memory

CODES, LEVELS = 256, 3
HISTORY, BEAM = 8, 20
USERS, BATCH = 100, 256
EXACT = 10_000  # items up to which every one is scored as well


def generated_sids(n_items: int, seed: int = 0) -> np.ndarray:
    """SIDs (n_items, 4), suffix last, as the module's text says; no two are the same."""
    rng = np.random.default_rng(seed)
    chances = np.arange(1, CODES + 1) ** -0.5
    edges = np.cumsum(chances / chances.sum())
    key = np.zeros(n_items, np.int64)
    for level in range(LEVELS):
        rank = np.searchsorted(edges, rng.random(n_items)).clip(max=CODES - 1)
        key = key * CODES + (rank * 97 + key * 31 + level) % CODES
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sids = np.empty((n_items, LEVELS + 1), np.int64)
    sids[order, LEVELS] = np.arange(n_items) - np.repeat(
        starts, np.diff(np.append(starts, n_items))
    )
    for level in range(LEVELS):
        sids[:, level] = key >> (8 * (LEVELS - 1 - level)) & 255
    return sids


def untrained(config: BackboneConfig, sids: np.ndarray, device: torch.device) -> Recommender:
    """A backbone for these SIDs, with a fixed seed."""
    torch.manual_seed(0)
    sizes = (*(CODES,) * LEVELS, int(sids[:, -1].max()) + 1)
    model = build_backbone(config, sizes=sizes, n_items=len(sids), max_history=50)
    assert isinstance(model, Recommender)
    return model.to(device).eval()


def scale(recipe: Recipe, sizes: tuple[int, ...], device: torch.device) -> Iterator[Measurement]:
    """For every size of the catalogue: build, memory, one user at a time, a batch."""
    for n in sizes:
        sids = generated_sids(n)
        line = partial(Times.measurement, items=n)
        build = timed(partial(Trie.build, sids), torch.device("cpu"), 5)
        yield line(build, "building the trie", "s", "on the CPU")
        trie = Trie.build(sids).to(device)
        memory = trie.nbytes / n
        yield Measurement("memory of the trie", memory, "bytes an item", "all arrays", items=n)
        model = untrained(recipe.backbone, sids, device)
        model.know_catalogue(trie)
        codes = torch.from_numpy(sids).to(device)
        note = f"history of {HISTORY}, {BEAM} beams"
        alone = search_times(model, codes, trie, 1, USERS)
        yield line(alone, "one user", "ms", note, 1000.0)
        together = search_times(model, codes, trie, BATCH, 5)
        yield line(together, f"a batch of {BATCH}", "ms a user", note, 1000.0 / BATCH)
        if n <= EXACT:
            yield exact(model, codes, trie)
        peak = peak_memory(device) / 2**20
        yield Measurement("peak memory", peak, "MiB", "whole process so far", items=n)
        del sids, trie, model, codes


def exact(model: Recommender, sids: torch.Tensor, trie: Trie, users: int = 8) -> Measurement:
    """Scores of all items for a few histories, against the floor of their matrix products."""
    device = sids.device
    items = torch.arange(users * HISTORY, device=device).view(users, HISTORY) % len(sids)
    with torch.inference_mode():
        memory = encode_items(model, sids, items, torch.full((users,), HISTORY, device=device))
    score = partial(item_log_probabilities, model, memory, users, trie, len(sids))
    with FlopCounterMode(display=False) as counter:
        score()
    floor = counter.get_total_flops() / matmul_rate(device)
    took = timed(score, device, 5)
    note = f"{users} histories; {took.median / floor:.2f} times the arithmetic floor"
    return took.measurement("scores of all items", "s", note, items=len(sids))


def search_times(
    model: Recommender, sids: torch.Tensor, trie: Trie, users: int, repeats: int
) -> Times:
    """Whole decodes, from item rows to items, of `users` random histories at once."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.full((users,), HISTORY, device=sids.device)

    def search() -> None:
        items = torch.randint(len(sids), (users, HISTORY), generator=generator).to(sids.device)
        with torch.inference_mode():
            memory = encode_items(model, sids, items, lengths)
        constrained_beam_search(model, memory, users, trie, BEAM)

    timed(search, sids.device, 3)
    return timed(search, sids.device, repeats)
