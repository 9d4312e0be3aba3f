"""The trie, beam search with and without the catalogue, the exact oracle, and ties."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import core_toys as toys
import numpy as np
import pytest
import torch
from core_toys import TableRecommender
from torch import Tensor

from diger.data.batches import Histories
from diger.decoding.beam import BeamResult, best, constrained_beam_search, free_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.decoding.hybrid import WEIGHT, rerank
from diger.errors import DigerError
from diger.model import load_model
from diger.recommender.base import encode_items
from diger.recommender.causal import CataloguePrior
from diger.tokenizer.suffix import assign_suffix
from diger.tokenizer.trie import Trie


def random_catalogue(seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """SIDs, with suffixes, and the size of every position: of one kind after another."""
    rng = np.random.default_rng(seed)
    sizes = tuple(int(s) for s in rng.integers(2, 6, size=rng.integers(1, 4)))
    n = int(rng.integers(2, 30))
    kind = seed % 5
    if kind == 0:  # anywhere
        codes = np.column_stack([rng.integers(0, s, n) for s in sizes])
    elif kind == 1:  # nearly everybody shares a prefix
        codes = np.column_stack([rng.integers(0, s, n) * (rng.random(n) < 0.1) for s in sizes])
    elif kind == 2:  # one item
        codes = np.array([[int(rng.integers(s)) for s in sizes]])
    elif kind == 3:  # one code a level: the suffix alone tells items apart
        codes = np.full((n, len(sizes)), 1)
    else:  # every SID there is, in random order, and no item shares its codes
        codes = rng.permutation(list(product(*map(range, sizes))))
    suffix = assign_suffix(codes, size=len(codes))
    return np.column_stack([codes, suffix]), (*sizes, max(2, int(suffix.max()) + 1))


def searched(seed: int, batch: int) -> tuple[Any, tuple[int, ...], Trie, TableRecommender]:
    """SIDs of a random catalogue, their sizes and trie, and random logits for them."""
    sids, sizes = random_catalogue(seed)
    return sids, sizes, Trie.build(sids), TableRecommender.random(sizes, batch, seed)


def same_order(result: BeamResult, exact: Tensor, within: float) -> None:
    """All items, in the exact order but for neighbours whose exact scores nearly tie."""
    order = exact.argsort(dim=1, descending=True, stable=True)
    items = listed(result)[0]
    gap = (exact.gather(1, order) - exact.gather(1, items)).abs()
    assert (gap[order != items] <= within).all()
    assert torch.equal(order.sort(1).values, items.sort(1).values)


def listed(result: BeamResult) -> tuple[Tensor, Tensor, Tensor]:
    """Items, scores and SIDs up to where the lists end, alike for all histories.

    What comes after holds no item and no score.
    """
    count = int((result.items[0] >= 0).sum())
    assert (result.items[:, :count] >= 0).all()
    assert (result.items[:, count:] == -1).all()
    assert (result.scores[:, count:] == -torch.inf).all()
    return result.items[:, :count], result.scores[:, :count], result.sids[:, :count]


def test_trie_by_hand():
    sids = np.array([[1, 0, 0], [0, 2, 0], [1, 0, 1], [0, 1, 5]])
    trie = Trie.build(torch.from_numpy(sids))
    assert (trie.length, trie.n_items) == (3, 4)
    assert [trie.nodes(depth) for depth in range(4)] == [1, 2, 3, 4]
    assert [c.tolist() for c in trie.code] == [[0, 1], [1, 2, 0], [5, 0, 0, 1]]
    assert [c.tolist() for c in trie.n_children] == [[2], [2, 1], [1, 1, 2]]
    assert [c.tolist() for c in trie.first_child] == [[0], [0, 2], [0, 1, 2]]
    assert [c.tolist() for c in trie.first_row] == [[1, 0], [3, 1, 0], [3, 1, 0, 2]]
    assert trie.item.tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize("seed", range(10))
def test_a_trie_knows_every_prefix_of_the_catalogue_and_no_other(seed):
    sids, sizes = random_catalogue(seed)
    trie = Trie.build(sids)
    for depth in range(trie.length + 1):
        everything = np.array(list(product(*map(range, sizes[:depth]))), dtype=np.int64)
        known = sorted({tuple(sid[:depth]) for sid in sids.tolist()})
        node = {prefix: i for i, prefix in enumerate(known)}  # nodes are in the order of SIDs
        found = trie.find(torch.from_numpy(everything)[None])  # the empty prefix is the root
        assert found[0].tolist() == [node.get(tuple(p), -1) for p in everything.tolist()]
        below = [[sid[:depth] == list(p) for sid in sids.tolist()] for p in known]
        if depth:
            assert trie.below[depth - 1].tolist() == [sum(rows) for rows in below]
            assert trie.first_row[depth - 1].tolist() == [rows.index(True) for rows in below]
    rows = trie.item[trie.find(torch.from_numpy(sids))]
    assert rows.tolist() == list(range(len(sids)))


def test_trie_of_some_rows():
    sids = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    trie = Trie.build(sids, rows=np.array([3, 1]))
    assert trie.item.tolist() == [1, 3]
    model = TableRecommender.random((2, 2), batch=2, seed=0)
    result = constrained_beam_search(model, None, 2, trie, width=4)
    assert sorted(listed(result)[0][0].tolist()) == [1, 3]
    scores = item_log_probabilities(model, None, 2, trie, n_rows=4)
    assert scores[:, [0, 2]].isinf().all() and scores[:, [1, 3]].isfinite().all()


def test_trie_refuses_twins_by_row_and_sid_and_no_items():
    sids = np.array([[3, 1, 0], [0, 2, 0], [3, 1, 1], [0, 2, 0], [3, 1, 0]])
    with pytest.raises(DigerError, match="rows 1 and 3 share the SID 0-2-0"):
        Trie.build(sids[:4])
    # With a restriction, rows are still those of the catalogue.
    with pytest.raises(DigerError, match="rows 0 and 4 share the SID 3-1-0"):
        Trie.build(sids, rows=np.array([0, 2, 4]))
    for nothing in ([sids[:0]], [sids, np.zeros(0)]):
        with pytest.raises(DigerError, match="at least one item"):
            Trie.build(*nothing)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [1, 7, 100])
def test_beam_search_stays_in_the_catalogue(seed, width):
    sids, _, trie, model = searched(seed, batch=3)
    items, scores, found = listed(constrained_beam_search(model, None, 3, trie, width))
    assert items.shape == scores.shape == (3, min(width, len(sids)))
    assert all(len(set(row)) == len(row) for row in items.tolist())
    assert torch.equal(found, torch.from_numpy(sids)[items])
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    # The probabilities are those of the model, not renormalised over the catalogue.
    by_hand = [[model.score(b, sids[item]) for item in row] for b, row in enumerate(items.tolist())]
    np.testing.assert_allclose(scores.numpy(), by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_a_beam_as_wide_as_the_catalogue_is_exact(seed):
    sids, sizes, trie, random = searched(seed, batch=3)
    n = len(sids)
    # Logits that are 0 or 1 tie often.
    tied = TableRecommender(sizes, [(table > 0).float() for table in random.tables])
    for model in (random, tied):
        exact = item_log_probabilities(model, None, 3, trie, n)
        items, scores, _ = listed(constrained_beam_search(model, None, 3, trie, width=n))
        assert torch.equal(items, exact.argsort(dim=1, descending=True, stable=True))
        assert torch.equal(scores, exact.gather(1, items))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [1, 4, 30])
def test_ties_go_by_item_row_at_every_depth(seed, width):
    sids, sizes, trie, model = searched(seed, batch=2)
    flat = TableRecommender(sizes, [table * 0 for table in model.tables])
    items, _, _ = listed(constrained_beam_search(flat, None, 2, trie, width))
    assert items.tolist() == [list(range(min(width, len(sids))))] * 2


def test_a_search_is_the_same_alone_and_in_a_batch():
    _, sizes, trie, model = searched(0, batch=4)
    together = constrained_beam_search(model, None, 4, trie, width=5)
    for b in range(4):
        alone = TableRecommender(sizes, [table[b : b + 1] for table in model.tables])
        result = constrained_beam_search(alone, None, 1, trie, width=5)
        assert torch.equal(result.items[0], together.items[b])


def test_a_beam_narrower_than_one_is_refused():
    _, _, trie, model = searched(0, batch=1)
    for search in (constrained_beam_search, free_beam_search):
        with pytest.raises(ValueError, match="width must be >= 1, got 0"):
            search(model, None, 1, trie, 0)


@pytest.mark.parametrize("seed", range(10))
def test_excluding_items_only_takes_them_out(seed):
    sids, _, trie, model = searched(seed, batch=3)
    n, width = len(sids), 4
    exclude = torch.from_numpy(np.random.default_rng(seed).integers(-1, n, size=(3, n)))
    exclude[0] = -1  # nothing to leave out here
    exclude[1] = torch.arange(n)  # and everything here
    result = constrained_beam_search(model, None, 3, trie, width, exclude=exclude)
    full = constrained_beam_search(model, None, 3, trie, n)
    for b in range(3):
        unwanted = set(exclude[b].tolist())
        expected = [i for i in full.items[b].tolist() if i not in unwanted][:width]
        rest = result.items.shape[1] - len(expected)
        assert result.items[b].tolist() == expected + [-1] * rest
        assert (result.scores[b].isinf() == (result.items[b] < 0)).all()
        assert torch.equal(result.sids[b, : len(expected)], torch.from_numpy(sids)[expected])


def test_the_trace_tells_how_the_beam_grew():
    sids, _, trie, model = searched(5, batch=2)
    assert constrained_beam_search(model, None, 2, trie, 3).trace == ()
    result = constrained_beam_search(model, None, 2, trie, 3, keep_trace=True)
    assert len(result.trace) == trie.length
    for depth, step in enumerate(result.trace):
        known = {tuple(sid[: depth + 1]) for sid in sids.tolist()}
        assert step.scores.isfinite().any(1).all()
        for b, slot in step.scores.isfinite().nonzero().tolist():
            prefix = step.prefixes[b, slot].tolist()
            assert tuple(prefix) in known
            if depth:
                earlier = result.trace[depth - 1].prefixes[b, step.parents[b, slot]]
                assert prefix[:-1] == earlier.tolist()
    assert torch.equal(result.trace[-1].prefixes, result.sids)
    assert torch.equal(trie.item[result.trace[-1].nodes], result.items)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [1, 6, None])
def test_free_search_scores_whatever_sid_and_with_room_for_all_is_brute_force(seed, width):
    sids, sizes, trie, model = searched(seed, batch=2)
    everything = list(product(*map(range, sizes)))
    width = width or len(everything)
    rows = {tuple(sid): row for row, sid in enumerate(sids.tolist())}
    result = free_beam_search(model, None, 2, trie, width)
    assert result.items.shape[1] == min(width, len(everything))
    for b in range(2):
        seen = [tuple(sid) for sid in result.sids[b].tolist()]
        assert len(set(seen)) == len(seen)
        assert result.items[b].tolist() == [rows.get(sid, -1) for sid in seen]
        by_hand = [model.score(b, sid) for sid in seen]
        np.testing.assert_allclose(result.scores[b].numpy(), by_hand, rtol=0, atol=1e-5)
        assert (result.scores[b, 1:] <= result.scores[b, :-1]).all()


@pytest.mark.parametrize("seed", range(10))
def test_exact_scores_by_hand_whatever_the_chunk(seed):
    sids, _, trie, model = searched(seed, batch=2)
    scores = item_log_probabilities(model, None, 2, trie, len(sids))
    by_hand = [[model.score(b, sid) for sid in sids] for b in range(2)]
    np.testing.assert_allclose(scores.numpy(), by_hand, rtol=0, atol=1e-5)
    for chunk in (2, 5):
        chunked = item_log_probabilities(model, None, 2, trie, len(sids), chunk)
        assert torch.equal(chunked, scores)


def test_trained_model_searches_agree_with_the_exact_scores(tmp_path_factory):
    place, bundle = toys.static_run(tmp_path_factory.getbasetemp())
    loaded = load_model(bundle)
    model, codes, trie = loaded.network, loaded.sids, loaded.trie
    at = place.dataset.test_at[place.dataset.test_at >= 0]
    batch = Histories.before(place.dataset, at, 6, toys.CPU).batch(torch.arange(12))
    with torch.inference_mode():
        memory = encode_items(model, codes, batch.items, batch.lengths)
    exact = item_log_probabilities(model, memory, 12, trie, trie.n_items)
    result = constrained_beam_search(model, memory, 12, trie, trie.n_items)
    items, scores, _ = listed(result)
    torch.testing.assert_close(scores, exact.gather(1, items), atol=1e-5, rtol=0)
    same_order(result, exact, within=1e-5)
    assert (exact.exp().sum(1) <= 1 + 1e-5).all()
    narrower = [constrained_beam_search(model, memory, 12, trie, w).scores[:, 0] for w in (1, 4)]
    for worse, better in pairwise([*narrower, scores[:, 0]]):  # a wider beam never finds worse
        assert (better >= worse - 1e-5).all()
    free = free_beam_search(model, memory, 12, trie, 40)
    valid = free.items >= 0
    assert valid.any() and not valid.all()
    of_items = exact.gather(1, free.items.clamp(min=0))
    torch.testing.assert_close(free.scores[valid], of_items[valid], atol=1e-5, rtol=0)
    assert torch.equal(codes[free.items[valid]], free.sids[valid])


@pytest.mark.parametrize("seed", range(10))
def test_catalogue_prior_by_hand(seed):
    sids, sizes = random_catalogue(seed)
    trie, alpha = Trie.build(sids), 0.25
    prior = CataloguePrior(trie, sizes, alpha)
    rng = np.random.default_rng(seed)
    for depth, size in enumerate(sizes):
        prefixes = np.column_stack([rng.integers(0, s, 12) for s in sizes])[:, :depth]
        prefixes[:6] = sids[rng.integers(0, len(sids), 6), :depth]
        logs = prior(depth, trie.find(torch.from_numpy(prefixes)))
        assert logs.shape == (12, size)
        torch.testing.assert_close(logs.exp().sum(-1), torch.ones(12))
        for prefix, found in zip(prefixes, logs, strict=True):
            below = sids[(sids[:, :depth] == prefix).all(axis=1)]
            counts = np.bincount(below[:, depth], minlength=size)
            by_hand = np.log(counts + alpha) - np.log(len(below) + alpha * size)
            np.testing.assert_allclose(found.numpy(), by_hand, atol=1e-5)


@pytest.mark.parametrize("seed", range(24))
def test_best_is_a_lexicographic_sort_with_impossible_columns_last(seed):
    rng = np.random.default_rng(seed)
    rows, n = int(rng.integers(1, 5)), int(rng.integers(1, 40))
    width = int(rng.integers(1, n + 4))
    scores = rng.integers(-3, 3, size=(rows, n)).astype("f4")
    if seed % 3 == 0:
        scores = rng.normal(size=(rows, n)).astype("f4")  # hardly a tie
        scores[0] = 1.0  # and a row of nothing else
    if seed % 4 == 0:
        scores[rng.random((rows, n)) < 0.6] = -np.inf
    second = np.tile(np.arange(n), (rows, 1))
    if seed % 2:
        second = np.stack([rng.permutation(n) for _ in range(rows)])
    given = torch.from_numpy(scores.copy())
    top, place = best(given, width, torch.from_numpy(second) if seed % 2 else None)
    order = np.stack([np.lexsort((second[r], -scores[r])) for r in range(rows)])[:, :width]
    expected = np.take_along_axis(scores, order, 1)
    assert top.tolist() == expected.tolist()
    possible = np.isfinite(expected)
    assert place.numpy()[possible].tolist() == order[possible].tolist()
    assert given.tolist() == scores.tolist()  # the input is left alone


def test_a_trie_of_long_sids_is_the_one_of_short_ones():
    """Where a SID and its row are too long for 64 bits together, another sort does the same."""
    sids, _ = random_catalogue(0)
    wide = np.column_stack([np.full((len(sids), 3), 2**30), sids])
    short, long = Trie.build(sids), Trie.build(wide)
    assert long.item.tolist() == short.item.tolist()
    for name in ("first_child", "n_children", "code", "first_row", "below"):
        for here, there in zip(getattr(short, name), getattr(long, name)[3:], strict=True):
            assert here.tolist() == there.tolist()


def test_hybrid_deals_the_beams_probability_out_anew():
    scores = torch.tensor([[-1.0, -1.5, -2.0, -torch.inf]])
    items = torch.tensor([[4, 0, 2, -1]])
    found = BeamResult(items, scores, items[..., None].expand(-1, -1, 3))
    query, keys = torch.tensor([[1.0, 0.0]]), torch.zeros(5, 2)
    keys[:, 0] = torch.tensor([1.0, 9.0, 6.0, 9.0, 0.0])
    both = rerank(found, query, keys)
    # By hand: -1.5 + .5, -2 + 3 and -1 + 0 times what makes the sum the beam's own.
    assert both.items.tolist() == [[2, 0, 4, -1]]
    assert both.sids[0, :, 0].tolist() == [2, 0, 4, -1]
    assert both.scores.logsumexp(1).item() == pytest.approx(scores.logsumexp(1).item())
    gap = both.scores[0, 0] - both.scores[0, 1]
    assert gap.item() == pytest.approx(-2.0 + WEIGHT * 6 - (-1.5 + WEIGHT * 1))
    assert rerank(found, query, keys, 2).items.tolist() == [[2, 0]]
    # A head that knows nothing leaves the beam as it was.
    flat = rerank(found, query, torch.zeros(5, 2))
    assert torch.equal(flat.items, items) and torch.allclose(flat.scores, scores)
