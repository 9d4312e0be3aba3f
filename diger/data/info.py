"""`DatasetInfo`: what `dataset.json` says about a dataset.

It holds what cannot be read off the arrays: how the data was made, under which terms, and the
two fingerprints by which a bundle names the data it was trained on.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from diger.errors import DigerError

FORMAT = "diger-dataset"
FORMAT_VERSION = 1

SplitName = Literal["leave-one-out", "temporal"]
TimeUnit = Literal["seconds", "position"]


class Example(BaseModel):
    """A hand-picked history to try a model on: `items` are item ids, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    story: str
    items: tuple[str, ...] = Field(min_length=1)


class DatasetInfo(BaseModel):
    """Frozen facts of one dataset.

    `fingerprint` covers item ids, events and split; `text_fingerprint` the items' text (both in
    `diger.data.invariants`). `preparation` records the options the dataset was made with;
    `examples` are for people to start from, nothing is trained or measured on them.
    `viewers_are_private`: the terms forbid passing on who used what, so that no bundle holds it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["diger-dataset"] = "diger-dataset"
    format_version: Literal[1] = 1
    name: str
    title: str
    split: SplitName
    simulated: bool = False
    text_may_be_published: bool = False
    viewers_are_private: bool = False
    licence: str = "unknown"
    source: str = ""
    time_unit: TimeUnit | None = None
    n_users: int = Field(ge=1)
    n_items: int = Field(ge=1)
    n_events: int = Field(ge=1)
    n_training_events: int = Field(ge=0)
    n_validation_users: int = Field(ge=0)
    n_test_users: int = Field(ge=0)
    fingerprint: str
    text_fingerprint: str
    preparation: dict[str, str | int | float | bool | None] = {}
    examples: tuple[Example, ...] = ()


def check_name(name: str) -> str:
    """Return `name` if it can be part of a bundle's folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DigerError(
            f"dataset name {name!r} cannot be used in folder names; "
            "use letters, digits, '.', '_' and '-', for example --name beauty"
        )
    return name
