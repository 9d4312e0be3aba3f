"""RQ-VAE: an encoder and decoder around residual quantization (Lee et al. 2022; TIGER 2023).

A randomly started encoder maps text vectors to nearly one point, and codebooks fitted there die.
So the last layer of encoder and decoder is first solved by ridge regression, on to the leading
principal directions and back, with the layers below it left random ("warm start"); codebooks are a
residual k-means of those latents; then all is trained. Inputs are expected at mean squared norm 1
(`ContentTransform`) and are brought to unit coordinates inside.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from diger.content.transform import ContentTransform
from diger.errors import DigerError
from diger.tokenizer.base import Similarity, Tokenizer, check_content
from diger.tokenizer.residual_kmeans import fill_codebooks, float64
from diger.tokenizer.stats import perplexity

_log = logging.getLogger(__name__)
_RIDGE = 1e-3  # relative to the mean power of a hidden feature
_COLLAPSED = 0.1  # effective codes under this share of the codebook are reported


@dataclass(frozen=True)
class FitEpoch:
    """One epoch of pre-training: mean losses, and effective codes per level after it."""

    epoch: int
    reconstruction: float
    vq: float
    perplexity: tuple[float, ...]


class RQVAE(Tokenizer):
    """Tokenizer with a ReLU encoder dim -> hidden -> width and a mirrored decoder."""

    def __init__(
        self,
        *,
        dim: int,
        hidden: Sequence[int],
        levels: int,
        codebook_size: int,
        width: int,
        similarity: Similarity = "l2",
        beta: float = 0.25,
    ) -> None:
        super().__init__(
            levels=levels,
            codebook_size=codebook_size,
            width=width,
            similarity=similarity,
            beta=beta,
        )
        if width > dim:
            raise DigerError(f"width {width} is more than the {dim} numbers of a content vector")
        self.encoder = _mlp([dim, *hidden, width])
        self.decoder = _mlp([width, *reversed(hidden), dim])
        self.input_gain = math.sqrt(dim)
        self.latent_gain = math.sqrt(width)

    def latent(self, x: Tensor) -> Tensor:
        """Encoder: x (n, dim) to z (n, width)."""
        return self.encoder(x * self.input_gain)

    def reconstruct(self, z_q: Tensor) -> Tensor:
        """Decoder: z_q (n, width) to x (n, dim)."""
        return self.decoder(z_q * self.latent_gain) / self.input_gain

    def fit(
        self,
        content: Tensor,
        *,
        epochs: int,
        lr: float,
        weight_decay: float,
        batch_size: int,
        seed: int,
        warm_start: bool = True,
        kmeans_iterations: int = 50,
        kmeans_restarts: int = 1,
        random_codebooks: bool = False,
        progress: bool = True,
        on_epoch: Callable[[FitEpoch], None] | None = None,
    ) -> list[FitEpoch]:
        """Pre-train on content (items, dim) with AdamW; returns one record an epoch.

        The loss is reconstruction + vq; the content stays whole on the tokenizer's device.
        Effective codes are counted over all items after every epoch, and a level that ends under a
        tenth of its codebook is reported in the log. Raises DigerError where there are fewer items
        than codes, or the loss is no longer finite.
        """
        check_content(content, self.codebook_size)
        content = content.to(self.codebooks.device, torch.float32)
        generator = torch.Generator().manual_seed(seed)
        _initialise(self.encoder, generator)
        _initialise(self.decoder, generator)
        self._start(content, warm_start)
        fill_codebooks(
            self,
            self.latent(content),
            seed=seed,
            iterations=kmeans_iterations,
            restarts=kmeans_restarts,
            random=random_codebooks,
        )
        optimizer = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=weight_decay)
        history: list[FitEpoch] = []
        with Progress(
            console=Console(stderr=True), disable=not (progress and sys.stderr.isatty())
        ) as bar:
            task = bar.add_task("RQ-VAE", total=epochs)
            for epoch in range(1, epochs + 1):
                order = torch.randperm(len(content), generator=generator).to(content.device)
                record = self._train_epoch(content, order.split(batch_size), optimizer, epoch)
                history.append(record)
                codes = " / ".join(f"{value:.0f}" for value in record.perplexity)
                bar.update(task, advance=1, description=f"RQ-VAE, effective codes {codes}")
                if on_epoch is not None:
                    on_epoch(record)
        self._report_collapse(history[-1])
        return history

    def _train_epoch(
        self,
        content: Tensor,
        batches: Sequence[Tensor],
        optimizer: torch.optim.Optimizer,
        epoch: int,
    ) -> FitEpoch:
        totals = torch.zeros(2, device=content.device)
        for batch in batches:
            losses = self.losses(content[batch])
            optimizer.zero_grad(set_to_none=True)
            (losses["reconstruction"] + losses["vq"]).backward()
            optimizer.step()
            totals += torch.stack([losses["reconstruction"], losses["vq"]]).detach() * len(batch)
        reconstruction, vq = (totals / len(content)).tolist()
        if not math.isfinite(reconstruction + vq):
            raise DigerError(
                f"the RQ-VAE's loss is {reconstruction + vq} in epoch {epoch}: lower lr"
            )
        return FitEpoch(epoch, reconstruction, vq, self.effective_codes(content))

    def effective_codes(self, content: Tensor) -> tuple[float, ...]:
        """Perplexity of each level's codes over content (items, dim)."""
        codes = self.assign(content).cpu().numpy()
        counts = (np.bincount(column, minlength=self.codebook_size) for column in codes.T)
        return tuple(perplexity(count) for count in counts)

    @torch.no_grad()
    def _start(self, content: Tensor, warm_start: bool) -> None:
        """Set encoder and decoder to what training begins with."""
        if warm_start:
            target = _principal_scores(content, self.width)
            _solve_last_layer(self.encoder, content * self.input_gain, target)
        else:
            spread = self.latent(content).square().sum(-1).mean().sqrt()
            last = self.encoder[-1]
            assert isinstance(last, nn.Linear)
            last.weight.div_(spread)  # latents, too, start at mean squared norm 1
        if warm_start:
            z = self.latent(content)
            _solve_last_layer(self.decoder, z * self.latent_gain, content * self.input_gain)

    def _report_collapse(self, record: FitEpoch) -> None:
        for level, value in enumerate(record.perplexity):
            if value < _COLLAPSED * self.codebook_size:
                _log.warning(
                    "level %d of the RQ-VAE uses %.1f effective codes of %d after epoch %d",
                    level + 1,
                    value,
                    self.codebook_size,
                    record.epoch,
                )


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def _initialise(mlp: nn.Sequential, generator: torch.Generator) -> None:
    """He et al. (2015) normal weights and zero biases, drawn on the CPU for any device."""
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            weight = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(weight * math.sqrt(2 / layer.in_features))
            layer.bias.zero_()


def _principal_scores(content: Tensor, width: int) -> Tensor:
    """Content (n, dim) on its leading `width` directions, at mean squared norm 1."""
    centred = content - content.mean(dim=0)
    covariance = float64(centred.T @ centred)
    directions = torch.linalg.eigh(covariance).eigenvectors[:, -width:].flip(1)
    peak = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    scores = centred @ (directions * peak.sign()).to(content)
    return scores / scores.square().sum(-1).mean().sqrt()


def _solve_last_layer(mlp: nn.Sequential, inputs: Tensor, target: Tensor) -> None:
    """Set the last linear layer to the ridge regression of target on what comes into it."""
    last = mlp[-1]
    assert isinstance(last, nn.Linear)
    features, target = float64(mlp[:-1](inputs)), float64(target)
    mean, target_mean = features.mean(dim=0), target.mean(dim=0)
    features = features - mean
    gram = features.T @ features
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean().clamp_min(1e-12))
    solution = torch.linalg.solve(gram, features.T @ (target - target_mean))
    last.weight.copy_(solution.T)
    last.bias.copy_(target_mean - mean @ solution)


# An RQ-VAE to start from instead of pre-training one: the file that `convert rqvae` writes.
#
# Its weights read and write raw text features; ours sees features that are centred, scaled and
# brought to unit coordinates (`ContentTransform`, `RQVAE`). Both changes are affine, so they are
# folded into the first and last layers: latents, codewords and codes are those of the checkpoint.

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
            "under (prepare --name)"
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
