"""What is under way at the same time: tasks counted by lane, so that no lane fills the whole room.

Whoever starts flights looks first how busy a lane is; whoever has none to start rests until one
lands.  A flight that fails is logged and forgotten: what it was about is due again by itself.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

logger: Final = logging.getLogger(__name__)


class Flights:
    """Tasks under way; `busy` counts them by lane.

    Those that land end the rest of whoever waits for a `landing`, which several may share.
    """

    def __init__(self, landing: asyncio.Event | None = None) -> None:
        self.busy: Counter[str] = Counter()
        self._flights: set[asyncio.Task[None]] = set()
        self._landing = asyncio.Event() if landing is None else landing

    def __len__(self) -> int:
        return len(self._flights)

    def start(self, lane: str, flight: Coroutine[Any, Any, None], about: str) -> None:
        """Start a flight; `about` names in the log what it was for."""
        task = asyncio.create_task(flight)
        self.busy[lane] += 1
        self._flights.add(task)
        task.add_done_callback(lambda task: self._ended(task, lane, about))

    def _ended(self, task: asyncio.Task[None], lane: str, about: str) -> None:
        self._flights.discard(task)
        self.busy[lane] -= 1
        if self.busy[lane] == 0:
            del self.busy[lane]
        self._landing.set()
        if not task.cancelled() and task.exception() is not None:
            logger.warning("%s did not end well: %r", about, task.exception())

    async def rest(self, pace_seconds: float, idle_seconds: float) -> None:
        """Rest for the pace, and then until a flight lands, but no longer than the idle time."""
        await asyncio.sleep(pace_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(idle_seconds):
                await self._landing.wait()
        self._landing.clear()

    async def landed(self) -> None:
        """Wait until everything that is under way has ended."""
        while self._flights:
            await asyncio.wait(self._flights)

    async def leave(self, seconds: float) -> None:
        """Wait a little for what is under way, and cut off what does not end."""
        if self._flights:
            _, late = await asyncio.wait(self._flights, timeout=seconds)
            for flight in late:
                flight.cancel()
