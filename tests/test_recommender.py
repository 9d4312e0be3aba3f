"""What every backbone promises: no sight of the future, no effect of padding, one loss."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import core_toys as toys
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diger.config import CausalConfig, PopularityConfig, SasrecConfig
from diger.recommender.base import CodeView, Recommender, check_prefix, encode_items, last_positions
from diger.recommender.build import build_backbone
from diger.recommender.sasrec import Sasrec
from diger.tokenizer.trie import Trie

SIZES = (4, 4, 3)
N = 15
SMALL: dict[str, Any] = {"d_model": 16, "heads": 2, "layers": 2, "feed_forward": 16}
BACKBONES = [
    CausalConfig(**SMALL, item_hidden=32, dropout=0.2),
    CausalConfig(**SMALL, item_hidden=8, decoder_layers=2),
]


CASES = [(0, False), (0, True), (1, True)]


@pytest.fixture(params=CASES, ids=["causal", "told-the-catalogue", "two-decoder-layers"])
def model(request) -> Recommender:
    which, told = request.param
    torch.manual_seed(0)
    built = build_backbone(BACKBONES[which], sizes=SIZES, n_items=N, max_history=8)
    assert isinstance(built, Recommender)
    shaken(built)
    if told:
        built.know_catalogue(Trie.build(view().codes))
    return built.eval()


@pytest.fixture
def sasrec() -> Sasrec:
    torch.manual_seed(0)
    built = build_backbone(SasrecConfig(kind="sasrec", **SMALL), sizes=(), n_items=N, max_history=8)
    assert isinstance(built, Sasrec)
    shaken(built)
    return built.eval()


def shaken(module: torch.nn.Module) -> None:
    """Weights so large that anything which should not matter would show."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)


def view(seed: int = 0) -> CodeView:
    """SIDs of N items, all different."""
    everything = torch.tensor(list(product(*map(range, SIZES))))
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    return CodeView(everything[order[:N]])


def padded(histories: list[list[int]], filler: int = 0) -> tuple[Tensor, Tensor]:
    """Item positions (B, T) and lengths (B,)."""
    longest = max(map(len, histories))
    rows = [h + [filler] * (longest - len(h)) for h in histories]
    return torch.tensor(rows), torch.tensor([len(h) for h in histories])


def all_logits(model: Recommender, codes: CodeView, histories: list[list[int]]) -> list[Tensor]:
    """Logits at every code position after three prefixes, for whole histories."""
    index, lengths = padded(histories)
    memory = model.encode(codes, index, lengths)
    sids = codes.codes[:3].expand(len(histories), -1, -1)
    return [
        model.next_code_logits(memory, sids[..., :position]) for position in range(model.length)
    ]


# --- SID recommenders -----------------------------------------------------------------------------


def test_interface(model):
    assert (model.sizes, model.length) == (SIZES, 3)
    for size, logits in zip(SIZES, all_logits(model, view(), [[1, 2], [3]]), strict=True):
        assert logits.shape == (2, 3, size)
    losses, alignment = model.loss(view(), *padded([[1, 2], [3, 4, 5]]))
    assert losses.shape == (3,) and (losses > 0).all()
    assert alignment is None or (alignment.ndim == 0 and alignment > 0)
    memory = model.encode(view(), *padded([[1]]))
    with pytest.raises(ValueError, match="a SID has 3 codes; no code follows a prefix of 3"):
        model.next_code_logits(memory, torch.zeros(1, 1, 3, dtype=torch.long))


def test_padding_changes_nothing(model):
    histories = [[1], [2, 3, 4, 5, 6, 7], [3, 3, 8], [9, 10]]
    together = all_logits(model, view(), histories)
    for row, history in enumerate(histories):
        alone = all_logits(model, view(), [history])
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("filler", [0, 7])
def test_what_lies_in_the_padding_does_not_matter(model, filler):
    histories = [[1, 2], [2, 3, 4, 5, 6]]
    index, lengths = padded(histories, filler)
    other, _ = padded(histories, 14)
    one, two = model.loss(view(), index, lengths), model.loss(view(), other, lengths)
    torch.testing.assert_close(one.codes, two.codes, atol=1e-6, rtol=0)
    torch.testing.assert_close(one.alignment, two.alignment, atol=1e-6, rtol=0)


def test_the_order_of_history_and_its_latest_item_matter(model):
    first, swapped, other = (
        all_logits(model, view(), [h])[0] for h in ([1, 2, 3], [2, 1, 3], [1, 2, 4])
    )
    assert (first - swapped).abs().max() > 1e-3
    assert (first - other).abs().max() > 1e-3


def loss_by_hand(
    model: Recommender, codes: CodeView, histories: list[list[int]], smoothing: float = 0.0
) -> Tensor:
    """The loss through `encode` and `next_code_logits` alone, one target at a time."""
    terms = []
    for history in histories:
        for at in range(1, len(history)):
            memory = model.encode(codes, *padded([history[:at]]))
            sid = codes.codes[history[at]]
            terms.append(
                [
                    F.cross_entropy(
                        model.next_code_logits(memory, sid[None, None, :position])[0],
                        sid[position : position + 1],
                        label_smoothing=smoothing,
                    )
                    for position in range(model.length)
                ]
            )
    return torch.tensor(terms).mean(0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_teacher_forcing_is_decoding_step_by_step(model, smoothing):
    histories = [[1, 2, 3, 4], [5, 6], [7, 7, 1, 0, 2, 3, 9]]
    with torch.no_grad():
        losses = model.loss(view(), *padded(histories), smoothing).codes
        by_hand = loss_by_hand(model, view(), histories, smoothing)
    torch.testing.assert_close(losses, by_hand, atol=1e-5, rtol=0)


def test_later_items_never_change_earlier_terms(model):
    base = [1, 2, 3, 4, 5, 6]
    changed = [1, 2, 3, 9, 8, 6]
    codes = view()
    with torch.no_grad():
        for upto in (2, 3):
            lengths = torch.tensor([upto])
            one = model.loss(codes, torch.tensor([base]), lengths).codes
            other = model.loss(codes, torch.tensor([changed]), lengths).codes
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        # And a negative control: a length that shows the difference.
        lengths = torch.tensor([4])
        one = model.loss(codes, torch.tensor([base]), lengths).codes
        other = model.loss(codes, torch.tensor([changed]), lengths).codes
        assert (one - other).abs().max() > 1e-3


def soft(codes: CodeView, levels: int = 2) -> CodeView:
    """The same codes with exact one-hot mixtures that take a gradient."""
    mixture = tuple(
        F.one_hot(codes.codes[:, level], SIZES[level]).float().requires_grad_()
        for level in range(levels)
    )
    return CodeView(codes.codes, mixture)


def test_an_exact_one_hot_mixture_is_the_hard_view(model):
    index, lengths = padded([[1, 2, 3], [4, 5]])
    with torch.no_grad():
        hard, softly = (model.loss(v, index, lengths) for v in (view(), soft(view())))
        torch.testing.assert_close(softly.codes, hard.codes, atol=1e-5, rtol=0)
        torch.testing.assert_close(softly.alignment, hard.alignment, atol=1e-5, rtol=0)
        one, other = (model.encode(v, index, lengths) for v in (view(), soft(view())))
        prefix = torch.zeros(2, 1, 1, dtype=torch.long)
        torch.testing.assert_close(
            model.next_code_logits(one, prefix),
            model.next_code_logits(other, prefix),
            atol=1e-5,
            rtol=0,
        )


def test_the_mixture_takes_a_gradient_and_only_where_items_occur(model):
    codes = soft(view())
    assert codes.mixture is not None
    model.loss(codes, *padded([[1, 2, 3], [4, 5]])).codes.sum().backward()
    for mixture in codes.mixture:
        assert mixture.grad is not None and mixture.grad.isfinite().all()
        assert (mixture.grad[[1, 2]].abs().sum(1) > 0).all()
        assert (mixture.grad[6:] == 0).all()  # items that are in no history


def test_gradients_respect_time_and_code_order(model):
    """What a term of the loss may depend on, told by its gradient.

    Items 0..4 occur once each, so the mixture of an item stands for one event.
    """
    codes = replace(soft(view()), places=frozenset({"history", "decoder"}))
    assert codes.mixture is not None
    losses = model.loss(codes, torch.arange(5)[None], torch.tensor([3])).codes
    for position in range(model.length):
        grads = torch.autograd.grad(
            losses[position], codes.mixture, retain_graph=True, allow_unused=True
        )
        for level, grad in enumerate(grads):
            assert grad is not None  # through the history at least
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


def test_evaluation_mode_is_deterministic_and_training_mode_drops_out(model):
    index, lengths = padded([[1, 2, 3, 4, 5, 6]])
    with torch.no_grad():
        one, other = (model.loss(view(), index, lengths).codes for _ in range(2))
        assert torch.equal(one, other)
        model.train()
        one, other = (model.loss(view(), index, lengths).codes for _ in range(2))
        assert not torch.equal(one, other)


def test_the_longest_history_fits(model):
    with torch.no_grad():
        full = list(range(8))
        assert all_logits(model, view(), [full])[0].isfinite().all()
        # A training history is one longer: its last event is only ever a target.
        losses = model.loss(view(), *padded([[*full, 9], [1, 2]])).codes
        torch.testing.assert_close(
            losses, loss_by_hand(model, view(), [[*full, 9], [1, 2]]), atol=1e-5, rtol=0
        )


def test_initialisation_follows_the_seed():
    def weights(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        built = build_backbone(BACKBONES[0], sizes=SIZES, n_items=N, max_history=8)
        assert built is not None
        return list(built.parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(0), weights(0), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights(0), weights(1), strict=True))


# --- SASRec ---------------------------------------------------------------------------------------


def test_sasrec_padding_changes_nothing(sasrec):
    histories = [[1], [2, 3, 4, 5, 6, 7], [3, 3, 8]]
    with torch.no_grad():
        together = sasrec.scores(*padded(histories))
        assert together.shape == (3, N)
        for row, history in enumerate(histories):
            alone = sasrec.scores(*padded([history]))
            torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)
            _, lengths = padded(histories)
            other = sasrec.scores(padded(histories, 14)[0], lengths)
            torch.testing.assert_close(other, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sasrec_loss_is_scoring_step_by_step(sasrec, smoothing):
    histories = [[1, 2, 3, 4], [5, 6], [7, 7, 1, 0, 2]]
    with torch.no_grad():
        terms = [
            F.cross_entropy(
                sasrec.scores(*padded([history[:at]])),
                torch.tensor(history[at : at + 1]),
                label_smoothing=smoothing,
            )
            for history in histories
            for at in range(1, len(history))
        ]
        loss = sasrec.loss(*padded(histories), smoothing)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), atol=1e-5, rtol=0)


def test_sasrec_never_sees_later_items(sasrec):
    base, changed = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 2, 3, 9, 8]])
    with torch.no_grad():
        three, four = torch.tensor([3]), torch.tensor([4])
        torch.testing.assert_close(sasrec.loss(base, three), sasrec.loss(changed, three))
        torch.testing.assert_close(sasrec.scores(base, three), sasrec.scores(changed, three))
        assert (sasrec.loss(base, four) - sasrec.loss(changed, four)).abs() > 1e-3


# --- helpers --------------------------------------------------------------------------------------


def test_encoding_items_is_encoding_their_codes(model):
    items, lengths = padded([[3, 9, 3], [14, 0]])
    with torch.no_grad():
        by_item = encode_items(model, view().codes, items, lengths)
        by_view = model.encode(view(), items, lengths)
        prefix = torch.zeros(2, 1, 1, dtype=torch.long)
        torch.testing.assert_close(
            model.next_code_logits(by_item, prefix), model.next_code_logits(by_view, prefix)
        )


def test_popularity_has_no_network():
    config = PopularityConfig(kind="popularity")
    assert build_backbone(config, sizes=(), n_items=3, max_history=2) is None


def test_check_prefix():
    assert check_prefix(torch.zeros(2, 3, 0), (4, 4)) == 0
    assert check_prefix(torch.zeros(2, 3, 1), (4, 4)) == 1
    with pytest.raises(ValueError, match="prefix of 2"):
        check_prefix(torch.zeros(2, 3, 2), (4, 4))


def test_last_positions():
    hidden = torch.arange(12.0).view(2, 3, 2)
    assert last_positions(hidden, torch.tensor([1, 3])).tolist() == [[0.0, 1.0], [10.0, 11.0]]


def test_the_toy_tables_follow_the_interface():
    model = toys.TableRecommender.random((2, 3), batch=1, seed=0)
    log_p = model.next_code_logits(None, torch.tensor([[[1]]])).log_softmax(-1)
    first = model.next_code_logits(None, torch.zeros(1, 1, 0, dtype=torch.long)).log_softmax(-1)
    assert model.score(0, (1, 2)) == pytest.approx(float(first[0, 0, 1] + log_p[0, 0, 2]))


def test_forgetting_what_the_catalogue_does_not_reach_changes_nothing_within_it(model):
    sids = view().codes
    items, lengths = torch.tensor([[0, 3, 5], [7, 2, 0]]), torch.tensor([3, 2])
    prefixes = [sids[:5, :position] for position in range(len(SIZES))]

    def answers() -> list[Tensor]:
        memory = encode_items(model, sids, items, lengths)
        return [model.next_code_logits(memory, p.expand(2, -1, -1)) for p in prefixes]

    with torch.no_grad():
        before = answers()
        model.forget_unreached(sids)
        after = answers()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    tables = [p for name, p in model.named_parameters() if "_prefixes." in name]
    reached = len(torch.unique(sids[:, :2], dim=0))
    assert tables and all(0 < int(table.any(1).sum()) <= reached for table in tables)
