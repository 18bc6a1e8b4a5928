"""The simulated acquirer's edge: HTTP/1.1 (RFC 9112) over asyncio, answered without tasks.

It shares a machine with what it is to test, so it must cost little: compiled code reads what came
whole and is plain, llhttp all else, and whoever answers may do so in the very call that read the
request, or later.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import httptools
from msgspec import Struct

from gateway.domain.limits import BODY_BYTES_MAX, CHANNEL_ANSWER_HEAD_BYTES_MAX
from native import exchange

_REASONS: Final = {int(status): status.phrase for status in HTTPStatus}


class Asked(Struct, frozen=True, gc=False):
    """A whole request; header names in lower case, and what is no UTF-8 as lone surrogates."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target before its query, decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """The target after its question mark, as it came."""
        return self.target.partition("?")[2]


class Told(Struct, frozen=True, gc=False):
    """An answer; a body in parts is sent as it is read, no faster than the caller takes it."""

    body: bytes | Iterable[bytes]
    status: int = 200
    content_type: str = "application/json"


@lru_cache(maxsize=64)
def _head(status: int, content_type: str, connection: str) -> bytes:
    """Write the lines before those that tell how long a body is."""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n{connection}"
    ).encode()


# What may come before a request is whole: a head, a body and what the loop reads beyond them.
_UNREAD_BYTES_MAX: Final = 4 * BODY_BYTES_MAX

# Called once with the answer, or with None to hang up; it may be called at any time later.
Reply = Callable[[Told | None], None]
Answerer = Callable[[Asked, Reply], None]


class Connection(asyncio.Protocol):
    """One caller's connection: requests are answered one after the other.

    llhttp calls the methods `on_…` with the parts of a request.
    """

    def __init__(self, answerer: Answerer, everyone: set["Connection"]) -> None:
        self._answerer = answerer
        self._everyone = everyone
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None  # uvloop's transports are none of asyncio's
        self._waiting: deque[tuple[Asked, bool]] = deque()
        self._is_busy = self._is_paused = False
        self._parts: Iterator[bytes] | None = None
        self._may_write = True
        self._stays = True
        self._unread_bytes = 0
        self.on_message_begin()
        self._has_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport
        self._everyone.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the caller: what it asked for has happened all the same."""
        self._transport = None
        self._waiting.clear()
        self._parts = None
        self._everyone.discard(self)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on; what is no HTTP or too much of it is refused, and the connection ends."""
        if not (self._is_busy or self._has_begun or len(data) > CHANNEL_ANSWER_HEAD_BYTES_MAX):
            plain = exchange.read_request(data)
            if plain is not None and not self._transport.is_closing():
                self._is_busy = True
                self._answerer(Asked(*plain), self._reply)
                return
        self._unread_bytes += len(data)
        if self._unread_bytes > _UNREAD_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: 0\r\n"
            self._transport.write(f"{head}Connection: close\r\n\r\n".encode())
            self._transport.close()

    def on_message_begin(self) -> None:
        """Begin a new request."""
        self._has_begun = True
        self._target = self._body = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0

    def on_url(self, part: bytes) -> None:
        """Keep a part of the target."""
        self._target += part
        self._count_head(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        key = name.decode("utf-8", "surrogateescape").lower()
        self._headers[key] = value.decode("utf-8", "surrogateescape")
        self._count_head(len(name) + len(value))

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > CHANNEL_ANSWER_HEAD_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        if len(self._body) + len(part) > BODY_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._body += part

    def on_message_complete(self) -> None:
        """Have the request answered, after those that came before it."""
        self._unread_bytes = 0
        self._has_begun = False
        if self._transport is None or self._transport.is_closing():
            return
        asked = Asked(
            method=self._parser.get_method().decode(),
            target=self._target.decode("utf-8", "surrogateescape"),
            headers=self._headers,
            body=self._body,
        )
        self._waiting.append((asked, self._parser.should_keep_alive()))
        if not self._is_busy:
            self._answer_next()
        elif not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _answer_next(self) -> None:
        if not self._waiting:  # the caller left
            return
        self._is_busy = True
        asked, self._stays = self._waiting.popleft()
        self._answerer(asked, self._reply)

    def _reply(self, told: Told | None) -> None:
        if self._transport is None:
            return
        if told is None:
            self.close()
            return
        connection = "" if self._stays else "Connection: close\r\n"
        head, body = _head(told.status, told.content_type, connection), told.body
        if isinstance(body, bytes):
            self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
            self._go_on()
        else:
            self._transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
            self._parts = iter(body)
            self._write_parts()

    def _write_parts(self) -> None:
        while self._may_write and self._parts is not None and self._transport is not None:
            part = next(self._parts, None)
            if part is None:
                self._parts = None
                self._transport.write(b"0\r\n\r\n")
                self._go_on()
            elif part:
                self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))

    def _go_on(self) -> None:
        """Answer the next request, if one has come already."""
        self._is_busy = False
        if not self._stays:
            self._transport.close()
        elif self._waiting:
            self._is_busy = True
            asyncio.get_running_loop().call_soon(self._answer_next)
        elif self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Stop: the caller takes nothing at the moment."""
        self._may_write = False

    def resume_writing(self) -> None:
        """Go on: the caller takes more."""
        self._may_write = True
        self._write_parts()
