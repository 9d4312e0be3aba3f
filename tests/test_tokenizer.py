"""k-means, residual k-means, the tokenizer's losses, Sinkhorn and the RQ-VAE."""

from __future__ import annotations

import gzip
import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from diger.errors import DigerError
from diger.tokenizer.base import Tokenizer, balanced_argmin, sinkhorn
from diger.tokenizer.build import TokenizerConfig, build_tokenizer, make_tokenizer
from diger.tokenizer.residual_kmeans import ResidualKMeans, kmeans, nearest
from diger.tokenizer.rqvae import RQVAE
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


# --- k-means --------------------------------------------------------------------------------------


def test_kmeans_recovers_clear_clusters():
    points = blobs()
    centroids = kmeans(points, 8, seed=0)
    codes, distance = nearest(points, centroids)
    assert torch.bincount(codes).tolist() == [30] * 8
    assert distance.max() < 0.1


def test_kmeans_is_repeatable_and_leaves_global_randomness_alone():
    points = blobs(seed=3)
    state = torch.random.get_rng_state()
    one, other = kmeans(points, 5, seed=1), kmeans(points, 5, seed=1)
    assert torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(one, kmeans(points, 5, seed=2))


def test_kmeans_restarts_never_make_it_worse():
    points = blobs(clusters=12, seed=4)
    inertia = [nearest(points, kmeans(points, 9, seed=0, restarts=r))[1].sum() for r in (1, 5)]
    assert inertia[1] <= inertia[0]


def test_kmeans_copes_with_repeated_points():
    points = torch.tensor([[0.0, 0.0]] * 10 + [[1.0, 1.0]] * 2)
    centroids = kmeans(points, 4, seed=0)
    assert torch.isfinite(centroids).all()
    assert nearest(points, centroids)[1].max() < 1e-6


def test_nearest_by_hand():
    codes, distance = nearest(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 2.0]]))
    assert codes.tolist() == [1] and distance.tolist() == [4.0]


# --- the interface --------------------------------------------------------------------------------


def test_quantize_by_hand():
    # (5, 0): level 1 takes (4, 0), leaving (1, 0), exact at level 2. (-1, 4.5): (0, 4), (-1, 1).
    codes, z_q = by_hand().quantize(torch.tensor([[5.0, 0.0], [-1.0, 4.5]]))
    assert codes.tolist() == [[0, 0], [1, 1]]
    assert z_q.tolist() == [[5.0, 0.0], [-1.0, 5.0]]


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


def test_losses_by_hand():
    # z = (-1, 4.5): r1 - e1 = (-1, .5), squared norm 1.25; r2 - e2 = (0, -.5), squared norm .25.
    losses = by_hand().losses(torch.tensor([[-1.0, 4.5]]))
    assert losses["vq"].item() == pytest.approx(1.25 * (1.25 + 0.25))
    assert losses["reconstruction"].item() == pytest.approx(0.25)


def test_vq_gradient_reaches_chosen_codewords_only_and_points_at_the_residuals():
    tokenizer = by_hand()
    tokenizer.losses(torch.tensor([[-1.0, 4.5]]))["vq"].backward()
    gradient = tokenizer.codebooks.grad
    assert gradient is not None
    # d|r - e|^2 / de = 2 (e - r): level 1 code 1: 2 (1, -.5); level 2 code 1: 2 (0, .5).
    expected = torch.zeros(2, 2, 2)
    expected[0, 1] = torch.tensor([2.0, -1.0])
    expected[1, 1] = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(gradient, expected)


def test_loss_terms_train_what_they_say():
    rqvae = small_rqvae()
    rqvae.fit(blobs(), epochs=1, lr=1e-3, weight_decay=0, batch_size=64, seed=0, progress=False)

    def gradients(name: str) -> dict[str, bool]:
        rqvae.zero_grad(set_to_none=True)
        rqvae.losses(blobs())[name].backward()
        has = {"codebooks": rqvae.codebooks.grad is not None}
        has["encoder"] = all(
            p.grad is not None and p.grad.any() for p in rqvae.encoder.parameters()
        )
        has["decoder"] = any(p.grad is not None for p in rqvae.decoder.parameters())
        return has

    assert gradients("reconstruction") == {"codebooks": False, "encoder": True, "decoder": True}
    assert gradients("vq") == {"codebooks": True, "encoder": True, "decoder": False}


def test_quantized_vector_is_differentiable_in_the_codebooks():
    tokenizer = by_hand()
    _, z_q = tokenizer.quantize(torch.tensor([[5.0, 0.0]]))
    z_q.sum().backward()
    assert tokenizer.codebooks.grad is not None
    assert tokenizer.codebooks.grad.sum().item() == 4  # two levels, two coordinates


# --- Sinkhorn -------------------------------------------------------------------------------------


def test_sinkhorn_marginals():
    cost = torch.rand(60, 6, generator=torch.Generator().manual_seed(0)) * 40
    plan = sinkhorn(cost, epsilon=0.1, iterations=200)
    torch.testing.assert_close(plan.sum(1), torch.full((60,), 1 / 60, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64))


def test_sinkhorn_balances_where_all_want_the_same_code():
    # Everyone likes code 0; the three that like it least against code 1 must give way.
    cost = torch.tensor([[0.0, 9.0], [0.0, 8.0], [0.0, 7.0], [0.0, 3.0], [0.0, 2.0], [0.0, 1.0]])
    assert balanced_argmin(cost, epsilon=0.1, iterations=500).tolist() == [0, 0, 0, 1, 1, 1]


def test_sinkhorn_stays_finite_at_small_epsilon_and_flat_costs():
    cost = torch.randn(50, 8, generator=torch.Generator().manual_seed(1)) * 1e4
    assert torch.isfinite(sinkhorn(cost, epsilon=0.003)).all()
    assert torch.isfinite(sinkhorn(torch.zeros(4, 2))).all()


def test_balanced_assignment_evens_out_the_last_level():
    x = torch.randn(400, 6, generator=torch.Generator().manual_seed(0)).exp()
    x = (x - x.mean(0)) / 10
    tokenizer = ResidualKMeans(levels=2, codebook_size=8, width=6).fit(x, seed=0)
    greedy, balanced = tokenizer.assign(x), tokenizer.assign(x, balanced=True)
    assert torch.equal(greedy[:, 0], balanced[:, 0])
    before, after = (sid_stats(c.numpy(), 8).levels[1].perplexity for c in (greedy, balanced))
    assert after > before


# --- residual k-means -----------------------------------------------------------------------------


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


def test_new_items_get_the_codes_of_their_likes():
    x = blobs()
    tokenizer = ResidualKMeans(levels=1, codebook_size=8, width=6).fit(x, seed=0)
    codes = tokenizer.assign(x)
    nudged = (x + 0.01).numpy()  # an array, as a transform returns it
    assert torch.equal(tokenizer.assign(nudged), codes)


def test_too_few_items_are_refused():
    with pytest.raises(DigerError, match="codebook_size is 16 but the catalogue has only 10"):
        ResidualKMeans(levels=1, codebook_size=16, width=2).fit(torch.randn(10, 2), seed=0)
    with pytest.raises(DigerError, match="finite"):
        ResidualKMeans(levels=1, codebook_size=2, width=1).fit(torch.full((4, 1), math.nan), seed=0)


# --- RQ-VAE ---------------------------------------------------------------------------------------


def small_rqvae(codebook_size: int = 8) -> RQVAE:
    return RQVAE(dim=6, hidden=(16, 12), levels=2, codebook_size=codebook_size, width=4)


def test_rqvae_learns_and_keeps_its_codes():
    x = blobs(clusters=8)
    rqvae = small_rqvae()
    history = rqvae.fit(
        x, epochs=40, lr=3e-3, weight_decay=1e-4, batch_size=64, seed=0, progress=False
    )
    assert len(history) == 40
    assert history[-1].reconstruction < 0.5 * history[0].reconstruction
    assert history[-1].reconstruction < 0.1
    assert history[-1].perplexity[0] > 6
    codes = rqvae.assign(x)
    assert codes.shape == (240, 2) and codes.dtype == torch.long
    assert history[-1].perplexity == rqvae.effective_codes(x)


def test_rqvae_is_repeatable_and_leaves_global_randomness_alone():
    def fitted(global_seed: int) -> RQVAE:
        torch.manual_seed(global_seed)
        rqvae = small_rqvae()
        state = torch.random.get_rng_state()
        rqvae.fit(blobs(), epochs=2, lr=1e-3, weight_decay=0, batch_size=50, seed=7, progress=False)
        assert torch.equal(state, torch.random.get_rng_state())
        return rqvae

    one, other = fitted(1).state_dict(), fitted(2).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_warm_start_begins_near_the_principal_directions():
    x = blobs(clusters=20, each=20)
    warm, cold = small_rqvae(), small_rqvae()
    for rqvae, start in ((warm, True), (cold, False)):
        rqvae.fit(
            x,
            epochs=1,
            lr=1e-9,
            weight_decay=0,
            batch_size=400,
            seed=0,
            warm_start=start,
            progress=False,
        )
    assert warm.losses(x)["reconstruction"] < 0.7 < cold.losses(x)["reconstruction"]


def test_collapse_is_reported(caplog: pytest.LogCaptureFixture):
    x = torch.zeros(64, 6)
    x[0] = 8.0  # one item far from all others: one code for everything else
    with caplog.at_level(logging.WARNING):
        small_rqvae(64).fit(
            x, epochs=1, lr=1e-9, weight_decay=0, batch_size=64, seed=0, progress=False
        )
    assert "level 1 of the RQ-VAE uses" in caplog.text


def test_rqvae_that_diverges_says_so():
    with pytest.raises(DigerError, match="lower lr"):
        small_rqvae().fit(
            blobs(), epochs=5, lr=1e30, weight_decay=0, batch_size=64, seed=0, progress=False
        )


def test_rqvae_narrower_content_than_latents_is_refused():
    with pytest.raises(DigerError, match="width 8 is more than the 4"):
        RQVAE(dim=4, hidden=(8,), levels=1, codebook_size=2, width=8)


# --- configuration and building -------------------------------------------------------------------


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
    assert torch.equal(again.assign(x), codes)
    _, repeated = build_tokenizer(config, x, seed=3, progress=False)
    assert torch.equal(repeated, codes)


def test_configuration_refuses_the_unknown_and_the_impossible():
    with pytest.raises(ValidationError, match="codebooksize"):
        TokenizerConfig(codebooksize=3)
    with pytest.raises(ValidationError, match="levels"):
        TokenizerConfig(levels=0)
    with pytest.raises(ValidationError, match="go together"):
        TokenizerConfig(kind="file")
    with pytest.raises(DigerError, match="width must be 6, got 64"):
        build_tokenizer(TokenizerConfig(codebook_size=8), blobs(), seed=0)
    with pytest.raises(DigerError, match="embed the items"):
        build_tokenizer(TokenizerConfig(), None, seed=0)


def test_content_width_follows_the_kind():
    assert TokenizerConfig(width=32).content_width == 32
    assert TokenizerConfig(kind="rqvae", width=32).content_width is None
    assert TokenizerConfig(kind="rqvae", rqvae={"input_width": 128}).content_width == 128


@pytest.mark.skipif("DIGER_DATA" not in os.environ, reason="set DIGER_DATA to the data folder")
def test_catalogue_scale_uses_every_code():
    """Random content of Beauty's size, with a spectrum that falls like a text encoder's."""
    with gzip.open(Path(os.environ["DIGER_DATA"]) / "beauty" / "items.jsonl.gz") as file:
        n = sum(1 for _ in file)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, 64)) / np.sqrt(np.arange(1, 65))).astype(np.float32)
    x /= np.sqrt(np.square(x).sum(1).mean())
    _, codes = build_tokenizer(TokenizerConfig(kmeans={"iterations": 10}), x, seed=0)
    stats = sid_stats(codes.numpy(), 256)
    assert [level.dead for level in stats.levels] == [0, 0, 0]
    assert stats.collisions.unique_share > 0.9


def test_random_codebooks_have_the_spread_of_what_they_stand_for():
    generator = torch.Generator().manual_seed(1)
    content = torch.randn(4000, 8, generator=generator) * torch.arange(1, 9) + 5

    def made(seed: int, random: bool) -> ResidualKMeans:
        empty = ResidualKMeans(levels=2, codebook_size=64, width=8)
        return empty.fit(content, seed=seed, random=random)

    def error(one: ResidualKMeans) -> float:
        return float((one.reconstruct(one.quantize(content)[1]) - content).square().mean().detach())

    first = made(3, random=True)
    assert torch.equal(first.codebooks, made(3, random=True).codebooks)
    assert not torch.equal(first.codebooks[0], made(4, random=True).codebooks[0])
    deviation = first.codebooks[0].std(0) / content.std(0)
    assert deviation.min() > 0.7 and deviation.max() < 1.4
    assert error(made(3, random=False)) < error(first)
