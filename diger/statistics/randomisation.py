"""A randomisation test over users: are these trained models different on these users?

Under the null hypothesis a user's two results could have been swapped, so the sign of every user's
difference is drawn anew. What it is about are **these trained models**; it says nothing about the
method that made them, for another seed may turn the result around, however small p is. For the
method see `diger.statistics.bootstrap`.
"""

from __future__ import annotations

import numpy as np

from diger.errors import DigerError

ABOUT = "about these trained models, not about the method"
SAMPLES = 1999


def randomisation_p(differences: np.ndarray, samples: int = SAMPLES, random_seed: int = 0) -> float:
    """Two-sided p of a mean difference under random signs, (1 + as extreme) / (1 + samples).

    Args:
        differences: (users,) arm minus baseline; with several seeds, a user's mean over them.
        samples: how many sets of signs are drawn.
        random_seed: of the signs.
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise DigerError("a randomisation test needs one finite difference a user")
    # Users with differences of one size are drawn together: a binomial number of them is positive.
    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    if not sizes.size:
        return 1.0
    rng = np.random.default_rng(random_seed)
    signed = 2 * rng.binomial(counts, 0.5, size=(samples, len(counts))) - counts
    sums = np.abs(signed @ sizes)
    # Sums of the same numbers in another order may differ in the last digits.
    extreme = int((sums >= abs(values.sum()) * (1 - 1e-9)).sum())
    return (1 + extreme) / (1 + samples)
