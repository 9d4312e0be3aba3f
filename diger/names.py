"""The names of methods and backbones, in the order in which they stand everywhere.

A ground file: recipes, bundles, statistics and both windows take the names from here.
"""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal[
    "static",
    "detached",
    "shuffled",
    "reassigned",
    "differentiable",
    "ste",
    "popularity",
    "sasrec",
]

METHODS: tuple[Method, ...] = get_args(Method)
BASELINES: tuple[Method, ...] = ("popularity", "sasrec")
"""Methods without SIDs; each has a backbone of its own, of the same name."""
BACKBONES = {
    "causal": "diger.recommender.causal.CausalRecommender",
    "t5": "diger.recommender.t5.T5Recommender",
    "sasrec": "diger.recommender.sasrec.Sasrec",
    "popularity": "",  # has no model
}
"""Every backbone: its name in recipes, and where its class is. As text, so that reading a recipe
takes no torch; a new one is one file and one line here."""
SID_METHODS: tuple[Method, ...] = tuple(m for m in METHODS if m not in BASELINES)
JOINT_METHODS: tuple[Method, ...] = tuple(m for m in SID_METHODS if m != "static")
"""Methods whose SIDs change beside the recommender; static is what they challenge,
the differentiable one first."""
NOISELESS: tuple[Method, ...] = ("detached", "shuffled", "reassigned", "ste")
CHALLENGERS: tuple[Method, ...] = ("differentiable", "detached", "ste")


def writes_sids(backbone: str) -> bool:
    """Whether models on a backbone generate semantic IDs."""
    return backbone in BACKBONES and backbone not in BASELINES
