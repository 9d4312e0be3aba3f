"""Files of one commit through the Hub client's cache, each checked before it is used.

The client compares sizes only. A file whose content is not what the Hub's listing or the bundle's
manifest says is taken out of the cache and fetched once more; if it is wrong again, it is refused
and nothing of it stays behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from diger.bundle import schema
from diger.bundle.manifest import MAX_BYTES, Manifest
from diger.digest import file_sha256
from diger.errors import DigerError
from diger.hub import client
from diger.hub.address import Address
from diger.hub.client import Say
from diger.hub.progress import Advance, byte_bar, meter
from diger.hub.remote import RemoteFile

_AT_ONCE = 4
_FIRST_ANSWER = 10.0  # seconds for the few bytes that say where a file is


class Download:
    """The files of one commit; methods raise the client's errors."""

    def __init__(self, address: Address, commit: str, say: Say) -> None:
        self.address = address
        self.commit = commit
        self._say = say

    def manifest(self, listed: RemoteFile) -> bytes:
        """The manifest's content, as the Hub's listing of the commit names it."""
        if listed.size > MAX_BYTES:
            raise DigerError(f"{self.address}: its manifest.json is far too large to be one")
        path = self._checked(schema.MANIFEST, lambda path: listed.holds(path.read_bytes()), None)
        return path.read_bytes()

    def files(self, manifest: Manifest, listed: Mapping[str, RemoteFile]) -> dict[str, Path]:
        """Paths in the cache of all the files that a manifest lists, each with its SHA-256."""
        names = sorted(manifest.files, key=lambda name: -listed[name].size)
        total = sum(entry.size for entry in manifest.files.values())
        with byte_bar(f"fetching {self.address}", total) as advance:

            def one(name: str) -> Path:
                cached = self.cached(name)
                path = self._checked(
                    name, lambda path: file_sha256(path) == manifest.files[name].sha256, advance
                )
                if cached is not None:
                    advance(manifest.files[name].size)
                return path

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                found = [pool.submit(one, name) for name in names]
                try:
                    return {name: job.result() for name, job in zip(names, found, strict=True)}
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def cached(self, name: str) -> Path | None:
        """A file of the commit that is in the cache already."""
        from huggingface_hub import constants, try_to_load_from_cache

        found = try_to_load_from_cache(
            self.address.repo_id, name, cache_dir=constants.HF_HUB_CACHE, revision=self.commit
        )
        return Path(found) if isinstance(found, str) else None

    def _checked(
        self, name: str, is_right: Callable[[Path], bool], advance: Advance | None
    ) -> Path:
        for _ in range(2):
            path = self._get(name, advance)
            if is_right(path):
                return path
            self._say(f"{name} arrived damaged: fetching it once more")
            _forget(path)
        raise DigerError(
            f"fetching {self.address}: {name} arrived damaged twice and was thrown away, nothing "
            "of it is used; the network, a proxy or a mirror in between changes what it passes on"
        )

    def _get(self, name: str, advance: Advance | None) -> Path:
        from huggingface_hub import hf_hub_download

        options: dict[str, Any] = {"etag_timeout": min(_FIRST_ANSWER, client.TIMEOUT)}
        # Clients before 1.2 cannot lend their bar.
        if advance is not None and "tqdm_class" in inspect.signature(hf_hub_download).parameters:
            options["tqdm_class"] = meter(advance)
        path = hf_hub_download(
            self.address.repo_id, name, revision=self.commit, library_name="diger", **options
        )
        return Path(path)


def _forget(pointer: Path) -> None:
    """Take a file out of the client's cache: its name in the snapshot, and the content behind."""
    content = pointer.resolve()
    pointer.unlink(missing_ok=True)
    repository = pointer.parent.parent.parent  # .../models--owner--name/snapshots/<commit>/<file>
    if content != pointer and content.is_relative_to(repository.resolve()):
        content.unlink(missing_ok=True)
