"""What every worker holds in memory and reads again, so that using it needs no I/O.

A change is known on every worker within the five seconds of the contract; a notification from
PostgreSQL only makes it quicker.
"""

import asyncio
import contextlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Final

import asyncpg

from gateway.domain import limits
from gateway.drivers.postgres import FOREIGN, Postgres

logger: Final = logging.getLogger(__name__)

CHANGES: Final = "floodgate_changed"


class Reloading(ABC):
    """Something that is read again every second; `what` names it in the log."""

    what: ClassVar[str]

    def __init__(self) -> None:
        self._wake = asyncio.Event()

    @abstractmethod
    async def refresh(self) -> None:
        """Read it again; where that fails, what was read before stays."""

    def wake(self) -> None:
        """Ask for a refresh at once."""
        self._wake.set()

    async def keep_fresh(self) -> None:
        """Refresh for ever; whatever goes wrong leaves things as they were."""
        while True:
            try:
                async with asyncio.timeout(limits.RELOAD_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - a worker must never go deaf to changes
                logger.warning("the %s could not be read again: %r", self.what, error)


class Watching(Reloading):
    """Something that is looked at more seldom, for people; at once where something has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = -math.inf

    async def refresh(self) -> None:
        """Look, where it is time to; one that fails is made again soon."""
        now = asyncio.get_running_loop().time()
        if now < self._next_at:
            return
        self._next_at = now + limits.WATCH_SECONDS
        try:
            await self.look()
        except Exception:
            self._next_at = -math.inf
            raise

    @abstractmethod
    async def look(self) -> None:
        """Look and tell."""

    def wake(self) -> None:
        """Ask for a look at once."""
        self._next_at = -math.inf
        super().wake()


async def tell_changed(postgres: Postgres) -> None:
    """Tell every worker that something which it holds in memory has changed."""
    await postgres.write(f"NOTIFY {CHANGES}")


@contextlib.asynccontextmanager
async def kept_fresh(url: str, held: Sequence[Reloading]) -> AsyncIterator[None]:
    """Keep these fresh inside a block, quickly where the PostgreSQL of this URL can tell us."""
    duties = [each.keep_fresh() for each in held] + [_listen(url, held)]
    tasks = [asyncio.create_task(duty) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(url: str, held: Sequence[Reloading]) -> None:
    """Wake everything when something changed; their own clocks serve where this cannot."""

    def wake(*_: object) -> None:
        for each in held:
            each.wake()

    while True:
        connection = None
        with contextlib.suppress(*FOREIGN):
            connection = await asyncpg.connect(url)
            await connection.add_listener(CHANGES, wake)
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _, gone=gone: gone.set())
            try:
                await gone.wait()
            finally:
                connection.terminate()
        await asyncio.sleep(1)
