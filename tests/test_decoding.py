"""The trie, beam search with and without the catalogue, the exact oracle, and ties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import core_toys as toys
import numpy as np
import pytest
import torch
from core_toys import TableRecommender
from torch import Tensor

from diger.data.batches import Histories, training_order
from diger.decoding.beam import BeamResult, best, constrained_beam_search, free_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.errors import DigerError
from diger.recommender.base import CodeView, Recommender
from diger.recommender.build import build_backbone
from diger.recommender.causal import CataloguePrior
from diger.tokenizer.suffix import assign_suffix
from diger.tokenizer.trie import Trie
from diger.training.task import StaticTask

# --- catalogues to search -------------------------------------------------------------------------


def catalogue(codes: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Codes with a suffix, and the size of every position."""
    suffix = assign_suffix(codes, size=len(codes))
    return np.column_stack([codes, suffix]), (*sizes, max(2, int(suffix.max()) + 1))


def random_catalogue(seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Sparse, dense, crowded, one path wide or of one item, in turn."""
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
    return catalogue(codes, sizes)


def whole_order(scores: Tensor) -> Tensor:
    """Item rows by (score descending, row ascending)."""
    return scores.argsort(dim=1, descending=True, stable=True)


def same_order(result: BeamResult, exact: Tensor, within: float) -> None:
    """All items, in the exact order but for neighbours whose exact scores nearly tie."""
    order = whole_order(exact)
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


# --- the trie -------------------------------------------------------------------------------------


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
def test_trie_holds_every_sid_and_no_other(seed):
    sids, _ = random_catalogue(seed)
    trie = Trie.build(sids)
    walked = {}

    def walk(depth: int, node: int, prefix: tuple[int, ...]) -> int:
        if depth == trie.length:
            walked[prefix] = int(trie.item[node])
            return walked[prefix]
        first, count = int(trie.first_child[depth][node]), int(trie.n_children[depth][node])
        assert count >= 1
        smallest = []
        for child in range(first, first + count):
            below = walk(depth + 1, child, (*prefix, int(trie.code[depth][child])))
            assert int(trie.first_row[depth][child]) == below
            smallest.append(below)
        return min(smallest)

    assert walk(0, 0, ()) == 0
    assert walked == {tuple(sid): row for row, sid in enumerate(sids.tolist())}


@pytest.mark.parametrize("seed", range(10))
def test_finding_prefixes(seed):
    sids, sizes = random_catalogue(seed)
    trie = Trie.build(sids)
    for depth in range(trie.length + 1):
        everything = np.array(list(product(*map(range, sizes[:depth]))), dtype=np.int64)
        known = sorted({tuple(sid[:depth]) for sid in sids.tolist()})
        node = {prefix: i for i, prefix in enumerate(known)}  # nodes are in the order of SIDs
        found = trie.find(torch.from_numpy(everything)[None])  # the empty prefix is the root
        assert found[0].tolist() == [node.get(tuple(p), -1) for p in everything.tolist()]
        if depth:
            counts = [
                sum(tuple(sid[:depth]) == prefix for sid in sids.tolist()) for prefix in known
            ]
            assert trie.below[depth - 1].tolist() == counts


def test_trie_of_some_rows():
    sids = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    trie = Trie.build(sids, rows=np.array([3, 1]))
    assert trie.item.tolist() == [1, 3]
    model = TableRecommender.random((2, 2), batch=2, seed=0)
    result = constrained_beam_search(model, None, 2, trie, width=4)
    assert sorted(listed(result)[0][0].tolist()) == [1, 3]
    scores = item_log_probabilities(model, None, 2, trie, n_rows=4)
    assert scores[:, [0, 2]].isinf().all() and scores[:, [1, 3]].isfinite().all()


def test_trie_refuses_twins_by_row_and_sid():
    sids = np.array([[3, 1, 0], [0, 2, 0], [3, 1, 1], [0, 2, 0], [3, 1, 0]])
    with pytest.raises(DigerError, match="items in rows 1 and 3 share the SID 0-2-0"):
        Trie.build(sids[:4])
    # With a restriction, rows are still those of the catalogue.
    with pytest.raises(DigerError, match="items in rows 0 and 4 share the SID 3-1-0"):
        Trie.build(sids, rows=np.array([0, 2, 4]))


@pytest.mark.parametrize("arguments", [(np.zeros((0, 3)),), (np.zeros((2, 3)), np.zeros(0))])
def test_trie_refuses_no_items(arguments):
    with pytest.raises(DigerError, match="at least one item"):
        Trie.build(*arguments)


# --- constrained beam search ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [1, 7, 100])
def test_beam_search_stays_in_the_catalogue(seed, width):
    sids, sizes = random_catalogue(seed)
    trie, n, batch = Trie.build(sids), len(sids), 3
    model = TableRecommender.random(sizes, batch, seed)
    result = constrained_beam_search(model, None, batch, trie, width)
    items, scores, found = listed(result)
    assert items.shape == scores.shape == (batch, min(width, n))
    assert (items < n).all()
    assert all(len(set(row)) == len(row) for row in items.tolist())
    assert torch.equal(found, torch.from_numpy(sids)[items])
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    by_hand = [[model.score(b, sids[item]) for item in row] for b, row in enumerate(items.tolist())]
    np.testing.assert_allclose(scores.numpy(), by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_probabilities_are_not_renormalised(seed):
    sids, sizes = random_catalogue(seed)
    trie = Trie.build(sids)
    model = TableRecommender.random(sizes, batch=2, seed=seed)
    result = constrained_beam_search(model, None, 2, trie, width=len(sids))
    total = result.scores.double().exp().sum(1)
    assert (total <= 1 + 1e-5).all()
    everything = math.prod(sizes)
    if len(sids) == everything:
        torch.testing.assert_close(total, torch.ones(2, dtype=torch.double), atol=1e-5, rtol=0)
    elif len(sids) < everything / 2:
        assert (total < 1).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_beam_as_wide_as_the_catalogue_is_exact(seed):
    sids, sizes = random_catalogue(seed)
    trie, n = Trie.build(sids), len(sids)
    random = TableRecommender.random(sizes, batch=3, seed=seed)
    # Logits that are 0 or 1 tie often.
    tied = TableRecommender(sizes, [(table > 0).float() for table in random.tables])
    for model in (random, tied):
        exact = item_log_probabilities(model, None, 3, trie, n)
        items, scores, _ = listed(constrained_beam_search(model, None, 3, trie, width=n))
        assert torch.equal(items, whole_order(exact))
        assert torch.equal(scores, exact.gather(1, items))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [1, 4, 30])
def test_ties_go_by_item_row_at_every_depth(seed, width):
    sids, sizes = random_catalogue(seed)
    model = TableRecommender(sizes, [t * 0 for t in TableRecommender.random(sizes, 2, 0).tables])
    items, _, _ = listed(constrained_beam_search(model, None, 2, Trie.build(sids), width))
    assert items.tolist() == [list(range(min(width, len(sids))))] * 2


def test_a_search_is_the_same_alone_and_in_a_batch():
    sids, sizes = random_catalogue(0)
    trie = Trie.build(sids)
    model = TableRecommender.random(sizes, batch=4, seed=0)
    together = constrained_beam_search(model, None, 4, trie, width=5)
    for b in range(4):
        alone = TableRecommender(sizes, [table[b : b + 1] for table in model.tables])
        result = constrained_beam_search(alone, None, 1, trie, width=5)
        assert torch.equal(result.items[0], together.items[b])


def test_a_beam_narrower_than_one_is_refused():
    trie = Trie.build(np.array([[0]]))
    model = TableRecommender.random((2,), 1, 0)
    for search in (constrained_beam_search, free_beam_search):
        with pytest.raises(ValueError, match="width must be >= 1, got 0"):
            search(model, None, 1, trie, 0)


@pytest.mark.parametrize("seed", range(10))
def test_excluding_items_only_takes_them_out(seed):
    sids, sizes = random_catalogue(seed)
    trie, n, width, batch = Trie.build(sids), len(sids), 4, 3
    rng = np.random.default_rng(seed)
    exclude = torch.from_numpy(rng.integers(-1, n, size=(batch, 5)))
    exclude[0] = -1  # nothing to leave out here
    model = TableRecommender.random(sizes, batch, seed)
    result = constrained_beam_search(model, None, batch, trie, width, exclude=exclude)
    full = constrained_beam_search(model, None, batch, trie, width + 5)
    for b in range(batch):
        unwanted = set(exclude[b].tolist())
        expected = [i for i in full.items[b].tolist() if i >= 0 and i not in unwanted][:width]
        found = [item for item in result.items[b].tolist() if item >= 0]
        assert found == expected
        assert len(found) == min(width, n - len(unwanted - {-1}))
        rest = slice(len(found), None)
        assert (result.items[b, rest] == -1).all() and result.scores[b, rest].isinf().all()
        assert torch.equal(result.sids[b, : len(found)], torch.from_numpy(sids)[found])


def test_excluding_everything_leaves_an_empty_list():
    sids, sizes = random_catalogue(0)
    model = TableRecommender.random(sizes, 1, 0)
    everything = torch.arange(len(sids))[None]
    result = constrained_beam_search(model, None, 1, Trie.build(sids), 3, exclude=everything)
    assert (result.items == -1).all() and (result.scores == -torch.inf).all()


def test_the_trace_tells_how_the_beam_grew():
    sids, sizes = random_catalogue(5)
    trie = Trie.build(sids)
    model = TableRecommender.random(sizes, 2, 0)
    assert constrained_beam_search(model, None, 2, trie, 3).trace == ()
    result = constrained_beam_search(model, None, 2, trie, 3, keep_trace=True)
    assert len(result.trace) == trie.length
    for depth, step in enumerate(result.trace):
        assert step.prefixes.shape[-1] == depth + 1
        known = {tuple(sid[: depth + 1]) for sid in sids.tolist()}
        for b in range(2):
            alive = step.scores[b].isfinite()
            assert alive.any()
            prefixes, parents = step.prefixes[b, alive].tolist(), step.parents[b, alive]
            for prefix, parent in zip(prefixes, parents, strict=True):
                assert tuple(prefix) in known
                if depth:
                    earlier = result.trace[depth - 1].prefixes[b, parent]
                    assert prefix[:-1] == earlier.tolist()
    assert torch.equal(result.trace[-1].prefixes, result.sids)
    assert torch.equal(trie.item[result.trace[-1].nodes], result.items)


# --- free beam search -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [1, 6, 50])
def test_free_search_scores_valid_sids_like_the_catalogue(seed, width):
    sids, sizes = random_catalogue(seed)
    trie, rows = Trie.build(sids), {tuple(s): r for r, s in enumerate(sids.tolist())}
    model = TableRecommender.random(sizes, 2, seed)
    exact = item_log_probabilities(model, None, 2, trie, len(sids))
    result = free_beam_search(model, None, 2, trie, width)
    assert result.items.shape[1] == min(width, math.prod(sizes))
    assert (result.scores[:, 1:] <= result.scores[:, :-1]).all()
    for b in range(2):
        seen = [tuple(sid) for sid in result.sids[b].tolist()]
        assert len(set(seen)) == len(seen)
        assert result.items[b].tolist() == [rows.get(sid, -1) for sid in seen]
        valid = result.items[b] >= 0
        assert torch.equal(result.scores[b, valid], exact[b, result.items[b, valid]])


@pytest.mark.parametrize("seed", [0, 1, 4, 10])
def test_free_search_with_room_for_all_is_brute_force(seed):
    sids, sizes = random_catalogue(seed)
    model = TableRecommender.random(sizes, 1, seed)
    everything = list(product(*map(range, sizes)))
    result = free_beam_search(model, None, 1, Trie.build(sids), len(everything))
    by_hand = np.array([model.score(0, sid) for sid in everything])
    order = np.argsort(-by_hand, kind="stable")
    np.testing.assert_allclose(result.scores[0].numpy(), by_hand[order], rtol=0, atol=1e-5)
    assert [tuple(s) for s in result.sids[0].tolist()] == [everything[i] for i in order]


def test_free_search_finds_sids_that_no_item_has():
    sids = np.array([[0, 0], [1, 1]])
    likes = torch.tensor([[[0.0, 3.0]]])
    model = TableRecommender((2, 2), [likes, torch.tensor([[[0.0, 0.0], [9.0, 0.0]]])])
    result = free_beam_search(model, None, 1, Trie.build(sids), 2)
    assert result.items[0].tolist() == [-1, 0]
    assert result.sids[0].tolist() == [[1, 0], [0, 0]]
    assert constrained_beam_search(model, None, 1, Trie.build(sids), 2).items[0].tolist() == [0, 1]


# --- the exact oracle -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_exact_scores_by_hand_whatever_the_chunk(seed):
    sids, sizes = random_catalogue(seed)
    trie, n = Trie.build(sids), len(sids)
    model = TableRecommender.random(sizes, 2, seed)
    scores = item_log_probabilities(model, None, 2, trie, n)
    by_hand = [[model.score(b, sid) for sid in sids] for b in range(2)]
    np.testing.assert_allclose(scores.numpy(), by_hand, rtol=0, atol=1e-5)
    for chunk in (2, 5):
        assert torch.equal(item_log_probabilities(model, None, 2, trie, n, chunk), scores)


# --- a model that was trained ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> tuple[Recommender, CodeView, Trie, Any]:
    """A causal model after a few dozen updates, its SIDs, and test histories of the toy."""
    dataset = toys.make_dataset()
    rng = np.random.default_rng(0)
    sids, sizes = catalogue(rng.integers(0, 4, (dataset.n_items, 2)), (4, 4))
    recipe = toys.make_recipe()
    torch.manual_seed(0)
    model = build_backbone(recipe.backbone, sizes=sizes, n_items=len(sids), max_history=6)
    assert isinstance(model, Recommender)
    codes = torch.from_numpy(sids)
    task = StaticTask(model=model, sids=codes, group=torch.arange(len(sids)), beam=20)
    histories = Histories.of_training(dataset, 6, toys.CPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for epoch in range(15):
        for rows in training_order(histories.length.numpy(), 8, 0, epoch):
            loss, _ = task.loss(histories.batch(torch.from_numpy(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    model.eval()
    at = dataset.test_at[dataset.test_at >= 0]
    batch = Histories.before(dataset, at, 6, toys.CPU).batch(torch.arange(12))
    with torch.inference_mode():
        memory = model.encode(CodeView(codes), batch.items, batch.lengths)
    return model, CodeView(codes), Trie.build(codes), memory


def test_trained_model_beam_as_wide_as_the_catalogue_is_exact(trained):
    model, _, trie, memory = trained
    exact = item_log_probabilities(model, memory, 12, trie, trie.n_items)
    result = constrained_beam_search(model, memory, 12, trie, trie.n_items)
    items, scores, _ = listed(result)
    torch.testing.assert_close(scores, exact.gather(1, items), atol=1e-5, rtol=0)
    same_order(result, exact, within=1e-5)
    assert (exact.exp().sum(1) <= 1 + 1e-5).all()


def test_trained_model_a_wider_beam_never_finds_worse(trained):
    model, _, trie, memory = trained
    results = [constrained_beam_search(model, memory, 12, trie, w) for w in (1, 4, 20)]
    firsts = [r.scores[:, 0] for r in results]
    assert (firsts[1] >= firsts[0] - 1e-5).all() and (firsts[2] >= firsts[1] - 1e-5).all()


def test_trained_model_free_and_constrained_agree_on_valid_items(trained):
    model, view, trie, memory = trained
    exact = item_log_probabilities(model, memory, 12, trie, trie.n_items)
    result = free_beam_search(model, memory, 12, trie, 40)
    valid = result.items >= 0
    assert valid.any() and not valid.all()
    of_items = exact.gather(1, result.items.clamp(min=0))
    torch.testing.assert_close(result.scores[valid], of_items[valid], atol=1e-5, rtol=0)
    assert torch.equal(view.codes[result.items[valid]], result.sids[valid])


def test_trained_model_excluding_is_filtering(trained):
    model, _, trie, memory = trained
    exclude = torch.tensor([[0, 5, 9]]).expand(12, -1)
    result = constrained_beam_search(model, memory, 12, trie, 10, exclude=exclude)
    full = constrained_beam_search(model, memory, 12, trie, 13)
    for found, items in zip(result.items.tolist(), full.items.tolist(), strict=True):
        assert found == [i for i in items if i not in (0, 5, 9)][:10]


# --- the catalogue's own say ----------------------------------------------------------------------


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


# --- ties -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_best_is_a_lexicographic_sort(seed):
    rng = np.random.default_rng(seed)
    rows, n = int(rng.integers(1, 5)), int(rng.integers(1, 40))
    width = int(rng.integers(1, n + 4))
    scores = rng.integers(-3, 3, size=(rows, n)).astype("f4")
    if seed % 3 == 0:
        scores = rng.normal(size=(rows, n)).astype("f4")  # hardly a tie
        scores[0] = 1.0  # and a row of nothing else
    tie_break = np.stack([rng.permutation(n) for _ in range(rows)]) if seed % 2 else None
    given = None if tie_break is None else torch.from_numpy(tie_break)
    top, place = best(torch.from_numpy(scores), width, given)
    second = np.tile(np.arange(n), (rows, 1)) if tie_break is None else tie_break
    order = np.stack([np.lexsort((second[r], -scores[r])) for r in range(rows)])[:, :width]
    assert place.tolist() == order.tolist()
    assert top.tolist() == np.take_along_axis(scores, order, 1).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_best_puts_impossible_columns_last(seed):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.integers(0, 3, size=(3, 12)).astype("f4"))
    scores[torch.from_numpy(rng.random((3, 12)) < 0.6)] = -torch.inf
    top, place = best(scores, 12)
    for row in range(3):
        possible = int(scores[row].isfinite().sum())
        expected = np.lexsort((np.arange(12), -scores[row].numpy()))[:possible]
        assert place[row, :possible].tolist() == expected.tolist()
        assert (top[row, possible:] == -torch.inf).all()


def test_best_leaves_its_input_alone():
    scores = torch.tensor([[1.0, 1.0, 2.0]])
    assert best(scores, 2)[1].tolist() == [[2, 0]]
    assert scores.tolist() == [[1.0, 1.0, 2.0]]
