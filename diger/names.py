"""The names of methods and backbones, in the order in which they stand everywhere.

A ground file: recipes, bundles, statistics and both windows take the names from here.
"""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["static", "detached", "differentiable", "ste", "popularity", "sasrec"]
BackboneKind = Literal["causal", "t5", "sasrec", "popularity"]

METHODS: tuple[Method, ...] = get_args(Method)
BACKBONES: tuple[BackboneKind, ...] = get_args(BackboneKind)

SID_BACKBONES: tuple[BackboneKind, ...] = ("causal", "t5")
BASELINES: tuple[Method, ...] = ("popularity", "sasrec")
"""Methods without SIDs; each has a backbone of its own, of the same name."""
SID_METHODS: tuple[Method, ...] = tuple(m for m in METHODS if m not in BASELINES)
JOINT_METHODS: tuple[Method, ...] = tuple(m for m in SID_METHODS if m != "static")
"""Methods whose tokenizer goes on training beside the recommender; static is what they challenge,
the differentiable one first."""
CHALLENGERS: tuple[Method, ...] = ("differentiable", "detached", "ste")
