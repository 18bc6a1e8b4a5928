"""Whether a worker can take money, told to whoever asks and at little cost however many ask."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.domain import limits
from gateway.drivers import migrations
from gateway.drivers.postgres import FOREIGN, Postgres

_UNREACHABLE: Final[Mapping[str, str]] = MappingProxyType({"postgresql": "unreachable"})


class Readiness:
    """Looks at PostgreSQL and its schema.

    Anyone may ask, and the connections are those of the payments: so there is never more than one
    look under way, and what it saw serves everybody for a second.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._look: asyncio.Task[Mapping[str, str]] | None = None
        self._holds_until = 0.0

    async def missing(self) -> Mapping[str, str]:
        """Name the parts that are missing, none when all is well; never waits for long."""
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() >= self._holds_until):
            self._look = loop.create_task(self._looked())
        await asyncio.wait({self._look}, timeout=limits.READINESS_SECONDS)
        return self._look.result() if self._look.done() else _UNREACHABLE

    async def _looked(self) -> Mapping[str, str]:
        try:
            pool = self._postgres.raw
            async with pool.acquire(timeout=limits.READINESS_SECONDS) as connection:
                async with asyncio.timeout(limits.READINESS_SECONDS):
                    current = await migrations.schema_is_current(connection)
        except FOREIGN:
            return _UNREACHABLE
        finally:
            self._holds_until = asyncio.get_running_loop().time() + limits.READINESS_KEEP_SECONDS
        return {} if current else {"schema": "not current"}
