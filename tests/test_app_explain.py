"""What the app computes about SIDs, by hand and against the search itself."""

from __future__ import annotations

import core_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch

from diger.errors import DigerError
from diger.explain import newcomer
from diger.explain.layout import layout, squarify
from diger.explain.moved import moved_share, moves
from diger.explain.places import places
from diger.explain.prefixes import ContentSpace, children, neighbours, rows_under
from diger.explain.tree import beam_tree
from diger.explain.words import Terms
from diger.model import load_model

CODES = np.array([[1, 0, 3], [1, 0, 3], [1, 2, 0], [0, 2, 1], [0, 1, 1], [2, 2, 2]])
POPULARITY = np.array([5, 1, 0, 9, 2, 3])


def test_rows_under_a_prefix_and_its_children_fullest_first():
    assert rows_under(CODES, [1]).tolist() == [0, 1, 2]
    assert rows_under(CODES, [1, 0]).tolist() == [0, 1]
    assert rows_under(CODES, []).tolist() == [0, 1, 2, 3, 4, 5]
    assert [(c, rows.tolist()) for c, rows in children(CODES, [])] == [
        (1, [0, 1, 2]),
        (0, [3, 4]),
        (2, [5]),
    ]
    assert [(c, rows.tolist()) for c, rows in children(CODES, [0])] == [(1, [4]), (2, [3])]
    assert children(CODES, [1, 0, 3]) == [] == children(CODES, [9])


def test_neighbours_are_listed_once_at_their_deepest_prefix():
    found = neighbours(CODES, 0, POPULARITY)
    assert [(one.depth, one.prefix, one.rows.tolist(), one.total) for one in found] == [
        (3, (1, 0, 3), [1], 1),
        (1, (1,), [2], 1),
    ]
    assert neighbours(CODES, 5, POPULARITY) == []
    crowd = neighbours(np.zeros((6, 1), int), 0, POPULARITY, limit=2)[0]
    assert (crowd.rows.tolist(), crowd.total) == ([3, 5], 5)


def test_words_are_common_in_the_group_and_rare_elsewhere():
    items = pd.DataFrame(
        {
            "title": ["Kite one", "Kite two", "Boat one", None],
            "categories": [["toys"], ["toys"], ["toys", "sea"], []],
            "description": ["it flies", "it flies in New York City", "it floats", None],
        }
    )
    terms = Terms.build(items)
    assert terms is not None
    # 2 of 2 items against 2 of 4: log 2 at half weight, from the words "kite" and "flies".
    assert terms.describe(np.array([0, 1]), 2) == ["Kite", "flies"]
    assert terms.describe(np.array([2]))[0] == "sea"
    assert "New York City" in terms.names
    assert "toys" not in terms.describe(np.array([0, 1, 2]))  # in most items: it tells nothing
    assert terms.describe(np.array([], int)) == []
    assert Terms.build(pd.DataFrame({"item_id": ["a"]})) is None


def test_content_neighbours_leave_out_the_item_and_those_without_text():
    space = ContentSpace.of(np.array([[1, 0], [2, 0], [1, 1], [0, 0]], np.float32))
    rows, cosines = space.nearest(space.units[0], 3, leave_out=0)
    assert rows.tolist() == [1, 2]
    np.testing.assert_allclose(cosines, [1, 0.5**0.5], rtol=1e-6)


def test_moves_name_the_level_and_the_company_left_and_joined():
    now = np.array([[1, 0, 3], [0, 1, 3], [1, 0, 0], [0, 1, 1]])
    start = np.array([[0, 1, 3], [0, 1, 3], [1, 0, 0], [0, 1, 2]])
    assert moved_share(start, now) == [0.25, 0.25, 0.5]
    first, second = moves(start, now, np.array([1, 1, 1, 9]))
    assert (first.row, first.level, first.before, first.after) == (0, 1, (0, 1, 3), (1, 0, 3))
    assert (first.left.tolist(), first.joined.tolist()) == ([1], [2])
    assert (second.row, second.level) == (3, 3)  # a later level, however popular
    assert second.joined.tolist() == []


def test_treemap_areas_are_in_proportion_and_fill_the_box():
    tiles = squarify([6, 6, 4, 3, 2, 2, 1], 6, 4)
    assert [round(t.width * t.height, 9) for t in tiles] == [6, 6, 4, 3, 2, 2, 1]
    assert tiles[0] == (0, 0, 3, 2)  # the example of the paper
    assert max(t.x + t.width for t in tiles) == pytest.approx(6)
    assert max(t.y + t.height for t in tiles) == pytest.approx(4)
    assert squarify([]) == []


def test_layout_keeps_groups_together_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 30)
    vectors = rng.normal(size=(4, 8))[group] * 4 + rng.normal(size=(120, 8)) * 0.2
    position = layout(vectors)
    assert position.min() >= 0 and position.max() <= 1
    distance = np.linalg.norm(position[:, None] - position[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.95
    np.testing.assert_array_equal(position, layout(vectors))
    for few in range(4):
        assert layout(np.zeros((few, 3))).shape == (few, 2)
    assert np.isfinite(layout(np.zeros((9, 3)))).all()


def test_only_what_changed_its_first_two_codes_has_another_place():
    rng = np.random.default_rng(0)
    position = rng.random((30, 2)).astype(np.float32)
    start = rng.integers(0, 3, (30, 3))
    now = start.copy()
    now[4, 0] = (now[4, 0] + 1) % 3
    now[7, 2] += 1
    now[9, 1] = 99  # a group that nobody was in
    before, after = places(position, start), places(position, now, start)
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [4, 9]
    first = np.stack([np.median(position[start[:, 0] == c], axis=0) for c in start[:, 0]])
    np.testing.assert_allclose(
        places(position, start[:, :1]), 0.6 * position + 0.4 * first, rtol=1e-5
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(toys.static_run(tmp_path_factory.getbasetemp())[1])


def test_the_tree_is_the_search(model):
    history = [3, 4, 5]
    levels = beam_tree(model.network, model.sids, model.trie, history, 4, dropped=3)
    assert [level.kept for level in levels] == [min(4, level.weighed) for level in levels]
    kept = [one for one in levels[-1].branches if one.kept]
    ids = [str(model.item_ids[i]) for i in history]
    found = model.recommend(ids, 4, beam=4)
    assert [str(model.item_ids[one.row]) for one in kept] == [one.item_id for one in found]
    np.testing.assert_allclose([one.log_p for one in kept], [one.score for one in found], rtol=1e-5)
    for before, level in zip([None, *levels], levels, strict=False):
        scores = [one.log_p for one in level.branches if one.kept]
        assert scores == sorted(scores, reverse=True)
        best_dropped = max((o.log_p for o in level.branches if not o.kept), default=-np.inf)
        assert best_dropped <= scores[-1]
        assert sum(not one.kept for one in level.branches) <= 3
        assert 0 <= level.outside < 1
        if before is not None:
            parents = {one.prefix: one.log_p for one in before.branches if one.kept}
            for one in level.branches:
                assert one.log_p == pytest.approx(parents[one.prefix[:-1]] + one.step, abs=1e-5)


def test_a_new_item_takes_the_first_free_suffix_and_is_ranked_exactly(model):
    vectors = model.bundle.tensors("content.safetensors")["vectors"]
    row = 3
    sid = newcomer.place(model, vectors[row])
    assert sid[:-1] == tuple(model.sids[row, :-1].tolist())
    taken = model.sids[(model.sids[:, :-1] == model.sids[row, :-1]).all(1), -1].tolist()
    assert sid[-1] not in taken and set(range(sid[-1])) <= set(taken)
    prior = model.network.prior
    ranking = newcomer.rank_with(model, sid, [3, 4, 5], k=30, width=30)
    assert model.network.prior is prior, "the loaded model must not change"
    assert ranking.candidates == model.n_items + 1 == len(ranking.rows)
    at = ranking.rows.index(model.n_items)
    assert ranking.rank == at + 1
    assert ranking.log_p == pytest.approx(ranking.scores[at], abs=1e-4)
    cold = newcomer.rank_with(model, sid, [3], k=30, width=5, among=[toys.COLD])
    assert sorted(cold.rows) == [toys.COLD, model.n_items] and cold.candidates == 2
    with pytest.raises(DigerError, match="history is empty"):
        newcomer.rank_with(model, sid, [], k=1, width=1)


def test_where_codes_are_crowded_the_next_nearest_are_taken(model, monkeypatch):
    codes = model.sids[3, :-1]
    crowd = torch.cat([codes.expand(16, -1), torch.arange(16)[:, None]], dim=1)
    monkeypatch.setattr(model, "sids", crowd)
    vectors = model.bundle.tensors("content.safetensors")["vectors"]
    sid = newcomer.place(model, vectors[3])
    assert sid[:-2] == tuple(codes[:-1].tolist()) and sid[-2] != codes[-1] and sid[-1] == 0
    size = model.recipe.tokenizer.codebook_size
    lasts = torch.cartesian_prod(torch.arange(size), torch.arange(16))
    full = torch.cat([codes[:-1].expand(len(lasts), -1), lasts], dim=1)
    monkeypatch.setattr(model, "sids", full)
    with pytest.raises(DigerError, match=r"SIDs that begin with .* are taken"):
        newcomer.place(model, vectors[3])


def test_a_new_item_needs_text_and_an_encoder_of_text(model):
    with pytest.raises(DigerError, match="a title or a description"):
        newcomer.content_vector(model, "  ")
    with pytest.raises(DigerError, match="content vectors of the trainer's own"):
        newcomer.content_vector(model, "a kite")
