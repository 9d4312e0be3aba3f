"""Residual k-means: no encoder, each level's codebook is a k-means of what the last one left.

It takes a second or so, uses every code, and has nothing to collapse before joint training starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diger.tokenizer.base import Tokenizer, check_content
from diger.tokenizer.kmeans import kmeans


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

    With `random`, codewords are drawn from a Gaussian with that residual's mean and variances.
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
                residual,
                tokenizer.codebook_size,
                seed=own_seed,
                iterations=iterations,
                restarts=restarts,
            )
        tokenizer.codebooks[level] = centroids
        # By the tokenizer's own similarity, which need not be k-means' distance.
        parts = [tokenizer.level_logits(part, level).argmax(-1) for part in residual.split(8192)]
        residual = residual - centroids[torch.cat(parts)]
