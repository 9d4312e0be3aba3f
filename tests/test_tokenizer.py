"""k-means, residual k-means, the tokenizer's losses, Sinkhorn and the RQ-VAE."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from diger.errors import DigerError
from diger.tokenizer.base import Tokenizer, balanced_argmin, sinkhorn
from diger.tokenizer.build import TokenizerConfig, build_tokenizer, make_tokenizer
from diger.tokenizer.residual_kmeans import ResidualKMeans, kmeans, nearest
from diger.tokenizer.rqvae import RQVAE, FitEpoch
from diger.tokenizer.stats import sid_stats


def blobs(clusters: int = 8, each: int = 30, width: int = 6, seed: int = 0) -> torch.Tensor:
    """Points in clear clusters, in shuffled order, at mean squared norm 1."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(clusters, width, generator=generator)
    points = centres.repeat_interleave(each, 0)
    points = points + 0.05 * torch.randn(points.shape, generator=generator)
    points = points[torch.randperm(len(points), generator=generator)]
    points = points - points.mean(0)
    return points / points.square().sum(1).mean().sqrt()


def by_hand() -> Tokenizer:
    """Two levels of two codewords in the plane, with round numbers."""
    tokenizer = Tokenizer(levels=2, codebook_size=2, width=2, beta=0.25)
    with torch.no_grad():
        tokenizer.codebooks[0] = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
        tokenizer.codebooks[1] = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    return tokenizer


def small_rqvae(codebook_size: int = 8) -> RQVAE:
    return RQVAE(dim=6, hidden=(16, 12), levels=2, codebook_size=codebook_size, width=4)


def fit(rqvae: RQVAE, x: torch.Tensor, **changes: Any) -> list[FitEpoch]:
    options = {"epochs": 1, "lr": 1e-3, "weight_decay": 0.0, "batch_size": 64, "seed": 0}
    return rqvae.fit(x, progress=False, **(options | changes))


def test_kmeans_recovers_clear_clusters():
    points = blobs()
    codes, distance = nearest(points, kmeans(points, 8, seed=0))
    assert torch.bincount(codes).tolist() == [30] * 8
    assert distance.max() < 0.1


def test_kmeans_is_repeatable_leaves_global_randomness_alone_and_restarts_help():
    points, state = blobs(clusters=12, seed=4), torch.random.get_rng_state()
    one, other, more = (kmeans(points, 9, seed=1, restarts=r) for r in (1, 1, 5))
    assert torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(one, kmeans(points, 9, seed=2))
    assert nearest(points, more)[1].sum() <= nearest(points, one)[1].sum()


def test_kmeans_copes_with_repeated_points():
    points = torch.tensor([[0.0, 0.0]] * 10 + [[1.0, 1.0]] * 2)
    codes, distance = nearest(points, kmeans(points, 4, seed=0))
    assert codes[0] != codes[-1] and distance.max() < 1e-6  # and so finite


def test_quantize_by_hand_and_its_gradient_in_the_codebooks():
    # (5, 0): level 1 takes (4, 0), leaving (1, 0), exact at level 2. (-1, 4.5): (0, 4), (-1, 1).
    tokenizer = by_hand()
    codes, z_q = tokenizer.quantize(torch.tensor([[5.0, 0.0], [-1.0, 4.5]]))
    assert codes.tolist() == [[0, 0], [1, 1]]
    assert z_q.tolist() == [[5.0, 0.0], [-1.0, 5.0]]
    z_q.sum().backward()
    assert (tokenizer.codebooks.grad == 1).all()  # every codeword is in one of the sums


def test_level_logits_are_negative_squared_distances_or_cosines():
    tokenizer = by_hand()
    residual = torch.tensor([[[3.0, 0.0]], [[0.0, 2.0]]])  # any leading shape
    logits = tokenizer.level_logits(residual, 0)
    assert logits.tolist() == [[[-1.0, -25.0]], [[-20.0, -4.0]]]
    tokenizer.similarity = "cosine"
    assert tokenizer.level_logits(residual, 0).tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]


def test_codes_do_not_depend_on_autocast():
    torch.manual_seed(0)
    tokenizer = ResidualKMeans(levels=2, codebook_size=8, width=6).fit(blobs(), seed=0)
    x = blobs(seed=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = tokenizer.assign(x)
    assert torch.equal(mixed, tokenizer.assign(x))


def test_losses_by_hand_and_their_gradient_points_at_the_residuals():
    # z = (-1, 4.5): r1 - e1 = (-1, .5), squared norm 1.25; r2 - e2 = (0, -.5), squared norm .25.
    tokenizer = by_hand()
    losses = tokenizer.losses(torch.tensor([[-1.0, 4.5]]))
    assert losses["vq"].item() == pytest.approx(1.25 * (1.25 + 0.25))
    assert losses["reconstruction"].item() == pytest.approx(0.25)
    losses["vq"].backward()
    # d|r - e|^2 / de = 2 (e - r): level 1 code 1: 2 (1, -.5); level 2 code 1: 2 (0, .5).
    expected = torch.tensor([[[0.0, 0.0], [2.0, -1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(tokenizer.codebooks.grad, expected)


def test_loss_terms_train_what_they_say():
    rqvae = small_rqvae()
    fit(rqvae, blobs())

    def gradients(name: str) -> tuple[bool, ...]:
        """Whether codebooks, all of the encoder and any of the decoder have one."""
        rqvae.zero_grad(set_to_none=True)
        rqvae.losses(blobs())[name].backward()
        return (
            rqvae.codebooks.grad is not None,
            all(p.grad is not None and p.grad.any() for p in rqvae.encoder.parameters()),
            any(p.grad is not None for p in rqvae.decoder.parameters()),
        )

    assert gradients("reconstruction") == (False, True, True)
    assert gradients("vq") == (True, True, False)


def test_sinkhorn_marginals_and_finite_plans_at_small_epsilon_and_flat_costs():
    cost = torch.rand(60, 6, generator=torch.Generator().manual_seed(0)) * 40
    plan = sinkhorn(cost, epsilon=0.1, iterations=200)
    torch.testing.assert_close(plan.sum(1), torch.full((60,), 1 / 60, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64))
    assert torch.isfinite(sinkhorn(cost * 1e3, epsilon=0.003)).all()
    assert torch.isfinite(sinkhorn(torch.zeros(4, 2))).all()


def test_sinkhorn_balances_where_all_want_the_same_code():
    # Everyone likes code 0; the three that like it least against code 1 must give way.
    cost = torch.tensor([[0.0, 9.0], [0.0, 8.0], [0.0, 7.0], [0.0, 3.0], [0.0, 2.0], [0.0, 1.0]])
    assert balanced_argmin(cost, epsilon=0.1, iterations=500).tolist() == [0, 0, 0, 1, 1, 1]


def test_balanced_assignment_evens_out_the_last_level():
    x = torch.randn(400, 6, generator=torch.Generator().manual_seed(0)).exp()
    x = (x - x.mean(0)) / 10
    tokenizer = ResidualKMeans(levels=2, codebook_size=8, width=6).fit(x, seed=0)
    greedy, balanced = tokenizer.assign(x), tokenizer.assign(x, balanced=True)
    assert torch.equal(greedy[:, 0], balanced[:, 0])
    before, after = (sid_stats(c.numpy(), 8).levels[1].perplexity for c in (greedy, balanced))
    assert after > before


def test_residual_kmeans_error_falls_with_every_level():
    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    tokenizer = ResidualKMeans(levels=3, codebook_size=16, width=6).fit(x, seed=0)
    codes = tokenizer.assign(x)
    left, errors = x, []
    for level in range(3):
        left = left - tokenizer.codebooks[level, codes[:, level]]
        errors.append(left.square().sum(1).mean().item())
    assert errors[0] > errors[1] > errors[2]
    losses = tokenizer.losses(x)
    assert losses["reconstruction"].item() == pytest.approx(errors[2], rel=1e-4)
    assert losses["vq"].item() == pytest.approx(1.25 * sum(errors), rel=1e-4)


def test_rqvae_learns_and_keeps_its_codes():
    x, rqvae = blobs(), small_rqvae()
    history = fit(rqvae, x, epochs=40, lr=3e-3, weight_decay=1e-4)
    assert len(history) == 40
    assert history[-1].reconstruction < min(0.1, 0.5 * history[0].reconstruction)
    assert history[-1].perplexity[0] > 6
    codes = rqvae.assign(x)
    assert codes.shape == (240, 2) and codes.dtype == torch.long
    assert history[-1].perplexity == rqvae.effective_codes(x)


def test_rqvae_is_repeatable_and_leaves_global_randomness_alone():
    fitted = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        rqvae = small_rqvae()
        state = torch.random.get_rng_state()
        fit(rqvae, blobs(), epochs=2, batch_size=50, seed=7)
        assert torch.equal(state, torch.random.get_rng_state())
        fitted.append(rqvae.state_dict())
    one, other = fitted
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_warm_start_begins_near_the_principal_directions():
    x = blobs(clusters=20, each=20)
    warm, cold = small_rqvae(), small_rqvae()
    fit(warm, x, lr=1e-9, warm_start=True)
    fit(cold, x, lr=1e-9, warm_start=False)
    assert warm.losses(x)["reconstruction"] < 0.7 < cold.losses(x)["reconstruction"]


def test_collapse_and_divergence_are_reported(caplog: pytest.LogCaptureFixture):
    x = torch.zeros(64, 6)
    x[0] = 8.0  # one item far from all others: one code for everything else
    with caplog.at_level(logging.WARNING):
        fit(small_rqvae(64), x, lr=1e-9)
    assert "level 1 of the RQ-VAE uses" in caplog.text
    with pytest.raises(DigerError, match="lower lr"):
        fit(small_rqvae(), blobs(), epochs=5, lr=1e30)


@pytest.mark.parametrize("kind", ["residual-kmeans", "rqvae"])
def test_build_and_restore(kind: str):
    config = TokenizerConfig(
        kind=kind, levels=2, codebook_size=8, width=6, rqvae={"hidden": (16,), "epochs": 2}
    )
    x = blobs()
    tokenizer, codes = build_tokenizer(config, x.numpy(), seed=3, progress=False)
    assert codes.shape == (len(x), 2)
    again = make_tokenizer(config, 6)
    again.load_state_dict(tokenizer.state_dict())
    assert torch.equal(again.assign(x.numpy()), codes)  # an array, as a transform returns it
    _, repeated = build_tokenizer(config, x, seed=3, progress=False)
    assert torch.equal(repeated, codes)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValidationError, match="go together"):
        TokenizerConfig(kind="file")
    with pytest.raises(DigerError, match="width must be 6, got 64"):
        build_tokenizer(TokenizerConfig(codebook_size=8), blobs(), seed=0)
    with pytest.raises(DigerError, match="embed the items"):
        build_tokenizer(TokenizerConfig(), None, seed=0)
    with pytest.raises(DigerError, match="width 8 is more than the 4"):
        RQVAE(dim=4, hidden=(8,), levels=1, codebook_size=2, width=8)
    with pytest.raises(DigerError, match="codebook_size is 16 but the catalogue has only 10"):
        ResidualKMeans(levels=1, codebook_size=16, width=2).fit(torch.randn(10, 2), seed=0)
    with pytest.raises(DigerError, match="finite"):
        ResidualKMeans(levels=1, codebook_size=2, width=1).fit(torch.full((4, 1), math.nan), seed=0)


def test_content_width_follows_the_kind():
    assert TokenizerConfig(width=32).content_width == 32
    assert TokenizerConfig(kind="rqvae", width=32).content_width is None
    assert TokenizerConfig(kind="rqvae", rqvae={"input_width": 128}).content_width == 128


def test_every_code_is_used_where_the_spectrum_falls_like_a_text_encoder_s():
    x = np.random.default_rng(0).normal(size=(3000, 64)) / np.sqrt(np.arange(1, 65))
    config = TokenizerConfig(codebook_size=64, kmeans={"iterations": 10})
    _, codes = build_tokenizer(config, x / np.sqrt(np.square(x).sum(1).mean()), seed=0)
    stats = sid_stats(codes.numpy(), 64)
    assert [level.dead for level in stats.levels] == [0, 0, 0]
    assert stats.collisions.unique_share > 0.9


def test_random_codebooks_have_the_spread_of_what_they_stand_for():
    generator = torch.Generator().manual_seed(1)
    content = torch.randn(4000, 8, generator=generator) * torch.arange(1, 9) + 5

    def made(seed: int, random: bool = True) -> ResidualKMeans:
        empty = ResidualKMeans(levels=2, codebook_size=64, width=8)
        return empty.fit(content, seed=seed, random=random)

    first, fitted = made(3), made(3, random=False)
    assert torch.equal(first.codebooks, made(3).codebooks)
    assert not torch.equal(first.codebooks[0], made(4).codebooks[0])
    deviation = first.codebooks[0].std(0) / content.std(0)
    assert deviation.min() > 0.7 and deviation.max() < 1.4
    errors = [one.losses(content)["reconstruction"] for one in (fitted, first)]
    assert errors[0] < errors[1]
