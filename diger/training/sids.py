"""The first stage: content vectors, a tokenizer, and a SID for every item.

What the stage made is kept in the run's folder, so that a run that is stopped later does not fit
the tokenizer again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diger.bundle import schema
from diger.bundle.reader import Bundle
from diger.config import Recipe
from diger.content.behaviour import behaviour_vectors
from diger.content.encoder import embed_items
from diger.content.fuse import fuse
from diger.content.transform import ContentTransform
from diger.content.vectors import ContentVectors
from diger.data.dataset import Dataset
from diger.errors import DigerError
from diger.files import replacing
from diger.tokenizer.base import Tokenizer
from diger.tokenizer.build import TokenizerConfig, build_tokenizer, make_tokenizer
from diger.tokenizer.from_file import FileTokenizer
from diger.tokenizer.stats import collision_groups
from diger.tokenizer.suffix import assign_suffix


@dataclass(frozen=True, eq=False)
class Content:
    """Item vectors, raw and as the tokenizer sees them.

    Attributes:
        raw: of one source as it was made, of several fused (`diger.content.fuse`); encoder and
            revision are those of `newcomer`'s source.
        transform: centring, projection and scale of `raw`.
        newcomer: the same for a new item, of which only one source is known: its text, where text
            is one of several.
        vectors: float32 (items, width).
        known: bool (items, sources): which sources each item had.
        weights: of the sources, by name.
        revisions: of what made each source, in the same order.
        told: how much of the others the first source tells, see `diger.content.fuse.Fused`.
    """

    raw: ContentVectors
    transform: ContentTransform
    newcomer: ContentTransform
    vectors: np.ndarray
    known: np.ndarray
    weights: dict[str, float]
    revisions: list[str]
    told: Mapping[str, float] = field(default_factory=dict)

    def moved(self, mixing: np.ndarray | None, offsets: np.ndarray | None) -> Content:
        """After joint training that mapped the content by `mixing` (width, width), then added
        `offsets` (items, width): a new item goes the same way, without an offset."""
        vectors, transform, newcomer = self.vectors, self.transform, self.newcomer
        if mixing is not None:
            vectors = vectors @ mixing
            transform, newcomer = transform.then(mixing), newcomer.then(mixing)
        if offsets is not None:
            vectors = vectors + offsets
        return replace(self, vectors=vectors, transform=transform, newcomer=newcomer)


@dataclass(frozen=True, eq=False)
class Sids:
    """The SIDs of a catalogue and where they come from.

    Attributes:
        tokenizer: None when the SIDs were read from a file.
        codes: int64 (items, levels).
        suffix: int64 (items,).
        sizes: codes each position can take, suffix last.
        seconds: to fit the tokenizer.
    """

    tokenizer: Tokenizer | None
    codes: np.ndarray
    suffix: np.ndarray
    sizes: tuple[int, ...]
    seconds: float

    @property
    def full(self) -> Tensor:
        """LongTensor (items, levels + 1)."""
        return torch.from_numpy(np.concatenate([self.codes, self.suffix[:, None]], axis=1))

    @property
    def group(self) -> np.ndarray:
        """(items,) number of the collision group: items with the same codes share it."""
        return collision_groups(self.codes)


def load_content(recipe: Recipe, dataset: Dataset, folder: Path) -> Content:
    """Content vectors of a dataset in `folder`; text is embedded now if it is not cached there."""
    weights = recipe.content.weights
    # Text first: it is what new items have.
    weights = dict(sorted(weights.items(), key=lambda source: source[0] != "text"))
    sources = {name: _source(name, recipe, dataset, folder) for name in weights}
    first = next(iter(sources.values()))
    revisions = [source.revision for source in sources.values()]
    wanted, dim = recipe.tokenizer.content_width, sum(c.dim for c in sources.values())
    if wanted is not None and wanted > dim:
        key = "rqvae.input_width" if recipe.tokenizer.kind == "rqvae" else "width"
        raise DigerError(
            f"the content vectors of {dataset.name} have {dim} numbers, and tokenizer.{key} asks "
            f"for {wanted}; set tokenizer.{key} to {dim} or less"
        )
    if len(sources) == 1:
        transform = ContentTransform.fit(first.vectors, first.missing, wanted)
        vectors = transform.transform(first.vectors, first.missing)
        known = ~first.missing[:, None]
        return Content(first, transform, transform, vectors, known, weights, revisions)
    fused = fuse(sources, weights)
    transform = ContentTransform.fit(fused.vectors, fused.missing, wanted)
    raw = replace(first, vectors=fused.vectors, missing=fused.missing)
    vectors = transform.transform(fused.vectors, fused.missing)
    newcomer = fused.newcomer(transform)
    return Content(raw, transform, newcomer, vectors, fused.known, weights, revisions, fused.told)


def _source(name: str, recipe: Recipe, dataset: Dataset, folder: Path) -> ContentVectors:
    content = recipe.content
    if name == "behaviour":
        own = content.behaviour
        return behaviour_vectors(dataset, window=own.window, width=own.width)
    encoder = content.encoder if name == "text" else name
    return embed_items(dataset, encoder, folder=folder, max_tokens=content.max_tokens)


def make_sids(
    recipe: Recipe,
    dataset: Dataset,
    content: Content | None,
    *,
    seed: int,
    device: torch.device,
    keep: Path,
) -> Sids:
    """Fit the tokenizer and assign SIDs, or take both from `keep`, left by an earlier sitting."""
    config = recipe.tokenizer
    tokenizer: Tokenizer | None
    kept = _read(keep)
    if kept is not None and content is not None:
        codes, state, seconds = kept
        tokenizer = make_tokenizer(config, dim=content.vectors.shape[1])
        tokenizer.load_state_dict(state)
    else:
        began = time.perf_counter()
        tokenizer, assigned = build_tokenizer(
            config,
            None if content is None else content.vectors,
            seed=seed,
            device=device,
            item_ids=dataset.items["item_id"].tolist(),
            transform=None if content is None else content.transform,
            dataset=dataset.name,
        )
        codes, seconds = assigned.cpu().numpy(), time.perf_counter() - began
        if content is not None:
            _write(keep, codes, tokenizer, seconds)
    suffix = tokenizer.suffix if isinstance(tokenizer, FileTokenizer) else None
    if suffix is None:
        _refuse_the_silent(dataset, codes, content, config.suffix_size)
        suffix = assign_suffix(codes, size=config.suffix_size)
    elif suffix.max() >= config.suffix_size:
        raise DigerError(
            f"the SIDs of {config.file.path if config.file else 'the file'} have suffixes up to "
            f"{suffix.max()}; set tokenizer.suffix_size above it"
        )
    if isinstance(tokenizer, FileTokenizer):
        tokenizer = None
    return Sids(tokenizer, codes, suffix, _sizes(config, codes, suffix), seconds)


def _sizes(config: TokenizerConfig, codes: np.ndarray, suffix: np.ndarray) -> tuple[int, ...]:
    """Codes each position can take: one at the suffix where every item's codes are its own."""
    needless = config.distinct and not suffix.any()
    return (*(config.codebook_size,) * codes.shape[1], 1 if needless else config.suffix_size)


def _refuse_the_silent(
    dataset: Dataset, codes: np.ndarray, content: Content | None, room: int
) -> None:
    """A DigerError that names the cause where items of which nothing is known share their codes."""
    if content is None:
        return
    silent = ~content.known.any(axis=1)
    if not silent.any():
        return
    most = np.unique(codes[silent], axis=0, return_counts=True)[1].max()
    if most > room:
        raise DigerError(
            f"nothing is known of {silent.sum():,} items of {dataset.name} (no text), so {most:,} "
            f"of them share their codes, and the suffix has room for {room}: give them text, let "
            "behaviour be a source ([content.sources] behaviour = 1.0), or leave them out"
        )


def sids_of_bundle(path: Path, recipe: Recipe, dataset: Dataset) -> Sids:
    """The SIDs of a complete bundle, and the tokenizer that made them."""
    bundle = Bundle.open(path).require_complete()
    items = bundle.items
    columns = [] if items is None else schema.numbered_columns(items, "code_")
    if items is None or not columns:
        raise DigerError(f"{path} has no SIDs to take; give a bundle of a SID method")
    if items["item_id"].tolist() != dataset.items["item_id"].astype(str).tolist():
        raise DigerError(f"{path} has another catalogue than dataset {dataset.name}")
    config = recipe.tokenizer
    codes = np.ascontiguousarray(items[columns].to_numpy(np.int64))
    if codes.shape[1] != config.levels or codes.max() >= config.codebook_size:
        raise DigerError(f"the SIDs of {path} do not fit the recipe's levels and codebook_size")
    state = {
        name.removeprefix("tokenizer."): torch.from_numpy(value.copy())
        for name, value in bundle.tensors(schema.MODEL).items()
        if name.startswith("tokenizer.")
    }
    tokenizer = None
    if state:
        dim = config.width if config.kind == "residual-kmeans" else _input_width(bundle)
        tokenizer = make_tokenizer(config, dim=dim)
        try:
            tokenizer.load_state_dict(state)
        except RuntimeError:
            raise DigerError(f"the tokenizer of {path} is not the one in the recipe") from None
    suffix = items["suffix"].to_numpy(np.int64)
    return Sids(tokenizer, codes, suffix, _sizes(config, codes, suffix), 0.0)


def _input_width(bundle: Bundle) -> int:
    return int(bundle.tensors(schema.CONTENT)["vectors"].shape[1])


def _write(path: Path, codes: np.ndarray, tokenizer: Tokenizer, seconds: float) -> None:
    state = tokenizer.state_dict()
    tensors = {f"tokenizer.{k}": v.detach().cpu().contiguous() for k, v in state.items()}
    tensors["codes"] = torch.from_numpy(codes)
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"seconds": json.dumps(seconds)})


def _read(path: Path) -> tuple[np.ndarray, dict[str, Tensor], float] | None:
    try:
        with safe_open(path, "pt") as f:
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
            seconds = json.loads(f.metadata()["seconds"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # nothing there, or not readable: it is only a shortcut
    codes = tensors.pop("codes").numpy()
    return codes, {k.removeprefix("tokenizer."): v for k, v in tensors.items()}, seconds
