"""Addresses of bundles on the Hugging Face Hub: `hub://owner/name@revision`.

The revision is a branch, a tag or a commit; without one it is `main`. An address that went through
`pathlib` has lost a slash (`hub:/owner/name`) and is understood all the same, so that every place
that takes a path takes an address.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from diger.errors import DigerError
from diger.text import printable

MAIN = "main"

_SCHEME = re.compile(r"hub:/{1,3}", re.IGNORECASE)
# The Hub's rules for names, see huggingface_hub's validate_repo_id.
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEB = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#]+)(?:/tree/([^?#]+))?"
)


@dataclass(frozen=True)
class Address:
    """A repository on the Hub and a revision of it."""

    repo_id: str
    revision: str = MAIN

    @property
    def name(self) -> str:
        """The repository's name without its owner."""
        return self.repo_id.partition("/")[2]

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which can never come to mean something else."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        suffix = "" if self.revision == MAIN else f"@{self.revision}"
        return f"hub://{self.repo_id}{suffix}"


def is_address(text: str | os.PathLike[str]) -> bool:
    """Whether `text` is meant as an address, perhaps a wrong one, and not as a path.

    >>> is_address("hub://ann/demo"), is_address("hub/ann/demo"), is_address(Path("hub://ann/demo"))
    (True, False, True)
    """
    return _SCHEME.match(_spelled(text)) is not None


def parse(text: str | os.PathLike[str]) -> Address:
    """Read `hub://owner/name@revision`, or the same without `hub://`, or a page's web address.

    >>> parse("hub://ann/films-static@v1")
    Address(repo_id='ann/films-static', revision='v1')
    """
    given = _spelled(text).strip()
    web = _WEB.fullmatch(given.rstrip("/"))
    if web is not None:
        repo_id, revision = web[1], web[2] or MAIN
    else:
        repo_id, at, revision = _SCHEME.sub("", given, count=1).partition("@")
        revision = revision if at else MAIN
    parts = repo_id.split("/")
    if len(parts) != 2 or not all(map(_is_name, parts)):
        raise DigerError(
            f"{printable(given, 120)!r} is not the address of a bundle on the Hub: write "
            "hub://owner/name, or hub://owner/name@revision"
        )
    if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision:
        raise DigerError(
            f"{printable(revision, 60)!r} is not a revision: give a branch, a tag or a commit "
            f"after the @, as in hub://{repo_id}@{MAIN}"
        )
    return Address(repo_id, revision)


def parse_repo_id(text: str) -> str:
    """The `owner/name` of an address without a revision."""
    address = parse(text)
    if "@" in text:
        raise DigerError(f"{printable(text, 120)!r}: give owner/name here, without a revision")
    return address.repo_id


def _is_name(part: str) -> bool:
    return _PART.fullmatch(part) is not None and ".." not in part and "--" not in part


def _spelled(value: str | os.PathLike[str]) -> str:
    text = os.fspath(value)
    return text.replace("\\", "/") if isinstance(value, Path) else text
