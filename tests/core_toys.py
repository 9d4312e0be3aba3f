"""A toy dataset that can be learnt, tiny recipes, and runs that several test files share.

Users walk round a ring of items, mostly one step at a time. Content vectors come from a .npy, so
that no text encoder is needed. Item text holds a word that no file of a bundle may ever show.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from diger.config import Recipe
from diger.data.dataset import Dataset
from diger.data.split import leave_one_out
from diger.recommender.base import Recommender, check_prefix
from diger.training.run import Listener, train

CPU = torch.device("cpu")
torch.set_num_threads(1)  # toys are too small to share, and threads only get in each other's way
SECRET = "zebrafish"
N_ITEMS = 26
COLD = N_ITEMS - 1  # an item that only ever occurs as a test target

RECIPE: dict[str, Any] = {
    "name": "toy",
    "tokenizer": {"levels": 2, "codebook_size": 4, "width": 4, "suffix_size": 16},
    "backbone": {
        "kind": "causal",
        "d_model": 16,
        "heads": 2,
        "layers": 1,
        "feed_forward": 16,
        "item_hidden": 32,
        "dropout": 0.1,
    },
    "training": {
        "epochs": 3,
        "batch_size": 8,
        "max_history": 6,
        "learning_rate": 1e-2,
        "ema": 0.9,
    },
    "evaluation": {"beam": 20, "batch_size": 16},
}
SASREC = {
    "method": "sasrec",
    "backbone": {"kind": "sasrec", "d_model": 16, "heads": 2, "layers": 1, "feed_forward": 16},
}
POPULARITY = {"method": "popularity", "backbone": {"kind": "popularity"}}


def walks(users: int = 40, seed: int = 0) -> list[list[int]]:
    """Item rows of every user; the first two users are too short for a split."""
    rng = np.random.default_rng(seed)
    histories = []
    for user in range(users):
        length = user + 1 if user < 2 else int(rng.integers(4, 12))
        item = int(rng.integers(COLD))
        walk = []
        for _ in range(length):
            walk.append(item)
            item = (item + 1 if rng.random() < 0.8 else int(rng.integers(COLD))) % COLD
        histories.append(walk)
    histories[-1][-1] = COLD
    return histories


def make_dataset(
    histories: Sequence[Sequence[int]] | None = None,
    *,
    n_items: int = N_ITEMS,
    name: str = "toy",
    publish: bool = False,
    titles: Sequence[str | None] | None = None,
    examples: Sequence[dict[str, Any]] = (),
) -> Dataset:
    """A leave-one-out dataset of `histories` (by default `walks()`) over items i0, i1, ..."""
    histories = walks() if histories is None else histories
    offsets = np.concatenate([[0], np.cumsum([len(h) for h in histories])])
    items = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(n_items)],
            "title": titles or [f"{SECRET} {i}" for i in range(n_items)],
            "description": [f"about the {SECRET}"] * n_items,
            "brand": [f"{SECRET} works"] * n_items,
            "categories": [[SECRET]] * n_items,
        }
    )
    return Dataset.create(
        name=name,
        split="leave-one-out",
        items=items,
        user_ids=[f"u{u}" for u in range(len(histories))],
        offsets=offsets,
        events=np.concatenate([np.asarray(h, dtype=np.int32) for h in histories]),
        times=None,
        text_may_be_published=publish,
        licence="CC0-1.0" if publish else "unknown",
        examples=examples,
        **leave_one_out(offsets)._asdict(),
    )


def write_vectors(path: Path, n_items: int = N_ITEMS, seed: int = 0) -> Path:
    """Content vectors of a catalogue: neighbours on the ring are alike."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(n_items) / n_items
    ring = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    noise = rng.normal(size=(n_items, 6)) * 0.2
    np.save(path, (np.concatenate([ring, np.zeros((n_items, 2))], axis=1) + noise).astype("f4"))
    return path


def make_recipe(vectors: Path | None = None, **changes: Any) -> Recipe:
    """The toy recipe; a table in `changes` is laid over its own, with `kind` it replaces it."""
    values = json.loads(json.dumps(RECIPE))
    if vectors is not None:
        values["content"] = {"encoder": str(vectors)}
    for key, value in changes.items():
        over = isinstance(value, dict) and "kind" not in value
        values[key] = {**values.get(key, {}), **value} if over else value
    return Recipe.model_validate(values)


def recipe_toml(recipe: Recipe) -> str:
    """A recipe as TOML; JSON's scalars, strings and lists are TOML's as well."""
    lines: list[str] = []
    tables: list[tuple[str, dict[str, Any]]] = [("", recipe.model_dump(mode="json"))]
    while tables:
        name, table = tables.pop(0)
        lines += [f"[{name}]"] if name else []
        for key, value in table.items():
            if isinstance(value, dict):
                tables.append((f"{name}.{key}".lstrip("."), value))
            elif value is not None:
                lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


@dataclass
class Place:
    """A folder with a toy dataset, its vectors and recipe, and room for bundles."""

    folder: Path
    dataset: Dataset = field(default_factory=make_dataset)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.dataset.save(self.data)
        self.vectors = write_vectors(self.folder / "vectors.npy", self.dataset.n_items)

    def recipe(self, **changes: Any) -> Recipe:
        """The toy recipe on these vectors."""
        return make_recipe(self.vectors, **changes)

    def toml(self, **changes: Any) -> Path:
        """The recipe as a file."""
        path = self.folder / "recipe.toml"
        path.write_text(recipe_toml(self.recipe(**changes)))
        return path

    def train(self, name: str, recipe: Recipe | None = None, **options: Any) -> Path:
        """Train into `name` and return the bundle's path."""
        on_event: Callable[[Any], None] | None = options.pop("on_event", None)
        if on_event is not None:
            options["listener"] = Listener(epoch=on_event)
        out = self.folder / name
        return train(recipe or self.recipe(), self.data, out, device=CPU, **options)


_shared: dict[str, Any] = {}


def shared(base: Path, name: str, make: Callable[[Path], Any]) -> Any:
    """What `make(folder)` returns, made once a test session. Not to be changed by a test.

    `base` is the session's base folder: two sessions never share.
    """
    key = f"{base}/{name}"
    if key not in _shared:
        _shared[key] = make(base / f"shared-{name}")
    return _shared[key]


def static_run(base: Path) -> tuple[Place, Path]:
    """The place and bundle of a static run of the toy recipe, seed 0."""

    def make(folder: Path) -> tuple[Place, Path]:
        place = Place(folder)
        return place, place.train("toy-static-s0")

    return shared(base, "static", make)


class TableRecommender(Recommender):
    """Logits out of tables, one row for every prefix: what a search finds can be worked by hand.

    tables: one tensor (B, prefixes of l codes, sizes[l]) a position, prefixes in lexical order.
    """

    def __init__(self, sizes: Sequence[int], tables: Sequence[Tensor]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.tables = list(tables)
        doubles = [table.double().numpy() for table in tables]
        self._log_p = [t - np.log(np.exp(t).sum(-1, keepdims=True)) for t in doubles]

    @classmethod
    def random(
        cls, sizes: Sequence[int], batch: int, seed: int, scale: float = 2.0
    ) -> TableRecommender:
        """Independent normal logits."""
        generator = torch.Generator().manual_seed(seed)
        tables, prefixes = [], 1
        for size in sizes:
            tables.append(scale * torch.randn(batch, prefixes, size, generator=generator))
            prefixes *= size
        return cls(sizes, tables)

    def encode(self, view: Any, index: Tensor, lengths: Tensor) -> None:
        """Nothing: the tables know the answer."""

    def loss(self, *arguments: Any) -> Tensor:
        """Not a model to be trained."""
        raise NotImplementedError

    def next_code_logits(self, memory: Any, prefix: Tensor) -> Tensor:
        """The rows of the prefixes (B, W, l)."""
        position = check_prefix(prefix, self.sizes)
        row = torch.zeros(prefix.shape[:2], dtype=torch.long)
        for j in range(position):
            row = row * self.sizes[j] + prefix[..., j]
        table = self.tables[position]
        return table.gather(1, row[..., None].expand(-1, -1, table.shape[-1]))

    def score(self, history: int, sid: Sequence[int]) -> float:
        """Log-probability of a SID by hand, in double precision."""
        total, row = 0.0, 0
        for log_p, size, code in zip(self._log_p, self.sizes, sid, strict=True):
            total += float(log_p[history, row, code])
            row = row * size + int(code)
        return total


def main(*arguments: object, monkeypatch: Any) -> int:
    """Run the command line in this process and return its exit status."""
    from diger import cli

    monkeypatch.setattr(sys, "argv", ["diger", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
