"""On a real catalogue: the beam against the exact oracle. Needs DIGER_DATA, seconds on one core."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import core_toys as toys
import numpy as np
import pytest
import torch
from test_decoding import listed, same_order

from diger.data.batches import Histories
from diger.data.prepare import prepare
from diger.data.readers import open_reader
from diger.decoding.beam import constrained_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.model import load_model
from diger.recommender.base import Recommender, encode_items
from diger.training.run import train

DATA = os.environ.get("DIGER_DATA")
pytestmark = pytest.mark.skipif(
    not DATA, reason="DIGER_DATA is not set; it is a folder with scientific/ in it"
)
USERS = 4
HISTORY = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A bundle after an epoch over a few hundred users, and the dataset it is of."""
    folder = tmp_path_factory.mktemp("real")
    assert DATA is not None
    prepared = prepare(open_reader(Path(DATA) / "scientific"), name="scientific").dataset
    # The whole catalogue, but only so many users: their events alone decide how long it takes.
    offsets = prepared.offsets[:301]
    users = [prepared.events[a:b].tolist() for a, b in pairwise(offsets)]
    dataset = toys.make_dataset(users, n_items=prepared.n_items, name="scientific")
    dataset.save(folder / "data")
    rng = np.random.default_rng(0)
    np.save(folder / "vectors.npy", rng.normal(size=(dataset.n_items, 16)).astype("f4"))
    recipe = toys.make_recipe(
        folder / "vectors.npy",
        tokenizer={"levels": 3, "codebook_size": 32, "width": 16, "kmeans": {"iterations": 5}},
        training={"epochs": 1, "batch_size": 32, "max_history": HISTORY},
    )
    return dataset, train(recipe, folder / "data", folder / "bundle", device=toys.CPU)


def test_a_beam_as_wide_as_a_real_catalogue_is_exact(run):
    dataset, path = run
    model = load_model(path)
    at = dataset.test_at[dataset.test_at >= 0][:USERS]
    batch = Histories.before(dataset, at, HISTORY, toys.CPU).batch(torch.arange(USERS))
    assert isinstance(model.network, Recommender) and model.sids is not None
    with torch.inference_mode():
        memory = encode_items(model.network, model.sids, batch.items, batch.lengths)
    exact = item_log_probabilities(model.network, memory, USERS, model.trie, model.n_items)
    assert exact.isfinite().all() and (exact.double().exp().sum(1) <= 1 + 1e-4).all()
    beam = constrained_beam_search(model.network, memory, USERS, model.trie, model.n_items)
    items, scores, sids = listed(beam)
    assert items.shape == (USERS, dataset.n_items)
    torch.testing.assert_close(scores, exact.gather(1, items), atol=1e-4, rtol=0)
    same_order(beam, exact, within=1e-4)
    assert torch.equal(sids, model.sids[items])


def test_a_narrow_beam_finds_real_items_with_their_exact_scores(run):
    dataset, path = run
    model = load_model(path)
    at = dataset.test_at[dataset.test_at >= 0][:USERS]
    batch = Histories.before(dataset, at, HISTORY, toys.CPU).batch(torch.arange(USERS))
    exact = model.item_scores(batch.items, batch.lengths)
    result = model.search(batch.items, batch.lengths, 20)
    assert result.items.shape == (USERS, 20)
    assert all(len(set(row)) == 20 for row in result.items.tolist())
    torch.testing.assert_close(result.scores, exact.gather(1, result.items), atol=1e-4, rtol=0)
    best_score = exact.amax(1)
    assert (result.scores[:, 0] <= best_score + 1e-4).all()
