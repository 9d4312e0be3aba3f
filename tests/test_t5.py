"""The T5 backbone: the library's logits from the same weights, and what every backbone promises."""

from __future__ import annotations

import core_toys as toys
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_toys import CPU
from torch import Tensor

from diger.benchmark.library import library_name, library_twin
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


@pytest.fixture
def twin(model):
    """transformers' T5 with the same weights: one vocabulary of start token, then all codes."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    return library_twin(model, SMALL)


def library_logits(twin, index: Tensor, lengths: Tensor, target: Tensor) -> list[Tensor]:
    """Logits (B, size) of each code of the targets, by the library."""
    offsets = torch.tensor([1, 1 + SIZES[0], 1 + SIZES[0] + SIZES[1]])
    tokens = (CODES + offsets)[index].flatten(1)
    start = torch.zeros(len(index), 1, dtype=torch.long)
    logits = twin(
        input_ids=tokens,
        attention_mask=(torch.arange(tokens.shape[1]) < lengths[:, None] * 3).long(),
        decoder_input_ids=torch.cat([start, (target + offsets)[:, :-1]], dim=1),
    ).logits
    places = enumerate(zip(offsets.tolist(), SIZES, strict=True))
    return [logits[:, position, at : at + size] for position, (at, size) in places]


@torch.no_grad()
def test_logits_are_the_library_s(model, twin):
    # Long enough for the buckets of far positions: 60 items are 180 code tokens.
    index, lengths = padded([[1, 2, 3, 4], [5], [7, 6] * 30])
    target = CODES[[3, 6, 0]]
    memory = model.encode(CodeView(CODES), index, lengths)
    for position, theirs in enumerate(library_logits(twin, index, lengths, target)):
        ours = model.next_code_logits(memory, target[:, None, :position])[:, 0]
        assert ours.std() > 0.1
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_gradients_are_the_library_s(model, twin):
    index, lengths = padded([[1, 2, 3, 4], [5, 7], [7, 6, 2]])
    target = CODES[[4, 7, 2]]
    logits = library_logits(twin, index[:, :-1], lengths - 1, target)
    theirs = torch.stack([F.cross_entropy(*pair) for pair in zip(logits, target.T, strict=True)])
    losses = model.loss(CodeView(CODES), index, lengths)
    assert losses.alignment is None
    torch.testing.assert_close(losses.codes, theirs, atol=1e-5, rtol=1e-5)
    theirs.sum().backward()
    losses.codes.sum().backward()
    for name, weight in model.named_parameters():
        if name.startswith(("encoder", "decoder")):
            expected = twin.get_parameter(library_name(name)).grad
            assert expected.abs().max() > 1e-4
            torch.testing.assert_close(weight.grad, expected, atol=1e-5, rtol=1e-4)


def test_relative_buckets_by_hand():
    backward = relative_buckets(40, both_ways=False, device=CPU)[39]  # from the last position
    assert backward[39 - 15 :].tolist() == list(range(15, -1, -1))
    assert backward[39 - 16] == 16 and backward[0] == 16 + int(np.log(39 / 16) / np.log(8) * 16)
    both = relative_buckets(3, both_ways=True, device=CPU)
    assert both.tolist() == [[0, 17, 18], [1, 0, 17], [2, 1, 0]]


def test_padding_changes_nothing(model):
    histories, prefix = [[1], [2, 3, 4, 5, 6, 7], [3, 3, 7]], CODES[None, :2]
    alone = [model.encode(CodeView(CODES), *padded([history])) for history in histories]
    for filler in (0, 5):
        memory = model.encode(CodeView(CODES), *padded(histories, filler))
        for at in range(3):
            one = [model.next_code_logits(each, prefix[..., :at]) for each in alone]
            other = model.next_code_logits(memory, prefix.expand(3, -1, -1)[..., :at])
            torch.testing.assert_close(torch.cat(one), other, atol=1e-5, rtol=0)


def test_beams_do_not_see_each_other(model):
    memory = model.encode(CodeView(CODES), *padded([[1, 2], [3]]))
    prefixes = CODES[:6, :2].view(2, 3, 2)
    together = model.next_code_logits(memory, prefixes)
    alone = [model.next_code_logits(memory, beam[:, None]) for beam in prefixes.unbind(1)]
    torch.testing.assert_close(torch.cat(alone, dim=1), together, atol=1e-5, rtol=0)


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
                loss = F.cross_entropy(logits[0], sid[position], label_smoothing=smoothing)
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
            losses = model.loss(CodeView(changed), *padded([[2, 3]]))
            total += losses.codes[position].neg().exp().item()
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
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    for position in range(3):
        grads = torch.autograd.grad(losses[position], view.mixture, **options)
        for level, grad in enumerate(grads):
            known = {"decoder": level < position, "labels": level == position}.get(place, False)
            expected = [place == "history"] * 2 + [known] + [False] * 5
            assert (grad.abs().sum(1) > 0).tolist() == expected


def test_dropout_only_in_training(model):
    batch = padded([[1, 2, 3, 4, 5]])
    for training in (False, True):
        model.train(training)
        one, other = (model.loss(CodeView(CODES), *batch).codes for _ in range(2))
        assert torch.equal(one, other) != training


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
    place, seen = toys.Place(tmp_path), []
    backbone = {**SMALL.model_dump(), "layers": 1, "decoder_layers": 1}
    recipe = place.recipe(backbone=backbone, training={"epochs": 2, "batch_size": 16})
    model = load_model(place.train("toy-t5-s0", recipe, on_event=seen.append))
    # A batch counts examples.
    assert seen[0].total == -(-len(Histories.of_prefixes(place.dataset, 6, CPU)) // 16)
    assert isinstance(model.network, T5Recommender)
    assert len(model.recommend(["i1", "i2"], k=5)) == 5
