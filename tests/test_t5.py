"""The T5 backbone: the library's logits from the same weights, and what every backbone promises."""

from __future__ import annotations

import core_toys as toys
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_toys import CPU
from torch import Tensor

from diger.config import T5Config
from diger.data.batches import Histories
from diger.decoding.beam import constrained_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.errors import DigerError
from diger.model import load_model
from diger.recommender.base import CodeView
from diger.recommender.build import build_backbone
from diger.recommender.t5 import T5Recommender, relative_buckets
from diger.tokenizer.trie import Trie

SIZES = (5, 4, 6)
CODES = torch.tensor(
    [[0, 0, 0], [0, 0, 1], [1, 3, 0], [4, 1, 5], [2, 2, 2], [3, 0, 0], [1, 3, 4], [4, 2, 0]]
)
SMALL = T5Config(
    kind="t5", d_model=12, heads=3, head_width=8, layers=2, decoder_layers=2, feed_forward=20
)


@pytest.fixture
def model() -> T5Recommender:
    torch.manual_seed(0)
    built = build_backbone(SMALL, sizes=SIZES, n_items=len(CODES), max_history=8)
    assert isinstance(built, T5Recommender)
    with torch.no_grad():  # weights so large that anything which should not matter would show
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return built.eval()


def padded(histories: list[list[int]], filler: int = 0) -> tuple[Tensor, Tensor]:
    longest = max(map(len, histories))
    rows = [h + [filler] * (longest - len(h)) for h in histories]
    return torch.tensor(rows), torch.tensor([len(h) for h in histories])


def library_twin(model: T5Recommender):
    """transformers' T5 with the same weights: one vocabulary of start token, then all codes."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: pip install transformers"
    )
    config = transformers.T5Config(
        vocab_size=1 + sum(SIZES),
        d_model=SMALL.d_model,
        d_kv=SMALL.head_width,
        d_ff=SMALL.feed_forward,
        num_heads=SMALL.heads,
        num_layers=SMALL.layers,
        num_decoder_layers=SMALL.decoder_layers,
        dropout_rate=SMALL.dropout,
        feed_forward_proj="relu",
        pad_token_id=0,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    twin = transformers.T5ForConditionalGeneration(config)
    ours = model.state_dict()
    table = torch.cat([model.start[None], *model.codes.tables])
    weights = {"shared.weight": table, "lm_head.weight": table}
    for side in ("encoder", "decoder"):
        weights[f"{side}.embed_tokens.weight"] = table
        weights[f"{side}.final_layer_norm.weight"] = ours[f"{side}_norm.weight"]
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        weights[bias] = ours[f"{side}_bias.table"]
        parts = ["self", "cross", "feed_forward"] if side == "decoder" else ["self", "feed_forward"]
        for block in range(2):
            for place, part in enumerate(parts):
                theirs, mine = f"{side}.block.{block}.layer.{place}", f"{side}.{block}"
                weights[f"{theirs}.layer_norm.weight"] = ours[f"{mine}.norm_{part}.weight"]
                if part == "feed_forward":
                    for a, b in (("wi", "rise"), ("wo", "fall")):
                        weights[f"{theirs}.DenseReluDense.{a}.weight"] = ours[
                            f"{mine}.feed_forward.{b}.weight"
                        ]
                    continue
                name = "SelfAttention" if part == "self" else "EncDecAttention"
                for a, b in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output")):
                    weights[f"{theirs}.{name}.{a}.weight"] = ours[
                        f"{mine}.{part}_attention.{b}.weight"
                    ]
    twin.load_state_dict(weights)
    return twin.eval()


def test_logits_are_the_library_s(model):
    twin = library_twin(model)
    offsets = torch.tensor([1, 1 + SIZES[0], 1 + SIZES[0] + SIZES[1]])
    # Long enough for the buckets of far positions: 60 items are 180 code tokens.
    histories = [[1, 2, 3, 4], [5], [7, 6] * 30]
    index, lengths = padded(histories)
    tokens = (CODES + offsets)[index].flatten(1)
    mask = torch.arange(tokens.shape[1]) < lengths[:, None] * 3
    target = CODES[[3, 6, 0]]
    start = torch.zeros(3, 1, dtype=torch.long)
    with torch.no_grad():
        theirs = twin(
            input_ids=tokens,
            attention_mask=mask.long(),
            decoder_input_ids=torch.cat([start, (target + offsets)[:, :-1]], dim=1),
        ).logits
        memory = model.encode(CodeView(CODES), index, lengths)
        for position, (offset, size) in enumerate(zip(offsets.tolist(), SIZES, strict=True)):
            ours = model.next_code_logits(memory, target[:, None, :position])
            assert ours.std() > 0.1
            torch.testing.assert_close(
                ours[:, 0], theirs[:, position, offset : offset + size], atol=2e-5, rtol=1e-5
            )


def test_gradients_are_the_library_s(model):
    twin = library_twin(model)
    offsets = torch.tensor([1, 1 + SIZES[0], 1 + SIZES[0] + SIZES[1]])
    index, lengths = padded([[1, 2, 3, 4], [5, 7], [7, 6, 2]])
    histories = (CODES + offsets)[index[:, :-1]].flatten(1)
    mask = torch.arange(histories.shape[1]) < (lengths[:, None] - 1) * 3
    target = CODES[[4, 7, 2]]
    start = torch.zeros(3, 1, dtype=torch.long)
    logits = twin(
        input_ids=histories,
        attention_mask=mask.long(),
        decoder_input_ids=torch.cat([start, (target + offsets)[:, :-1]], dim=1),
    ).logits
    parts = [
        F.cross_entropy(logits[:, p, o : o + size], target[:, p])
        for p, (o, size) in enumerate(zip(offsets.tolist(), SIZES, strict=True))
    ]
    theirs = torch.stack(parts)
    losses = model.loss(CodeView(CODES), index, lengths)
    assert losses.alignment is None
    torch.testing.assert_close(losses.codes, theirs, atol=1e-5, rtol=1e-5)
    theirs.sum().backward()
    losses.codes.sum().backward()
    for ours, other in (
        (model.encoder_bias.table, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
        (model.decoder_bias.table, "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
        (model.encoder[1].self_attention.query.weight, "encoder.block.1.layer.0.SelfAttention.q"),
        (model.decoder[0].cross_attention.key.weight, "decoder.block.0.layer.1.EncDecAttention.k"),
    ):
        expected = twin.get_parameter(f"{other}.weight").grad
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(ours.grad, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("both_ways", [True, False])
def test_relative_buckets_are_the_library_s(both_ways):
    pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.models.t5.modeling_t5 import T5Attention

    at = torch.arange(400)
    expected = T5Attention._relative_position_bucket(at - at[:, None], bidirectional=both_ways)
    assert torch.equal(relative_buckets(400, both_ways=both_ways, device=CPU), expected)


def test_relative_buckets_by_hand():
    backward = relative_buckets(40, both_ways=False, device=CPU)[39]  # from the last position
    assert backward[39 - 15 :].tolist() == list(range(15, -1, -1))
    assert backward[39 - 16] == 16 and backward[0] == 16 + int(np.log(39 / 16) / np.log(8) * 16)
    both = relative_buckets(3, both_ways=True, device=CPU)
    assert both.tolist() == [[0, 17, 18], [1, 0, 17], [2, 1, 0]]


def test_padding_changes_nothing(model):
    histories = [[1], [2, 3, 4, 5, 6, 7], [3, 3, 7]]
    for filler in (0, 5):
        memory = model.encode(CodeView(CODES), *padded(histories, filler))
        for row, history in enumerate(histories):
            alone = model.encode(CodeView(CODES), *padded([history]))
            for position in range(3):
                prefix = CODES[None, :2, :position]
                one = model.next_code_logits(alone, prefix)[0]
                other = model.next_code_logits(memory, prefix.expand(3, -1, -1))[row]
                torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_beams_do_not_see_each_other(model):
    memory = model.encode(CodeView(CODES), *padded([[1, 2], [3]]))
    prefixes = CODES[:6, :2].view(2, 3, 2)
    together = model.next_code_logits(memory, prefixes)
    for beam in range(3):
        alone = model.next_code_logits(memory, prefixes[:, beam : beam + 1])
        torch.testing.assert_close(alone[:, 0], together[:, beam], atol=1e-5, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_decoding_the_last_event_step_by_step(model, smoothing):
    histories = [[1, 2, 3], [4, 5], [6, 6, 7, 0, 1]]
    expected = torch.zeros(3)
    with torch.no_grad():
        for history in histories:
            memory = model.encode(CodeView(CODES), *padded([history[:-1]]))
            sid = CODES[history[-1]]
            for position in range(3):
                logits = model.next_code_logits(memory, sid[None, None, :position])[0]
                loss = F.cross_entropy(
                    logits, sid[position : position + 1], label_smoothing=smoothing
                )
                expected[position] += loss / len(histories)
        losses = model.loss(CodeView(CODES), *padded(histories, 5), smoothing)
    torch.testing.assert_close(losses.codes, expected, atol=1e-5, rtol=0)


def test_no_code_of_the_target_leaks_into_its_own_logits(model):
    """Whatever a code of the target is, its loss is taken of one and the same distribution."""
    for position, size in enumerate(SIZES):
        total = 0.0
        for code in range(size):
            changed = CODES.clone()
            changed[3, position] = code
            with torch.no_grad():
                losses = model.loss(CodeView(changed), torch.tensor([[2, 3]]), torch.tensor([2]))
            total += float((-losses.codes[position]).exp())
        assert total == pytest.approx(1, abs=1e-5)


def soft(*places: str) -> CodeView:
    """The same codes with a mixture on the first two levels, exactly one-hot."""
    mixture = tuple(
        F.one_hot(CODES[:, level], SIZES[level]).float().requires_grad_() for level in range(2)
    )
    return CodeView(CODES, mixture, frozenset(places))


@pytest.mark.parametrize("place", ["history", "decoder", "labels", "none"])
def test_a_mixture_takes_its_gradient_where_it_is_let_through(model, place):
    """Items 0..3 occur once each: 0 and 1 are history, 2 is the target, 3 padding."""
    view = soft(place)
    assert view.mixture is not None
    index, lengths = torch.arange(4)[None], torch.tensor([3])
    losses = model.loss(view, index, lengths).codes
    torch.testing.assert_close(losses, model.loss(CodeView(CODES), index, lengths).codes)
    if place == "none":
        assert torch.autograd.grad(losses.sum(), view.mixture, allow_unused=True) == (None, None)
        return
    for position in range(3):
        grads = torch.autograd.grad(
            losses[position], view.mixture, retain_graph=True, allow_unused=True
        )
        for level, grad in enumerate(grads):
            grad = torch.zeros(len(CODES), SIZES[level]) if grad is None else grad
            moved = grad.abs().sum(1) > 0
            known = {"decoder": level < position, "labels": level == position}.get(place, False)
            expected = [place == "history"] * 2 + [known] + [False] * 5
            assert moved.tolist() == expected


def test_dropout_only_in_training(model):
    index, lengths = padded([[1, 2, 3, 4, 5]])
    with torch.no_grad():
        one, other = (model.loss(CodeView(CODES), index, lengths).codes for _ in range(2))
        assert torch.equal(one, other)
        model.train()
        one, other = (model.loss(CodeView(CODES), index, lengths).codes for _ in range(2))
        assert not torch.equal(one, other)


def test_bf16_autocast_trains(model):
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(soft("history"), *padded([[1, 2, 3], [4, 5]])).codes.mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_wide_beam_finds_what_the_oracle_says(model):
    trie = Trie.build(CODES)
    with torch.inference_mode():
        memory = model.encode(CodeView(CODES), *padded([[1, 2, 3], [4]]))
        found = constrained_beam_search(model, memory, 2, trie, 8)
        exact = item_log_probabilities(model, memory, 2, trie, len(CODES), chunk=2)
    assert torch.equal(found.items, exact.argsort(dim=1, descending=True))
    torch.testing.assert_close(found.scores, exact.sort(dim=1, descending=True).values)


# --- one example a prefix -------------------------------------------------------------------------


def test_every_training_event_but_a_user_s_first_is_an_example():
    dataset = toys.make_dataset([[1, 2, 3, 4, 5, 6], [7, 8], [9], [4, 3, 2, 1]])
    examples = Histories.of_prefixes(dataset, 2, CPU)
    batch = examples.batch(torch.arange(len(examples)))
    shown = [row[:length].tolist() for row, length in zip(batch.items, batch.lengths, strict=True)]
    # The last two events of users with three or more are held out; two events at most are shown.
    assert shown == [[1, 2], [1, 2, 3], [2, 3, 4], [7, 8], [4, 3]]
    with pytest.raises(DigerError, match="no user has two training events"):
        Histories.of_prefixes(toys.make_dataset([[1, 2, 3], [2]]), 2, CPU)


def test_a_run_from_recipe_to_recommendations(tmp_path):
    place = toys.Place(tmp_path)
    backbone = {**SMALL.model_dump(), "layers": 1, "decoder_layers": 1}
    seen = []
    recipe = place.recipe(backbone=backbone, training={"epochs": 2, "batch_size": 16})
    bundle = place.train("toy-t5-s0", recipe, on_event=seen.append)
    targets = len(Histories.of_prefixes(place.dataset, 6, CPU))
    assert seen[0].total == -(-targets // 16)  # a batch counts examples
    model = load_model(bundle)
    assert isinstance(model.network, T5Recommender)
    assert len(model.recommend(["i1", "i2"], k=5)) == 5
