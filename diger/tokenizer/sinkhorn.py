"""Balanced assignment by entropic optimal transport (Cuturi 2013), in the log domain.

Every item has mass 1/n and every code wants mass 1/K. The transport plan nearest to the costs is
found by scaling rows and columns in turn; an item's code is the one that gets most of its mass.
Costs are first mapped to [-1, 1], so that `epsilon` means the same for every dataset and level.
In float64 logarithms: at epsilon = 0.003 the plan spans e^667, beyond what float32 can hold.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diger.tokenizer.precision import float64


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
