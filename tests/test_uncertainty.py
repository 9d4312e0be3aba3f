"""Uncertainty decay: each strategy's noise, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from diger.config import recipe_from
from diger.errors import DigerError
from diger.tokenizer.residual_kmeans import ResidualKMeans
from diger.tokenizer.soft import GUMBEL_STD, calibrate, draw, soft_codes
from diger.uncertainty.base import Decay, build_decay
from diger.uncertainty.config import DECAYS, FrqudConfig, SdudConfig, UncertaintyConfig
from diger.uncertainty.frqud import Frqud
from diger.uncertainty.schedules import CosineDecay, TemperatureAnnealing
from diger.uncertainty.sdud import Sdud
from diger.uncertainty.sdud_frqud import SdudFrqud

CODES = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 0]])


def fitted() -> tuple[torch.Tensor, ResidualKMeans]:
    """Sixty points and a tokenizer fitted to them."""
    torch.manual_seed(0)
    x = torch.randn(60, 4)
    tokenizer = ResidualKMeans(levels=2, codebook_size=4, width=4)
    tokenizer.fit(x, seed=0)
    return x, tokenizer


def test_none_is_full_noise_for_all():
    assert Decay().noise_scale(0, CODES[:, 0]).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("loss", "best"), [(9.0, 1.3), (2.89, 0.0), (1.0, 0.0)])
def test_sigma_settles_at_its_formulas_minimum(loss, best):
    """sigma* = max(0, sqrt(L) - lambda) with lambda = 1.7."""
    decay = Sdud(SdudConfig(offset=1.7, initial=2.0))
    optimizer = torch.optim.Adam(decay.parameters(), lr=0.02)
    for _ in range(2000):
        optimizer.zero_grad()
        decay.penalty(torch.tensor(loss)).backward()
        optimizer.step()
    assert decay.report()["sigma"] == pytest.approx(best, abs=0.02)


def test_sdud_loss_by_hand():
    decay, loss = Sdud(SdudConfig(offset=1.5, initial=0.5)), torch.tensor(4.0, requires_grad=True)
    penalty = decay.penalty(loss)
    penalty.backward()
    assert penalty.item() == pytest.approx(4 / 8 + math.log(2))
    assert loss.grad is None  # the recommendation loss is never rescaled


def test_sigma_scales_the_noise_and_gets_no_gradient_from_it():
    decay = Sdud(SdudConfig(offset=1.7, initial=0.25))
    scale = decay.noise_scale(0, CODES[:, 0])
    assert scale.tolist() == [0.25] * 4 and not scale.requires_grad


def test_noise_draws_other_codes_in_proportion_to_sigma():
    """Not only what is reported: sigma is on the noise itself."""
    torch.manual_seed(0)
    x = torch.randn(2000, 4)
    tokenizer = ResidualKMeans(levels=2, codebook_size=8, width=4)
    tokenizer.fit(x, seed=0)
    scale = calibrate(tokenizer, x, 0.8)
    explored = []
    for sigma in (0.0, 0.2, 1.0, 3.0):
        decay = Sdud(SdudConfig(offset=1.7, initial=sigma))
        soft = soft_codes(
            tokenizer, x, scale=scale, noise_scale=decay.noise_scale, fixed=tokenizer.assign(x)
        )
        explored.append((soft.drawn != soft.plain).float().mean().item())
        assert torch.equal(soft.codes, soft.plain)  # the forward pass holds still
    assert explored[0] == 0
    assert explored[2] == pytest.approx(0.2, abs=0.04)  # 1 - the confidence
    assert explored[1] < 0.5 * explored[2] and explored[3] > 1.5 * explored[2]


def test_frqud_usage_by_hand():
    decay = Frqud(FrqudConfig(momentum=0.9, threshold=1.5), CODES, 4)
    assert decay.usage[0].tolist() == [0.75, 0.25, 0, 0]
    decay.observe(torch.tensor([[1, 0], [1, 0]]))
    assert decay.usage[0].tolist() == pytest.approx([0.675, 0.325, 0, 0])
    assert decay.usage.sum(1).tolist() == pytest.approx([1, 1])
    assert decay.hot()[0].tolist() == [True, False, False, False]  # above 1.5 / 4


def test_items_on_cold_codes_have_no_noise():
    x, tokenizer = fitted()
    plain = tokenizer.assign(x)
    decay = Frqud(FrqudConfig(momentum=0.9, threshold=1.1), plain, 4)
    scale = torch.full((2,), 1e-3)  # nearly flat logits: with noise, any code may win
    soft = soft_codes(tokenizer, x, scale=scale, noise_scale=decay.noise_scale)
    cold = ~decay.hot()[0][plain[:, 0]]
    assert cold.any() and not cold.all()
    assert torch.equal(soft.codes[cold, 0], plain[cold, 0])
    assert not torch.equal(soft.codes[~cold, 0], plain[~cold, 0])
    assert (soft.noise_scale[cold, 0] == 0).all()


def test_frqud_goes_by_the_assigned_code_not_the_nearest():
    """A balanced assignment gives items codes that are not their nearest."""
    x, tokenizer = fitted()
    assigned = (tokenizer.assign(x) + 1) % 4
    asked = []

    def noise_scale(level: int, codes: torch.Tensor) -> torch.Tensor:
        asked.append(codes)
        return torch.ones(codes.shape)

    soft_codes(tokenizer, x, scale=torch.ones(2), noise_scale=noise_scale, fixed=assigned)
    assert torch.equal(torch.stack(asked, 1), assigned)


def test_both_is_the_product():
    frqud = Frqud(FrqudConfig(momentum=0.9, threshold=1.5), CODES, 4)
    both = SdudFrqud(Sdud(SdudConfig(offset=1.7, initial=0.5, learning_rate=3e-3)), frqud)
    assert both.learning_rate == 3e-3
    assert both.noise_scale(0, CODES[:, 0]).tolist() == [0.5, 0.5, 0.5, 0]
    assert both.report() == {"sigma": 0.5}


def test_schedules_by_hand():
    cosine, anneal = CosineDecay(), TemperatureAnnealing(final=0.25)
    for done, noise, tau in ((0.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1.0, 0.0, 0.25)):
        cosine.begin_update(done)
        anneal.begin_update(done)
        assert cosine.noise_scale(0, CODES[:, 0])[0].item() == pytest.approx(noise)
        assert anneal.temperature() == pytest.approx(tau)


def test_noise_has_gumbels_standard_deviation_in_both_kinds():
    torch.manual_seed(0)
    like = torch.empty(200_000)
    assert draw("gumbel", like).std().item() == pytest.approx(GUMBEL_STD, rel=0.02)
    assert draw("gaussian", like).std().item() == pytest.approx(GUMBEL_STD, rel=0.02)
    assert draw("gumbel", like).mean().item() == pytest.approx(0.5772, abs=0.02)
    assert draw("none", like).abs().sum() == 0


@pytest.mark.parametrize("name", DECAYS)
def test_every_name_has_its_class(name):
    made = type(build_decay(UncertaintyConfig(decay=name), CODES, 4))
    assert f"{made.__module__}.{made.__name__}" == DECAYS[name]


def test_an_unknown_decay_is_named():
    recipe = {"method": "differentiable", "joint": {"uncertainty": {"decay": "frqd"}}}
    with pytest.raises(DigerError, match=r"no such decay; known: .*did you mean frqud"):
        recipe_from(recipe, "r", "r")
