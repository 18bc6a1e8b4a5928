"""The simulated acquirer's notices: signed POSTs to the gateway, tried a few times, in memory."""

import asyncio
import ipaddress
import random
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.channels.simulator.messages import SIGNATURE, TIMESTAMP, Message, sign
from gateway.domain.wire import WireRequest
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound

_TRY_SECONDS: Final = 5
_SENDING_MAX: Final = 64
# After each failed try the next one waits this many times the acquirer's usual delay.
_WAITS: Final = (1, 3, 10, 30)


@lru_cache(maxsize=1024)
def is_loopback(url: str) -> bool:
    """Tell whether a URL points at this machine by an address or as `localhost`."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Notifier:
    """Delivers notices in the background until the gateway answers 2xx or the tries are used up."""

    def __init__(
        self, outbound: Outbound, clock: Clock, *, secret: bytes, seed: int, delay_ms: int
    ) -> None:
        self._outbound = outbound
        self._clock = clock
        self._secret = secret
        self._jitter = random.Random(seed)  # noqa: S311 -- a seeded run has to repeat itself
        self._delay_ms = delay_ms
        self._sending = asyncio.Semaphore(_SENDING_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, url: str, message: Message, *, forged: bool = False) -> None:
        """Send a notice, with a signature that does not fit when it is to be forged."""
        secret = self._secret + b"?" if forged else self._secret
        task = asyncio.create_task(self._deliver(url, msgspec.json.encode(message), secret))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget what is still on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, url: str, body: bytes, secret: bytes) -> None:
        for wait in (*_WAITS, None):
            if await self._is_accepted(url, body, secret) or wait is None:
                return
            await asyncio.sleep(wait * self._delay_ms * self._jitter.uniform(0.8, 1.2) / 1000)

    async def _is_accepted(self, url: str, body: bytes, secret: bytes) -> bool:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "content-type": "application/json",
            TIMESTAMP: timestamp,
            SIGNATURE: sign(secret, "NOTICE", timestamp=timestamp, body=body),
        }
        request = WireRequest("POST", "", headers, body)
        try:
            async with self._sending:
                answer = await self._outbound.send(url, request, seconds=_TRY_SECONDS)
        except (NeverSent, NoAnswer):
            return False
        return 200 <= answer.status < 300  # noqa: PLR2004 -- the range of HTTP's success
