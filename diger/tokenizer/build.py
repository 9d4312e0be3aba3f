"""From a configuration to a tokenizer: empty, for weights to be loaded into, or fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diger.content.transform import ContentTransform
from diger.errors import DigerError
from diger.tokenizer.base import Tokenizer
from diger.tokenizer.config import TokenizerConfig
from diger.tokenizer.distinct import distinct_codes
from diger.tokenizer.from_file import FileTokenizer, read_sids
from diger.tokenizer.residual_kmeans import ResidualKMeans
from diger.tokenizer.rqvae import RQVAE, load_checkpoint

__all__ = ["TokenizerConfig", "assign_catalogue", "build_tokenizer", "make_tokenizer"]


def make_tokenizer(config: TokenizerConfig, dim: int) -> ResidualKMeans | RQVAE:
    """A tokenizer of the right shapes with nothing learned, e.g. to load a bundle's weights into.

    dim: width of the (transformed) content. SIDs from a file have no weights: see `FileTokenizer`.
    """
    if config.kind == "file":
        raise DigerError("a tokenizer of kind file has no weights to load, only its items' codes")
    if config.kind == "rqvae":
        return RQVAE(
            dim=dim,
            hidden=config.rqvae.hidden,
            levels=config.levels,
            codebook_size=config.codebook_size,
            width=config.width,
            similarity=config.similarity,
            beta=config.beta,
        )
    if dim != config.width:
        raise DigerError(
            f"residual k-means works on the content as it is, so width must be {dim}, "
            f"got {config.width}"
        )
    return ResidualKMeans(
        levels=config.levels,
        codebook_size=config.codebook_size,
        width=config.width,
        similarity=config.similarity,
        beta=config.beta,
    )


def build_tokenizer(
    config: TokenizerConfig,
    content: Tensor | np.ndarray | None,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    item_ids: Sequence[str] | None = None,
    transform: ContentTransform | None = None,
    dataset: str | None = None,
    progress: bool = True,
) -> tuple[Tokenizer, Tensor]:
    """Fit a tokenizer on a catalogue and assign its codes: (tokenizer, codes long (items, levels)).

    content: (items, dim), the output of a `ContentTransform` fitted at `config.content_width`; None
    for kind "file", which needs `item_ids` (in row order) instead. `transform` is what made the
    content, needed to start from a checkpoint, and `dataset` its name, to refuse a checkpoint that
    was released for another. Both results are on `device`.
    """
    if config.kind == "file":
        assert config.file is not None
        if item_ids is None:
            raise DigerError("SIDs from a file are matched by item_ids, and none were given")
        sids = read_sids(
            config.file.path,
            item_ids,
            codebook_size=config.codebook_size,
            levels=config.levels,
            key_offset=config.file.key_offset,
            suffix=config.file.suffix,
        )
        from_file = FileTokenizer(sids, codebook_size=config.codebook_size).to(device)
        return from_file, from_file.codes
    if content is None:
        raise DigerError(f"a {config.kind} tokenizer is fitted to content vectors: embed the items")
    x = torch.as_tensor(content, dtype=torch.float32, device=device)
    tokenizer = make_tokenizer(config, x.shape[-1]).to(device)
    if config.checkpoint is not None:
        if not isinstance(tokenizer, RQVAE) or transform is None:
            raise ValueError("a checkpoint needs an RQ-VAE and the transform of its content")
        load_checkpoint(tokenizer, config.checkpoint, transform, dataset)
    elif isinstance(tokenizer, RQVAE):
        tokenizer.fit(
            x,
            epochs=config.rqvae.epochs,
            lr=config.rqvae.lr,
            weight_decay=config.rqvae.weight_decay,
            batch_size=config.rqvae.batch_size,
            warm_start=config.rqvae.warm_start,
            kmeans_iterations=config.kmeans.iterations,
            kmeans_restarts=config.kmeans.restarts,
            random_codebooks=config.kmeans.random,
            seed=seed,
            progress=progress,
        )
    else:
        tokenizer.fit(
            x,
            seed=seed,
            iterations=config.kmeans.iterations,
            restarts=config.kmeans.restarts,
            random=config.kmeans.random,
        )
    return tokenizer, assign_catalogue(tokenizer, config, x)


def assign_catalogue(tokenizer: Tokenizer, config: TokenizerConfig, x: Tensor) -> Tensor:
    """Codes long (items, levels) of a whole catalogue x (items, dim), as `config` says."""
    codes = tokenizer.assign(
        x,
        balanced=config.balanced,
        epsilon=config.sinkhorn.epsilon,
        iterations=config.sinkhorn.iterations,
        every_level=config.sinkhorn.every_level,
    )
    return distinct_codes(tokenizer, x, codes) if config.distinct else codes
