"""Is a bundle the one that a run of a study would make?

It is where recipe, seed, data and the runs it started from are the same, the latter as they are
now: where one was made again and came out otherwise, what was made from it is not done any more.
Names, descriptions and places of files do not count. A setting that recipes gained since the bundle
was written was not there, which is the same as off: it counts where it is on now. The code's
version and the weights' precision do not count: the table shows the former, and the latter says how
weights are kept, not what was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diger.bundle.documents import entry
from diger.bundle.manifest import read_manifest
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
        if expected is not None:
            remade = _remade(run.out.with_name(expected), entry(config, name, "files"))
            if remade:
                return f"{name} is {expected}, which was made again since ({remade} is another)"
    return None


def _remade(source: Path, files: Any) -> str | None:
    """The first of `files`, as a run found them in its source, which is another there now.

    None where all are the same, or where it cannot be told: bundles of earlier versions have no
    `files`, the source may have been moved away, and its weights dropped.
    """
    manifest = read_manifest(source)
    if manifest is None or not isinstance(files, Mapping):
        return None
    there = manifest.files
    return next(
        (n for n, sha256 in files.items() if n in there and there[n].sha256 != sha256), None
    )


def _bundle_name(key: str) -> str:
    dataset, arm, seed = key.split("/")
    return f"{dataset}-{arm}-s{seed}"


def _show(settings: Mapping[str, Any], key: str) -> str:
    return printable(repr(settings[key]), 60) if key in settings else "not set"
