"""The heads of requests, before the door: they must come within a time, and in one of two forms."""

import asyncio
import time
from typing import Final

from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from gateway.domain import limits

_SCHEMES: Final = ("http://", "https://")


class HeadTimer(RequestHandler):
    """aiohttp's protocol, which cuts off whoever begins a head and does not end it in time.

    `came_at` is when bytes last came, in seconds of the monotonic clock.
    """

    head_seconds: float = limits.HEAD_SECONDS_MAX
    came_at = 0.0
    _cutting: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Read on; bytes that made no request, while none is served, are a head half sent."""
        self.came_at = time.monotonic()
        super().data_received(data)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self.wait_for_head()
        elif self._cutting is not None:
            self._stop_timer()

    def wait_for_head(self) -> None:
        """Cut off in time, unless the rest of a head that began comes before."""
        if self._cutting is None:
            self._cutting = self._loop.call_later(self.head_seconds, self.force_close)

    def idles(self) -> bool:
        """Tell whether it waits for a request of which nothing has come."""
        waiter = self._waiter
        return self._cutting is None and waiter is not None and not waiter.done()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timer of a connection that is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None


def in_origin_form(message: RawRequestMessage) -> RawRequestMessage:
    """Take an absolute-form target apart: its path is the target, its authority the host.

    Source: RFC 9112 sections 3.2.2 and 3.2.1.  Any other target is left for the door to refuse.
    """
    target = message.path
    scheme = next((each for each in _SCHEMES if target[: len(each)].lower() == each), None)
    if scheme is None:
        return message
    end = min(
        (place for place in (target.find(mark, len(scheme)) for mark in "/?") if place >= 0),
        default=len(target),
    )
    authority, rest = target[len(scheme) : end], target[end:]
    if not authority or "@" in authority:
        return message
    headers = [header for header in message.raw_headers if header[0].lower() != b"host"]
    headers.append((b"Host", authority.encode(errors="surrogateescape")))
    path = rest if rest.startswith("/") else f"/{rest}"
    replaced: RawRequestMessage = message._replace(path=path, raw_headers=tuple(headers))
    return replaced
