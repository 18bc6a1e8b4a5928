"""Redis as a quick memory that may be lost: every call has a small budget and may answer nothing.

After a failure Redis is left alone for a moment, so that a hanging server costs one budget per
moment and not one per request.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio as aioredis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from gateway.domain import limits
from gateway.domain.errors import Unavailable

logger: Final = logging.getLogger(__name__)

_LATE_SHARE: Final = 0.2
_TURNS: Final = 4


class Redis:
    """One Redis, or a Redis that is away: `call` raises `Unavailable` quickly then."""

    def __init__(self, url: str, *, budget_seconds: float, pause_seconds: float) -> None:
        self._budget = budget_seconds
        self._pause = pause_seconds
        self._away_until = 0.0
        self._client = aioredis.Redis.from_url(
            url,
            socket_timeout=budget_seconds * 10,  # the budget is kept below
            socket_connect_timeout=budget_seconds,
            retry_on_timeout=False,
            retry=None,
            single_connection_client=False,
        )
        self._scripts: dict[str, AsyncScript] = {}

    @property
    def is_away(self) -> bool:
        """Tell whether Redis failed a moment ago and is being left alone."""
        return asyncio.get_running_loop().time() < self._away_until

    async def call(
        self, script: str, keys: Sequence[bytes], arguments: Sequence[bytes | int]
    ) -> Sequence[bytes | None]:
        """Run a Lua script over these keys in one round trip; a list of values or None."""
        if self.is_away:
            raise Unavailable("Redis is being left alone")
        runner = self._scripts.get(script)
        if runner is None:
            runner = self._scripts[script] = self._client.register_script(script)
        try:
            answer: Sequence[bytes | None] = await self._in_time(
                asyncio.ensure_future(runner(list(keys), list(arguments)))
            )
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = asyncio.get_running_loop().time() + self._pause
            logger.warning("Redis did not answer in time: %s", type(error).__name__)
            raise Unavailable("Redis does not answer") from error
        return answer

    async def _in_time(self, answering: "asyncio.Future[Any]") -> Any:
        """Wait for the budget, and once more when our own loop was so late that it says nothing.

        Timers run before sockets are read: what came in time is read within the next few turns.
        """
        clock = asyncio.get_running_loop().time
        try:
            for _ in range(2):
                due = clock() + self._budget
                await asyncio.wait({answering}, timeout=self._budget)
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
        """Close the connections."""
        await self._client.aclose()

    @classmethod
    def with_house_limits(cls, url: str) -> "Redis":
        """Make one with the budget and the pause of `domain.limits`."""
        return cls(
            url,
            budget_seconds=limits.REDIS_BUDGET_SECONDS,
            pause_seconds=limits.REDIS_PAUSE_SECONDS,
        )
