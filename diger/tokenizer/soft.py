"""Soft, noisy codes with a gradient: DRIL's differentiable assignment (DIGER, arXiv 2601.19711).

Per level, with residual r, logits l = scale * sim(r, e), noise g and temperature tau:

    y = softmax((l + g) / tau),  c = argmax(l + g),  next residual r - sg(e_c)

Forward is the hard code, backward the soft mixture: a mixture's value is the one-hot of c, its
gradient that of y, so every plausible codeword learns, not only the winner. With Gumbel noise and
tau = 1, c is drawn from softmax(l) itself (the Gumbel-max trick), which gives the scale a meaning:
`calibrate` sets it so that the sampled code agrees with the deterministic one at a chosen rate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diger.tokenizer.base import Tokenizer

Noise = Literal["gumbel", "gaussian", "none"]
GUMBEL_STD = math.pi / math.sqrt(6)
log = logging.getLogger("diger.training")
CALIBRATION_ITEMS = 32_768  # more of them would not move the mean


@dataclass(frozen=True, eq=False)
class SoftCodes:
    """What `soft_codes` returns for n items.

    Attributes:
        codes: LongTensor (n, levels): the hard codes of the forward pass.
        drawn: LongTensor (n, levels): argmax(l + g), the codes that the noise would choose, given
            the residuals of `codes`.
        mixture: per level (n, codebook size): one-hot in value, soft in gradient.
        plain: LongTensor (n, levels): the codes without noise, given the residuals of `codes`.
        noise_scale: (n, levels) factors that were put on the noise.
    """

    codes: Tensor
    drawn: Tensor
    mixture: tuple[Tensor, ...]
    plain: Tensor
    noise_scale: Tensor


def draw(noise: Noise, like: Tensor) -> Tensor:
    """Noise of the shape of `like`: Gumbel(0, 1), or Gaussian of the same standard deviation."""
    if noise == "gumbel":
        # -log of an exponential variable; the floor keeps a (never quite impossible) 0 finite.
        return -torch.empty_like(like).exponential_().clamp_(min=1e-20).log_()
    if noise == "gaussian":
        return torch.randn_like(like) * GUMBEL_STD
    return torch.zeros_like(like)


def soft_codes(
    tokenizer: Tokenizer,
    x: Tensor,
    *,
    scale: Tensor,
    temperature: float = 1.0,
    noise: Noise = "gumbel",
    noise_scale: Callable[[int, Tensor], Tensor] | None = None,
    fixed: Tensor | None = None,
    winner_only: bool = False,
) -> SoftCodes:
    """Differentiable codes of content x (n, dim).

    Args:
        tokenizer: gives the encoder and the codebooks; both receive gradients.
        x: transformed content.
        scale: (levels,) factors on the similarities; see `calibrate`.
        temperature: tau, above 0.
        noise: its kind.
        noise_scale: (level, assigned codes (n,)) to factors (n,), the assigned ones being those of
            `fixed`, or else those without noise; None is 1 for all.
        fixed: LongTensor (n, levels): hard codes of the forward pass, e.g. those of the last
            refresh; noise then acts on the backward pass alone. None takes argmax(l + g).
        winner_only: the naive straight-through estimator: only the chosen codeword receives a
            gradient, through its own logit. At the labels that gradient can only push away: the
            loss falls where the winner's share of the target does.
    """
    z = tokenizer.latent(x)
    residual = z
    codes, drawn, mixture, plain, scales = [], [], [], [], []
    for level in range(tokenizer.levels):
        logits = tokenizer.level_logits(residual, level) * scale[level]
        best = logits.detach().argmax(-1)
        factor = torch.ones(best.shape, device=best.device)
        if noise != "none":
            if noise_scale is not None:
                factor = noise_scale(level, best if fixed is None else fixed[:, level])
            logits = logits + draw(noise, logits) * factor[:, None]
        else:
            factor = torch.zeros_like(factor)
        noisy = logits.detach().argmax(-1)
        hard = noisy if fixed is None else fixed[:, level]
        one_hot = F.one_hot(hard, tokenizer.codebook_size).to(logits.dtype)
        if winner_only:
            won = logits.gather(1, hard[:, None]) / temperature
            mixture.append(one_hot * (1 + won - won.detach()))
        else:
            soft = (logits / temperature).softmax(-1)
            mixture.append(one_hot + soft - soft.detach())
        # Detached: where an item goes next is no reason to move the codewords it came through.
        residual = residual - tokenizer.codebooks[level].detach()[hard]
        codes.append(hard)
        drawn.append(noisy)
        plain.append(best)
        scales.append(factor)
    return SoftCodes(
        torch.stack(codes, 1),
        torch.stack(drawn, 1),
        tuple(mixture),
        torch.stack(plain, 1),
        torch.stack(scales, 1),
    )


@torch.no_grad()
def calibrate(tokenizer: Tokenizer, x: Tensor, confidence: float) -> Tensor:
    """Factors (levels,) on the similarities so that the mean top probability is `confidence`.

    Found by bisection on a logarithmic scale over the items x (n, dim) with their deterministic
    codes; it is the expected share of sampled codes that agree with them. Of a large catalogue,
    items evenly spaced stand for all.
    """
    x = x[:: max(1, len(x) // CALIBRATION_ITEMS)]
    z = tokenizer.latent(x)
    codes, _ = tokenizer.quantize(z)
    residual = z
    scale = []
    for level in range(tokenizer.levels):
        logits = tokenizer.level_logits(residual, level)
        low, high = -10.0, 20.0
        for _ in range(40):
            middle = (low + high) / 2
            top = (logits * math.exp(middle)).softmax(-1).max(-1).values.mean().item()
            low, high = (middle, high) if top < confidence else (low, middle)
        scale.append(math.exp((low + high) / 2))
        residual = residual - tokenizer.codebooks[level, codes[:, level]]
        if abs(top - confidence) > 0.01:
            log.warning(
                "level %d: no scale gives a mean top probability of %.2f, the nearest is %.2f (are "
                "there codewords twice?); its noise will mean something else",
                level + 1,
                confidence,
                top,
            )
    return torch.tensor(scale, device=x.device)
