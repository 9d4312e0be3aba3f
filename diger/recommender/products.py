"""Large matrix products, on a CPU by the faster of torch's two libraries; bf16 where it pays.

Torch multiplies fp32 matrices with MKL, which uses half the width of an AMD processor's vector
units; oneDNN, also in torch, uses all of it, at twice the speed and the same accuracy. Torch turns
to oneDNN only where it is allowed to compute in bfloat16, which oneDNN does only on processors with
matrix units (AMX and its like). So the switch is set for the duration of a product, where a trial
shows that the results keep the accuracy of fp32. Attention, of many tiny products, stays with MKL.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LARGE = 2**17  # numbers; for a smaller product without gradients the switch is not worth it
_ACCURACY = 1e-5  # relative; fp32 sums of 256 products come to 3e-7, bfloat16 factors to 2e-3
_SWITCH: Any = getattr(torch.backends.mkldnn, "matmul", None)  # not in older versions of torch
# Read once: a thread that read it during another's product would put back what that one had set.
_USUAL = _SWITCH and _SWITCH.fp32_precision


def arithmetic(device: torch.device, precision: str) -> str:
    """What a recipe's `precision` comes to on a device: "bf16" only where the device has it."""
    lacking = precision == "bf16" and device.type == "cpu" and not has_bfloat16()
    return "fp32" if lacking else precision


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context of a forward pass in what `arithmetic` says."""
    half = arithmetic(device, precision) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


@functools.cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16; by a trial, on many it takes 50 times as long."""
    times = []
    for dtype in (torch.float32, torch.bfloat16):
        a, tries = torch.ones(256, 256, dtype=dtype), []
        for _ in range(4):
            began = time.perf_counter()
            a @ a
            tries.append(time.perf_counter() - began)
        times.append(min(tries))
    return times[1] < 4 * times[0]


class Linear(nn.Linear):
    """`torch.nn.Linear`, see the module's text."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., in) times weight (out, in), plus bias (out,): `torch.nn.functional.linear`."""
    training = torch.is_grad_enabled()
    if not training and x.numel() < _LARGE:
        return F.linear(x, weight, bias)
    plain = x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if plain or not _onednn_is_exact():
        return F.linear(x, weight, bias)
    if not training:
        with _onednn():
            return F.linear(x, weight, bias)
    result: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        with _onednn():
            return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].flatten(0, -2)
        want_x, want_weight, want_bias = ctx.needs_input_grad
        with _onednn():
            return (
                (grad @ weight).view_as(x) if want_x else None,
                grad.T @ x.flatten(0, -2) if want_weight else None,
                grad.sum(0) if want_bias else None,
            )


@contextmanager
def _onednn() -> Iterator[None]:
    _SWITCH.fp32_precision = "bf16"
    try:
        yield
    finally:
        _SWITCH.fp32_precision = _USUAL


@functools.cache
def _onednn_is_exact() -> bool:
    """Whether oneDNN is there and computes in fp32 though it were allowed not to."""
    if _SWITCH is None or not torch.backends.mkldnn.is_available():
        return False
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = a.double() @ b.double()
        with _onednn():
            error = (a @ b - exact).abs().max() / exact.abs().max()
    return bool(error < _ACCURACY)
