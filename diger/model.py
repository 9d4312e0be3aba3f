"""`diger.load(path)`: a bundle as a thing that recommends.

    import diger
    model = diger.load("checkpoints/films-static-s0")
    model.recommend(["alien-1979", "blade-runner-1982"], k=10)

Everything comes from the bundle: no dataset, no network, no text encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diger.bundle import schema, tables
from diger.bundle.catalogue import load_catalogue, with_text
from diger.bundle.reader import Bundle
from diger.config import Recipe, validate
from diger.content.models import TextEncoder, load_text_encoder
from diger.content.transform import ContentTransform
from diger.data.dataset import Dataset
from diger.decoding.beam import BeamResult, best, constrained_beam_search, free_beam_search
from diger.decoding.exact import item_log_probabilities
from diger.decoding.hybrid import hybrid_search
from diger.errors import DigerError, did_you_mean
from diger.evaluation.rankers import Mode, PopularityRanker, SasrecRanker, SidRanker
from diger.evaluation.ranking import TOP, Ranker
from diger.hub.fetch import local_path
from diger.recommender.base import Recommender, encode_items
from diger.recommender.build import build_backbone
from diger.recommender.sasrec import Sasrec
from diger.text import printable
from diger.tokenizer.base import Tokenizer
from diger.tokenizer.build import make_tokenizer
from diger.tokenizer.stats import collision_groups
from diger.tokenizer.suffix import format_sid
from diger.tokenizer.trie import Trie

Served = Literal["beam", "hybrid", "free", "exact", "telling"]
SERVED: tuple[Served, ...] = get_args(Served)
_SPARE = 2**20  # values of buffers
_KEPT_ITEMS = 100_000  # whose vectors are kept: 50 MB of them at the usual width
_Network = TypeVar("_Network", bound=nn.Module | None)


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    score: log-probability in nats over the full codebook; for models without SIDs the log-softmax
    over the catalogue (SASRec) or the number of training events (popularity).
    """

    item_id: str | None  # None for a SID that no item has (free decoding only)
    title: str | None  # where the bundle carries text
    sid: str | None  # written out; None for models without SIDs
    score: float

    @property
    def probability(self) -> float:
        """exp(score): over the full codebook, so a list need not add up to one."""
        return math.exp(min(self.score, 0.0))


class Model:
    """A loaded bundle.

    Attributes:
        bundle: where it comes from.
        recipe: the configuration it was trained with.
        item_ids: (items,) ids by item row.
        sids: LongTensor (items, length), suffix last; None for models without SIDs.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle.require_complete()
        self.device = device
        where = f"{bundle.path / schema.CONFIG}: recipe"
        self.recipe = validate(Recipe, bundle.about.recipe, where)
        items = bundle.items
        assert items is not None  # a complete bundle has its items
        self.items = items
        self.item_ids = items["item_id"].to_numpy(dtype=object)
        self._rows = {item: row for row, item in enumerate(self.item_ids)}
        self._titles = _titles(items)
        sids = tables.sids(items)
        self.sids = None if sids is None else torch.from_numpy(sids).to(device)
        sizes = () if sids is None else _sizes(bundle, sids)
        self.network = _filled(
            lambda: build_backbone(
                self.recipe.backbone,
                sizes=sizes,
                n_items=len(items),
                max_history=self.recipe.training.max_history,
            ),
            _weights(bundle, "recommender."),
            bundle.path,
        )
        if self.network is not None:
            self.network.to(device).eval()
        if isinstance(self.network, Recommender):
            self.network.know_catalogue(self.trie)
        self.popularity = torch.from_numpy(
            items["training_popularity"].to_numpy(np.int64, copy=True)
        )

    @property
    def method(self) -> str:
        """`static`, `sasrec`, `popularity`, ..."""
        return str(self.recipe.method)

    @property
    def n_items(self) -> int:
        """Items in the catalogue."""
        return len(self.item_ids)

    @cached_property
    def trie(self) -> Trie:
        """The catalogue's SIDs as a trie; a DigerError for a model without SIDs."""
        if self.sids is None:
            raise DigerError(f"{self.bundle.name} is a {self.method} model: it has no semantic IDs")
        return Trie.build(self.sids).to(self.device)

    @cached_property
    def groups(self) -> np.ndarray | None:
        """(items,) collision group of each item (equal codes, suffix aside); None without SIDs."""
        if self.sids is None:
            return None
        return collision_groups(self.sids[:, :-1].cpu().numpy())

    def rows(self, item_ids: Sequence[str]) -> list[int]:
        """Item rows of ids; one that the catalogue lacks is named, with the nearest it has."""
        rows = []
        for item in item_ids:
            row = self._rows.get(str(item))
            if row is None:
                raise DigerError(
                    f"no item {str(item)[:80]!r} in {self.bundle.name}"
                    f"{did_you_mean(str(item), self._rows)} "
                    "(python -m diger sids BUNDLE lists them all)"
                )
            rows.append(row)
        return rows

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        beam: int | None = None,
        decoding: Served | None = None,
        leave_out_seen: bool = False,
    ) -> list[Recommendation]:
        """The k items most likely to come next.

        Args:
            history: item ids, oldest first; the model sees the latest ones it was trained for.
            k: how many; fewer only when the catalogue is smaller.
            beam: beams of the search, by default the recipe's; at least k.
            decoding: by default the recipe's. "beam" within the catalogue, "hybrid", the same
                reranked by the item-level head, "free" without the catalogue (invalid SIDs come
                back with `item_id` None), or "exact", which scores every item, for SID models;
                "telling" for
                all, which scores every item and takes half the logarithm of its training
                popularity off (half-way to pointwise mutual information; Li et al. 2016 rank
                answers so), for lists that say more of the history and less of the catalogue.
            leave_out_seen: leave the history's own items out.
        """
        if isinstance(history, str):
            raise DigerError(
                f"the history must be a list of item ids, oldest first; for one item: [{history!r}]"
            )
        if not history:
            raise DigerError("the history is empty; give at least one item id, oldest first")
        if k < 1:
            raise DigerError(f"k must be >= 1, got {k}")
        width = max(self.recipe.evaluation.beam, k) if beam is None else beam
        if width < k:
            raise DigerError(f"a beam of {width} cannot fill a list of {k}; use --beam {k} or more")
        decoding = decoding or self.recipe.evaluation.decoding
        if decoding not in SERVED:
            raise DigerError(f"decoding must be one of {', '.join(SERVED)}, got {decoding!r}")
        if leave_out_seen and decoding == "free":
            raise DigerError("free decoding knows no catalogue, so it cannot leave out seen items")
        rows = self.rows(history)
        shown = rows[-self.recipe.training.max_history :]
        items = torch.tensor([shown], device=self.device)
        lengths = torch.tensor([len(shown)], device=self.device)
        seen = sorted(set(rows)) if leave_out_seen else []
        if isinstance(self.network, Recommender) and decoding != "telling":
            return self._by_sid(items, lengths, k, width, decoding, seen)
        with torch.inference_mode():
            if isinstance(self.network, Recommender):
                scores = self.item_scores(items, lengths)
            elif isinstance(self.network, Sasrec):
                scores = self.network.scores(items, lengths).log_softmax(-1)
            else:
                scores = self.popularity.float()[None]
        ranked = scores.clone()
        ranked[:, seen] = -torch.inf
        if decoding == "telling" and self.network is not None:
            ranked -= 0.5 * (self.popularity.float() + 1).log()
        kept, rows_of = best(ranked, k)
        found = scores.gather(1, rows_of).where(kept.isfinite(), -torch.inf)
        return self._listed(found, rows_of)

    def search(
        self, items: Tensor, lengths: Tensor, beam: int, decoding: Mode = "beam", **options: Any
    ) -> BeamResult:
        """Beam search for histories (B, T) of item rows; see `diger.decoding.beam`."""
        model, memory = self._encoded(items, lengths)
        if decoding == "free":
            return free_beam_search(model, memory, len(lengths), self.trie, beam)
        if decoding == "hybrid":
            return hybrid_search(
                model, memory, len(lengths), self.trie, self.item_keys, beam, **options
            )
        return constrained_beam_search(model, memory, len(lengths), self.trie, beam, **options)

    @cached_property
    def item_keys(self) -> Tensor:
        """(items, d) of the item-level head; a DigerError for a model without one."""
        ranker = self.ranker("hybrid")
        assert isinstance(ranker, SidRanker)
        return ranker.keys

    def item_scores(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Exact log-probability of every item (B, items) after histories (B, T) of item rows."""
        model, memory = self._encoded(items, lengths)
        return item_log_probabilities(model, memory, len(lengths), self.trie, self.n_items)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What gives items their codes; there is none without SIDs, or with SIDs from a file."""
        weights = _weights(self.bundle, "tokenizer.")
        if not weights:
            raise DigerError(
                f"{self.bundle.name} has no tokenizer (a {self.method} model, or SIDs read from a "
                "file), so it cannot name new items"
            )
        dim = self.transform.width
        make = lambda: make_tokenizer(self.recipe.tokenizer, dim=dim)  # noqa: E731
        return _filled(make, weights, self.bundle.path).to(self.device).eval()

    @cached_property
    def transform(self) -> ContentTransform:
        """From the encoder's vectors of items known by text alone to what the tokenizer sees."""
        return ContentTransform.from_tensors(self.bundle.tensors(schema.CONTENT))

    def assign(self, texts: Sequence[str]) -> list[str]:
        """Codes of items that the model has never seen, from their text, written out.

        The suffix is left away: it is only given when an item joins the catalogue. A text is best
        written as in `diger.content.encoder`: title. brand. categories. description.
        """
        tokenizer = self.tokenizer
        codes = tokenizer.assign(torch.from_numpy(self.content_of(texts)))
        return [format_sid(row) for row in codes.tolist()]

    def content_of(self, texts: Sequence[str]) -> np.ndarray:
        """Content (n, width) of items known by their text alone, as the tokenizer sees it."""
        name = self.bundle.name
        if schema.CONTENT not in self.bundle.manifest.files:
            raise DigerError(
                f"{name} has no tokenizer (SIDs read from a file), so it cannot name new items"
            )
        made = self.bundle.tensor_metadata(schema.CONTENT)
        if made["encoder"] == "behaviour":
            raise DigerError(
                f"{name} has SIDs made from behaviour alone, and nobody has used a new item yet; "
                "take a bundle whose content is text, or text and behaviour"
            )
        if made["encoder"].startswith("file:") or made["revision"].startswith("sha256:"):
            raise DigerError(
                f"{name} was trained on content vectors of the trainer's own "
                f"({made['encoder'].removeprefix('file:')}), so the text of a new item cannot be "
                "turned into one here"
            )
        encoder = _encoder(f"{made['encoder']}@{made['revision']}", int(made["max_tokens"] or 64))
        return self.transform.transform(encoder.encode(list(texts)))

    def ranker(self, decoding: Mode | None = None, beam: int | None = None) -> Ranker:
        """How `diger.evaluation.ranking` ranks with this model; by default as its recipe says."""
        decoding = decoding or self.recipe.evaluation.decoding
        if isinstance(self.network, Recommender):
            assert self.sids is not None and self.groups is not None
            group = torch.from_numpy(self.groups).to(self.device)
            width = self.recipe.evaluation.beam if beam is None else beam
            if decoding == "hybrid" and not self.recipe.has_item_head:
                raise DigerError(
                    f"{self.bundle.name} has no item-level head, so its beam cannot be reranked; "
                    "decode with beam"
                )
            if decoding != "exact" and width < TOP:
                raise DigerError(
                    f"{width} beams are fewer than the largest cut-off; use {TOP} or more"
                )
            return SidRanker(self.network, self.sids, self.trie, decoding, width, group)
        if isinstance(self.network, Sasrec):
            return SasrecRanker(self.network)
        return PopularityRanker(self.popularity.to(self.device))

    def check_dataset(self, dataset: Dataset) -> None:
        """Refuse a dataset that the bundle was not made from: one of another fingerprint."""
        ours, theirs = self.bundle.about.dataset.fingerprint, dataset.info.fingerprint
        if ours != theirs:
            raise DigerError(
                f"{self.bundle.name} was trained on {self.bundle.about.dataset.name} with "
                f"fingerprint {ours[:12]}, but this dataset ({dataset.name}) has {theirs[:12]}; "
                "give the dataset it was trained on"
            )

    def _encoded(self, items: Tensor, lengths: Tensor) -> tuple[Recommender, Any]:
        if not isinstance(self.network, Recommender) or self.sids is None:
            raise DigerError(f"{self.bundle.name} is a {self.method} model: it has no semantic IDs")
        with torch.inference_mode():
            if self._inputs is not None:
                return self.network, self.network.encode_inputs(self._inputs[items], lengths)
            return self.network, encode_items(self.network, self.sids, items, lengths)

    @cached_property
    def _inputs(self) -> Tensor | None:
        """Item vectors of the whole catalogue, made once, where they take little memory."""
        assert self.sids is not None and isinstance(self.network, Recommender)
        if self.n_items > _KEPT_ITEMS:
            return None
        with torch.inference_mode():
            return self.network.item_inputs(self.sids)

    def _by_sid(
        self, items: Tensor, lengths: Tensor, k: int, width: int, decoding: Mode, seen: list[int]
    ) -> list[Recommendation]:
        assert self.sids is not None
        if decoding == "exact":
            scores = self.item_scores(items, lengths).clone()
            scores[:, seen] = -torch.inf
            return self._listed(*best(scores, k))
        options = {"exclude": torch.tensor([seen], device=self.device)} if seen else {}
        result = self.search(items, lengths, width, decoding, **options)
        if decoding in ("beam", "hybrid"):
            return self._listed(result.scores[:, :k], result.items[:, :k])
        columns = (result.items, result.scores, result.sids)
        found = zip(*(column[0, :k].tolist() for column in columns), strict=True)
        return [self._recommendation(row, score, format_sid(sid)) for row, score, sid in found]

    def _listed(self, scores: Tensor, rows: Tensor) -> list[Recommendation]:
        return [
            self._recommendation(row, score, self.sid_of(row))
            for row, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)
            if row >= 0 and math.isfinite(score)
        ]

    def _recommendation(self, row: int, score: float, sid: str | None) -> Recommendation:
        """Of an item row; -1 for a SID that no item has."""
        item_id, title = (None, None) if row < 0 else (str(self.item_ids[row]), self._titles[row])
        return Recommendation(item_id, title, sid, score)

    def sid_of(self, row: int) -> str | None:
        """The SID of an item row, written out."""
        return None if self.sids is None else format_sid(self.sids[row].tolist())

    def take_titles(self, catalogue: str | Path) -> None:
        """Show a catalogue file's titles where it has them, see `diger.bundle.catalogue`."""
        self._titles = _titles(
            with_text(self.items, load_catalogue(catalogue), printable(catalogue))
        )

    def title_of(self, row: int) -> str | None:
        """The title of an item row, where the bundle carries text."""
        return self._titles[row]


def load_model(
    path: str | Path, device: str | torch.device = "cpu", *, catalogue: str | Path | None = None
) -> Model:
    """Load a complete bundle from a folder, or from the Hub (`hub://owner/name@revision`).

    `catalogue` names a file with titles for it, see `diger.bundle.catalogue`.
    """
    model = Model(Bundle.open(local_path(path)), torch.device(device))
    if catalogue is not None:
        model.take_titles(catalogue)
    return model


def assign_codes(bundle: str, vectors: np.ndarray) -> np.ndarray:
    """Codes int64 (n, levels), suffix left away, of raw content vectors (n, dim).

    A pure function of a batch, for a partition of Dask, Ray or Spark (docs/speed.md). Of `bundle`,
    a path, only the tokenizer is kept; it is read once a process. The vectors are of the encoder
    that the bundle names, all zeros for an item that has none.
    """
    transform, tokenizer = _assigner(bundle)
    # The transformed batch is narrow; the raw one, which may be a memory map, is read in blocks.
    return tokenizer.assign(transform.transform(vectors)).cpu().numpy()


@lru_cache(maxsize=2)
def _assigner(path: str) -> tuple[ContentTransform, Tokenizer]:
    model = load_model(path)
    return model.transform, model.tokenizer


def _titles(items: pd.DataFrame) -> list[str | None]:
    titles = items["title"] if "title" in items else [None] * len(items)
    return [title if isinstance(title, str) else None for title in titles]


def _sizes(bundle: Bundle, sids: np.ndarray) -> tuple[int, ...]:
    """How many codes there are at each position of a SID, which must be enough for (n, length)."""
    sizes: Any = bundle.about.tokenizer.get("sizes")
    whole = isinstance(sizes, list) and all(isinstance(size, int) for size in sizes)
    if not whole or len(sizes) != sids.shape[1] or (sids.max(axis=0) >= sizes).any():
        raise DigerError(
            f"{bundle.path / schema.CONFIG}: tokenizer.sizes does not fit the SIDs in "
            "items.parquet; train the bundle again"
        )
    return tuple(sizes)


def _weights(bundle: Bundle, prefix: str) -> dict[str, Tensor]:
    """The model's tensors whose names begin with `prefix`, in single precision."""
    return {
        name.removeprefix(prefix): torch.from_numpy(value).float()
        for name, value in bundle.tensors(schema.MODEL).items()
        if name.startswith(prefix)
    }


class _AtMost(TorchFunctionMode):
    """Within it no more values can be made than this: a bundle's recipe may ask for any memory.

    (Torch's own way to make a network without memory takes a second to be imported.)
    """

    def __init__(self, values: int) -> None:
        super().__init__()
        self._left = values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in (torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand):
            shape = args or ((kwargs or {}).get("size", ()),)
            self._left -= math.prod(shape if isinstance(shape[0], int) else shape[0])
            if self._left < 0:
                raise MemoryError
        return func(*args, **(kwargs or {}))


def _filled(make: Callable[[], _Network], weights: dict[str, Tensor], path: Path) -> _Network:
    """What `make` makes, with these weights, in memory for what they take and little more."""
    try:
        with _AtMost(sum(map(torch.numel, weights.values())) + _SPARE):
            network = make()
    except MemoryError:
        raise _does_not_fit(path, "its size") from None
    expected = {} if network is None else network.state_dict()
    wrong = expected.keys() ^ weights.keys()
    wrong |= {k for k in expected.keys() & weights.keys() if expected[k].shape != weights[k].shape}
    if wrong:
        raise _does_not_fit(path, min(wrong))
    if network is not None:
        network.load_state_dict(weights)
    return network


def _does_not_fit(path: Path, first: str) -> DigerError:
    return DigerError(
        f"{path / schema.MODEL} does not fit its own recipe (first at {first}); the bundle "
        "was made by another version of diger: train it again"
    )


@lru_cache(maxsize=2)
def _encoder(name: str, max_tokens: int) -> TextEncoder:
    return load_text_encoder(name, max_tokens=max_tokens, device="cpu")
