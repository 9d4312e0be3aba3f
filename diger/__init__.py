"""DIGER Studio: differentiable semantic IDs for generative recommendation.

`diger.load(path).recommend(history)` is the short way in; `python -m diger` the long one.
Importing the package does not import torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diger.errors import DigerError

if TYPE_CHECKING:
    from diger.model import Model

__all__ = ["DigerError", "load"]


def load(path: str | Path, device: str = "cpu") -> Model:
    """Load a checkpoint bundle; see `diger.model.Model` for what it can do.

    Raises:
        DigerError: no bundle there, a broken or results-only one, or one of another version.
    """
    from diger.model import load_model

    return load_model(path, device)
