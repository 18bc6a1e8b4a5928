"""Redis as a quick memory that may be lost: every call has a small budget and may answer nothing.

After a failure Redis is left alone for a moment, so that a hanging server costs one budget per
moment and not one per request.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final, Self

from redis.exceptions import RedisError

from gateway.domain import limits
from gateway.domain.errors import Unavailable
from gateway.drivers.redis_line import Command, Line, Lines, Refusal, Reply

logger: Final = logging.getLogger(__name__)

_LATE_SHARE: Final = 0.2
_TURNS: Final = 4


async def _done_within(answering: asyncio.Future[Any], seconds: float) -> None:
    """Wait until it is done, or for so long: what `asyncio.wait` does, at a third of its price."""
    loop = answering.get_loop()
    waiting = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiting.done():
            waiting.set_result(None)

    alarm = loop.call_later(seconds, wake)
    answering.add_done_callback(wake)
    try:
        await waiting
    finally:
        alarm.cancel()
        answering.remove_done_callback(wake)


def _heard(connecting: asyncio.Task[Line]) -> None:
    """Take note of how it ended, where nobody waits for it any more."""
    if not connecting.cancelled():
        connecting.exception()


class Redis:
    """One Redis, or a Redis that is away: whatever asks it raises `Unavailable` quickly then."""

    def __init__(self, url: str, *, budget_seconds: float, pause_seconds: float) -> None:
        self._budget = budget_seconds
        self._pause = pause_seconds
        self._away_until = 0.0
        self._lines = Lines(url, seconds=limits.REDIS_CONNECT_SECONDS)
        self._line: Line | None = None
        self._connecting: asyncio.Task[Line] | None = None
        self._names: dict[str, str] = {}

    async def open(self) -> Self:
        """Connect before anybody asks, and give it; where that fails, whoever asks tries again."""
        try:
            await self._connected()
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(type(error).__name__)
        return self

    @property
    def is_away(self) -> bool:
        """Tell whether Redis failed a moment ago and is being left alone."""
        away_until = self._away_until
        return away_until > 0 and asyncio.get_running_loop().time() < away_until

    async def call(
        self, script: str, keys: Sequence[bytes], arguments: Sequence[bytes | int]
    ) -> Sequence[bytes | None]:
        """Run a Lua script over these keys in one round trip; a list of values or None."""
        words = (len(keys), *keys, *arguments)
        name = self._names.get(script)
        if name is None:
            digest = hashlib.sha1(script.encode(), usedforsecurity=False)  # so Redis names them
            name = self._names[script] = digest.hexdigest()
        (reply,) = await self._told([("EVALSHA", name, *words)])
        if isinstance(reply, Refusal) and str(reply).startswith("NOSCRIPT"):
            (reply,) = await self._told([("EVAL", script, *words)])
        (answer,) = self._minded([reply])
        if isinstance(answer, Unavailable):
            raise answer
        told: Sequence[bytes | None] = answer
        return told

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Run commands, at least one, in one round trip; gives a reply for each.

        Where one is refused `Unavailable` stands in its place: the others were carried out.
        """
        return self._minded(await self._told(commands))

    async def _told(self, commands: Sequence[Command]) -> list[Reply]:
        """Give what is replied in time, be it that it is refused."""
        if self.is_away:
            raise Unavailable("Redis is being left alone")
        line = self._line
        try:
            if line is None or not line.is_open:
                line = await self._in_time(asyncio.ensure_future(self._connected()))
            replies: list[Reply] = await self._in_time(line.ask(commands))
        except (RedisError, OSError, TimeoutError) as error:
            if line is not None:
                line.close()
            raise self._leave_alone(type(error).__name__) from error
        return replies

    def _minded(self, replies: list[Reply]) -> list[Reply]:
        """Leave Redis alone where it refused something, which then is in nobody else's way."""
        for reply in replies:
            if isinstance(reply, Refusal):
                # Its first word alone: what follows may show what was asked.
                away = self._leave_alone(str(reply).partition(" ")[0])
                return [away if isinstance(each, Refusal) else each for each in replies]
        return replies

    def _leave_alone(self, reason: str) -> Unavailable:
        self._away_until = asyncio.get_running_loop().time() + self._pause
        logger.warning("Redis did not answer as it should: %s", reason)
        return Unavailable("Redis does not answer")

    async def _connected(self) -> Line:
        """Connect, once for all who wait for it; it goes on when nobody waits any more.

        Else a Redis that takes longer to connect to than to answer would be away for ever.
        """
        connecting = self._connecting
        if connecting is None:
            connecting = self._connecting = asyncio.create_task(self._connect())
            connecting.add_done_callback(_heard)
        await asyncio.wait([connecting])
        return connecting.result()

    async def _connect(self) -> Line:
        try:
            async with asyncio.timeout(limits.REDIS_CONNECT_SECONDS):
                self._line = made = await self._lines.connect()
        finally:
            self._connecting = None
        return made

    async def _in_time(self, answering: "asyncio.Future[Any]") -> Any:
        """Wait for the budget, and once more when our own loop was so late that it says nothing.

        Timers run before sockets are read: what came in time is read within the next few turns.
        """
        clock = asyncio.get_running_loop().time
        try:
            for _ in range(2):
                due = clock() + self._budget
                await _done_within(answering, self._budget)
                for _ in range(_TURNS):
                    if answering.done():
                        break
                    await asyncio.sleep(0)
                if answering.done():
                    return answering.result()
                if clock() < due + self._budget * _LATE_SHARE:
                    break
            raise TimeoutError
        finally:
            answering.cancel()

    async def close(self) -> None:
        """Close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.close()
        await asyncio.sleep(0)  # the transport closes in the loop's next turn

    @classmethod
    def with_house_limits(cls, url: str) -> "Redis":
        """Make one with the budget and the pause of `domain.limits`."""
        return cls(
            url,
            budget_seconds=limits.REDIS_BUDGET_SECONDS,
            pause_seconds=limits.REDIS_PAUSE_SECONDS,
        )
