"""Is a bundle the one that a run of a study would make?

It is where recipe, seed, data, content and the runs it started from are the same, the latter as
they are now: where one was made again and came out otherwise, what was made from it is not done any
more. Names, descriptions and places of files do not count. A setting that recipes gained since the
bundle was written was not there, which is the same as off: it counts where it is on now. The code's
version and the weights' precision do not count: the table shows the former, and the latter says how
weights are kept, not what was trained.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diger.bundle.documents import Config
from diger.bundle.manifest import read_manifest
from diger.bundle.reader import Bundle
from diger.bundle.settings import settings
from diger.config import Recipe
from diger.content.encoder import revision_here
from diger.data.info import DatasetInfo
from diger.files import file_sha256
from diger.names import BASELINES
from diger.study.grid import Run
from diger.text import printable

# What a run's data consists of, by hashes: as its bundle tells it, and as it is now.
#
# Only what a recipe uses counts: item text where it is encoded, vectors where SIDs are made of
# them, files where SIDs or an RQ-VAE are read from them. Vectors go by the revision of their
# encoder, or the hash of the file they were read from: encoded again elsewhere, they differ in
# their last bits. What is not there now, or was not noted by the version that made a bundle,
# hinders nobody.

DATA, TEXT, VECTORS = "data", "item text", "content vectors"
FILES = {"file": "SIDs from a file", "checkpoint": "pre-trained RQ-VAE"}


def parts(recipe: Recipe) -> dict[str, str]:
    """What a run of `recipe` is made of, and which one where a dataset can have several."""
    found = {DATA: ""}
    if recipe.method in BASELINES:
        return found
    content = recipe.content
    if recipe.tokenizer.kind != "file":
        if "text" in content.weights:
            if not content.encoder.endswith(".npy"):
                found[TEXT] = ""
            found[VECTORS] = f"{content.encoder} {content.max_tokens}"
        found |= {f"{VECTORS} {Path(n).name}": n for n in content.weights if n.endswith(".npy")}
    return found | {FILES[key]: path for key, path in recipe.tokenizer.files.items()}


def made_of_here(run: Run, info: DatasetInfo) -> dict[str, str]:
    """The hashes of its parts as they are now, of those that are there."""
    wanted = parts(run.recipe)
    found: dict[str, str | None] = {DATA: info.fingerprint, TEXT: info.text_fingerprint}
    if VECTORS in wanted:
        content = run.recipe.content
        found[VECTORS] = revision_here(
            content.encoder, folder=run.data, max_tokens=content.max_tokens, digest=file_digest
        )
    for what, path in wanted.items():
        if what in FILES.values():
            found[what] = file_digest(Path(path))
        elif what.startswith(f"{VECTORS} "):
            found[what] = revision_here(path, folder=run.data, digest=file_digest)
    return {what: value for what, value in found.items() if what in wanted and value}


def made_of_there(about: Config) -> dict[str, str]:
    """The hashes that a bundle notes."""
    found: dict[str, Any] = {
        DATA: about.dataset.fingerprint,
        TEXT: about.dataset.text_fingerprint,
        VECTORS: about.content.revision,
    }
    for source in about.content.sources:
        if source.name.endswith(".npy"):
            found[f"{VECTORS} {source.name}"] = source.revision
    found |= {what: about.tokenizer.get(f"{key}_sha256") for key, what in FILES.items()}
    return {what: value for what, value in found.items() if isinstance(value, str) and value}


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file, read once a process while it stays as it is; None where there is none."""
    try:
        stat = path.stat()
        return _digest(path.resolve(), stat.st_mtime_ns, stat.st_size) if path.is_file() else None
    except OSError:
        return None


@functools.lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:
    return file_sha256(path)


def mismatch(bundle: Bundle, run: Run, made_of: Mapping[str, str]) -> str | None:
    """What is different in `bundle` from what `run` would make; None where nothing is.

    `made_of` has the hashes of the run's data as it is now, as far as known.
    """
    about = bundle.about
    if about.seed != run.seed:
        return f"seed is {about.seed} there, {run.seed} here"
    method = run.recipe.method
    theirs = settings(about.recipe, method)
    ours = settings(run.recipe.model_dump(mode="json"), method)
    for key in sorted(theirs.keys() | ours.keys()):
        if theirs.get(key) != ours.get(key):
            return f"{key} is {_show(theirs, key)} there, {_show(ours, key)} here"
    found = made_of_there(about)
    for what, value in made_of.items():
        if found.get(what, value) != value:
            there, here = (v.removeprefix("sha256:")[:8] for v in (found[what], value))
            return f"made on other {what} (fingerprint {there} there, {here} here)"
    for name, origin, source in (
        ("sids_from", about.sids_from, run.sids_from),
        ("start_from", about.start_from, run.start_from),
    ):
        told = None if origin is None else origin.name
        # SIDs come along with weights to start from.
        wanted = source or (run.start_from if name == "sids_from" else None)
        expected = None if wanted is None else _bundle_name(wanted)
        if told != expected:
            return f"{name} is {told or 'not set'} there, {expected or 'not set'} here"
        if expected is not None and origin is not None:
            remade = _remade(run.out.with_name(expected), origin.files)
            if remade:
                return f"{name} is {expected}, which was made again since ({remade} is another)"
    return None


def _remade(source: Path, files: Mapping[str, str]) -> str | None:
    """The first of `files`, as a run found them in its source, which is another there now.

    None where all are the same, or where it cannot be told: bundles of earlier versions have no
    `files`, the source may have been moved away, and its weights dropped.
    """
    manifest = read_manifest(source)
    if manifest is None:
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
