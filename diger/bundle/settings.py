"""What a recipe decides, so that two of them can be compared. Torch-free.

Names and descriptions decide nothing; nor do the places of files, nor tables that a method does not
use. A setting that is off is left out, and so equals one that the recipes of its time did not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Tables of a recipe that play no part in a method.
_IDLE = {
    "popularity": ("content.", "tokenizer.", "training."),
    "sasrec": ("content.", "tokenizer."),
}
_FILES = ("content.encoder", "tokenizer.checkpoint", "tokenizer.file.path")


def settings(recipe: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Every setting of `recipe` (a bundle's, or a dumped one) that counts, by its dotted key.

    >>> settings({"name": "a", "training": {"ema": 0.0, "epochs": 3}}, "static")
    {'training.epochs': 3}
    """
    idle = ("name", "about", *_IDLE.get(method, ()))
    recipe = _as_of_old(recipe)
    found = {k: v for k, v in leaves(recipe) if not k.startswith(idle) and v and v != "none"}
    for key in _FILES:
        value = found.get(key)
        if isinstance(value, str) and (key != "content.encoder" or value.endswith(".npy")):
            found[key] = Path(value).name
    return found


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables that is none itself, by its dotted key."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _as_of_old(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Text alone is what content was made of before there were sources."""
    content = recipe.get("content")
    if not isinstance(content, Mapping):
        return recipe
    sources = {name for name, weight in (content.get("sources") or {}).items() if weight}
    idle = {"behaviour"} if "behaviour" not in sources else set()
    idle |= {"sources"} if sources == {"text"} else set()
    idle |= {"encoder", "max_tokens"} if sources and "text" not in sources else set()
    kept = {k: v for k, v in content.items() if k not in idle}
    if "sources" in kept:  # where a file of vectors lies decides nothing
        kept["sources"] = {Path(name).name: w for name, w in kept["sources"].items()}
    return {**recipe, "content": kept}
