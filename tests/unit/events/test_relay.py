"""The relay goes on whatever its outbox does; its deliveries are tested on a real PostgreSQL."""

import asyncio
from typing import Any, Never

from gateway.drivers.clock import Clock
from gateway.events.relay import Relay


class StumblingOutbox:
    """An outbox that fails in a way that nobody foresaw, and notes down how often it was asked."""

    def __init__(self) -> None:
        self.asked_again = asyncio.Event()
        self._asked = 0

    async def listening(self) -> Never:
        self._asked += 1
        if self._asked > 1:
            self.asked_again.set()
        raise ValueError("?")

    async def saw(self, _results: Any) -> Never:
        raise AssertionError("nothing is delivered")


async def test_no_error_ends_the_relay() -> None:
    outbox: Any = StumblingOutbox()
    nothing: Any = None
    running = asyncio.create_task(Relay(outbox, nothing, nothing, Clock()).run())
    async with asyncio.timeout(20):
        await outbox.asked_again.wait()
    assert not running.done()
    running.cancel()
