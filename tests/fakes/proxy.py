"""A wire between the gateway and one of its servers that a test can slow, stop or cut."""

import asyncio
from types import TracebackType
from typing import Self

Address = str | tuple[str, int]

# How PostgreSQL ends its answer once a transaction is over: ReadyForQuery, idle (its protocol,
# section 53.7).  By then the commit is durable, whether or not the client ever hears of it.
COMMITTED = b"Z\x00\x00\x00\x05I"
_CHUNK_BYTES = 1 << 16


class Stop:
    """A place in the talk where one connection stands still until it is let go or cut."""

    def __init__(self, marker: bytes, answered_by: bytes) -> None:
        self.marker = marker
        self.answered_by = answered_by
        self._is_reached = asyncio.Event()
        self._may_go = asyncio.Event()

    async def reached(self, seconds: float = 20.0) -> None:
        """Wait until a connection stands here; TimeoutError when none comes."""
        async with asyncio.timeout(seconds):
            await self._is_reached.wait()

    def go(self) -> None:
        """Let the held bytes pass."""
        self._may_go.set()

    async def hold(self) -> None:
        """Stand still here; for the proxy."""
        self._is_reached.set()
        await self._may_go.wait()


class Proxy:
    """Carries bytes both ways between TCP clients and one server (a unix socket, or host and port).

    A context manager; `port` is free to be connected to while it is open and not refusing.
    `delay_seconds` is how late each piece of an answer comes; `calls_count` is how many connected.
    """

    def __init__(self, target: Address) -> None:
        self.delay_seconds = 0.0
        self.port = 0
        self.calls_count = 0
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._listener: asyncio.Server | None = None
        self._stops: list[Stop] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.refuse()

    async def accept(self) -> None:
        """Listen: on any free port at first, later on the same one."""
        self._listener = await asyncio.start_server(self._call, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Be a server that is down: no connection lives on, and none comes about."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self.cut()

    def hang(self) -> None:
        """Accept connections and bytes, and hand nothing on."""
        self._flows.clear()

    def flow(self) -> None:
        """Hand on again, what was held back first."""
        self._flows.set()

    async def cut(self) -> None:
        """End every connection; what stands still on one is never handed on."""
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def point_at(self, target: Address) -> None:
        """Move to another server, as a failover does."""
        self._target = target
        await self.cut()

    def stop_at(self, marker: bytes, *, answered_by: bytes = b"") -> Stop:
        """Stop the next connection whose client sends `marker`, before that is handed on.

        With `answered_by` it is handed on, and the connection stops when the server's answer ends
        with these bytes, before that end is handed back: it happened, and nobody heard of it.
        """
        stop = Stop(marker, answered_by)
        self._stops.append(stop)
        return stop

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        self.calls_count += 1
        call.add_done_callback(self._calls.discard)
        try:
            await self._connect(reader, writer)
        except (asyncio.CancelledError, OSError):
            writer.transport.abort()
        else:
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, str):
            answers, server = await asyncio.open_unix_connection(self._target)
        else:
            answers, server = await asyncio.open_connection(*self._target)
        awaited: list[Stop] = []
        ways = (
            asyncio.create_task(self._carry_requests(reader, server, awaited)),
            asyncio.create_task(self._carry_answers(answers, writer, awaited)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server.close()

    async def _carry_requests(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, awaited: list[Stop]
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            await self._flows.wait()
            for stop in [stop for stop in self._stops if stop.marker in chunk]:
                self._stops.remove(stop)
                if stop.answered_by:
                    awaited.append(stop)
                else:
                    await stop.hold()
            server.write(chunk)
            await server.drain()

    async def _carry_answers(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, awaited: list[Stop]
    ) -> None:
        while chunk := await answers.read(_CHUNK_BYTES):
            await asyncio.sleep(self.delay_seconds)
            await self._flows.wait()
            if awaited and chunk.endswith(awaited[0].answered_by):
                await awaited.pop(0).hold()
            writer.write(chunk)
            await writer.drain()
