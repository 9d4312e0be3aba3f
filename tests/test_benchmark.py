"""The benchmark runs and names what it measured; how fast is not a test's business."""

import json
from pathlib import Path

import core_toys as toys
import pytest
import torch

from diger.benchmark import library, report, scale, training
from diger.charts.export import to_svg
from diger.config import T5Config
from diger.errors import DigerError

CPU = torch.device("cpu")


def test_every_measurement_is_there_and_is_told(tmp_path):
    place = toys.Place(tmp_path)
    # As the films are: nothing but the codes tells items apart.
    recipe = place.recipe(tokenizer={"codebook_size": 16, "suffix_size": 1, "distinct": True})
    measured = list(training.training(recipe, place.dataset, CPU))
    assert [one.what for one in measured] == [
        "matrix products",
        "training floor",
        "training",
        "training, share of the floor's rate",
        "ranking the test split",
        "peak memory",
        "joint training",
        "peak memory",
    ]
    measured += scale.scale(place.recipe(), (40, 60), CPU)
    assert all(one.value > 0 and one.unit and one.note for one in measured)
    found = json.loads(json.dumps(report.document(measured, {"cpu": "a toy's"})))
    told = report.markdown(found)
    assert all(one.what in told for one in measured) and "| 60 items |" in told
    assert "one user" in to_svg(report.chart(found))


def test_more_items_than_sids_are_refused_in_a_line(tmp_path):
    place = toys.Place(tmp_path)
    recipe = place.recipe(tokenizer={"codebook_size": 5, "suffix_size": 1})
    with pytest.raises(DigerError, match="26 items for 25 SIDs"):
        list(training.training(recipe, place.dataset, CPU))


def test_the_page_shows_what_was_measured():
    docs = Path(__file__).parents[1] / "docs"
    told = report.markdown(json.loads((docs / "speed.json").read_text(encoding="utf-8")))
    page = (docs / "speed.md").read_text(encoding="utf-8")
    assert page.partition("<!-- bench -->")[2].partition("<!-- end -->")[0].strip() == told.strip()


def test_the_library_decodes_the_same_catalogue():
    pytest.importorskip("transformers", reason="transformers is not installed")
    sids = torch.from_numpy(scale.generated_sids(50))
    assert len(sids.unique(dim=0)) == 50
    config = T5Config(kind="t5", d_model=8, heads=2, head_width=4, layers=1, decoder_layers=1)
    model = scale.untrained(config, sids.numpy(), CPU)
    tokens = sids + library.token_offsets(model.sizes)
    twin = library.library_twin(model, config)
    found = library.generated(twin, tokens[:3].flatten()[None], library.prefixes(tokens), 4)
    assert {tuple(row) for row in found[:, 1:].tolist()} <= {tuple(row) for row in tokens.tolist()}
    assert len(found.unique(dim=0)) == scale.BEAM
