"""Is a bundle the one that a run of a study would make?

It is where recipe, seed, data, content and the runs it started from are the same, the latter as
they are now: where one was made again and came out otherwise, what was made from it is not done any
more. Names, descriptions and places of files do not count. A setting that recipes gained since the
bundle was written was not there, which is the same as off: it counts where it is on now. The code's
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
from diger.study.grid import Run
from diger.study.made_of import made_of_there
from diger.text import printable


def mismatch(bundle: Bundle, run: Run, made_of: Mapping[str, str]) -> str | None:
    """What is different in `bundle` from what `run` would make; None where nothing is.

    Args:
        bundle: found where the run's would be.
        run: of the study.
        made_of: hashes of its data as it is now, as far as known (`diger.study.made_of`).
    """
    config = bundle.config
    if config.get("seed") != run.seed:
        return f"seed is {config.get('seed')} there, {run.seed} here"
    method = run.recipe.method
    theirs = settings(config["recipe"], method)
    ours = settings(run.recipe.model_dump(mode="json"), method)
    for key in sorted(theirs.keys() | ours.keys()):
        if theirs.get(key) != ours.get(key):
            return f"{key} is {_show(theirs, key)} there, {_show(ours, key)} here"
    found = made_of_there(config)
    for what, value in made_of.items():
        if found.get(what, value) != value:
            there, here = (v.removeprefix("sha256:")[:8] for v in (found[what], value))
            return f"made on other {what} (fingerprint {there} there, {here} here)"
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
