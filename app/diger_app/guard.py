"""What is let in and what goes out with every answer: limits on size and rate, and safe headers.

It stands between the web server and Gradio. A machine's own browser is not counted; behind a proxy
on its own network, as on a Space, the address is the one that this proxy names.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

MAX_BODY = 256 * 1024  # bytes; the longest list that can be pasted, titles and all, is a tenth
RATE, BURST = 50.0, 500.0  # requests that do something, a second and at once, of one address
MAX_ADDRESSES = 4096  # that are remembered; the one longest silent is forgotten first

# Scripts and styles are the installation's own, partly inline, and charts are compiled in the page.
# Whatever the page is made to do, it speaks to this server only. The Hub shows a Space in a frame.
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; "
        b"frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # a link holds a history
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Bucket:
    """How much each address may still ask: BURST at most, RATE more each second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether one more request of an address is let in."""
        now = self._clock()
        left, before = self._left.pop(address, (BURST, now))
        left = min(BURST, left + RATE * (now - before))
        self._left[address] = (max(left - 1, 0.0), now)
        if len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1


class Guard:
    """The ASGI application `app`, guarded."""

    def __init__(self, app: Any, bucket: Bucket | None = None) -> None:
        self._app = app
        self._bucket = bucket or Bucket()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered, size = False, 0

        async def guarded(message: Any) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                had = {name.lower() for name, _ in message.get("headers", ())}
                added = [pair for pair in HEADERS if pair[0] not in had]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        async def counted() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise _TooLarge
            return message

        if scope["method"] in ("POST", "PUT", "PATCH", "DELETE"):
            headers = dict(scope["headers"])
            length = headers.get(b"content-length", b"0")
            if not length.isdigit() or int(length) > MAX_BODY:
                await _refuse(guarded, 413, f"more than {MAX_BODY // 1024} KiB are not read")
                return
            address = address_of((scope.get("client") or ("",))[0], headers)
            if address is not None and not self._bucket.take(address):
                await _refuse(guarded, 429, "too many requests; wait a second", retry=True)
                return
        try:
            await self._app(scope, counted, guarded)
        except _TooLarge:
            if not answered:
                await _refuse(guarded, 413, f"more than {MAX_BODY // 1024} KiB are not read")


class _TooLarge(Exception):
    """More came than was announced."""


def address_of(peer: str, headers: Mapping[bytes, bytes]) -> str | None:
    """Whose request it is; None for this machine's own.

    What a proxy says counts only where the peer can be one: on this machine or its own network.
    """
    try:
        near = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
    if near.is_private and forwarded:
        return forwarded[:64]
    return None if near.is_loopback else peer


async def _refuse(send: Any, status: int, said: str, retry: bool = False) -> None:
    body = f'{{"detail": "{said}"}}'.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *([(b"retry-after", b"1")] * retry),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
