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


def load(path: str | Path, device: str = "cpu", *, catalogue: str | Path | None = None) -> Model:
    """Load a checkpoint bundle; see `diger.model.Model` for what it can do.

    Args:
        path: a folder, or an address on the Hugging Face Hub: `hub://owner/name@revision`.
        device: cpu, cuda, ...
        catalogue: a file with titles for a bundle that carries none; see `diger.bundle.catalogue`.
    """
    from diger.model import load_model

    return load_model(path, device, catalogue=catalogue)
