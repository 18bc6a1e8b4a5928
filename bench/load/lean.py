"""The lean load generator: raw keep-alive HTTP/1.1 on asyncio, so that little of the load is ours.

Two models.  `closed`: so many connections, each sends its next request when its answer has come;
it finds the capacity.  `opened`: arrivals on a schedule that does not wait for answers; a latency
counts from the scheduled start, and a start that found no connection counts as missed.
"""

import asyncio
import collections
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import cast
from urllib.parse import urlsplit

from msgspec import Struct, field

from bench.load.histogram import Histogram

ANSWER_SECONDS = 30.0
# So long whoever was refused rests in a closed run: the least that a refusal asks for.
REFUSED_SECONDS = 1.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"

# Hears of a request's end: (request, status or 0, body, began, ended) in `perf_counter` seconds.
Done = Callable[[bytes, int, bytes, float, float], None]


class Result(Struct, kw_only=True):
    """What a run did; `statuses` counts answers, `broken` connections that ended without one.

    `late_seconds` is how far behind its schedule the generator itself fell at worst, and
    `cpu_seconds` what it used: a run is valid when nothing was missed and neither is large.
    """

    seconds: float = 0.0
    sent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    broken: int = 0
    missed: int = 0
    late_seconds: float = 0.0
    cpu_seconds: float = 0.0
    latency: Histogram = field(default_factory=Histogram)

    @property
    def answered(self) -> int:
        """Answers of any status."""
        return sum(self.statuses.values())

    def per_second(self, status: int) -> float:
        """Answers with this status per second of the run."""
        return self.statuses.get(status, 0) / self.seconds if self.seconds else 0.0

    def milliseconds(self, share: float) -> float:
        """Latency in milliseconds that this share of the answers did not exceed."""
        return self.latency.percentile(share) / 1000


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, done: Done, lost: Callable[["Connection"], None]) -> None:
        self._done = done
        self._lost = lost
        self._buffer = b""
        self._body_at = 0
        self._need = 0
        self._request = b""
        self._sent_at: float | None = None
        self.status = 0  # of the last answer
        self.transport: asyncio.Transport | None = None
        self.free: Callable[[Connection], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no such base

    def send(self, request: bytes, counted_from: float) -> None:
        """Send one request; its latency counts from this moment."""
        assert self.transport is not None
        self._request, self._sent_at = request, counted_from
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take what came of the answer; when it is whole, tell."""
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if not self._need:
            head = buffer.find(_HEAD_END)
            if head < 0:
                return
            self._body_at = head + 4
            self._need = self._body_at + _length_of(buffer[:head])
        if len(buffer) < self._need or self._sent_at is None:
            return
        began, self._sent_at = self._sent_at, None
        body = buffer[self._body_at : self._need]
        self._buffer, self._need = b"", 0
        self.status = int(buffer[9:12])
        self._done(self._request, self.status, body, began, time.perf_counter())
        if self.free is not None:
            self.free(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell that the connection ended, in whatever way."""
        self.transport = None
        self._lost(self)
        if self._sent_at is not None:
            self._done(self._request, 0, b"", self._sent_at, time.perf_counter())

    def give_up(self, request: bytes) -> None:
        """End the connection if it still awaits the answer to this very request."""
        if self._request is request and self._sent_at is not None and self.transport is not None:
            self.transport.abort()

    @property
    def is_busy(self) -> bool:
        """Tell whether an answer is awaited."""
        return self._sent_at is not None


def _length_of(head: bytes) -> int:
    """Find the answer's length in its head; zero where there is no body."""
    lower = head.lower()
    at = lower.find(_LENGTH)
    if at < 0:
        return 0
    return int(lower[at + len(_LENGTH) :].partition(b"\r\n")[0])


class Generator:
    """Sends requests to one base URL, or to `unix:///path`; `requests` is asked for one at a time.

    `observe` hears of the end of each; a connection that ended without an answer has status 0.
    With `patience_seconds` a connection is ended that has brought no answer for so long.  What is
    answered with a status in `again` was refused: it is asked again, when there is nothing left to
    ask, and a closed run's connection rests for a second first, as a caller does who can read.
    `missed` is given the request of each start that could not happen; where nobody wants it, the
    next start has it.
    """

    def __init__(
        self,
        base_url: str,
        requests: Iterator[bytes],
        *,
        observe: Done | None = None,
        patience_seconds: float = 0.0,
        again: frozenset[int] = frozenset(),
        missed: Callable[[bytes], None] | None = None,
    ) -> None:
        place = urlsplit(base_url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._socket = place.path if place.scheme == "unix" else ""
        self._requests = requests
        self._observe = observe
        self._patience_seconds = patience_seconds
        self._again_statuses = again
        self._missed = missed
        self._to_ask_again: collections.deque[bytes] = collections.deque()
        self._again_later = 0
        self._connections_max = 0
        self._result = Result()
        self._idle: collections.deque[Connection] = collections.deque()
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        self._asked_all = asyncio.Event()
        self._is_over = False

    async def closed(self, *, connections: int, seconds: float) -> Result:
        """Keep so many requests under way for so long, or while there are any; await the last."""
        began = self._begin()
        for connection in await self._connected(connections):
            connection.free = self._again
            self._again(connection)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked_all.wait(), seconds)
        return await self._end(began, min(seconds, time.perf_counter() - began[0]))

    async def opened(
        self, arrivals: Iterator[float], *, connections: int, connections_max: int
    ) -> Result:
        """Send at each of these times (seconds from the start, in order), whatever was answered."""
        self._connections_max = connections_max
        for connection in await self._connected(connections):
            connection.free = self._idle.append
            self._idle.append(connection)
        began = self._begin()
        at = 0.0
        for at in arrivals:
            ahead = began[0] + at - time.perf_counter()
            await asyncio.sleep(max(ahead, 0))  # the answers must be heard all the same
            late = time.perf_counter() - began[0] - at
            self._result.late_seconds = max(self._result.late_seconds, late)
            self._start(began[0] + at)
        return await self._end(began, max(at, time.perf_counter() - began[0]))

    @property
    def left(self) -> list[bytes]:
        """Requests that are to be asked again, in order, behind those that were never sent."""
        return [*self._requests, *self._to_ask_again]

    def later(self, seconds: float, request: bytes) -> None:
        """Send this one beside the schedule of an open run, so many seconds from now."""

        def start() -> None:
            self._again_later -= 1
            self._start(time.perf_counter(), request)
            self._quiet.set()

        self._again_later += 1
        asyncio.get_running_loop().call_later(seconds, start)

    def _start(self, scheduled: float, request: bytes | None = None) -> None:
        """Start one request (else the next) on an idle connection, or on a new one."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.transport is not None:
                self._send(connection, scheduled, request)
                return
        if len(self._open) + len(self._connecting) >= self._connections_max:
            self._miss(request)
            return
        task = asyncio.ensure_future(self._start_anew(scheduled, request))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _start_anew(self, scheduled: float, request: bytes | None) -> None:
        try:
            (connection,) = await self._connected(1)
        except OSError:
            self._miss(request)
            return
        connection.free = self._idle.append
        self._send(connection, scheduled, request)

    def _miss(self, request: bytes | None) -> None:
        """Count a start that could not happen, and hand its request (else the next) back."""
        self._result.missed += 1
        if self._missed is not None:
            request = self._next() if request is None else request
            if request is not None:
                self._missed(request)

    def _begin(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    async def _end(self, began: tuple[float, float], seconds: float) -> Result:
        """Await what is under way, close everything, give what was counted."""
        self._is_over = True
        used = time.process_time() - began[1]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._is_busy():
                    self._quiet.clear()
                    await asyncio.gather(*self._connecting)
                    if self._is_busy():
                        await self._quiet.wait()
        self._result.seconds = seconds
        self._result.cpu_seconds = used
        for connection in [*self._open]:
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)
        return self._result

    def _is_busy(self) -> bool:
        """Tell whether anything is under way, or will be."""
        busy = any(connection.is_busy for connection in self._open)
        return bool(busy or self._connecting or self._again_later)

    async def _connected(self, count: int) -> list[Connection]:
        loop = asyncio.get_running_loop()
        make = functools.partial(Connection, self._count, self._gone)
        made = []
        for _ in range(count):
            if self._socket:
                _, connection = await loop.create_unix_connection(make, self._socket)
            else:
                _, connection = await loop.create_connection(make, self._host, self._port)
            self._open.add(connection)
            made.append(connection)
        return made

    def _again(self, connection: Connection) -> None:
        if connection.status in self._again_statuses:
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._go_on, connection)
        else:
            self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        if self._is_over or connection.transport is None:
            return
        request = self._next()
        if request is None:
            self._asked_all.set()
        else:
            self._send(connection, time.perf_counter(), request)

    def _next(self) -> bytes | None:
        request = next(self._requests, None)
        if request is None and self._to_ask_again:
            request = self._to_ask_again.popleft()
        return request

    def _send(
        self, connection: Connection, counted_from: float, request: bytes | None = None
    ) -> None:
        request = self._next() if request is None else request
        if request is None:
            self._result.missed += 1
            self._idle.append(connection)
            return
        self._result.sent += 1
        connection.send(request, counted_from)
        if self._patience_seconds:
            loop = asyncio.get_running_loop()
            loop.call_later(self._patience_seconds, connection.give_up, request)

    def _count(self, request: bytes, status: int, body: bytes, began: float, ended: float) -> None:
        if status:
            statuses = self._result.statuses
            statuses[status] = statuses.get(status, 0) + 1
            self._result.latency.record(int((ended - began) * 1e6))
        if status in self._again_statuses:
            self._to_ask_again.append(request)
        if self._observe is not None:
            self._observe(request, status, body, began, ended)
        if self._is_over:
            self._quiet.set()

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection.is_busy:
            self._result.broken += 1
            self._quiet.set()
