"""One dataset: its catalogue, and the models that were trained on it, loaded when first asked for.

What belongs to the items (titles, search, words, content neighbours, the map) is made once for all
models of a dataset; what belongs to a model (codes, weights) once a model. Everything is safe to
ask for from several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from diger.bundle import schema
from diger.bundle.catalogue import load_catalogue, with_text
from diger.bundle.documents import DatasetEntry
from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.explain.layout import layout
from diger.explain.prefixes import ContentSpace
from diger.explain.words import Terms
from diger.text import printable
from diger_app.title_index import TitleIndex

if TYPE_CHECKING:
    from diger.model import Model

MAP_ITEMS = 4000  # the most popular items: a map of more is no clearer, and heavy on a phone
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Source:
    """A bundle that can be loaded: its name here, its method, where it came from, and whether it
    writes SIDs."""

    name: str
    method: str
    bundle: Bundle
    address: str
    writes_sids: bool = True


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model ready to use.

    Attributes:
        source: the bundle.
        model: `diger.model.Model`.
        sids: int64 (items, levels + 1), suffix last; of no width for a model without SIDs.
        start: (items, levels) codes at the start of joint training, where there was one.
    """

    source: Source
    model: Model
    sids: np.ndarray
    start: np.ndarray | None

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.source.name

    @property
    def method(self) -> str:
        """`static`, `differentiable`, ..."""
        return self.source.method

    @property
    def codes(self) -> np.ndarray:
        """(items, levels), the suffix left aside."""
        return self.sids[:, :-1]

    @property
    def writes_sids(self) -> bool:
        """Whether it has SIDs at all."""
        return self.source.writes_sids

    @property
    def has_item_head(self) -> bool:
        """Whether its beam can be reordered by an item-level head."""
        return self.writes_sids and self.model.recipe.has_item_head


class Shelf:
    """A dataset and its models.

    Attributes:
        key: how links and the API name it.
        label, simulated, licence, origin: what its bundles say of it.
        rank: where it stands among others: with text before those without, real before simulated.
        sources: bundles to recommend with, by name; results_only: names of the others;
            runs: the bundles of both.
    """

    def __init__(self, key: str, dataset: DatasetEntry) -> None:
        self.key = key
        self.label = printable(dataset.label or key, 120)
        self.fingerprint = dataset.fingerprint
        self.simulated = dataset.simulated
        self.rank = (not dataset.text_may_be_published, self.simulated)
        self.licence = printable(dataset.licence or "unknown", 80)
        self.origin = printable(dataset.source, 300)
        self.users, self.events = dataset.users, dataset.events
        self.sources: dict[str, Source] = {}
        self.results_only: list[str] = []
        self.runs: list[Bundle] = []
        self.catalogues: list[tuple[Path, bool]] = []
        self.catalogue_problems: list[str] = []
        self._models: dict[str, Loaded | DigerError] = {}
        self._made: dict[str, Any] = {}
        self._lock = RLock()

    @property
    def sid_sources(self) -> dict[str, Source]:
        """The bundles that write SIDs."""
        return {name: source for name, source in self.sources.items() if source.writes_sids}

    def pair(self, left: str = "", right: str = "") -> tuple[str, str]:
        """The two bundles to show side by side; names not known fall back to the defaults.

        By default a static one and a differentiable one; `right` is empty where nothing stands
        beside the first.
        """
        if left not in self.sources:
            left = self._first("static") or next(iter(self.sid_sources or self.sources))
        if right not in self.sources:
            right = self._first("differentiable")
        return left, "" if right == left else right

    def load(self, name: str) -> Loaded:
        """The model of a bundle.

        Raises:
            DigerError: no such bundle, or one that cannot be loaded.
        """
        with self._lock:
            if name not in self._models:
                if name not in self.sources:
                    raise DigerError(
                        f"there is no bundle {printable(name, 80)!r} of {self.key} here; "
                        f"here are: {', '.join(self.sources)}"
                    )
                source = self.sources[name]
                try:
                    self._models[name] = self._loaded(source)
                except DigerError as error:  # the same tomorrow; and no path of this machine
                    said = str(error).replace(str(source.bundle.path), name)
                    self._models[name] = DigerError(said)
            made = self._models[name]
        if isinstance(made, DigerError):
            raise DigerError(str(made))
        return made

    @property
    def items(self) -> pd.DataFrame:
        """The catalogue, with text from a catalogue file where one was given."""
        return self._once("items", self._items)

    @property
    def ids(self) -> list[str]:
        """Item ids by row."""
        return self._once("ids", lambda: self.items["item_id"].astype(str).tolist())

    @property
    def rows(self) -> dict[str, int]:
        """Row of each item id."""
        return self._once("rows", lambda: {item: row for row, item in enumerate(self.ids)})

    @property
    def popularity(self) -> np.ndarray:
        """(items,) training events."""
        return self.items["training_popularity"].to_numpy(np.int64)

    @property
    def index(self) -> TitleIndex:
        """Search by title, and by who made an item and its kinds where that is known."""

        def make() -> TitleIndex:
            kinds = self.items.get("categories", [()] * len(self.items))
            more = [
                " ".join((self.maker(row), *map(str, () if kind is None else kind)))
                for row, kind in enumerate(kinds)
            ]
            return TitleIndex(self.ids, self._titles, self.popularity, more)

        return self._once("index", make)

    @property
    def terms(self) -> Terms | None:
        """Words for prefixes; None without item text."""
        return self._once("terms", lambda: Terms.build(self.items))

    @property
    def has_text(self) -> bool:
        """Whether any item has a title."""
        return any(title is not None for title in self._titles)

    @property
    def space(self) -> ContentSpace | None:
        """Content neighbours; None where no bundle has vectors."""
        return self._once("space", lambda: _space(self._vectors()))

    @property
    def map(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Item rows (n,) and their positions (n, 2) on the map; None without vectors."""
        return self._once("map", self._map)

    @property
    def examples(self) -> list[dict[str, Any]]:
        """Sample histories of the bundles: name, story, history (rows), target (row or None)."""
        return self._once("examples", self._examples)

    def title(self, row: int) -> str:
        """An item's title, or its id where it has none."""
        return self._titles[row] or self.ids[row]

    def maker(self, row: int) -> str:
        """Who made an item; empty where that is not known."""
        return self._makers[row]

    def rows_of(self, ids: tuple[str, ...] | list[str]) -> tuple[list[int], list[str]]:
        """Rows of the ids that are known, and the ids that are not."""
        known, unknown = [], []
        for item in ids:
            if item in self.rows:
                known.append(self.rows[item])
            else:
                unknown.append(item)
        return known, unknown

    @property
    def _titles(self) -> list[str | None]:
        def make() -> list[str | None]:
            if "title" not in self.items:
                return [None] * len(self.items)
            return [
                printable(t, 300) if isinstance(t, str) and t.strip() else None
                for t in self.items["title"]
            ]

        return self._once("titles", make)

    @property
    def _makers(self) -> list[str]:
        def make() -> list[str]:
            known = self.items.get("brand", [None] * len(self.items))
            return [printable(one, 120) if isinstance(one, str) else "" for one in known]

        return self._once("makers", make)

    def _once(self, name: str, make: Callable[[], _T]) -> _T:
        if name not in self._made:  # a plain read of a dict is safe; only making needs the lock
            with self._lock:
                if name not in self._made:
                    self._made[name] = make()
        return self._made[name]

    def _first(self, method: str) -> str:
        return next((n for n, s in self.sources.items() if s.method == method), "")

    def _items(self) -> pd.DataFrame:
        items = next(iter(self.sources.values())).bundle.items
        assert items is not None  # a complete bundle has its items
        for path, named in self.catalogues:
            try:
                items = with_text(items, load_catalogue(path), str(path))
            except DigerError as error:
                if named or len(self.catalogues) == 1:
                    self.catalogue_problems.append(str(error))
        return items

    def _loaded(self, source: Source) -> Loaded:
        import torch

        from diger.model import Model

        model = Model(source.bundle, torch.device("cpu"))
        if [str(item) for item in model.item_ids] != self.ids:
            raise DigerError(
                f"{source.name} has another catalogue than the other bundles of {self.key}; "
                "train both on the same prepared dataset"
            )
        names = schema.numbered_columns(model.items, "start_code_")
        start = model.items[names].to_numpy(np.int64) if names else None
        none = np.zeros((len(self.ids), 0), np.int64)
        return Loaded(source, model, none if model.sids is None else model.sids.numpy(), start)

    def _vectors(self) -> np.ndarray | None:
        for source in self.sources.values():
            if schema.CONTENT in source.bundle.manifest.files:
                found = source.bundle.tensors(schema.CONTENT).get("vectors")
                if found is not None and found.shape[0] == len(self.items):
                    return np.asarray(found, np.float32)
        return None

    def _map(self) -> tuple[np.ndarray, np.ndarray] | None:
        vectors = self._vectors()
        if vectors is None:
            return None
        rows = np.flatnonzero(vectors.any(axis=1))
        if len(rows) > MAP_ITEMS:
            rows = np.sort(rows[np.argsort(-self.popularity[rows], kind="stable")[:MAP_ITEMS]])
        return rows, layout(vectors[rows])

    def _examples(self) -> list[dict[str, Any]]:
        for source in self.sources.values():
            frame = source.bundle.examples
            if frame is not None and len(frame):
                return [
                    {
                        "name": printable(row["name"], 80),
                        "story": printable(row.get("story") or "", 200),
                        "history": [int(item) for item in row["history"]],
                        "target": None if pd.isna(row["target"]) else int(row["target"]),
                    }
                    for row in frame.to_dict("records")
                ]
        popular = np.argsort(-self.popularity, kind="stable")[:4]
        story = "one of the items with most events; add what else you like"
        return [
            {"name": self.title(row), "story": story, "history": [int(row)], "target": None}
            for row in popular
        ]


def _space(vectors: np.ndarray | None) -> ContentSpace | None:
    return None if vectors is None else ContentSpace.of(vectors)
