"""The bundles in `checkpoints/`: whole, loadable, and decoded as the exact oracle says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import diger
from diger.benchmark.latency import measure, merge
from diger.bundle.reader import Bundle
from diger.errors import DigerError

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
PATHS = sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir())
COMPLETE = [path for path in PATHS if Bundle.open(path).kind == "complete"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_file_is_what_the_manifest_says(path):
    bundle = Bundle.open(path)  # checks every hash
    published = bundle.config["dataset"]["text_may_be_published"]
    assert published or bundle.items is None or "title" not in bundle.items


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.name)
def test_a_beam_as_wide_as_the_catalogue_is_the_exact_order(path):
    model = diger.load(path)
    if model.sids is None:
        pytest.skip("a model without semantic IDs: nothing is decoded")
    for rows in ([0, 1, 2], [5], list(range(40))):
        history = [model.item_ids[row] for row in rows]
        k = min(model.n_items, 2000)
        exact = model.recommend(history, k=k, decoding="exact")
        beam = model.recommend(history, k=k, beam=model.n_items)
        # Equal to the last bit is not promised: batches of another shape round otherwise.
        assert [r.item_id for r in beam[:50]] == [r.item_id for r in exact[:50]]
        scores = [torch.tensor([r.score for r in listed]) for listed in (beam, exact)]
        torch.testing.assert_close(*scores, atol=2e-4, rtol=1e-4)


def test_the_shipped_bundles_stay_small():
    total = sum(file.stat().st_size for file in CHECKPOINTS.rglob("*") if file.is_file())
    assert total < 60e6


def test_latency_is_measured_and_merged_by_bundle(tmp_path):
    out = tmp_path / "latency.json"
    out.write_text('[{"bundle": "other", "p50_ms": 1.0}, {"bundle": "films-static-s0"}]')
    model = diger.load(CHECKPOINTS / "films-static-s0")
    merge(out, [measure(model, "films-static-s0", "a CPU", requests=3)])
    mine, other = json.loads(out.read_text())
    assert other == {"bundle": "other", "p50_ms": 1.0}
    assert mine["bundle"] == "films-static-s0" and 0 < mine["p50_ms"] <= mine["p95_ms"]
    assert mine["requests"] == 3 and mine["hardware"] == "a CPU"
    with pytest.raises(DigerError, match="at least 1 request"):
        measure(model, "films-static-s0", "a CPU", requests=0)
    out.write_text("{}")
    with pytest.raises(DigerError, match="no list of latencies"):
        merge(out, [])
    assert out.read_text() == "{}"
