"""One commit to a repository on the Hub: planned, made, and whether the Hub then holds it.

Large files go first and nothing that is there already; until the commit nobody sees a change.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diger.bundle.manifest import FileEntry
from diger.errors import DigerError
from diger.hub.address import Address
from diger.hub.client import Kind, Remote, contradicts, current_token, look, status_of, talking
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

UNTOUCHED = "Nothing on the Hub was changed"
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}")
# What a repository may hold before anything of ours.
_HARMLESS = {".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}


@dataclass(frozen=True)
class Change:
    """What went up, or in a dry run what would.

    commit: None in a dry run. url: the repository's page. private: whether only its owner sees it.
    exists: whether it was there before; None where the Hub could not be asked. sizes: bytes of
    every file by name. send, remove: names of files that are not there already, and of those of an
    earlier change. notes: what the owner should know.
    """

    repo_id: str
    commit: str | None
    url: str
    private: bool
    exists: bool | None
    sizes: dict[str, int]
    send: tuple[str, ...]
    remove: tuple[str, ...]
    notes: tuple[str, ...]


def planned(
    repo_id: str,
    there: Remote | None,
    sizes: Mapping[str, int],
    content: Callable[[str], bytes],
    *,
    public: bool,
    what: str,
    mark: str,
    ours: Callable[[str], bool],
    harmless: Iterable[str] = (),
    kind: Kind = "model",
    notes: tuple[str, ...] = (),
) -> Change:
    """The change that brings files to a repository; DigerError where it may not be made.

    Args:
        repo_id: `owner/name`.
        there: what the repository holds; None where there is none.
        sizes, content: of the files, by name.
        public: for everybody to see. A public repository is refused without it.
        what: the files are, in words. mark: a file that a repository of such always holds.
        ours: whether a file of this name would be of an earlier change.
        harmless: names of files that a repository without the mark may hold, beside the usual.
        kind: of the repository.
        notes: to begin with.
    """
    from huggingface_hub import constants

    files = {} if there is None else there.files
    if there is not None:
        if not there.private and not public:
            raise DigerError(
                f"{repo_id} is public: add --public to send {what} there, or choose another name. "
                f"{UNTOUCHED}"
            )
        strange = sorted(files.keys() - _HARMLESS - set(harmless))
        if strange and mark not in files:
            raise DigerError(
                f"{repo_id} holds something else than {what} "
                f"({printable(', '.join(strange[:3]), 80)}): choose another name. {UNTOUCHED}"
            )
        if there.private and public:
            notes = (*notes, "the repository is private and stays so: its settings can change it")
    return Change(
        repo_id,
        commit=None,
        url=f"{constants.ENDPOINT}/{'spaces/' if kind == 'space' else ''}{repo_id}",
        private=there.private if there is not None else not public,
        exists=there is not None,
        sizes=dict(sizes),
        send=tuple(name for name in sizes if not holds(files, name, content(name))),
        remove=tuple(name for name in sorted(files) if ours(name) and name not in sizes),
        notes=notes,
    )


def look_if_there(api: HfApi, repo_id: str, kind: Kind = "model") -> Remote | None:
    """The head of a repository's main branch; None where there is no such repository.

    A repository that we may not see looks the same; creating it will then be refused.
    """
    try:
        return look(api, Address(repo_id), kind)
    except Exception as error:
        if status_of(error) == 404:
            return None
        raise


def must_be_known(doing: str) -> None:
    """DigerError where there is no token to write with."""
    if current_token() is None:
        raise DigerError(
            f"{doing}: you are not logged in: log in with `hf auth login`, or set HF_TOKEN, with "
            "a token that may write"
        )


def refuse_token(name: str, data: bytes) -> None:
    """DigerError where a file to be sent holds what looks like a token: it would be everybody's."""
    token = (current_token() or "").encode()
    if _TOKEN.search(data) or (len(token) >= 8 and token in data):
        raise DigerError(
            f"{name} holds what looks like an access token: nothing was sent; take it out, "
            "and revoke it if anybody else can have seen it"
        )


def holds(files: Mapping[str, RepoFile], name: str, data: bytes) -> bool:
    """Whether the file `name` of a repository has exactly this content."""
    from huggingface_hub.utils.sha import git_hash

    if name not in files or contradicts(files[name], FileEntry.of(data)):
        return False
    return files[name].lfs is not None or files[name].blob_id == git_hash(data)


def commit(
    repo_id: str,
    there: Remote,
    send: Mapping[str, bytes],
    remove: Sequence[str],
    *,
    message: str,
    doing: str,
    kind: Kind = "model",
) -> str:
    """Make one commit on top of `there`; its name. What is sent is what was hashed."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    kept = (
        "What has arrived is kept there and nobody sees a change, so the same command goes on "
        "where this one stopped"
    )
    added = [CommitOperationAdd(name, data) for name, data in send.items()]
    removed = [CommitOperationDelete(name) for name in remove]
    with talking(doing, safe=kept) as api, warnings.catch_warnings():
        # The client asks whether tables belong to a model: here they do.
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data")
        made = api.create_commit(
            repo_id,
            [*added, *removed],
            commit_message=message,
            repo_type=kind,
            parent_commit=there.commit,  # refused by the Hub where somebody else came first
        )
    with talking(doing, safe="The commit was made; the same command checks it again") as api:
        stored = look(api, Address(repo_id, str(made.oid)), kind).files
    wrong = [name for name, data in send.items() if not holds(stored, name, data)]
    if wrong:
        raise DigerError(
            f"{doing}: after the commit {str(made.oid)[:12]} the Hub holds something else than was "
            f"sent as {', '.join(wrong)} (does a .gitignore there leave it out?): run the same "
            "command again"
        )
    return str(made.oid)
