"""One connection to a Redis, of which redis-py makes the beginning and nothing else.

It knows how to reach whatever a URL names (TCP, TLS, a Unix socket), who we are there and which
database is ours.  What is asked afterwards is always the same, so the bytes of many commands go out
in one write and hiredis reads what comes back: a tenth of what a command of redis-py costs.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_NOTHING: Final = object()

# One command as its words, and what Redis answers to it; a refusal is an answer, too.
Command = tuple[bytes | str | int, ...]
Reply = Any
Refusal = hiredis.ReplyError


class Line(asyncio.Protocol):
    """Commands go out as they are asked, replies come back in the same order (RESP2).

    A connection that ends or speaks nonsense fails all that wait with a `ConnectionError`.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection  # it owns the socket
        self._transport: Any = connection._writer.transport  # noqa: SLF001 - it has no other name
        self._replies = hiredis.Reader(notEnoughData=_NOTHING)
        # Who waits and for how many replies, and those that the first of them has by now.
        self._waiting: deque[tuple[asyncio.Future[list[Reply]], int]] = deque()
        self._heard: list[Reply] = []
        self._loop = asyncio.get_running_loop()
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Tell whether anything may be asked."""
        return not self._transport.is_closing()

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        """Send commands, at least one, in one write; the future is their replies."""
        answer: asyncio.Future[list[Reply]] = self._loop.create_future()
        self._waiting.append((answer, len(commands)))
        pack: Any = hiredis.pack_command  # it takes any number of words
        self._transport.write(b"".join([pack(command) for command in commands]))
        return answer

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are whole by now; whoever was cancelled has his as well."""
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _NOTHING:
                self._heard.append(reply)
                if len(self._heard) == self._waiting[0][1]:
                    answer, _ = self._waiting.popleft()
                    if not answer.done():
                        answer.set_result(self._heard)
                    self._heard = []
        except (hiredis.ProtocolError, IndexError):
            self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Fail those who wait."""
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._connection._close()  # noqa: SLF001 - the only way that waits for nothing
        while self._waiting:
            answer, _ = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(ConnectionError("the connection to Redis ended"))


class Lines:
    """Makes connections to one Redis, as its URL says; at most so long may one take."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self._pool: Any = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )

    async def connect(self) -> Line:
        """Make one; an error of redis-py or an `OSError` when none comes about."""
        connection = self._pool.make_connection()
        try:
            await connection.connect()
        except BaseException:
            connection._close()  # noqa: SLF001 - as above
            raise
        return Line(connection)
