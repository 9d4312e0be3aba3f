"""A conversation with the Hub through its own client, whose every fault is one line.

The client resumes, caches, backs off, shows its bars, and keeps the token to the Hub's own host.
Ours to add: a server that falls silent is given up on, and whatever the client raises (its own
errors, the HTTP library's, the system's, a ValueError for an answer it does not understand) becomes
a `DigerError` that says what was being done, what is the matter and what to do. Tokens come from
the usual places only, HF_TOKEN or `hf auth login`, and never get into a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diger.bundle import schema
from diger.bundle.manifest import FileEntry
from diger.errors import DigerError
from diger.hub.address import Address
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi


TIMEOUT = 60.0  # seconds without a byte in either direction; the client alone would wait for ever

Say = Callable[[str], None]

_TOKEN = re.compile(r"hf_[A-Za-z0-9_]{8,}|(?i:bearer)\s+\S+")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
_BETWEEN = "a proxy or a login page may be in between, or HF_ENDPOINT may be wrong"


class Unreachable(DigerError):
    """No answer, or none that says anything about the repository: a copy in the cache will do."""


def say_on_stderr(text: str) -> None:
    """Print a note where it does not mix with results."""
    print(printable(redact(text)), file=sys.stderr)


@contextlib.contextmanager
def talking(doing: str, *, safe: str = "") -> Iterator[HfApi]:
    """The Hub's client for the length of a `with` block; its faults come out as one line.

    Args:
        doing: what is being done, for the beginning of the line ("publishing ann/demo").
        safe: what a failure does not touch, for its end.

    Raises:
        Unreachable: no connection, a server fault, or a limit on requests.
        DigerError: anything else.
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


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error of the Hub's client; None where there was no answer."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


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
    chain = [error, error.__cause__, getattr(error.__cause__, "__cause__", None)]
    lost = (errors.OfflineModeIsEnabled, errors.HTTPError, ConnectionError, TimeoutError)
    cause = next((one for one in chain if isinstance(one, lost)), None)
    if cause is not None:
        offline = isinstance(cause, errors.OfflineModeIsEnabled)
        reason = "HF_HUB_OFFLINE is set" if offline else _transport(cause)
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
    elif _raised_here(error):
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


def _transport(error: BaseException) -> str:
    """A connection's fault in a word or two."""
    name = type(error).__name__
    words = {
        "Timeout": "no answer in time",
        "Connect": "no connection",
        "Proxy": "the proxy failed",
    }
    return next((text for part, text in words.items() if part in name), "the connection was cut")


def _raised_here(error: BaseException) -> bool:
    """Whether an error comes from a line of this package, and so is no answer of the Hub's."""
    trace, module = error.__traceback__, ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return module.partition(".")[0] == "diger"


# What a repository on the Hub holds: its commit, its files, and whether they are ours already.
#
# The Hub names a large file by its SHA-256 and a small one by git's SHA-1 of it, so two files can
# be compared without fetching either.

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
