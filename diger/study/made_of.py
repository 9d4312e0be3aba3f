"""What a run's data consists of, by hashes: as its bundle tells it, and as it is now.

Only what a recipe uses counts: item text where it is encoded, vectors where SIDs are made of them,
files where SIDs or an RQ-VAE are read from them. Vectors go by the revision of their encoder, or
the hash of the file they were read from: encoded again elsewhere, they differ in their last bits.
What is not there now, or was not noted by the version that made a bundle, hinders nobody.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diger.bundle.documents import entry
from diger.config import Recipe
from diger.content.encoder import revision_here
from diger.data.info import DatasetInfo
from diger.digest import file_sha256
from diger.names import BASELINES
from diger.study.grid import Run

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


def made_of_there(config: Mapping[str, Any]) -> dict[str, str]:
    """The hashes that a bundle's `config` notes."""
    found = {
        DATA: entry(config, "dataset", "fingerprint"),
        TEXT: entry(config, "dataset", "text_fingerprint"),
        VECTORS: entry(config, "content", "revision"),
    }
    sources = entry(config, "content", "sources")
    for source in sources if isinstance(sources, list) else ():
        if str(entry(source, "name")).endswith(".npy"):
            found[f"{VECTORS} {entry(source, 'name')}"] = entry(source, "revision")
    found |= {what: entry(config, "tokenizer", f"{key}_sha256") for key, what in FILES.items()}
    return {what: value for what, value in found.items() if isinstance(value, str)}


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
