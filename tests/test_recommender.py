"""What every backbone promises: no sight of the future, no effect of padding, one loss."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diger.config import CausalConfig, PopularityConfig, SasrecConfig
from diger.recommender import products
from diger.recommender.base import (
    GRADIENT_PLACES,
    CodeView,
    Recommender,
    encode_items,
    last_positions,
)
from diger.recommender.build import build_backbone
from diger.recommender.products import Linear
from diger.recommender.sasrec import Sasrec
from diger.tokenizer.trie import Trie

SIZES = (4, 4, 3)
N = 15
SMALL: dict[str, Any] = {"d_model": 16, "heads": 2, "layers": 2, "feed_forward": 16}
TALL = CausalConfig(**SMALL, item_hidden=32, dropout=0.2)
DEEP = CausalConfig(**SMALL, item_hidden=8, decoder_layers=2)
CASES = {"causal": (TALL, False), "told": (TALL, True), "two-decoder-layers": (DEEP, True)}


@pytest.fixture(params=CASES)
def model(request) -> Recommender:
    config, told = CASES[request.param]
    built = shaken(config, SIZES)
    if told:
        built.know_catalogue(Trie.build(view().codes))
    return built


@pytest.fixture
def sasrec() -> Sasrec:
    return shaken(SasrecConfig(kind="sasrec", **SMALL), ())


def shaken(config: Any, sizes: tuple[int, ...]) -> Any:
    """A network with weights so large that anything which should not matter would show."""
    torch.manual_seed(0)
    built = build_backbone(config, sizes=sizes, n_items=N, max_history=8)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return built.eval()


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def view() -> CodeView:
    """SIDs of N items, all different."""
    everything = torch.tensor(list(product(*map(range, SIZES))))
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(0))
    return CodeView(everything[order[:N]])


def padded(histories: list[list[int]], filler: int = 0) -> tuple[Tensor, Tensor]:
    """Item positions (B, T) and lengths (B,)."""
    longest = max(map(len, histories))
    rows = [h + [filler] * (longest - len(h)) for h in histories]
    return torch.tensor(rows), torch.tensor([len(h) for h in histories])


def events(histories: list[list[int]]) -> list[tuple[list[int], int]]:
    """Every target with what came before it."""
    return [(h[:at], h[at]) for h in histories for at in range(1, len(h))]


def all_logits(model: Recommender, histories: list[list[int]]) -> list[Tensor]:
    """Logits at every code position after three prefixes, for whole histories."""
    codes = view()
    memory = model.encode(codes, *padded(histories))
    sids = codes.codes[:3].expand(len(histories), -1, -1)
    return [model.next_code_logits(memory, sids[..., :at]) for at in range(model.length)]


def test_interface(model):
    assert (model.sizes, model.length) == (SIZES, 3)
    for size, logits in zip(SIZES, all_logits(model, [[1, 2], [3]]), strict=True):
        assert logits.shape == (2, 3, size)
    losses, alignment = model.loss(view(), *padded([[1, 2], [3, 4, 5]]))
    assert losses.shape == (3,) and (losses > 0).all()
    assert alignment is None or (alignment.ndim == 0 and alignment > 0)
    memory = model.encode(view(), *padded([[1]]))
    with pytest.raises(ValueError, match="no code follows a prefix of 3"):
        model.next_code_logits(memory, torch.zeros(1, 1, 3, dtype=torch.long))


def test_padding_changes_nothing(model):
    histories = [[1], [2, 3, 4, 5, 6, 7], [3, 3, 8], [9, 10]]
    together = all_logits(model, histories)
    for row, history in enumerate(histories):
        for a, b in zip(all_logits(model, [history]), together, strict=True):
            close(a[0], b[row])
    losses = [model.loss(view(), *padded(histories, filler)) for filler in (0, 14)]
    close(losses[0].codes, losses[1].codes)
    close(losses[0].alignment, losses[1].alignment)


def test_the_order_of_history_and_its_latest_item_matter(model):
    first, *others = (all_logits(model, [h])[0] for h in ([1, 2, 3], [2, 1, 3], [1, 2, 4]))
    assert all((first - other).abs().max() > 1e-3 for other in others)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_teacher_forcing_is_decoding_step_by_step(model, smoothing):
    # The longest history fits; a training history is one longer, for its last is only a target.
    histories = [[1, 2, 3, 4], [5, 6], [7, 7, 1, 0, 2, 3, 9, 4, 5]]
    terms = []
    with torch.no_grad():
        for before, target in events(histories):
            memory = model.encode(view(), *padded([before]))
            sid = view().codes[target]
            logits = [model.next_code_logits(memory, sid[None, None, :i])[0] for i in range(3)]
            pairs = zip(logits, sid.split(1), strict=True)
            terms.append([F.cross_entropy(*pair, label_smoothing=smoothing) for pair in pairs])
        losses = model.loss(view(), *padded(histories), smoothing).codes
    close(losses, torch.tensor(terms).mean(0))


def never_sees_later(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Histories that differ from the fourth event on have one loss up to the third."""
    base, changed = torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([[1, 2, 3, 9, 8, 6]])
    with torch.no_grad():
        for upto in (2, 3):
            close(loss(base, torch.tensor([upto])), loss(changed, torch.tensor([upto])))
        four = torch.tensor([4])  # a length that shows the difference
        assert (loss(base, four) - loss(changed, four)).abs().max() > 1e-3


def test_a_longer_padding_changes_no_loss(model):
    v, index, lengths = (
        view(),
        torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]),
        torch.tensor([5, 3]),
    )
    short = model.eval().loss(v, index, lengths)
    long = model.loss(v, F.pad(index, (0, 1)), lengths)
    torch.testing.assert_close(short.codes, long.codes)
    torch.testing.assert_close(short.alignment, long.alignment)


def test_products_of_training_are_those_of_torch():
    torch.manual_seed(0)
    ours, theirs = Linear(48, 40), torch.nn.Linear(48, 40)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 9, 48)
    grads = []
    for layer in (ours, theirs):
        inputs = x.clone().requires_grad_()
        y = layer(inputs)
        y.square().sum().backward()
        grads.append((y, inputs.grad, layer.weight.grad, layer.bias.grad))
    torch.testing.assert_close(*grads)


@pytest.mark.skipif(products._SWITCH is None, reason="this torch has no such switch")
def test_products_that_overlap_leave_the_switch_as_it_was():
    one, other = products._onednn(), products._onednn()
    for step in (one.__enter__, other.__enter__):
        step()
    for cm in (one, other):
        cm.__exit__(None, None, None)
    assert products._SWITCH.fp32_precision == products._USUAL != "bf16"


@pytest.mark.parametrize(("slower", "there"), [(2.0, True), (50.0, False)])
def test_bf16_is_there_where_a_product_in_it_is_quick(monkeypatch, slower, there):
    ticks = iter([0.0, 1.0] * 4 + [0.0, slower] * 4)  # the trial's: fp32, then bf16
    monkeypatch.setattr(products, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert products.has_bfloat16.__wrapped__() is there


def test_later_items_never_change_earlier_terms(model):
    never_sees_later(lambda items, lengths: model.loss(view(), items, lengths).codes)


def soft(*places: str) -> CodeView:
    """The same codes with exact one-hot mixtures that take a gradient."""
    codes = view().codes
    mixture = tuple(F.one_hot(codes[:, at], 4).float().requires_grad_() for at in (0, 1))
    return CodeView(codes, mixture, frozenset(places))


def test_an_exact_one_hot_mixture_is_the_hard_view(model):
    index, lengths = padded([[1, 2, 3], [4, 5]])
    prefix = torch.zeros(2, 1, 1, dtype=torch.long)
    with torch.no_grad():
        hard, softly = (model.loss(v, index, lengths) for v in (view(), soft(*GRADIENT_PLACES)))
        one, other = (model.encode(v, index, lengths) for v in (view(), soft(*GRADIENT_PLACES)))
        close(softly.codes, hard.codes)
        close(softly.alignment, hard.alignment)
        close(model.next_code_logits(one, prefix), model.next_code_logits(other, prefix))


def test_gradients_respect_time_and_code_order(model):
    """What a term of the loss may depend on, told by its gradient.

    Items 0..4 occur once each, so the mixture of an item stands for one event.
    """
    codes = soft("history", "decoder")
    losses = model.loss(codes, torch.arange(5)[None], torch.tensor([3])).codes
    for position in range(model.length):
        grads = torch.autograd.grad(losses[position], codes.mixture, retain_graph=True)
        for level, grad in enumerate(grads):
            assert (grad[:2].abs().sum(1) > 0).all()
            # The target of the last term is item 2: its codes are known only to later positions.
            assert (grad[2].abs().sum() > 0) == (level < position)
            assert (grad[3:] == 0).all()


def test_no_code_of_the_target_leaks_into_its_own_logits(model):
    """Whatever a code of the target is, its loss is taken of one and the same distribution."""
    codes, history = view().codes, torch.tensor([[2, 3]])
    for position in range(model.length):
        total = 0.0
        for code in range(SIZES[position]):
            changed = codes.clone()
            changed[3, position] = code
            with torch.no_grad():
                losses = model.loss(CodeView(changed), history, torch.tensor([2])).codes
            total += float((-losses[position]).exp())
        assert total == pytest.approx(1, abs=1e-5)


def test_only_training_mode_drops_out(model):
    index, lengths = padded([[1, 2, 3, 4, 5, 6]])
    for training in (False, True):
        model.train(training)
        one, other = (model.loss(view(), index, lengths).codes for _ in range(2))
        assert torch.equal(one, other) != training


def test_sasrec_padding_changes_nothing(sasrec):
    histories = [[1], [2, 3, 4, 5, 6, 7], [3, 3, 8]]
    with torch.no_grad():
        together = sasrec.scores(*padded(histories))
        assert together.shape == (3, N)
        close(sasrec.scores(*padded(histories, 14)), together)
        for row, history in enumerate(histories):
            close(sasrec.scores(*padded([history]))[0], together[row])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sasrec_loss_is_scoring_step_by_step(sasrec, smoothing):
    histories = [[1, 2, 3, 4], [5, 6], [7, 7, 1, 0, 2]]
    with torch.no_grad():
        pairs = events(histories)
        scores = torch.cat([sasrec.scores(*padded([before])) for before, _ in pairs])
        targets = torch.tensor([target for _, target in pairs])
        by_hand = F.cross_entropy(scores, targets, label_smoothing=smoothing)
        close(sasrec.loss(*padded(histories), smoothing), by_hand)


def test_sasrec_never_sees_later_items(sasrec):
    never_sees_later(sasrec.loss)
    never_sees_later(sasrec.scores)


def test_encoding_items_is_encoding_their_codes(model):
    items, lengths = padded([[3, 9, 3], [14, 0]])
    prefix = torch.zeros(2, 1, 1, dtype=torch.long)
    by_item = encode_items(model, view().codes, items, lengths)
    by_view = model.encode(view(), items, lengths)
    close(model.next_code_logits(by_item, prefix), model.next_code_logits(by_view, prefix))


def test_popularity_has_no_network():
    config = PopularityConfig(kind="popularity")
    assert build_backbone(config, sizes=(), n_items=3, max_history=2) is None


def test_last_positions():
    hidden = torch.arange(12.0).view(2, 3, 2)
    assert last_positions(hidden, torch.tensor([1, 3])).tolist() == [[0.0, 1.0], [10.0, 11.0]]


def test_forgetting_what_the_catalogue_does_not_reach_changes_nothing_within_it(model):
    sids = view().codes
    before = all_logits(model, [[0, 3, 5], [7, 2]])
    model.forget_unreached(sids)
    after = all_logits(model, [[0, 3, 5], [7, 2]])
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    tables = [p for name, p in model.named_parameters() if "_prefixes." in name]
    reached = len(torch.unique(sids[:, :2], dim=0))
    assert tables and all(0 < int(table.any(1).sum()) <= reached for table in tables)
