"""The interface of a tokenizer: content vectors to codes by residual quantization, and its losses.

Level j picks the codeword most similar to what the earlier levels left over: with r_0 = z,
c_j = argmax_i sim(r_j, e_ji) and r_{j+1} = r_j - e_j,c_j. All codewords of all levels are one
Parameter, so that the joint stage can mix them softly (`latent`, `level_logits`, `codebooks`) and
an optimiser can treat them as a group. Distances are taken in float32 whatever autocast says:
a code is a decision, and should not depend on the precision that a run happens to use.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diger.errors import DigerError


def float64(x: Tensor) -> Tensor:
    """`x` in float64: on its device, or on the CPU for Apple's MPS, which has no float64."""
    return (x.cpu() if x.device.type == "mps" else x).double()


# Balanced assignment by entropic optimal transport (Cuturi 2013), in the log domain.
#
# Every item has mass 1/n and every code wants mass 1/K. The transport plan nearest to the costs is
# found by scaling rows and columns in turn; an item's code is the one that gets most of its mass.
# Costs are first mapped to [-1, 1], so that `epsilon` means the same for every dataset and level.
# In float64 logarithms: at epsilon = 0.003 the plan spans e^667, beyond what float32 can hold.


def sinkhorn(cost: Tensor, *, epsilon: float = 0.003, iterations: int = 50) -> Tensor:
    """Transport plan, float64 (n, K), for cost (n, K).

    Rows sum to 1/n exactly (they are scaled last); columns sum to 1/K as closely as `iterations`
    bring them.
    """
    n, k = cost.shape
    cost = float64(cost)
    low, high = cost.min(), cost.max()
    half_range = ((high - low) / 2).clamp_min(torch.finfo(torch.float64).tiny)
    log_plan = (cost - (high + low) / 2) / half_range / -epsilon
    # Rows first, as in the code that published SIDs come from: where the plan has not settled after
    # so few iterations, the order decides some items' codes.
    log_plan -= log_plan.logsumexp(dim=1, keepdim=True) + math.log(n)
    for _ in range(iterations):
        log_plan -= log_plan.logsumexp(dim=0, keepdim=True) + math.log(k)
        log_plan -= log_plan.logsumexp(dim=1, keepdim=True) + math.log(n)
    return log_plan.exp()


def balanced_argmin(cost: Tensor, *, epsilon: float = 0.003, iterations: int = 50) -> Tensor:
    """Code of every item, long (n,), under the balanced plan for cost (n, K)."""
    plan = sinkhorn(cost, epsilon=epsilon, iterations=iterations)
    return plan.argmax(dim=1).to(cost.device)


Similarity = Literal["l2", "cosine"]
_ROWS = 8192  # items a chunk of a pass without gradients: bounds its memory


class Tokenizer(nn.Module):
    """Base class; by itself an identity encoder over codebooks still to be filled.

    codebooks: Parameter (levels, codebook_size, width).
    Attributes: levels, codebook_size, width, similarity, beta (weight of the commitment term).
    """

    def __init__(
        self,
        *,
        levels: int,
        codebook_size: int,
        width: int,
        similarity: Similarity = "l2",
        beta: float = 0.25,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.codebook_size = codebook_size
        self.width = width
        self.similarity = similarity
        self.beta = beta
        self.codebooks = nn.Parameter(torch.zeros(levels, codebook_size, width))

    def latent(self, x: Tensor) -> Tensor:
        """Encoder: x (n, dim), the output of a `ContentTransform`, to z (n, width)."""
        return x

    def reconstruct(self, z_q: Tensor) -> Tensor:
        """Decoder: z_q (n, width) to x (n, dim)."""
        return z_q

    def level_logits(self, residual: Tensor, level: int) -> Tensor:
        """Similarity of residual (..., width) to each codeword of a level: (..., codebook_size).

        "l2": negative squared Euclidean distance; "cosine": cosine, in [-1, 1]. Differentiable in
        both the residual and the codebook.
        """
        with torch.autocast(residual.device.type, enabled=False):
            residual = residual.float()
            codebook = self.codebooks[level].float()
            if self.similarity == "cosine":
                return F.normalize(residual, dim=-1) @ F.normalize(codebook, dim=-1).T
            return (
                2 * residual @ codebook.T
                - residual.square().sum(-1, keepdim=True)
                - codebook.square().sum(-1)
            )

    def lookup(self, codes: Tensor) -> Tensor:
        """Sum z_q (n, width) of the codewords of codes (n, levels); differentiable in codebooks."""
        z_q = F.embedding(codes[:, 0], self.codebooks[0])
        for level in range(1, self.levels):
            z_q = z_q + F.embedding(codes[:, level], self.codebooks[level])
        return z_q

    def quantize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Greedy residual quantization of z (n, width): codes long (n, levels), z_q (n, width).

        Codes carry no gradient; z_q carries one to the codebooks (none to z). Ties go to the
        lowest code.
        """
        with torch.no_grad():
            codes = torch.cat([self._greedy(part) for part in z.split(_ROWS)])
        return codes, self.lookup(codes)

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Tokenizer losses on x (n, dim), apart, so that a trainer can weight and route them.

        reconstruction: |x - decoder(z_q)|^2, straight-through, so it trains encoder and decoder;
            without a decoder it is a plain figure that trains nothing.
        vq: sum over levels of |sg(r) - e|^2 + beta |r - sg(e)|^2 (van den Oord et al. 2017, per
            level as in Lee et al. 2022); trains codebooks, and the encoder through `beta`.

        Both are squared norms (summed over dimensions) averaged over items: on transformed content
        1.0 is its whole variance. Divide by the width for a mean over elements.
        """
        z = self.latent(x)
        codes, z_q = self.quantize(z)
        vq = torch.zeros((), device=x.device)
        residual = z
        for level in range(self.levels):
            codeword = F.embedding(codes[:, level], self.codebooks[level])
            codebook_loss = (residual.detach() - codeword).square().sum(-1).mean()
            commitment = (residual - codeword.detach()).square().sum(-1).mean()
            vq = vq + codebook_loss + self.beta * commitment
            residual = residual - codeword.detach()
        straight_through = z + (z_q - z).detach()
        reconstruction = (x - self.reconstruct(straight_through)).square().sum(-1).mean()
        return {"reconstruction": reconstruction, "vq": vq}

    @torch.no_grad()
    def assign(
        self,
        x: Tensor | np.ndarray,
        balanced: bool = False,
        *,
        epsilon: float = 0.003,
        iterations: int = 50,
        every_level: bool = False,
    ) -> Tensor:
        """Codes long (n, levels) of x (n, dim), on the tokenizer's device.

        balanced: the last level is assigned by optimal transport over the whole batch, so that its
            codes are used evenly and fewer items collide (`epsilon`, `iterations`: Sinkhorn). For
            whole catalogues; an item assigned this way depends on the others.
        every_level: where balanced, all levels are, each on what the one before left over.
        """
        x = torch.as_tensor(x, dtype=torch.float32, device=self.codebooks.device)
        z = torch.cat([self.latent(part) for part in x.split(_ROWS)])
        codes, _ = self.quantize(z)
        if balanced:
            residual = z
            for level in range(self.levels):
                if every_level or level == self.levels - 1:
                    cost = -self.level_logits(residual, level)
                    codes[:, level] = balanced_argmin(cost, epsilon=epsilon, iterations=iterations)
                residual = residual - self.codebooks[level, codes[:, level]]
        return codes

    def _greedy(self, z: Tensor) -> Tensor:
        codes = []
        residual = z.float()
        for level in range(self.levels):
            code = self.level_logits(residual, level).argmax(-1)
            residual = residual - self.codebooks[level, code]
            codes.append(code)
        return torch.stack(codes, dim=1)


def check_content(content: Tensor, codebook_size: int) -> None:
    """Refuse content that no codebook can be fitted to, with a DigerError that says why."""
    if content.ndim != 2 or not torch.isfinite(content).all():
        raise DigerError(
            f"content must be finite, of shape (items, dim), got shape {tuple(content.shape)}"
        )
    if len(content) < codebook_size:
        raise DigerError(
            f"codebook_size is {codebook_size} but the catalogue has only {len(content)} items: "
            "set a codebook_size that is well below the number of items"
        )
