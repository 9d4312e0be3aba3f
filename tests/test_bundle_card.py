"""The model card: front matter the Hub reads, the rest for people."""

import re

import bundle_toys as toys
import pytest
from huggingface_hub import ModelCard

from diger.bundle import model_card
from diger.errors import DigerError


def front_matter(card):
    return ModelCard(card, ignore_metadata_errors=False).data


def test_front_matter_carries_the_test_metrics():
    data = front_matter(model_card(toys.config(), toys.metrics(), items=toys.items()))
    assert data.license == "mit" and data.library_name == "diger"
    assert {"diger", "semantic-ids", "generative-recommendation", "static"} <= set(data.tags)
    assert "simulated" in data.tags
    found = {(r.metric_type, r.metric_name): r.metric_value for r in data.eval_results}
    assert found == {("recall", "recall@10 (beam, 20)"): 0.5, ("ndcg", "ndcg@10 (beam, 20)"): 0.25}
    assert {(r.dataset_name, r.dataset_split) for r in data.eval_results} == {
        ("Toys & games", "test")
    }


def test_real_data_is_under_its_own_terms():
    config = toys.config(dataset={"simulated": False, "licence": "research | only"})
    card = model_card(config, toys.metrics())
    assert front_matter(card).license == "other"
    assert "| terms | research \\| only |" in card and "simulated data" not in card
    chosen = front_matter(model_card(config, toys.metrics(), licence="cc-by-4.0"))
    assert chosen.license == "cc-by-4.0"
    with pytest.raises(DigerError, match="licence must be an identifier"):
        model_card(config, {}, licence="do what you like")


def test_body_says_what_matters():
    card = model_card(toys.config(), toys.metrics(), items=toys.items())
    assert "| test | beam, 20 | 4 | 0.5000 | 0.2500 |" in card
    assert "| test | exact | 4 | 0.7500 |  |" in card  # not measured: blank
    assert card.index("| test |") < card.index("| validation |")
    assert "The data is simulated" in card
    assert "66.7% of the items are alone on their codes" in card
    assert "16.7% have codes other than at the start" in card
    assert "tokenizer 0.5, training 12.2" in card and "3 MiB" in card
    assert 'import diger\nmodel = diger.load("toys-static-s0")\n' in card
    assert 'model.recommend(["toy-3", "toy-0"], k=10)' in card


def test_results_only_card_does_not_promise_a_model():
    card = model_card(toys.config(), toys.metrics(), complete=False)
    assert "diger.load" not in card and "Results only" in card and "Bundle.open" in card


def test_text_from_data_cannot_break_out():
    hostile = 'x"]\n---\n<script>| [a](http://b) @me `c` \x1b'
    config = toys.config(name=hostile, dataset={"title": hostile, "name": "toys: {a}"})
    items = toys.items().assign(item_id=[f"```{i}" for i in range(6)])
    card = model_card(config, toys.metrics(), items=items)
    assert front_matter(card).eval_results[0].dataset_name == hostile
    body = card.split("\n---\n", 1)[1]
    for piece in ("<script>", "[a](", "\x1b", "http:"):
        assert not re.search(rf"(?<!\\){re.escape(piece)}", body)
    assert body.count("```") == 4 and 'diger.load("path/to/bundle")' in body
    assert 'recommend(["item id"], k=10)' in body


def test_a_card_of_almost_nothing():
    card = model_card({}, {})
    assert card.startswith("---\n") and "# DIGER bundle" in card and "## Results" not in card
