"""What publishing would do: which files go, which are there already, which are to be removed."""

from __future__ import annotations

from dataclasses import dataclass

from diger.errors import DigerError
from diger.hub.address import Address
from diger.hub.release import Release
from diger.hub.remote import BUNDLE_FILES, Remote, RemoteFile
from diger.text import printable

# What a repository may hold before its first bundle.
_HARMLESS = {".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}


@dataclass(frozen=True)
class Published:
    """What went up, or in a dry run what would.

    commit: None in a dry run. url: its page. private: whether only its owner sees it.
    exists: whether the repository was there before; None where the Hub could not be asked.
    sizes: bytes of every file by name. send, same, remove: names of files to send, there already,
    and of an earlier bundle to remove. notes: what the owner should know.
    """

    address: Address
    commit: str | None
    url: str
    private: bool
    exists: bool | None
    sizes: dict[str, int]
    send: tuple[str, ...]
    same: tuple[str, ...]
    remove: tuple[str, ...]
    notes: tuple[str, ...]


def make_plan(
    release: Release,
    repo_id: str,
    there: Remote | None,
    public: bool,
    notes: tuple[str, ...],
    asked: bool = True,
) -> Published:
    """What is to be done to bring `release` to a repository.

    Args:
        release: what it should hold.
        repo_id: `owner/name`.
        there: what it holds; None where it is to be made.
        public: whether everybody may see it.
        notes: what its owner should know, to which more may come.
        asked: False where the Hub could not be asked what is there.

    Raises:
        DigerError: the repository is public and was not meant to be, or is something else.
    """
    files = {} if there is None else there.files
    if there is not None:
        if not there.private and not public:
            raise DigerError(
                f"{repo_id} is public: add --public to publish there, or choose another name. "
                "Nothing on the Hub was changed"
            )
        strange = sorted(files.keys() - _HARMLESS)
        if not there.is_bundle and strange:
            raise DigerError(
                f"{repo_id} holds something else than a bundle "
                f"({printable(', '.join(strange[:3]), 80)}): choose another name. "
                "Nothing on the Hub was changed"
            )
        if there.private and public:
            notes = (*notes, "the repository is private and stays so: its settings can change it")
    same = tuple(name for name in release.files if name in files and is_there(release, name, files))
    return Published(
        address=Address(repo_id),
        commit=None,
        url=_page(repo_id),
        private=there.private if there is not None else not public,
        exists=there is not None if asked else None,
        sizes={name: entry.size for name, entry in sorted(release.entries.items())},
        send=tuple(sorted(release.files.keys() - set(same))),
        same=tuple(sorted(same)),
        remove=tuple(sorted((files.keys() & BUNDLE_FILES) - release.files.keys())),
        notes=notes,
    )


def is_there(release: Release, name: str, files: dict[str, RemoteFile]) -> bool:
    """Whether the file `name` of `files` has the release's content."""
    entry, file = release.entries[name], files[name]
    if file.contradicts(entry):
        return False
    return file.sha256 is not None or file.holds(release.content(name))


def _page(repo_id: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo_id}"
