"""An RQ-VAE to start from instead of pre-training one: the file that `convert rqvae` writes.

Its weights read and write raw text features; ours sees features that are centred, scaled and
brought to unit coordinates (`ContentTransform`, `RQVAE`). Both changes are affine, so they are
folded into the first and last layers: latents, codewords and codes are those of the checkpoint.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diger.content.transform import ContentTransform
from diger.errors import DigerError
from diger.tokenizer.rqvae import RQVAE

FORMAT = "diger-rqvae-1"


def load_checkpoint(
    tokenizer: RQVAE, path: Path | str, transform: ContentTransform, dataset: str | None = None
) -> None:
    """Fill `tokenizer` with the weights at `path`, for content that `transform` made.

    Args:
        tokenizer: whose weights are replaced.
        path: of a file that `convert rqvae` wrote.
        transform: of the content.
        dataset: its name; the released RQ-VAEs are alike in shape, and each fits one dataset only.
    """
    tensors, released_for = _read(Path(path))
    if dataset is not None and released_for and released_for.lower() != dataset.lower():
        raise DigerError(
            f"{path} is the RQ-VAE released for {released_for}, and this dataset is {dataset}; set "
            "tokenizer.checkpoint to its own, or give the converted data the name it was released "
            "under (convert data --name)"
        )
    if transform.projection is not None:
        raise DigerError(
            f"{path} reads whole text features: leave tokenizer.rqvae.input_width out of the recipe"
        )
    expected = {name: tuple(t.shape) for name, t in tokenizer.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise DigerError(
                f"{path}: {name} has the shape {found.get(name, 'of nothing')}, the recipe makes "
                f"it {expected.get(name, 'nothing')}; fit tokenizer.levels, codebook_size, width "
                "and rqvae.hidden to the checkpoint, and the content vectors as well"
            )
    tokenizer.load_state_dict(_folded(tensors, transform))


def _folded(tensors: dict[str, Tensor], transform: ContentTransform) -> dict[str, Tensor]:
    """Weights that do after x -> scale (x - mean) what `tensors` do before it."""
    folded = {name: tensor.double() for name, tensor in tensors.items()}
    mean = torch.from_numpy(transform.mean.astype(np.float64))
    dim, width = len(mean), tensors["codebooks"].shape[-1]
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("decoder."))
    gain = transform.scale * math.sqrt(dim)  # of a centred feature on its way into the encoder
    folded["encoder.0.bias"] += folded["encoder.0.weight"] @ mean
    folded["encoder.0.weight"] /= gain
    folded["decoder.0.weight"] /= math.sqrt(width)
    folded[f"decoder.{last}.weight"] *= gain
    folded[f"decoder.{last}.bias"] = (folded[f"decoder.{last}.bias"] - mean) * gain
    return {name: tensor.float() for name, tensor in folded.items()}


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights, and the dataset they were released for where that is known."""
    if not path.is_file():
        raise DigerError(
            f"no RQ-VAE at {path} (tokenizer.checkpoint); make it of a released checkpoint with "
            "python -m diger convert rqvae"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DigerError(f"{path} cannot be read ({error}); convert the checkpoint again") from None
    if metadata.get("format") != FORMAT:
        raise DigerError(f"{path} is not an RQ-VAE that python -m diger convert rqvae made")
    return tensors, metadata.get("released_for", "")
