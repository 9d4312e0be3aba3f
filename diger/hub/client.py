"""A conversation with the Hub through its own client, whose every fault is one line.

The client resumes, caches, backs off, shows its bars, and keeps the token to the Hub's own host.
Ours to add: a server that falls silent is given up on, and whatever the client raises (its own
errors, the HTTP library's, the system's, a ValueError for an answer it does not understand) becomes
a `DigerError` that says what was being done, what is the matter and what to do. Tokens come from
the usual places only, HF_TOKEN or `hf auth login`, and never get into a message.
"""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from diger.bundle import schema
from diger.bundle.manifest import FileEntry
from diger.errors import DigerError
from diger.hub.address import Address
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

TIMEOUT = 60.0  # seconds without a byte in either direction; the client alone would wait for ever

_TOKEN = re.compile(r"hf_[A-Za-z0-9_]{8,}|(?i:bearer)\s+\S+")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
_BETWEEN = "a proxy or a login page may be in between, or HF_ENDPOINT may be wrong"


class Unreachable(DigerError):
    """No answer, or none that says anything about the repository: a copy in the cache will do."""


@contextlib.contextmanager
def talking(doing: str, *, safe: str = "") -> Iterator[HfApi]:
    """The Hub's client for the length of a `with` block; its faults come out as one line.

    The line begins with what is being done ("publishing ann/demo") and ends with what is `safe`.
    It is `Unreachable` for no connection, a server fault, or a limit on requests.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars, get_session, logging

    session = get_session()
    hooks = session.event_hooks
    if _limit not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [*hooks["request"], _limit]}
    if logging.get_verbosity() > logging.INFO:  # nobody is looking for a fault of the client's
        logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield HfApi(library_name="diger")
    except DigerError:
        raise
    except Exception as error:
        kind, reason = _explain(error)
        message = f"{doing}: {reason}" + (f". {safe}" if safe else "")
        raise kind(redact(printable(message, 600))) from None


def _limit(request: Any) -> None:
    """A request's missing limits: many of the client's calls ask for none."""
    limits = request.extensions.setdefault("timeout", {})
    for phase in ("connect", "read", "write", "pool"):
        if limits.get(phase) is None:
            limits[phase] = TIMEOUT


def redact(text: str) -> str:
    """`text` without anything that is, or looks like, an access token."""
    token = current_token()
    if token:
        text = text.replace(token, "[token]")
    return _TOKEN.sub("[token]", text)


def current_token() -> str | None:
    """The token that the Hub's client would use; it is compared with, and never shown."""
    from huggingface_hub import get_token

    with contextlib.suppress(Exception):  # a broken login must not hide the fault at hand
        return get_token()
    return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error of the Hub's client; None where there was no answer."""
    for cause in _causes(error):
        response: Any = getattr(cause, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those it was raised from: the client wraps those of the HTTP library."""
    while error is not None:
        yield error
        error = error.__cause__


# How an error is called where there was no answer, and what that means.
_LOST = {
    "Offline": "HF_HUB_OFFLINE is set",
    "Timeout": "no answer in time",
    "Connect": "no connection",
    "Proxy": "the proxy failed",
    "": "the connection was cut",
}


def lost(error: BaseException) -> str | None:
    """Why there was no answer, in words; None for an error of another kind."""
    from huggingface_hub import errors

    kinds = (errors.HTTPError, ConnectionError, TimeoutError)
    cause = next((cause for cause in _causes(error) if isinstance(cause, kinds)), None)
    if cause is None:
        return None
    return next(said for part, said in _LOST.items() if part in type(cause).__name__)


def _explain(error: Exception) -> tuple[type[DigerError], str]:
    """The class and the words for an error; the error itself is raised where it is a bug here."""
    from huggingface_hub import errors

    if "Invalid metadata in README.md" in str(error):
        said = " ".join(str(error).split()).removeprefix("Invalid metadata in README.md. ")
        return DigerError, f"the Hub does not accept the model card ({printable(said, 200)})"
    status = status_of(error)
    if status is not None:
        return Unreachable if status == 429 or status >= 500 else DigerError, _answer(status, error)
    if isinstance(error, errors.LocalTokenNotFoundError):
        return DigerError, f"you are not logged in: {_LOGIN}"
    reason = lost(error)
    if reason is not None:
        return Unreachable, (
            f"the Hub cannot be reached ({reason}); check the network, or work from a copy: a "
            "folder, or an address that is in the cache"
        )
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return Unreachable, "a file arrived cut short; run the same command again"
    if isinstance(error, OSError) and not isinstance(error, errors.HfHubHTTPError | ValueError):
        if error.strerror or error.filename:
            where = f" {error.filename}" if error.filename else ""
            return DigerError, f"the system refused{where}: {error.strerror or 'no reason given'}"
    else:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").startswith(
            "diger."
        ):  # no answer of the Hub's: a bug here
            raise error
    return Unreachable, f"the Hub's answer was not understood; {_BETWEEN}"


def _answer(status: int, error: BaseException) -> str:
    """What a refusal of the Hub means."""
    from huggingface_hub import errors

    said = getattr(error, "server_message", None)
    said = f" (it says: {printable(' '.join(str(said).split()), 160)})" if said else ""
    if isinstance(error, errors.GatedRepoError):
        return "access is granted by its owner: ask for it on the repository's page on the Hub"
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision: give a branch, a tag or a commit that is there"
    if status == 401 and current_token() is None:
        return f"it is not there, or it is private and you are not logged in: {_LOGIN}"
    response = getattr(error, "response", None)
    seconds = None if response is None else response.headers.get("Retry-After")
    wait = f"{printable(seconds, 20)} s" if seconds else "a few minutes"
    known = {
        401: f"the Hub refuses your token; it may be mistyped or expired: {_LOGIN}",
        402: f"the Hub wants a paid plan for this{said}",
        403: f"the Hub does not allow it{said}: your token needs the right to write there, or the "
        "place belongs to somebody else",
        404: f"it is not on the Hub, or it is private and your token may not see it{said}",
        409: f"it is in conflict with what is on the Hub{said}; run the same command again",
        412: "somebody else changed it on the Hub in the meantime; look at it, then run again",
        429: f"too many requests for the Hub's limit; run the same command again in {wait}",
    }
    if status in known:
        return known[status]
    if status >= 500:
        return f"the Hub has trouble of its own ({status}); run the same command again later"
    return f"the Hub refused ({status}){said}"


# What a repository on the Hub holds: its commit, its files, and whether they are ours already.
#
# The Hub names a large file by its SHA-256 and a small one by git's SHA-1 of it, so two files can
# be compared without fetching either.

Kind = Literal["model", "space"]
BUNDLE_FILES = frozenset((*schema.ALLOWED, schema.MANIFEST))


@dataclass(frozen=True)
class Remote:
    """A repository at one commit; `files` by name, of a model those in folders left out."""

    commit: str
    private: bool
    files: dict[str, RepoFile]

    @property
    def is_bundle(self) -> bool:
        """Whether it has a manifest."""
        return schema.MANIFEST in self.files


def look(api: HfApi, address: Address, kind: Kind = "model") -> Remote:
    """A repository at a revision; raises the client's errors."""
    from huggingface_hub.hf_api import RepoFile

    info = api.repo_info(address.repo_id, revision=address.revision, repo_type=kind)
    if info.sha is None:
        raise LookupError("an answer without a commit")
    tree = api.list_repo_tree(
        address.repo_id, revision=info.sha, repo_type=kind, recursive=kind == "space"
    )
    files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    return Remote(info.sha, info.private is True, files)


def entry_of(file: RepoFile) -> FileEntry:
    """Size and SHA-256 of a file; no SHA-256 of a small one, which the Hub knows by git's name."""
    return FileEntry(file.lfs.sha256, file.lfs.size) if file.lfs else FileEntry("", file.size)


def contradicts(file: RepoFile, entry: FileEntry) -> bool:
    """Whether a file's size or SHA-256, as far as the Hub tells, is not the entry's."""
    told = entry_of(file)
    return told.size != entry.size or told.sha256 not in ("", entry.sha256)
