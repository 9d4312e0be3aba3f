"""Ranks by hand, ties, what a ranked split shows its ranker, and the rankers' labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import core_toys as toys
import numpy as np
import pytest
import torch
from torch import Tensor

from diger.data.batches import Batch
from diger.data.dataset import Dataset
from diger.decoding.beam import best
from diger.errors import DigerError
from diger.evaluation.rankers import PopularityRanker, SidRanker
from diger.evaluation.ranking import (
    TOP,
    Ranked,
    SplitRanks,
    rank_split,
    ranked_from_list,
    ranked_from_scores,
)
from diger.tokenizer.trie import Trie

NAN = float("nan")
INF = float("inf")


def from_list(items: list[int], scores: list[float], target: int, group=None) -> Ranked:
    group = None if group is None else torch.tensor(group)
    return ranked_from_list(
        torch.tensor([items]), torch.tensor([scores]), torch.tensor([target]), group
    )


def from_scores(scores: list[float], target: int, group=None) -> Ranked:
    group = None if group is None else torch.tensor(group)
    return ranked_from_scores(torch.tensor([scores]), torch.tensor([target]), group)


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "rank"),
    [(3, 1), (1, 3), (2, 3), (0, 4), (9, 0)],  # 1 and 2 tie, and neither gains by it
)
def test_rank_in_a_list(target, rank):
    ranked = from_list([3, 1, 2, 0], [-1.0, -2.0, -2.0, -3.0], target)
    assert ranked.rank.tolist() == ranked.group_first.tolist() == [rank]
    assert ranked.top.tolist() == [[3, 1, 2, 0] + [-1] * (TOP - 4)]


def test_a_list_that_ends_early():
    ranked = from_list([3, -1, -1], [-1.0, -INF, -INF], 2)
    assert ranked.rank.tolist() == [0]
    assert from_list([3, -1, -1], [-1.0, -INF, -INF], 3).rank.tolist() == [1]
    assert (from_list([-1, -1], [-INF, -INF], 0)).rank.tolist() == [0]


@pytest.mark.parametrize(("target", "rank"), [(2, 1), (0, 3), (3, 3), (1, 4), (4, 5)])
def test_rank_among_scores(target, rank):
    ranked = from_scores([5.0, 4.0, 9.0, 5.0, -1.0], target)
    assert ranked.rank.tolist() == ranked.group_first.tolist() == [rank]
    assert ranked.top.tolist() == [[2, 0, 3, 1, 4] + [-1] * (TOP - 5)]


def test_only_the_first_twenty_are_listed():
    ranked = from_scores([float(-i) for i in range(30)], 25)
    assert ranked.top.tolist() == [list(range(TOP))]
    assert ranked.rank.tolist() == [26]
    items = list(range(30))
    ranked = from_list(items, [float(-i) for i in items], 25)
    assert ranked.top.tolist() == [list(range(TOP))]
    assert ranked.rank.tolist() == [26]


def test_a_model_that_cannot_tell_items_apart_never_looks_good():
    assert from_scores([0.0] * 50, 0).rank.tolist() == [50]
    assert from_list(list(range(20)), [0.0] * 20, 0).rank.tolist() == [20]


def test_impossible_items_are_neither_listed_nor_ranked():
    ranked = from_scores([1.0, -INF, 2.0], 1)
    assert ranked.rank.tolist() == [0]
    assert ranked.top[0, :3].tolist() == [2, 0, -1]
    assert from_scores([1.0, -INF, 2.0], 0).rank.tolist() == [2]


@pytest.mark.parametrize(
    ("scores", "target"),
    [([NAN, NAN, NAN], 0), ([1.0, NAN, 2.0], 1), ([NAN, NAN, 0.5], 2), ([NAN, 0.1, 0.5], 2)],
)
def test_nan_never_reads_as_the_best_rank(scores, target):
    ranked = from_scores(scores, target)
    assert ranked.rank.tolist() != [1]
    if np.isnan(scores[target]):
        assert ranked.rank.tolist() == ranked.group_first.tolist() == [0]
    assert all(0 <= i < 3 and not np.isnan(scores[i]) for i in ranked.top[0].tolist() if i != -1)


def test_nan_in_a_list_is_not_a_hit():
    assert from_list([-1, -1], [NAN, NAN], 0).rank.tolist() == [0]
    assert from_list([0, 1], [NAN, NAN], 0).rank.tolist() == [0]


# --- collision groups -----------------------------------------------------------------------------


def test_group_first_is_the_best_place_of_the_targets_group():
    group = [0, 1, 1, 2, 1]
    scores = [5.0, 1.0, 3.0, 4.0, 2.0]  # order: 0, 3, 2, 4, 1
    assert from_scores(scores, 1, group).rank.tolist() == [5]
    assert from_scores(scores, 1, group).group_first.tolist() == [3]
    listed = from_list([0, 3, 2, 4], [5.0, 4.0, 3.0, 2.0], 1, group)  # 1 itself was not decoded
    assert (listed.rank.tolist(), listed.group_first.tolist()) == ([0], [3])
    assert from_list([0, 3], [5.0, 4.0], 1, group).group_first.tolist() == [0]


@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_everything_ranks_like_scores(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 12))
    scores = torch.from_numpy(rng.integers(0, 4, size=(6, n)).astype("f4"))
    targets = torch.from_numpy(rng.integers(0, n, 6))
    values, items = best(scores, n)
    for group in (None, torch.arange(n), torch.from_numpy(rng.integers(0, 3, n))):
        listed = ranked_from_list(items, values, targets, group)
        scored = ranked_from_scores(scores, targets, group)
        assert torch.equal(listed.top, scored.top)
        assert torch.equal(listed.rank, scored.rank)
        assert torch.equal(listed.group_first, scored.group_first)


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_one_change_nothing(seed):
    rng = np.random.default_rng(seed)
    n = 8
    alone = torch.arange(n)
    scores = torch.from_numpy(rng.integers(0, 4, size=(6, n)).astype("f4"))
    targets = torch.from_numpy(rng.integers(0, n, 6))
    scored = ranked_from_scores(scores, targets, alone)
    assert torch.equal(scored.group_first, scored.rank)
    values, items = best(scores, 5)
    items[0, 1] = -1  # as free decoding has it: a SID that no item has
    listed = ranked_from_list(items, values, targets, alone)
    assert torch.equal(listed.group_first, listed.rank)


@pytest.mark.parametrize("seed", range(20))
def test_ranks_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    scores = rng.integers(0, 5, size=(4, n)).astype("f4")
    targets, group = rng.integers(0, n, 4), rng.integers(0, 4, n)
    ranked = ranked_from_scores(
        torch.from_numpy(scores), torch.from_numpy(targets), torch.from_numpy(group)
    )
    for row, target in enumerate(targets):
        others = [i for i in range(n) if i != target]
        ahead = sum(scores[row, i] >= scores[row, target] for i in others)
        assert ranked.rank[row] == 1 + ahead
        mine = [i for i in range(n) if group[i] == group[target]]
        leader = max(scores[row, i] for i in mine)
        ahead = sum(scores[row, i] >= leader for i in range(n) if i not in mine)
        assert ranked.group_first[row] == 1 + ahead


# --- a whole split --------------------------------------------------------------------------------


@dataclass
class Spy:
    """Notes what it is shown, and ranks item `row` of the catalogue in place row + 1."""

    n_items: int
    shown: list[tuple[list[int], int]] = field(default_factory=list)
    decoding: str = "spied"

    def rank(self, batch: Batch, targets: Tensor) -> Ranked:
        for items, length, target in zip(batch.items, batch.lengths, targets, strict=True):
            self.shown.append((items[:length].tolist(), int(target)))
        scores = -torch.arange(self.n_items).float().expand(len(targets), -1)
        return ranked_from_scores(scores, targets)


HISTORIES = [[0, 1, 2, 3, 4], [5], [6, 7], [8, 9, 10], [11, 12, 13, 14, 15, 16, 17], [4, 3, 3, 3]]


@pytest.fixture
def dataset() -> Dataset:
    return toys.make_dataset(HISTORIES, n_items=20)


def ranked(dataset: Dataset, split: str, **options) -> tuple[Spy, SplitRanks]:
    spy = Spy(dataset.n_items)
    options = {"max_history": 50, "batch_size": 2, "device": toys.CPU} | options
    return spy, rank_split(spy, dataset, split, **options)


def test_histories_end_right_before_the_target(dataset):
    spy, _ = ranked(dataset, "test")
    expected = [(h[:-1], h[-1]) for h in HISTORIES if len(h) >= 3]
    assert sorted(spy.shown) == sorted(expected)  # the validation item is in them
    spy, _ = ranked(dataset, "validation")
    assert sorted(spy.shown) == sorted((h[:-2], h[-2]) for h in HISTORIES if len(h) >= 3)


def test_the_latest_events_are_shown(dataset):
    spy, ranks = ranked(dataset, "test", max_history=2)
    assert sorted(spy.shown) == sorted((h[:-1][-2:], h[-1]) for h in HISTORIES if len(h) >= 3)
    # The table has the whole length all the same.
    assert ranks.frame["history_length"].tolist() == [4, 2, 6, 3]


def test_the_frame(dataset):
    _, ranks = ranked(dataset, "test")
    frame = ranks.frame
    assert (ranks.split, ranks.decoding) == ("test", "spied")
    assert frame["user"].tolist() == [0, 3, 4, 5]  # in user order; the short ones are left out
    assert frame["target"].tolist() == [4, 10, 17, 3]
    assert frame["rank"].tolist() == [5, 11, 18, 4]
    assert frame["group_first"].tolist() == [5, 11, 18, 4]
    assert frame["group_size"].tolist() == [1] * 4
    # Training events are 0 1 2, 5, 6 7, 8, 11 .. 15 and 4 3: held-out 3s do not count.
    assert frame["target_popularity"].tolist() == [1, 0, 0, 1]
    assert frame["cold"].tolist() == [False, True, True, False]
    assert (frame["split"] == "test").all()
    assert ranks.top.tolist() == [list(range(20))] * 4


def test_ranks_belong_to_their_users_whatever_the_batches(dataset):
    _, small = ranked(dataset, "test", batch_size=1)
    _, large = ranked(dataset, "test", batch_size=100)
    assert small.frame.equals(large.frame)


def test_a_rank_of_zero_becomes_a_null(dataset):
    class Blind(Spy):
        def rank(self, batch: Batch, targets: Tensor) -> Ranked:
            nothing = torch.full((len(targets), 1), -1)
            return ranked_from_list(nothing, torch.full((len(targets), 1), -INF), targets)

    ranks = rank_split(Blind(20), dataset, "test", max_history=5, batch_size=2, device=toys.CPU)
    assert ranks.frame["rank"].isna().all() and ranks.frame["group_first"].isna().all()
    assert (ranks.top == -1).all()


def test_users_can_be_chosen_and_progress_is_told(dataset):
    done: list[int] = []
    spy, ranks = ranked(dataset, "test", users=np.array([4, 1, 0]), on_batch=done.append)
    assert ranks.frame["user"].tolist() == [0, 4]  # user 1 has no target
    assert len(spy.shown) == sum(done) == 2
    with pytest.raises(DigerError, match="no user has a test target"):
        ranked(dataset, "test", users=np.array([1, 2]))


def test_group_sizes(dataset):
    group = np.zeros(20, np.int64)
    group[[4, 10, 17]] = [1, 1, 2]
    _, ranks = ranked(dataset, "test", group=group)
    assert ranks.frame["group_size"].tolist() == [2, 2, 1, 17]


def test_what_cannot_be_ranked_is_refused(dataset):
    with pytest.raises(DigerError, match="no split named train; choose one of: validation, test"):
        ranked(dataset, "train")
    with pytest.raises(DigerError, match="toy: no user has a test target"):
        ranked(toys.make_dataset([[0, 1], [2]], n_items=3), "test")


# --- rankers --------------------------------------------------------------------------------------


def sid_ranker(mode, beam: int = 20) -> SidRanker:
    sids = torch.tensor([[i // 5, i % 5] for i in range(20)])
    model = toys.TableRecommender.random((5, 6), batch=1, seed=0)
    # The same logits for every history.
    model.next_code_logits = _for_any_batch(model.next_code_logits)  # type: ignore[method-assign]
    return SidRanker(model, sids, Trie.build(sids), mode, beam)


def _for_any_batch(logits):
    def same(memory, prefix):
        return torch.cat([logits(memory, prefix[b : b + 1]) for b in range(len(prefix))])

    return same


def test_seen_items_stay_candidates(dataset):
    for ranker in (sid_ranker("beam"), PopularityRanker(torch.arange(20))):
        ranks = rank_split(ranker, dataset, "test", max_history=9, batch_size=3, device=toys.CPU)
        # Everybody gets the same whole catalogue, own history included.
        assert len({tuple(row) for row in ranks.top.tolist()}) == 1
        assert sorted(ranks.top[0]) == list(range(20))
        assert ranks.frame["rank"].notna().all()


def test_beam_and_exact_rank_alike_where_the_beam_holds_all(dataset):
    frames = [
        rank_split(
            sid_ranker(mode), dataset, "test", max_history=9, batch_size=3, device=toys.CPU
        ).frame
        for mode in ("beam", "exact")
    ]
    assert frames[0].equals(frames[1])


def test_labels_say_how_lists_were_made():
    assert sid_ranker("beam").decoding == "constrained beam search, 20 beams"
    assert sid_ranker("free", 50).decoding == "unconstrained beam search, 50 beams"
    assert sid_ranker("exact").decoding == "exact, every item scored"
    assert PopularityRanker(torch.arange(3)).decoding == "exact, every item scored"


def test_popularity_by_hand():
    ranker = PopularityRanker(torch.tensor([2, 5, 2, 0]))
    batch = Batch(torch.zeros(4, 1, dtype=torch.long), torch.ones(4, dtype=torch.long))
    ranked = ranker.rank(batch, torch.arange(4))
    assert ranked.rank.tolist() == [3, 1, 3, 4]
    assert ranked.top[:, :4].tolist() == [[1, 0, 2, 3]] * 4
