"""From a configuration to a decay."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from torch import Tensor

import diger.uncertainty
from diger.uncertainty.base import Decay
from diger.uncertainty.config import UncertaintyConfig


def decays() -> dict[str, type[Decay]]:
    """Every strategy by its name: the classes of this folder, and what else was imported."""
    for module in pkgutil.iter_modules(diger.uncertainty.__path__):
        import_module(f"{diger.uncertainty.__name__}.{module.name}")
    return {kind.name: kind for kind in _family(Decay) if "name" in vars(kind)}


def build_decay(config: UncertaintyConfig, codes: Tensor, codebook_size: int) -> Decay:
    """The decay that `config` names, for a catalogue of codes (n, levels)."""
    return decays()[config.decay].build(config, codes, codebook_size)


def _family(kind: type[Decay]) -> Iterator[type[Decay]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)
