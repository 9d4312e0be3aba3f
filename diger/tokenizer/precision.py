"""Float64 wherever it can be had."""

from __future__ import annotations

from torch import Tensor


def float64(x: Tensor) -> Tensor:
    """`x` in float64: on its device, or on the CPU for Apple's MPS, which has no float64."""
    return (x.cpu() if x.device.type == "mps" else x).double()
