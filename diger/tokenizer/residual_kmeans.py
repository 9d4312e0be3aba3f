"""Residual k-means: no encoder, each level's codebook is a k-means of what the last one left.

It takes a second or so, uses every code, and has nothing to collapse before joint training starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diger.tokenizer.base import Tokenizer, check_content, float64

# Seeded k-means on torch: k-means++ on a sample, then Lloyd's iterations as matrix products.
#
# All random choices are made on the CPU, so a seed means the same on every device, and centroid
# sums are one-hot products rather than atomic adds, so a GPU repeats itself. A cluster that loses
# all its points takes over the point that is worst served.


_CHUNK = 8192  # points a product
FITTED_ITEMS = 131_072  # 512 for each of 256 codewords
_SAMPLE_PER_CLUSTER = 20  # points a cluster that k-means++ looks at


def kmeans(
    points: Tensor, clusters: int, *, seed: int, iterations: int = 50, restarts: int = 1
) -> Tensor:
    """Centroids (clusters, width) of points (n, width), n >= clusters, on their device.

    Stops early once no point changes its cluster; of several `restarts` the one with the lowest
    within-cluster sum of squares wins. Points with fewer distinct values than `clusters` leave
    some centroids equal.
    """
    points = points.detach().float()
    generator = torch.Generator().manual_seed(seed)
    best, best_inertia = None, float("inf")
    for _ in range(restarts):
        centroids = _seed_centroids(points, clusters, generator).to(points.device)
        centroids, inertia = _lloyd(points, centroids, iterations)
        if best is None or inertia < best_inertia:
            best, best_inertia = centroids, inertia
    assert best is not None
    return best


def nearest(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Index (n,) of the nearest centroid and squared Euclidean distance (n,) to it."""
    norms = centroids.square().sum(-1)
    codes, distances = [], []
    for part in points.split(_CHUNK):
        score, code = torch.addmm(norms, part, centroids.T, alpha=-2).min(dim=1)
        codes.append(code)
        distances.append((score + part.square().sum(-1)).clamp_min(0))
    return torch.cat(codes), torch.cat(distances)


def _seed_centroids(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007) on a sample: each next with probability ~ d^2."""
    size = min(len(points), _SAMPLE_PER_CLUSTER * clusters)
    rows = torch.randperm(len(points), generator=generator)[:size]
    sample = points[rows.to(points.device)].cpu()
    draws = torch.rand(clusters, generator=generator, dtype=torch.float64)
    chosen = [0]  # the sample is already in random order
    distance = torch.full((size,), float("inf"), dtype=torch.float64)
    for k in range(1, clusters):
        distance = torch.minimum(distance, (sample - sample[chosen[-1]]).square().sum(-1).double())
        mass = distance.cumsum(0)
        # With nothing left to cover (repeated points), any point does.
        pick = torch.searchsorted(mass, draws[k] * mass[-1], right=True) if mass[-1] > 0 else k
        chosen.append(min(int(pick), size - 1))
    return sample[torch.tensor(chosen)]


def _lloyd(points: Tensor, centroids: Tensor, iterations: int) -> tuple[Tensor, float]:
    codes, distances = nearest(points, centroids)
    for _ in range(iterations):
        centroids = _means(points, codes, distances, centroids)
        previous = codes
        codes, distances = nearest(points, centroids)
        if torch.equal(codes, previous):
            break
    return centroids, float(float64(distances).sum())


def _means(points: Tensor, codes: Tensor, distances: Tensor, centroids: Tensor) -> Tensor:
    """Mean of each cluster; empty ones move to the points farthest from their centroids."""
    clusters = len(centroids)
    sums = torch.zeros_like(centroids)
    for part, code in zip(points.split(_CHUNK), codes.split(_CHUNK), strict=True):
        one_hot = torch.zeros(len(part), clusters, device=part.device)
        one_hot.scatter_(1, code[:, None], 1.0)
        sums += one_hot.T @ part
    counts = torch.bincount(codes, minlength=clusters)
    means = sums / counts.clamp_min(1)[:, None]
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = points[distances.topk(len(empty)).indices]
    return means


class ResidualKMeans(Tokenizer):
    """Tokenizer with identity encoder and decoder; `width` is the width of the content."""

    @torch.no_grad()
    def fit(
        self,
        content: Tensor,
        *,
        seed: int,
        iterations: int = 50,
        restarts: int = 1,
        random: bool = False,
    ) -> ResidualKMeans:
        """Fit all codebooks to content (items, width), level by level; returns self.

        Raises DigerError where there are fewer items than codes in a codebook.
        """
        check_content(content, self.codebook_size)
        fill_codebooks(
            self, content, seed=seed, iterations=iterations, restarts=restarts, random=random
        )
        return self


@torch.no_grad()
def fill_codebooks(
    tokenizer: Tokenizer,
    z: Tensor,
    *,
    seed: int,
    iterations: int = 50,
    restarts: int = 1,
    random: bool = False,
) -> None:
    """Set each level's codebook to a k-means of what z (items, width) leaves at that level.

    Of a large catalogue, items evenly spaced stand for all. With `random`, codewords are drawn from
    a Gaussian with that residual's mean and variances.
    """
    residual = z.to(tokenizer.codebooks.device).float()
    for level in range(tokenizer.levels):
        own_seed = seed * 1009 + level  # levels do not share their random choices
        if random:
            generator = torch.Generator().manual_seed(own_seed)
            drawn = torch.randn(tokenizer.codebook_size, residual.shape[1], generator=generator)
            deviation, mean = torch.std_mean(residual, dim=0)
            centroids = mean + deviation * drawn.to(residual.device)
        else:
            centroids = kmeans(
                residual[:: -(-len(residual) // FITTED_ITEMS)],
                tokenizer.codebook_size,
                seed=own_seed,
                iterations=iterations,
                restarts=restarts,
            )
        tokenizer.codebooks[level] = centroids
        # By the tokenizer's own similarity, which need not be k-means' distance.
        parts = [tokenizer.level_logits(part, level).argmax(-1) for part in residual.split(8192)]
        residual = residual - centroids[torch.cat(parts)]
