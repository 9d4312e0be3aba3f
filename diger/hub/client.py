"""A conversation with the Hub through its own client, with our manners.

The client is imported here and nowhere at import time. Inside `connection`: a server that falls
silent is given up on (the client alone would wait for ever), the token goes to the Hub's own host
and nowhere else, only the content of files may be redirected to another host, and the client's
remarks become our one-line notes. Tokens come from the usual places only: HF_TOKEN, or
`hf auth login`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from diger.hub.faults import SentElsewhere, redact, status_of
from diger.text import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 60.0  # seconds without a byte in either direction
PATIENCE = 60  # seconds that a limit on requests may ask us to wait, unasked
_TRIES = 3
_ONE_AT_A_TIME = threading.RLock()  # the session, its hooks and its log are the whole process's

Say = Callable[[str], None]
T = TypeVar("T")


def say_on_stderr(text: str) -> None:
    """Print a note where it does not mix with results."""
    print(printable(redact(text)), file=sys.stderr)


@contextlib.contextmanager
def connection(say: Say) -> Iterator[HfApi]:
    """The Hub's client for the length of a `with` block; `say` gets notes for people."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import get_session

    home = _origin(constants.ENDPOINT)

    def mind(request: Any) -> None:
        if _origin(str(request.url)) != home:
            request.headers.pop("authorization", None)
        limits = request.extensions.setdefault("timeout", {})
        for phase in ("connect", "read", "write", "pool"):
            if limits.get(phase) is None:
                limits[phase] = TIMEOUT

    def stay(response: Any) -> None:
        place = response.headers.get("location")
        asked = str(response.request.url)
        if place is None or not response.is_redirect or "/resolve/" in asked:
            return
        if _origin(asked) == home != _origin(urljoin(asked, place)):
            raise SentElsewhere(urlsplit(urljoin(asked, place)).netloc)

    with _ONE_AT_A_TIME:
        session = get_session()
        hooks = {name: list(found) for name, found in session.event_hooks.items()}
        session.event_hooks = {
            "request": [*hooks.get("request", []), mind],
            "response": [*hooks.get("response", []), stay],
        }
        try:
            with _remarks(say):
                yield HfApi(library_name="diger", library_version=_version())
        finally:
            session.event_hooks = hooks


def knock() -> None:
    """Any answer from the Hub will do: where there is no network, the client's own lists would try
    again and again for half a minute before they say so."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    get_session().head(constants.ENDPOINT)


def patiently(ask: Callable[[], T], say: Say) -> T:
    """`ask()`, again where the Hub asks for a short wait (429 with Retry-After)."""
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except Exception as error:
            seconds = _retry_after(error)
            if seconds is None or seconds > PATIENCE:
                raise
            say(f"the Hub limits requests: going on in {seconds} s")
            time.sleep(seconds)
    return ask()


def _retry_after(error: Exception) -> int | None:
    if status_of(error) != 429:
        return None
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = str(headers.get("Retry-After", "")).strip()
    return int(asked) if asked.isdigit() else None


@contextlib.contextmanager
def _remarks(say: Say) -> Iterator[None]:
    """The client's log lines on waiting, and its warnings about a card, as notes; no others."""
    logger = logging.getLogger("huggingface_hub")
    if logger.getEffectiveLevel() <= logging.DEBUG:  # somebody is looking for a fault: let them
        yield
        return
    handlers, propagates = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [_Notes(say)], False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        logger.handlers, logger.propagate = handlers, propagates
    for warning in caught:
        text = str(warning.message)
        if text.startswith("Warnings while validating"):
            say("the Hub on the model card: " + " ".join(text.split("\n")[1:]))


class _Notes(logging.Handler):
    """Passes on what explains a wait."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say a line about waiting or trying again; the rest is for the client's developers."""
        text = record.getMessage()
        if text.startswith(("Rate limited", "Retrying in")):
            self.say(f"the Hub's client: {text}")
        elif text.startswith("Error while downloading"):
            self.say("the connection was cut: going on where it was")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)


def _version() -> str:
    try:
        return version("diger-studio")
    except PackageNotFoundError:
        return "0.1.0"
