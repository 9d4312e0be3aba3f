"""Holm's correction for a family of claims that was declared beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from diger.errors import DigerError

ALPHA = 0.05


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given; reject where one is <= alpha.

    The i-th smallest of m (from 0) is multiplied by m - i, and none is smaller than one before it
    (Holm, Scandinavian Journal of Statistics 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise DigerError(f"a p-value must be between 0 and 1, got {p}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for i, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - i) * p_values[place]))
        adjusted[place] = largest
    return adjusted
