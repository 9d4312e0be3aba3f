"""Ranks by hand, ties, what a ranked split shows its ranker, and the rankers' labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import core_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from diger.data.batches import Batch
from diger.data.dataset import Dataset
from diger.decoding.beam import best
from diger.errors import DigerError
from diger.evaluation.rankers import PopularityRanker, SidRanker
from diger.evaluation.ranking import TOP, Ranked, SplitRanks, rank_split
from diger.evaluation.ranking import ranked_from_list as listed
from diger.evaluation.ranking import ranked_from_scores as scored
from diger.tokenizer.trie import Trie

NAN, INF = float("nan"), float("inf")


def from_list(items: list[int], scores: list[float], target: int, group=None) -> Ranked:
    group = None if group is None else torch.tensor(group)
    return listed(torch.tensor([items]), torch.tensor([scores]), torch.tensor([target]), group)


def from_scores(scores: list[float], target: int, group=None) -> Ranked:
    group = None if group is None else torch.tensor(group)
    return scored(torch.tensor([scores]), torch.tensor([target]), group)


@pytest.mark.parametrize(
    ("items", "scores", "ranks"),
    [
        # 1 and 2 tie, and neither gains by it
        ([3, 1, 2, 0], [-1.0, -2.0, -2.0, -3.0], {3: 1, 1: 3, 2: 3, 0: 4, 9: 0}),
        ([3, -1, -1], [-1.0, -INF, -INF], {3: 1, 2: 0}),  # it ends early
        ([-1, -1], [NAN, NAN], {0: 0}),
        ([0, 1], [NAN, NAN], {0: 0}),
        (list(range(20)), [0.0] * 20, {0: 20}),  # a model that cannot tell items apart
        (list(range(30)), [float(-i) for i in range(30)], {25: 26}),
    ],
)
def test_rank_in_a_list(items, scores, ranks):
    for target, rank in ranks.items():
        ranked = from_list(items, scores, target)
        assert ranked.rank.tolist() == ranked.group_first.tolist() == [rank]
        assert ranked.top.tolist() == [(items + [-1] * TOP)[:TOP]]


@pytest.mark.parametrize(
    ("scores", "ranks", "top"),
    [
        ([5.0, 4.0, 9.0, 5.0, -1.0], {2: 1, 0: 3, 3: 3, 1: 4, 4: 5}, [2, 0, 3, 1, 4]),
        ([0.0] * 50, {0: 50}, range(TOP)),
        ([float(-i) for i in range(30)], {25: 26}, range(TOP)),
        ([1.0, -INF, 2.0], {1: 0, 0: 2}, [2, 0]),  # an impossible item is nowhere
    ],
)
def test_rank_among_scores(scores, ranks, top):
    for target, rank in ranks.items():
        ranked = from_scores(scores, target)
        assert ranked.rank.tolist() == ranked.group_first.tolist() == [rank]
        assert ranked.top.tolist() == [[*top] + [-1] * (TOP - len(top))]


@pytest.mark.parametrize(
    ("scores", "target"), [([NAN, NAN, NAN], 0), ([1.0, NAN, 2.0], 1), ([NAN, 0.1, 0.5], 2)]
)
def test_nan_never_reads_as_the_best_rank(scores, target):
    ranked = from_scores(scores, target)
    assert ranked.rank.tolist() != [1]
    if np.isnan(scores[target]):
        assert ranked.rank.tolist() == ranked.group_first.tolist() == [0]
    assert all(0 <= i < 3 and not np.isnan(scores[i]) for i in ranked.top[0].tolist() if i != -1)


def test_group_first_is_the_best_place_of_the_targets_group():
    group = [0, 1, 1, 2, 1]
    scores = [5.0, 1.0, 3.0, 4.0, 2.0]  # order: 0, 3, 2, 4, 1
    ranked = from_scores(scores, 1, group)
    assert (ranked.rank.tolist(), ranked.group_first.tolist()) == ([5], [3])
    decoded = from_list([0, 3, 2, 4], [5.0, 4.0, 3.0, 2.0], 1, group)  # 1 itself is not in it
    assert (decoded.rank.tolist(), decoded.group_first.tolist()) == ([0], [3])
    assert from_list([0, 3], [5.0, 4.0], 1, group).group_first.tolist() == [0]


@pytest.mark.parametrize("seed", range(20))
def test_ranks_by_brute_force_and_a_list_of_everything_ranks_like_scores(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    scores = torch.from_numpy(rng.integers(0, 5, size=(4, n)).astype("f4"))
    targets = torch.from_numpy(rng.integers(0, n, 4))
    values, items = best(scores, n)
    for group in (None, torch.arange(n), torch.from_numpy(rng.integers(0, 4, n))):
        ranked, whole = scored(scores, targets, group), listed(items, values, targets, group)
        for part in ("top", "rank", "group_first"):
            assert torch.equal(getattr(whole, part), getattr(ranked, part))
        groups = torch.arange(n) if group is None else group
        for row, target in enumerate(targets):
            mine = groups == groups[target]
            others = torch.arange(n) != target
            ahead = scores[row] >= scores[row, target]
            assert ranked.rank[row] == 1 + (ahead & others).sum()
            ahead = scores[row] >= scores[row, mine].max()
            assert ranked.group_first[row] == 1 + (ahead & ~mine).sum()


def test_groups_of_one_change_nothing_in_free_decoding():
    alone = torch.arange(8)
    scores = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    values, items = best(scores, 5)
    items[0, 1] = -1  # a SID that no item has
    ranked = listed(items, values, torch.arange(6), alone)
    assert torch.equal(ranked.group_first, ranked.rank)


@dataclass
class Spy:
    """Notes what it is shown, and ranks item `row` of the catalogue in place row + 1."""

    n_items: int
    shown: list[tuple[list[int], int]] = field(default_factory=list)
    decoding: str = "spied"

    def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
        for items, length, target in zip(batch.items, batch.lengths, targets, strict=True):
            self.shown.append((items[:length].tolist(), int(target)))
        scores = -torch.arange(self.n_items).float().expand(len(targets), -1)
        return scored(scores, targets)


HISTORIES = [[0, 1, 2, 3, 4], [5], [6, 7], [8, 9, 10], [11, 12, 13, 14, 15, 16, 17], [4, 3, 3, 3]]


@pytest.fixture
def dataset() -> Dataset:
    return toys.make_dataset(HISTORIES, n_items=20)


def ranked(dataset: Dataset, split: str = "test", ranker=None, **options) -> SplitRanks:
    options = {"max_history": 50, "batch_size": 2, "device": toys.CPU} | options
    return rank_split(ranker or Spy(dataset.n_items), dataset, split, **options)


@pytest.mark.parametrize(("split", "left_out"), [("test", 1), ("validation", 2)])
@pytest.mark.parametrize("latest", [2, 50])
def test_histories_are_the_latest_events_right_before_the_target(dataset, split, left_out, latest):
    spy = Spy(dataset.n_items)
    ranks = ranked(dataset, split, spy, max_history=latest)
    long = [h for h in HISTORIES if len(h) >= 3]
    expected = [(h[:-left_out][-latest:], h[-left_out]) for h in long]
    assert sorted(spy.shown) == sorted(expected)
    # The table has the whole length all the same.
    assert ranks.frame["history_length"].tolist() == [len(h) - left_out for h in long]


def test_the_frame(dataset):
    ranks = ranked(dataset)
    frame = ranks.frame
    assert (ranks.split, ranks.decoding, set(frame["split"])) == ("test", "spied", {"test"})
    assert frame["user"].tolist() == [0, 3, 4, 5]  # in user order; the short ones are left out
    assert frame["target"].tolist() == [4, 10, 17, 3]
    assert frame["rank"].tolist() == frame["group_first"].tolist() == [5, 11, 18, 4]
    assert frame["group_size"].tolist() == [1] * 4
    # Training events are 0 1 2, 5, 6 7, 8, 11 .. 15 and 4 3: held-out 3s do not count.
    assert frame["target_popularity"].tolist() == [1, 0, 0, 1]
    assert frame["cold"].tolist() == [False, True, True, False]
    assert ranks.top.tolist() == [list(range(20))] * 4
    for batch_size in (1, 100):
        assert ranked(dataset, batch_size=batch_size).frame.equals(frame)
    group = np.zeros(20, np.int64)
    group[[4, 10, 17]] = [1, 1, 2]
    assert ranked(dataset, group=group).frame["group_size"].tolist() == [2, 2, 1, 17]


def test_a_rank_of_zero_becomes_a_null(dataset):
    class Blind(Spy):
        def rank(self, batch: Batch, targets: Tensor, seen: Tensor | None = None) -> Ranked:
            nothing = torch.full((len(targets), 1), -1)
            return listed(nothing, torch.full((len(targets), 1), -INF), targets)

    ranks = ranked(dataset, ranker=Blind(20))
    assert ranks.frame[["rank", "group_first"]].isna().all(axis=None)
    assert (ranks.top == -1).all()


def test_users_can_be_chosen_and_progress_is_told(dataset):
    done: list[int] = []
    ranks = ranked(dataset, users=np.array([4, 1, 0]), on_batch=done.append)
    assert ranks.frame["user"].tolist() == [0, 4]  # user 1 has no target
    assert sum(done) == 2


def test_what_cannot_be_ranked_is_refused(dataset):
    with pytest.raises(DigerError, match=r"no split named train; .*validation, test"):
        ranked(dataset, "train")
    with pytest.raises(DigerError, match="no user has a test target"):
        ranked(dataset, users=np.array([1, 2]))


def sid_ranker(mode, beam: int = 20) -> SidRanker:
    """A ranker with the same logits for every history."""
    sids = torch.tensor([[i // 5, i % 5] for i in range(20)])
    model = toys.TableRecommender.random((5, 6), batch=1, seed=0)
    model.tables = [table.expand(20, -1, -1) for table in model.tables]
    return SidRanker(model, sids, Trie.build(sids), mode, beam)


def test_seen_items_stay_candidates_and_a_beam_that_holds_all_ranks_exactly(dataset):
    frames = []
    for ranker in (sid_ranker("beam"), sid_ranker("exact"), PopularityRanker(torch.arange(20))):
        ranks = ranked(dataset, ranker=ranker)
        # Everybody gets the same whole catalogue, own history included.
        assert len({tuple(row) for row in ranks.top.tolist()}) == 1
        assert sorted(ranks.top[0]) == list(range(20))
        frames.append(ranks.frame)
    assert frames[0].equals(frames[1])


def test_what_a_user_had_can_be_left_out(dataset):
    frames = []
    for ranker in (sid_ranker("beam"), sid_ranker("exact")):
        plain, ranks = ranked(dataset, ranker=ranker), ranked(dataset, ranker=ranker, unseen=True)
        assert ranks.decoding == f"{ranker.decoding}; seen items left out"
        for user, row in zip(ranks.frame["user"], range(4), strict=True):
            earlier = set(HISTORIES[user][:-1])
            kept = [item for item in plain.top[row].tolist() if item not in earlier]
            target, place = HISTORIES[user][-1], ranks.frame["rank"][row]
            assert ranks.top[row].tolist() == kept + [-1] * (20 - len(kept))
            # One that comes again cannot be hit.
            assert pd.isna(place) if target in earlier else kept[place - 1] == target
        frames.append(ranks.frame)
    assert frames[0].equals(frames[1])


def test_labels_say_how_lists_were_made():
    assert sid_ranker("beam").decoding == "constrained beam search, 20 beams"
    assert sid_ranker("free", 50).decoding == "unconstrained beam search, 50 beams"
    for ranker in (sid_ranker("exact"), PopularityRanker(torch.arange(3))):
        assert ranker.decoding == "exact, every item scored"


def test_popularity_by_hand():
    ranker = PopularityRanker(torch.tensor([2, 5, 2, 0]))
    batch = Batch(torch.zeros(4, 1, dtype=torch.long), torch.ones(4, dtype=torch.long))
    ranked = ranker.rank(batch, torch.arange(4))
    assert ranked.rank.tolist() == [3, 1, 3, 4]
    assert ranked.top[:, :4].tolist() == [[1, 0, 2, 3]] * 4
