"""Datasets by name, from where they are given out: GroupLens' archives, and datasets on the Hub.

What came is kept beside the target, and the same command goes on with it. The folder gets its name
when every file has the hash that its source publishes: GroupLens' MD5 of an archive, the Hub's
SHA-256 of a large file and git's SHA-1 of a small one. An MD5 tells damage, not a forger; both
sources are asked over HTTPS.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from diger.data.readers.movielens import LAYOUTS
from diger.errors import DigerError, did_you_mean
from diger.files import Staging, file_sha256, sweep
from diger.hub.client import lost, status_of, talking

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
# MD5 of NAME.zip, as GroupLens publishes it beside each (NAME.zip.md5).
ARCHIVES = {
    "ml-100k": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
    "ml-10m": "ce571fd55effeba0271552578f2648bd",
    "ml-20m": "cd245b17a1ae2cc31bb14903e1204af3",
    "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
    "ml-32m": "d472be332d4daa821edc399621853b57",
}
AMAZON, DIGER = "amazon-2023/", "diger"
REPOSITORIES = {
    AMAZON: "McAuley-Lab/Amazon-Reviews-2023",
    DIGER: "junchenfu/diger-processed-data",
}
NAMES = (*ARCHIVES, f"{AMAZON}CATEGORY", DIGER)
_SAFE = "what came is kept: the same command goes on"


def download(name: str, out: Path) -> Path:
    """Fetch a dataset of `NAMES` to the folder `out`, whole or not at all, and return it."""
    out = out.absolute()
    if name in ARCHIVES:
        _archive(name, out)
    elif name == DIGER:
        _repository(name, out, REPOSITORIES[DIGER], ("*",), flat=False)
    elif name.startswith(AMAZON) and re.fullmatch(r"\w+", category := name.removeprefix(AMAZON)):
        wanted = (
            f"raw/review_categories/{category}.jsonl",
            f"raw/meta_categories/meta_{category}.jsonl",
        )
        _repository(name, out, REPOSITORIES[AMAZON], wanted, flat=True)
    else:
        hint = did_you_mean(name, NAMES)
        raise DigerError(f"no dataset is called {name!r}{hint}; known: {', '.join(NAMES)}")
    return out


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A folder beside `out` for what came so far; removed when all is done."""
    aside = out.with_name(f".{out.name}.partial")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        with FileLock(aside / ".lock"):
            if out.exists():
                raise DigerError(f"{out} is there already; read it, or give another --out")
            sweep(out)
            yield aside
    except OSError as error:
        raise DigerError(
            f"cannot write {error.filename or aside}: {error.strerror or error}; {_SAFE}"
        ) from error
    shutil.rmtree(aside, ignore_errors=True)


def _archive(name: str, out: Path) -> None:
    """An archive of GroupLens', of which the ratings, the films and the README are taken."""
    url, md5 = f"{GROUPLENS}{name}.zip", ARCHIVES[name]
    wanted = {file for layout in LAYOUTS for file in (layout.ratings, layout.films)}
    with _aside(out) as aside:
        part = aside / f"{name}.zip"
        if not part.exists() or _md5(part) != md5:
            _continue(url, part)
            found = _md5(part)
            if found != md5:
                part.unlink()
                raise DigerError(
                    f"{url} came with the MD5 {found}, and its source publishes {md5}; it was "
                    "thrown away: run the same command again"
                )
        with zipfile.ZipFile(part) as archive, Staging(out) as staging:
            for member in archive.infolist():
                file = PurePosixPath(member.filename).name  # no folders: nothing lands elsewhere
                if not member.is_dir() and (file in wanted or file.startswith("README")):
                    with archive.open(member) as source, (staging.folder / file).open("wb") as to:
                        shutil.copyfileobj(source, to)
            staging.publish()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _continue(url: str, part: Path) -> None:
    """Fetch what `part` lacks of the file at `url`; the Hub's client shows how far it is."""
    from huggingface_hub.file_download import http_get

    host = urlsplit(url).hostname
    with talking(f"downloading {url}", safe=_SAFE), part.open("ab") as file:
        try:
            http_get(url, file, resume_size=file.tell(), displayed_filename=part.name)
        except Exception as error:
            status, reason = status_of(error), lost(error)
            if status == 416:  # there is no more of it: what came is for its hash to judge
                return
            if status is not None:
                reason = f"the server answers {status}"
            if reason is None:
                raise
            raise DigerError(f"downloading {url}: {host}: {reason}; {_SAFE}") from None


def _repository(name: str, out: Path, repo: str, patterns: tuple[str, ...], *, flat: bool) -> None:
    """Files of a dataset's repository on the Hub, at its latest commit."""
    from huggingface_hub import snapshot_download

    with _aside(out) as aside, talking(f"downloading {name}", safe=_SAFE) as api:
        commit = str(api.dataset_info(repo).sha)
        files = _files(api, repo, commit, patterns)
        if not all(any(fnmatchcase(file, pattern) for file in files) for pattern in patterns):
            raise DigerError(f"{repo} has no {' and '.join(patterns)}: is {name} spelt right?")
        snapshot_download(
            repo,
            repo_type="dataset",
            revision=commit,
            local_dir=aside,
            allow_patterns=sorted(files),
            library_name="diger",
        )
        for file, entry in files.items():
            if not _is_whole(aside / file, entry):
                (aside / file).unlink()
                raise DigerError(
                    f"{file} of {repo} is not what the Hub says it is; it was thrown away: run the "
                    "same command again"
                )
        with Staging(out) as staging:
            for file in files:
                target = staging.folder / (PurePosixPath(file).name if flat else file)
                target.parent.mkdir(parents=True, exist_ok=True)
                (aside / file).rename(target)
            staging.publish()


def _files(api: HfApi, repo: str, commit: str, patterns: tuple[str, ...]) -> dict[str, RepoFile]:
    """What a commit has of these files, in folders too."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True)
    return {
        entry.path: entry
        for entry in tree
        if isinstance(entry, RepoFile)
        and any(fnmatchcase(entry.path, pattern) for pattern in patterns)
    }


def _is_whole(path: Path, entry: RepoFile) -> bool:
    from huggingface_hub.utils.sha import git_hash

    if entry.lfs is not None:
        return file_sha256(path) == entry.lfs.sha256
    return git_hash(path.read_bytes()) == entry.blob_id
