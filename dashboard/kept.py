"""What bootstraps found, kept as JSON, so that it is computed once for the same bundles.

A result is named by a digest of what it was made from: the bundles' hashes, and the code that made
it. It is looked for in `kept.json` beside the bundles, which ships with them and is written by
`docs/tables.py`, then in a folder of this user's: `DIGER_CACHE`, else the cache folder. Whatever
cannot be read or written is computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from diger.evaluation import metrics
from diger.files import replacing
from diger.statistics import bootstrap, paired, randomisation, slices
from diger.statistics.bootstrap import Difference, Interval
from diger.statistics.verdict import Claim

VARIABLE = "DIGER_CACHE"
FILE = "kept.json"
_MAX_BYTES = 20_000_000
_STATISTICS = (bootstrap, paired, randomisation, slices)
Value = TypeVar("Value")


class Kept:
    """Results by key: shipped, on this disk, or made.

    shipped: by digest, what came with the bundles. used: by digest, what was asked for so far.
    """

    def __init__(self, shipped: dict[str, Any] | None = None) -> None:
        self.shipped = shipped or {}
        self.used: dict[str, Any] = {}

    @classmethod
    def beside(cls, folders: Sequence[Path]) -> Kept:
        """With what ships in `kept.json` of the folders."""
        shipped: dict[str, Any] = {}
        for folder in folders:
            path = folder / FILE
            with suppress(OSError, ValueError, TypeError, RecursionError):
                if path.stat().st_size <= _MAX_BYTES:
                    shipped |= json.loads(path.read_text(encoding="utf-8"))
        return cls(shipped)

    def claim(self, key: object, make: Callable[[], Claim]) -> Claim:
        """A claim by its key; a refusal costs nothing and is not kept."""
        return self._get(key, make, lambda c: asdict(c) if c.difference else None, _claim)

    def frame(self, key: object, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A frame of numbers and words by its key."""
        return self._get(key, make, lambda f: f.to_dict("list"), pd.DataFrame)

    def _get(
        self,
        key: object,
        make: Callable[[], Value],
        dump: Callable[[Value], dict[str, Any] | None],
        load: Callable[[Any], Value],
    ) -> Value:
        digest = hashlib.sha256(f"{_code()} {json.dumps(key)}".encode()).hexdigest()[:32]
        path = _folder() / "claims" / f"{digest}.json"
        for read in (
            lambda: self.shipped[digest],
            lambda: json.loads(path.read_text(encoding="utf-8")),
        ):
            with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                plain = read()
                value = load(plain)
                self.used[digest] = plain
                return value
        value = make()
        made = dump(value)
        if made is not None:
            self.used[digest] = made
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as file:
                    file.write_text(json.dumps(made), encoding="utf-8")
        return value


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(os.environ.get(VARIABLE) or Path(home) / "diger")


@cache
def _code() -> str:
    """A digest of what makes the numbers: other code, other results."""
    files = [Path(str(one.__file__)) for one in (metrics, *_STATISTICS)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _claim(values: dict[str, Any]) -> Claim:
    found = dict(values["difference"])
    for name in ("interval", "lift_interval"):
        found[name] = found[name] and Interval(**found[name])
    found["per_seed"] = tuple((int(seed), float(value)) for seed, value in found["per_seed"])
    tuples = {name: tuple(values[name]) for name in ("alone", "groups")}
    return Claim(**values | tuples | {"difference": Difference(**found)})
