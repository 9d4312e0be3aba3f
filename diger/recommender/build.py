"""From a configuration to a model."""

from __future__ import annotations

from importlib import import_module

from torch import nn

from diger.config import BackboneConfig
from diger.names import BACKBONES


def build_backbone(
    config: BackboneConfig, *, sizes: tuple[int, ...], n_items: int, max_history: int
) -> nn.Module | None:
    """The model that `config` describes, freshly initialised; None for popularity.

    Args:
        config: which backbone, and how large.
        sizes: how many codes each position of a SID can take, suffix last.
        n_items: items in the catalogue.
        max_history: events of a history it will ever see.
    """
    if not BACKBONES[config.kind]:
        return None
    module, name = BACKBONES[config.kind].rsplit(".", 1)
    kind = getattr(import_module(module), name)
    model: nn.Module = kind.build(config, sizes=sizes, n_items=n_items, max_history=max_history)
    return model
