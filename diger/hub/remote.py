"""What a repository on the Hub holds: its commit, its files, and whether they are ours already.

The Hub names a large file by its SHA-256 and a small one by git's SHA-1 of it, so two files can be
compared without fetching either.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diger.bundle import schema
from diger.bundle.manifest import FileEntry
from diger.hub.address import Address

if TYPE_CHECKING:
    from huggingface_hub import HfApi

BUNDLE_FILES = frozenset((*schema.ALLOWED, schema.MANIFEST))


@dataclass(frozen=True)
class RemoteFile:
    """One file at a commit: `sha256` for large files, `git_sha1` of its content for small ones."""

    size: int
    git_sha1: str
    sha256: str | None

    def holds(self, data: bytes) -> bool:
        """Whether it has exactly this content."""
        if self.sha256 is not None:
            return self.sha256 == hashlib.sha256(data).hexdigest()
        return self.git_sha1 == git_sha1(data)

    def contradicts(self, entry: FileEntry) -> bool:
        """Whether its size or SHA-256, as far as the Hub tells, is not the entry's."""
        return self.size != entry.size or self.sha256 not in (None, entry.sha256)


@dataclass(frozen=True)
class Remote:
    """A repository at one commit; `files` by name, those in folders left out."""

    commit: str
    private: bool
    files: dict[str, RemoteFile]

    @property
    def is_bundle(self) -> bool:
        """Whether it has a manifest."""
        return schema.MANIFEST in self.files


def look(api: HfApi, address: Address) -> Remote:
    """A repository at a revision; raises the client's errors."""
    info = api.model_info(address.repo_id, revision=address.revision)
    if info.sha is None:
        raise LookupError("an answer without a commit")
    return Remote(info.sha, info.private is True, list_files(api, address.repo_id, info.sha))


def list_files(api: HfApi, repo_id: str, commit: str) -> dict[str, RemoteFile]:
    """Files at a commit by name; raises the client's errors."""
    from huggingface_hub.hf_api import RepoFile

    return {
        file.path: RemoteFile(
            file.lfs.size if file.lfs else file.size,
            file.blob_id,
            file.lfs.sha256 if file.lfs else None,
        )
        for file in api.list_repo_tree(repo_id, revision=commit)
        if isinstance(file, RepoFile)
    }


def git_sha1(data: bytes) -> str:
    """Git's name for a file with this content.

    >>> git_sha1(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
