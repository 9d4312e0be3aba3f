"""From a configuration to a model."""

from __future__ import annotations

from torch import nn

from diger.config import Backbone, CausalConfig, SasrecConfig, T5Config
from diger.recommender.causal import CausalRecommender
from diger.recommender.sasrec import Sasrec
from diger.recommender.t5 import T5Recommender


def build_backbone(
    config: Backbone, *, sizes: tuple[int, ...], n_items: int, max_history: int
) -> nn.Module | None:
    """The model that `config` describes, freshly initialised; None for popularity.

    Args:
        config: which backbone, and how large.
        sizes: how many codes each position of a SID can take, suffix last.
        n_items: items in the catalogue.
        max_history: events of a history it will ever see.
    """
    if isinstance(config, CausalConfig):
        return CausalRecommender(sizes=sizes, config=config, max_history=max_history)
    if isinstance(config, T5Config):
        return T5Recommender(sizes=sizes, config=config)
    if isinstance(config, SasrecConfig):
        return Sasrec(n_items=n_items, config=config, max_history=max_history)
    return None
