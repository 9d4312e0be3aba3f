"""Claims kept on disk, so that a bootstrap is computed once for the same bundles.

A claim is a small JSON file in `DIGER_CACHE`, else in the user's cache folder, named by a digest of
what it was made from: the bundles' hashes, and the code that made it. Whatever cannot be read or
written is computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from diger import statistics
from diger.files import replacing
from diger.statistics.bootstrap import Difference, Interval
from diger.statistics.verdict import Claim

VARIABLE = "DIGER_CACHE"


def kept(key: object, make: Callable[[], Claim]) -> Claim:
    """The claim of a key, from the disk or made and put there."""
    digest = hashlib.sha256(f"{_code()} {json.dumps(key)}".encode()).hexdigest()
    path = _folder() / "claims" / f"{digest[:32]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return _read(json.loads(path.read_text(encoding="utf-8")))
    claim = make()
    if claim.difference is not None:  # a refusal costs nothing
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write_text(json.dumps(asdict(claim)), encoding="utf-8")
    return claim


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(os.environ.get(VARIABLE) or Path(home) / "diger")


@cache
def _code() -> str:
    """A digest of the statistics that make claims: other code, other claims."""
    files = sorted(Path(str(statistics.__file__)).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _read(values: dict[str, Any]) -> Claim:
    found = values["difference"]
    for name in ("interval", "lift_interval"):
        found[name] = found[name] and Interval(**found[name])
    found["per_seed"] = tuple((int(seed), float(value)) for seed, value in found["per_seed"])
    tuples = {name: tuple(values[name]) for name in ("alone", "groups")}
    return Claim(**values | tuples | {"difference": Difference(**found)})
