"""From a bundle on disk to a repository on the Hub, in one commit.

The client sends large files before the commit and nothing that is there already, so after a cut the
same command goes on, and until the commit nobody sees a change. Afterwards the Hub's listing is
compared with what was sent, file by file.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diger.bundle.reader import Bundle
from diger.errors import DigerError
from diger.hub.address import Address, parse, parse_repo_id
from diger.hub.client import (
    BUNDLE_FILES,
    Remote,
    Unreachable,
    contradicts,
    current_token,
    look,
    status_of,
    talking,
)
from diger.hub.fetch import local_path
from diger.hub.release import Release, make_release, sibling_of
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

# What a repository may hold before its first bundle.
_HARMLESS = {".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}
_UNTOUCHED = "Nothing on the Hub was changed"


@dataclass(frozen=True)
class Published:
    """What went up, or in a dry run what would.

    commit: None in a dry run. url: its page. private: whether only its owner sees it.
    exists: whether the repository was there before; None where the Hub could not be asked.
    sizes: bytes of every file by name. send, remove: names of files that are not there already, and
    of those of an earlier bundle. notes: what the owner should know.
    """

    address: Address
    commit: str | None
    url: str
    private: bool
    exists: bool | None
    sizes: dict[str, int]
    send: tuple[str, ...]
    remove: tuple[str, ...]
    notes: tuple[str, ...]


def publish(
    bundle: str | Path,
    repo_id: str,
    *,
    public: bool = False,
    tag: str | None = None,
    sibling: str | Path | None = None,
    licence: str | None = None,
    keep_card: bool = False,
    without_text: bool = False,
    dry_run: bool = False,
) -> Published:
    """Publish a bundle as a model repository.

    Args:
        bundle: its folder, or an address.
        repo_id: `owner/name`; made where there is none.
        public: for everybody to see. Without it a new repository is private, and one that is
            public already is refused.
        tag: a name for this version, such as v1.
        sibling: the bundle whose figures the card sets beside, a path or an address; by default
            one from the same folder, and "none" for none.
        licence: of the card; by default mit for simulated data, else other.
        keep_card: send the bundle's README.md as it is.
        without_text: leave item text out even where it may go; elsewhere it never goes.
        dry_run: change nothing, tell what would be done.
    """
    repo_id = parse_repo_id(repo_id)
    if tag is not None:
        parse(f"{repo_id}@{tag}")  # a tag nobody could load by is refused before anything is sent
    opened = Bundle.open(local_path(bundle))
    beside, note = sibling_of(opened, bundle, sibling)
    release = make_release(
        opened,
        repo_id,
        sibling=beside,
        licence=licence,
        keep_card=keep_card,
        without_text=without_text,
    )
    notes = (*release.notes, *note)
    doing = f"publishing {repo_id}"
    if current_token() is None and not dry_run:
        raise DigerError(
            f"{doing}: you are not logged in: log in with `hf auth login`, or set HF_TOKEN, with "
            "a token that may write"
        )
    try:
        with talking(doing, safe=_UNTOUCHED) as api:
            there = _look_if_there(api, repo_id)
            # A tag cannot be moved, so it is looked for before anything is sent.
            tagged = None if there is None or tag is None else _tagged(api, repo_id, tag)
    except DigerError as error:
        if not dry_run or (not isinstance(error, Unreachable) and current_token() is not None):
            raise
        said = f"the Hub could not be asked what is there: {error}"
        return _plan(release, repo_id, None, public, (*notes, said), asked=False)
    plan = _plan(release, repo_id, there, public, notes)
    if tagged is not None and (plan.send or plan.remove or there is None or tagged != there.commit):
        raise DigerError(
            f"{doing}: the tag {printable(str(tag), 40)} is there already, on commit "
            f"{tagged[:12]}: choose another. {_UNTOUCHED}"
        )
    if dry_run:
        return plan
    commit = _send(release, plan, there)
    if tag is not None and tagged is None:
        stands = f"The bundle is there, at commit {commit[:12]}"
        with talking(f"tagging {repo_id}", safe=stands) as api:
            api.create_tag(repo_id, tag=tag, revision=commit)
    return replace(plan, commit=commit)


def _look_if_there(api: HfApi, repo_id: str) -> Remote | None:
    """The head of a repository's main branch; None where there is no such repository.

    A repository that we may not see looks the same; creating it will then be refused.
    """
    try:
        return look(api, Address(repo_id))
    except Exception as error:
        if status_of(error) == 404:
            return None
        raise


def _tagged(api: HfApi, repo_id: str, tag: str) -> str | None:
    """The commit that a tag names; None where there is no such tag."""
    tags = api.list_repo_refs(repo_id).tags
    return next((ref.target_commit for ref in tags if ref.name == tag), None)


def _plan(
    release: Release,
    repo_id: str,
    there: Remote | None,
    public: bool,
    notes: tuple[str, ...],
    asked: bool = True,
) -> Published:
    """What is to be done to bring `release` to a repository that holds `there`.

    `asked` is False where the Hub could not be asked what is there.
    """
    from huggingface_hub import constants

    files = {} if there is None else there.files
    if there is not None:
        if not there.private and not public:
            raise DigerError(
                f"{repo_id} is public: add --public to publish there, or choose another name. "
                f"{_UNTOUCHED}"
            )
        strange = sorted(files.keys() - _HARMLESS)
        if not there.is_bundle and strange:
            raise DigerError(
                f"{repo_id} holds something else than a bundle "
                f"({printable(', '.join(strange[:3]), 80)}): choose another name. {_UNTOUCHED}"
            )
        if there.private and public:
            notes = (*notes, "the repository is private and stays so: its settings can change it")
    return Published(
        address=Address(repo_id),
        commit=None,
        url=f"{constants.ENDPOINT}/{repo_id}",
        private=there.private if there is not None else not public,
        exists=there is not None if asked else None,
        sizes={name: entry.size for name, entry in sorted(release.entries.items())},
        send=tuple(name for name in sorted(release.files) if not _is_there(release, name, files)),
        remove=tuple(sorted((files.keys() & BUNDLE_FILES) - release.files.keys())),
        notes=notes,
    )


def _is_there(release: Release, name: str, files: dict[str, RepoFile]) -> bool:
    """Whether the file `name` of `files` has the release's content."""
    from huggingface_hub.utils.sha import git_hash

    if name not in files or contradicts(files[name], release.entries[name]):
        return False
    return files[name].lfs is not None or files[name].blob_id == git_hash(release.content(name))


def _send(release: Release, plan: Published, there: Remote | None) -> str:
    """Carry out a plan; the commit that holds the release afterwards."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo_id = plan.address.repo_id
    doing = f"publishing {repo_id}"
    if there is None:
        with talking(doing, safe=_UNTOUCHED) as api:
            api.create_repo(repo_id, private=plan.private)
            there = look(api, plan.address)
    if not plan.send and not plan.remove:
        return there.commit
    kept = (
        "What has arrived is kept there and nobody sees a change, so the same command goes on "
        "where this one stopped"
    )
    # From memory: what is sent is what was hashed.
    added = [CommitOperationAdd(name, release.content(name)) for name in plan.send]
    removed = [CommitOperationDelete(name) for name in plan.remove]
    with talking(doing, safe=kept) as api, warnings.catch_warnings():
        # The client asks whether tables belong to a model: here they do.
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data")
        made = api.create_commit(
            repo_id,
            [*added, *removed],
            commit_message="Publish a DIGER bundle",
            parent_commit=there.commit,  # refused by the Hub where somebody else came first
        )
    with talking(doing, safe="The commit was made; the same command checks it again") as api:
        stored = look(api, Address(repo_id, str(made.oid))).files
    wrong = [name for name in release.files if not _is_there(release, name, stored)]
    if wrong:
        raise DigerError(
            f"{doing}: after the commit {str(made.oid)[:12]} the Hub holds something else than was "
            f"sent as {', '.join(wrong)} (does a .gitignore there leave it out?): run the same "
            "command again"
        )
    return str(made.oid)
