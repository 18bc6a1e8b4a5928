"""The worker's duty to forget: what is old goes, a little at a time, never a fact about money."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.channels import retention as of_channels
from gateway.domain import limits
from gateway.domain.identity import PLATFORM
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.drivers.walking import Walk, Walker
from gateway.events import retention as of_events
from gateway.ledger import retention as of_ledger

logger: Final = logging.getLogger(__name__)

WALKS: Final = (*of_ledger.WALKS, *of_events.WALKS, *of_channels.WALKS)
_MERCHANTS: Final = "SELECT id FROM merchant"


class Retention:
    """Walks along each table again and again, with a rest at its end.

    Several workers may do so at once: what one has deleted the others do not find.
    """

    def __init__(self, postgres: Postgres, clock: Clock) -> None:
        self._postgres = postgres
        self._clock = clock
        self._walker = Walker(postgres, limits.RETENTION_BATCH_ITEMS_MAX)
        self._reached: dict[str, tuple[Any, ...]] = {}
        self._rests_until: dict[str, datetime] = {}

    async def run(self) -> None:
        """Forget for ever."""
        while True:
            try:
                await self.turn()
            except Exception as error:  # noqa: BLE001 - no error may end the worker
                logger.warning("nothing could be forgotten: %r", error)
            await asyncio.sleep(limits.RETENTION_PAUSE_SECONDS)

    async def turn(self) -> int:
        """Take one step along each table; says how many rows are gone."""
        now = self._clock.now()
        gone = await of_channels.forget_refused(self._postgres, now)
        rows = await self._postgres.read(_MERCHANTS)
        merchants = [PLATFORM, *(row["id"] for row in rows)]
        for walk in WALKS:
            if self._rests_until.get(walk.table, now) <= now:
                gone += await self._step(walk, merchants, now)
        return gone

    async def _step(self, walk: Walk, merchants: Sequence[int], now: datetime) -> int:
        after = self._reached.get(walk.table, walk.start)
        step = await self._walker.step(walk, merchants, after, now)
        self._reached[walk.table] = step.reached or walk.start
        if step.reached is None:
            self._rests_until[walk.table] = now + timedelta(seconds=limits.RETENTION_REST_SECONDS)
        return step.deleted
