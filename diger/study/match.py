"""Is a bundle the one that a run of a study would make?

It is where recipe, seed, data and the runs it started from are the same. Names, descriptions and
places of files do not count. A setting that recipes gained since the bundle was written was not
there, which is the same as off: it counts where it is on now. The code's version and the weights'
precision do not count: the table shows the former, and the latter says how weights are kept, not
what was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diger.bundle.documents import entry
from diger.bundle.reader import Bundle
from diger.bundle.settings import settings
from diger.bundle.text import printable
from diger.study.grid import Run


def mismatch(bundle: Bundle, run: Run, fingerprint: str | None) -> str | None:
    """What is different in `bundle` from what `run` would make; None where nothing is.

    Args:
        bundle: found where the run's would be.
        run: of the study.
        fingerprint: of the dataset as it is now; None where that is not known.
    """
    config = bundle.config
    if config.get("seed") != run.seed:
        return f"seed is {config.get('seed')} there, {run.seed} here"
    method = run.recipe.method
    there = settings(config["recipe"], method)
    here = settings(run.recipe.model_dump(mode="json"), method)
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            return f"{key} is {_show(there, key)} there, {_show(here, key)} here"
    found = entry(config, "dataset", "fingerprint")
    if fingerprint is not None and found != fingerprint:
        return f"made on other data (fingerprint {str(found)[:8]} there, {fingerprint[:8]} here)"
    for name, source in (("sids_from", run.sids_from), ("start_from", run.start_from)):
        told = entry(config, name, "name")
        # SIDs come along with weights to start from.
        wanted = source or (run.start_from if name == "sids_from" else None)
        expected = None if wanted is None else _bundle_name(wanted)
        if told != expected:
            return f"{name} is {told or 'not set'} there, {expected or 'not set'} here"
    return None


def _bundle_name(key: str) -> str:
    dataset, arm, seed = key.split("/")
    return f"{dataset}-{arm}-s{seed}"


def _show(settings: Mapping[str, Any], key: str) -> str:
    return printable(repr(settings[key]), 60) if key in settings else "not set"
