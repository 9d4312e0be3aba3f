"""Bundles for the app's tests: toys of four methods, with text out to do harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import core_toys as toys
import numpy as np

from diger.bundle import schema
from diger.bundle.reader import Bundle
from diger.bundle.writer import BundleWriter
from diger.tokenizer.suffix import assign_suffix

HOSTILE = "<img src=x onerror=window.hurt=1> {{this}} ${window.hurt=1}"
RIGHT_TO_LEFT = "سفينة الفضاء"
TITLES = [
    *(f"Red kite {i} (19{60 + i})" for i in range(9)),
    HOSTILE,
    RIGHT_TO_LEFT,
    "Fish 🐟 and chips",
    None,
    *(f"Blue boat {i} (20{i:02})" for i in range(toys.N_ITEMS - 13)),
]
EXAMPLES = [
    {"title": "A kite morning", "story": "wind from the west", "items": ["i0", "i1", "i2"]},
    {"title": "A day at sea", "story": "it <b>rained</b>", "items": ["i20", "i9"]},
]


def copy_bundle(source: Path, target: Path, change: Any = None) -> Path:
    """Write a bundle's content anew at `target`; `change` gets the config and the items."""
    bundle = Bundle.open(source)
    config, items = dict(bundle.config), bundle.items.copy()
    if change is not None:
        change(config, items)
    with BundleWriter(target, force=True) as writer:
        for name in bundle.manifest.files:
            if name == schema.CONFIG:
                writer.json(name, config)
            elif name == schema.METRICS:
                writer.json(name, bundle.metrics)
            elif name == schema.ITEMS:
                writer.frame(name, items)
            elif name in schema.TEXT_FILES:
                writer.text(name, (source / name).read_text(encoding="utf-8"))
            elif name in schema.TENSOR_FILES:
                writer.tensors(name, bundle.tensors(name), bundle.tensor_metadata(name))
            else:
                writer.frame(name, bundle.frame(name))
    return target


def move(_: dict[str, Any], items: Any) -> None:
    """Say that exactly the first two items moved in joint training, at the first level."""
    columns = schema.numbered_columns(items, "code_")
    for column in columns:
        items[f"start_{column}"] = items[column]
    items.loc[:1, "start_code_1"] = (items.loc[:1, "start_code_1"] + 1) % 4
    start = items[[f"start_{column}" for column in columns]].to_numpy()
    items["start_suffix"] = assign_suffix(start, size=len(items)).astype(np.int32)


def make_pair(folder: Path) -> Path:
    """A folder with toy-static-s0 and toy-differentiable-s0, toy-sasrec-s0, toy-popularity-s0."""
    place = toys.Place(
        folder / "place", toys.make_dataset(publish=True, titles=TITLES, examples=EXAMPLES)
    )
    bundles = folder / "bundles"
    bundles.mkdir()
    copy_bundle(place.train("toy-static-s0"), bundles / "toy-static-s0")
    joint = {"learning_rate": 1e-2}
    recipe = place.recipe(method="differentiable", joint=joint)
    place.train("toy-differentiable-s0", recipe)
    copy_bundle(place.folder / "toy-differentiable-s0", bundles / "toy-differentiable-s0", move)
    for name, changes in (("sasrec", toys.SASREC), ("popularity", toys.POPULARITY)):
        made = place.train(f"toy-{name}-s0", place.recipe(**changes))
        copy_bundle(made, bundles / made.name)
    return bundles


def pair(base: Path) -> Path:
    """`make_pair`, once a test run."""
    return toys.shared(base, "app-pair", make_pair)
