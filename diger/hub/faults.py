"""What went wrong between here and the Hub, as one line that a person can act on.

The Hub's client raises its own errors, the HTTP library's, the system's, and plain ValueErrors for
answers it does not understand. `explained` turns all of them into a `DigerError` that says what was
being done, what is the matter, and what to do; what the caller knows to be safe is added. No token
ever gets into a message, not even one that a server sends back.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from diger.errors import DigerError
from diger.text import printable

_TOKEN = re.compile(r"hf_[A-Za-z0-9_]{8,}|(?i:bearer)\s+\S+")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
_UNREACHABLE = (
    "the Hub cannot be reached ({reason}); check the network, or work from a copy: a folder, or an "
    "address that is in the cache"
)

_BETWEEN = "a proxy or a login page may be in between, or HF_ENDPOINT may be wrong"


class Unreachable(DigerError):
    """No answer, or none that says anything about the repository: a copy in the cache will do."""


class NotUnderstood(Exception):
    """An answer of the Hub without what it must have."""


class SentElsewhere(Exception):
    """The Hub answered with a redirect to another host (the message) where none belongs."""


@contextlib.contextmanager
def explained(doing: str, *, safe: str = "") -> Iterator[None]:
    """Turn whatever the Hub's client raises inside into one line.

    Args:
        doing: what was being done, for the beginning of the line ("publishing ann/demo").
        safe: what the failure did not touch, for its end.

    Raises:
        Unreachable: no connection, a server fault, or a limit on requests.
        DigerError: anything else.
    """
    try:
        yield
    except DigerError:
        raise
    except Exception as error:
        kind, reason = _explain(error)
        message = f"{doing}: {reason}" + (f". {safe}" if safe else "")
        raise kind(redact(printable(message, 600))) from None


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
    found = (_status(cause) for cause in _chain(error))
    return next((status for status in found if status is not None), None)


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _explain(error: Exception) -> tuple[type[DigerError], str]:
    """The class and the words for an error; the error itself is raised where it is a bug here."""
    from huggingface_hub import errors

    if "Invalid metadata in README.md" in str(error):
        said = " ".join(str(error).split()).removeprefix("Invalid metadata in README.md. ")
        return DigerError, f"the Hub does not accept the model card ({printable(said, 200)})"
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, SentElsewhere):
            return DigerError, (
                f"the Hub redirects to another host ({printable(cause, 80)}), which was not "
                f"followed; {_BETWEEN}"
            )
        status = _status(cause)
        if status is not None:
            kind = Unreachable if status == 429 or status >= 500 else DigerError
            return kind, _by_status(status, cause)
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return Unreachable, _UNREACHABLE.format(reason="HF_HUB_OFFLINE is set")
        if isinstance(cause, errors.LocalTokenNotFoundError):
            return DigerError, f"you are not logged in: {_LOGIN}"
        if isinstance(cause, errors.HTTPError | ConnectionError | TimeoutError):
            return Unreachable, _UNREACHABLE.format(reason=_transport(cause))
    if isinstance(error, NotUnderstood | errors.FileMetadataError | errors.LocalEntryNotFoundError):
        return Unreachable, f"the Hub's answer was not understood; {_BETWEEN}"
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return Unreachable, "a file arrived cut short; run the same command again"
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return DigerError, f"the system refused{where}: {error.strerror or _first_line(error)}"
    if _raised_here(error):
        raise error
    if isinstance(error, ValueError | KeyError | TypeError | AttributeError | AssertionError):
        return Unreachable, f"the Hub's answer was not understood; {_BETWEEN}"
    return DigerError, f"the Hub's client failed: {_first_line(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it, in turn."""
    while error is not None:
        yield error
        error = error.__cause__


def _raised_here(error: BaseException) -> bool:
    """Whether an error comes from a line of this package, and so is no answer of the Hub's."""
    trace, module = error.__traceback__, ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return module.partition(".")[0] == "diger"


def _by_status(status: int, error: BaseException) -> str:
    from huggingface_hub import errors

    said = getattr(error, "server_message", None)
    said = f" (it says: {printable(' '.join(str(said).split()), 160)})" if said else ""
    if isinstance(error, errors.GatedRepoError):
        return "access is granted by its owner: ask for it on the repository's page on the Hub"
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision: give a branch, a tag or a commit that is there"
    if status == 401:
        if current_token() is None:
            return f"it is not there, or it is private and you are not logged in: {_LOGIN}"
        return f"the Hub refuses your token; it may be mistyped or expired: {_LOGIN}"
    if status == 403:
        return (
            f"the Hub does not allow it{said}: your token needs the right to write there, "
            "or the place belongs to somebody else"
        )
    if status == 404:
        return f"it is not on the Hub, or it is private and your token may not see it{said}"
    if status == 409:
        return f"it is in conflict with what is on the Hub{said}; run the same command again"
    if status == 412:
        return "somebody else changed it on the Hub in the meantime; look at it, then run again"
    if status == 429:
        wait = getattr(error, "response", None)
        seconds = wait.headers.get("Retry-After") if wait is not None else None
        when = f"in {printable(seconds, 20)} s" if seconds else "in a few minutes"
        return f"too many requests for the Hub's limit; run the same command again {when}"
    if status >= 500:
        return f"the Hub has trouble of its own ({status}); run the same command again later"
    return f"the Hub refused ({status}){said}"


def _transport(error: BaseException) -> str:
    """A connection's fault in a word or two."""
    name = type(error).__name__
    for part, words in (
        ("ConnectTimeout", "no connection in time"),
        ("Timeout", "no answer in time"),
        ("Proxy", "the proxy failed"),
        ("Connect", "no connection"),
        ("Redirect", "it redirects without end"),
        ("Protocol", "the connection was cut"),
        ("Read", "the connection was cut"),
        ("Write", "the connection was cut"),
    ):
        if part in name:
            return words
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[0], 200) if lines else type(error).__name__
