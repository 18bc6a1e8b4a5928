"""The courier's HTTP client: calls leave the process through it, one per connection at a time.

Every foreign error becomes one of two here, and the difference between them is money:

    NeverSent    no byte of it left, so the other side cannot have heard of it
    NoAnswer     silence, a reset or a broken answer: it may have been processed

It speaks HTTP/1.1 (RFC 9112) over asyncio's transports and knows no cookies, proxies, redirects or
compression.  `native.exchange` reads an answer that came whole and is plain, as nearly all are;
llhttp reads all others, by way of httptools.
"""

import asyncio
import ssl
from collections import deque
from types import TracebackType
from typing import Any, Final, Self

import httptools

from gateway.domain.errors import InDoubt, Unavailable
from gateway.domain.limits import (
    CHANNEL_ANSWER_BYTES_MAX,
    CHANNEL_ANSWER_HEAD_BYTES_MAX,
    CHANNEL_CALLS_MAX,
    CHANNEL_IDLE_SECONDS,
)
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers.deadlines import wheel
from gateway.drivers.place import Place, place_of
from native import exchange


class NeverSent(Unavailable):
    """The request provably never left."""


class NoAnswer(InDoubt):
    """The request may have been processed, but no whole answer came back."""


class _Stale(NoAnswer):
    """A connection that had served before ended without a byte of this answer."""


_FINAL_STATUS: Final = 200
_SWITCHED: Final = 101


class Connection(asyncio.Protocol):
    """One keep-alive connection; a request is under way while `_answer` waits.

    llhttp calls the methods `on_…` with the parts of an answer.  The wheel rings when its time is
    over: the deadline is taken down when the answer comes and not when the caller hears of it,
    because the next request may begin before that.
    """

    def __init__(self, pool: "_Pool", answer_bytes_max: int) -> None:
        self._pool = pool
        self._bytes_max = answer_bytes_max
        self._loop = asyncio.get_running_loop()
        self._wheel = wheel()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None  # uvloop's transports are none of asyncio's
        self._answer: asyncio.Future[WireAnswer] | None = None
        self._tick = 0
        self._has_served = False
        self._forget()
        self.idle_since = 0.0

    def _forget(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._bytes = 0
        self._in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    @property
    def is_open(self) -> bool:
        """Tell whether a request may be written."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """End the connection; nobody waits for what is still on its way."""
        if self._transport is not None:
            self._transport.abort()

    def ask(self, wire: bytes, deadline: float) -> "asyncio.Future[WireAnswer]":
        """Send one request; the future has its whole answer, at the latest at this loop time."""
        self._answer = answer = self._loop.create_future()
        self._tick = self._wheel.put(self, deadline)
        self._transport.write(wire)
        return answer

    async def answer(self, wire: bytes, deadline: float) -> WireAnswer:
        """Send one request, and wait for its whole answer at most until this loop time."""
        answer = self.ask(wire, deadline)
        try:
            return await answer
        except BaseException:
            self.leave(answer)
            raise

    def leave(self, answer: "asyncio.Future[WireAnswer]") -> None:
        """End the connection when its caller waits for this answer no more."""
        if self._answer is answer:
            self._settle()
            self.close()

    def ring(self) -> None:
        """Give up what is under way: its time is over."""
        if self._answer is not None:
            self._fail("TimeoutError")

    def _settle(self) -> "asyncio.Future[WireAnswer] | None":
        """Take the deadline down of what is under way, and give its future."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._wheel.take(self, self._tick)
        return answer

    def _fail(self, reason: str, kind: type[NoAnswer] = NoAnswer) -> None:
        """Give the waiting caller up, and the connection with it."""
        answer = self._settle()
        if answer is not None and not answer.done():
            answer.set_exception(kind(reason))
        self.close()

    def data_received(self, data: bytes) -> None:
        """Read on in the answer; bytes that nobody asked for end the connection."""
        if self._answer is None:
            self.close()
            return
        if not self._bytes and len(data) <= CHANNEL_ANSWER_HEAD_BYTES_MAX:
            plain = exchange.read(data)
            if plain is not None and len(plain[2]) <= self._bytes_max:
                self._finish(WireAnswer(*plain), reusable=True)
                return
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(type(error).__name__)
            return
        if not self._in_body and self._bytes > CHANNEL_ANSWER_HEAD_BYTES_MAX:
            self._fail("the head is too large")

    def on_message_begin(self) -> None:
        """Close after an answer that is followed by another: nobody asked for that."""
        if self._answer is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header or trailer."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > CHANNEL_ANSWER_HEAD_BYTES_MAX:
            self._fail("the head is too large")
        key = name.decode("utf-8", "surrogateescape").lower()
        self._headers[key] = value.decode("utf-8", "surrogateescape")

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_body = self._parser.get_status_code() >= _FINAL_STATUS

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body, but never more of it than we are willing to hold."""
        self._body_bytes += len(data)
        if self._body_bytes > self._bytes_max:
            self._fail("the answer is too large")
        elif self._answer is not None:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Hand the answer over; an interim one (1xx) is only forgotten."""
        status = self._parser.get_status_code()
        if status == _SWITCHED:
            self._fail("switched protocols")
        elif status < _FINAL_STATUS:
            self._headers = {}
        else:
            whole = WireAnswer(status, self._headers, b"".join(self._body))
            self._forget()
            self._finish(whole, reusable=self._parser.should_keep_alive())

    def _finish(self, whole: WireAnswer, *, reusable: bool) -> None:
        answer, self._answer = self._answer, None
        if answer is None:
            return
        self._wheel.take(self, self._tick)
        if not answer.done():
            answer.set_result(whole)
        self._has_served = True
        transport = self._transport
        if reusable and transport is not None and not transport.is_closing():
            self.idle_since = self._loop.time()
            self._pool.put(self)
        else:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is under way, unless this end is what an answer without a length ends with."""
        self._transport = None
        whole = error is None and self._in_body and self._answer is not None
        if whole and not {"content-length", "transfer-encoding"} & self._headers.keys():
            status = self._parser.get_status_code()
            answer = WireAnswer(status, self._headers, b"".join(self._body))
            self._finish(answer, reusable=False)
        else:
            stale = self._has_served and not self._bytes
            self._fail(type(error).__name__, _Stale if stale else NoAnswer)
        self._pool.lost(self)


class _Pool:
    """The connections to one place, at most so many, and who waits for one."""

    def __init__(self, place: Place, *, connections_max: int, answer_bytes_max: int) -> None:
        self.loop = asyncio.get_running_loop()
        self._place = place
        self._connections_max = connections_max
        self._bytes_max = answer_bytes_max
        self._tls = ssl.create_default_context() if place.is_tls else None
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self, now: float) -> Connection | None:
        """Give a connection that is free and at this time young enough to be trusted."""
        oldest = now - CHANNEL_IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def connect(self, deadline: float) -> Connection:
        """Give a free connection or make one until this time; `NeverSent` when none came about."""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    connection = self.take(self.loop.time())
                    if connection is not None:
                        return connection
                    if len(self._all) + self._opening < self._connections_max:
                        return await self._open()
                    await self._room()
        except (OSError, ValueError) as error:  # a TimeoutError and those of TLS are OSErrors
            raise NeverSent(type(error).__name__) from error

    async def _open(self) -> Connection:
        self._opening += 1
        try:
            _, connection = await self.loop.create_connection(
                lambda: Connection(self, self._bytes_max),
                self._place.host,
                self._place.port,
                ssl=self._tls,
            )
        except BaseException:
            self._tell_one()
            raise
        finally:
            self._opening -= 1
        self._all.add(connection)
        if not connection.is_open:
            self._all.discard(connection)
            raise ConnectionResetError
        return connection

    async def _room(self) -> None:
        """Wait until a connection may be free or made; whoever gives up passes the word on."""
        waiter = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._tell_one()
            raise

    def _tell_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def put(self, connection: Connection) -> None:
        """Take a connection back whose answer was whole."""
        self._idle.append(connection)
        if self._waiting:
            self._tell_one()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        self._all.discard(connection)
        self._tell_one()

    def close(self) -> None:
        """End every connection."""
        for connection in [*self._all]:
            connection.close()


class Outbound:
    """The client of the courier: it sends wherever a channel's base URL points.

    Use it in one running loop and leave it by `async with` or `close`.  There are at most
    `connections_max` connections to each place.
    """

    def __init__(
        self,
        *,
        connections_max: int = CHANNEL_CALLS_MAX,
        answer_bytes_max: int = CHANNEL_ANSWER_BYTES_MAX,
    ) -> None:
        self._connections_max = connections_max
        self._answer_bytes_max = answer_bytes_max
        self._pools: dict[tuple[str, int, bool], _Pool] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.close()
        await asyncio.sleep(0)  # the transports close in the loop's next turn

    def begin(
        self, base_url: str, request: WireRequest, *, seconds: float
    ) -> tuple[asyncio.Future[WireAnswer], Connection] | None:
        """Send one request at once, as `send` does but without a coroutine, for every new payment.

        Whoever is given an answer to await `leave`s the connection when he waits for it no more.
        None: leave it to `send`, for no connection is free, or it may have to be sent once more.
        """
        if request.method == "GET":
            return None
        pool, wire = self._written(base_url, request)
        now = pool.loop.time()
        connection = pool.take(now)
        return (connection.ask(wire, now + seconds), connection) if connection is not None else None

    async def send(self, base_url: str, request: WireRequest, *, seconds: float) -> WireAnswer:
        """Send one request, byte for byte, and wait for the whole answer at most this long.

        A connection has to come about in half of that time.  Raises `NeverSent` or `NoAnswer`; a
        redirect or an error status is an answer like any other.  A GET is sent once more when a
        connection that had served before ended at it: it moves nothing.
        """
        pool, wire = self._written(base_url, request)
        now = pool.loop.time()
        connection = pool.take(now) or await pool.connect(now + seconds / 2)
        try:
            return await connection.answer(wire, now + seconds)
        except _Stale:
            if request.method != "GET":
                raise
        try:
            connection = await pool.connect(now + seconds)
        except NeverSent as error:
            raise NoAnswer(str(error)) from error
        return await connection.answer(wire, now + seconds)

    def _written(self, base_url: str, request: WireRequest) -> tuple[_Pool, bytes]:
        """Write a request as it goes over the wire, and say where to; `NeverSent` if that fails."""
        try:
            place = place_of(base_url)
        except ValueError:
            raise NeverSent("InvalidURL") from None
        method, target = request.method, place.path + request.path or "/"
        wire = exchange.write(
            method, target, host=place.authority, fields=request.headers, body=request.body
        )
        if wire is None:
            raise NeverSent("the request breaks its lines or is no text")
        return self._pools.get((place.host, place.port, place.is_tls)) or self._pool(place), wire

    def _pool(self, place: Place) -> _Pool:
        pool = self._pools[place.host, place.port, place.is_tls] = _Pool(
            place, connections_max=self._connections_max, answer_bytes_max=self._answer_bytes_max
        )
        return pool
