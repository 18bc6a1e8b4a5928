"""The lean generator for floods: what it sends is made before, and sent without the interpreter.

It counts what the one in `bench.load.lean` counts, which is its twin and stands in for it where it
is not compiled (`make install` compiles it on Linux).
"""

import asyncio
import socket
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.load.lean import ANSWER_SECONDS, Done, Generator, Result

COMPILED: Final = sys.platform == "linux"

if TYPE_CHECKING or COMPILED:
    from bench.load._brisk_c import Sender


class Brisk:
    """Sends requests to one base URL, or to `unix:///path`, once.

    It is asked for as much as `Generator`, but for patience; `observe` hears of the ends when the
    run is over, and of no bodies.
    """

    def __init__(
        self,
        base_url: str,
        requests: Sequence[bytes],
        *,
        observe: Done | None = None,
        again: frozenset[int] = frozenset(),
    ) -> None:
        place = urlsplit(base_url)
        self._address = (
            place.path
            if place.scheme == "unix"
            else (socket.gethostbyname(place.hostname or ""), place.port or 80)
        )
        self._requests = list(requests)
        self._observe = observe
        self._again = again

    async def closed(self, *, connections: int, seconds: float) -> Result:
        """Keep so many requests under way for so long, or while there are any; await the last."""
        sender = self._sender(connections, connections)
        used = time.process_time()
        await asyncio.to_thread(sender.closed, seconds, ANSWER_SECONDS)
        return self._told(sender, seconds, time.process_time() - used)

    async def opened(
        self, arrivals: Iterator[float], *, connections: int, connections_max: int
    ) -> Result:
        """Send at each of these times (seconds from the start, in order), whatever was answered."""
        sender = self._sender(connections, connections_max)
        times = array("d", arrivals)
        used = time.process_time()
        await asyncio.to_thread(sender.opened, times, ANSWER_SECONDS)
        return self._told(sender, times[-1] if times else 0.0, time.process_time() - used)

    @property
    def left(self) -> list[bytes]:
        """Requests that were not sent, or that are to be asked again, in order."""
        return self._requests

    def _sender(self, connections: int, connections_max: int) -> "Sender":
        sender = Sender(self._address, self._requests, self._again, connections_max)
        sender.connect(connections)
        return sender

    def _told(self, sender: "Sender", seconds: float, cpu_seconds: float) -> Result:
        result = Result(seconds=seconds, cpu_seconds=cpu_seconds)
        result.sent, result.missed, result.broken, result.late_seconds = sender.counts
        for request, status, began, ended in sender.notes():
            if status:
                result.statuses[status] = result.statuses.get(status, 0) + 1
                result.latency.record(int((ended - began) * 1e6))
            if self._observe is not None:
                self._observe(request, status, b"", began, ended)
        self._requests = sender.left()
        return result


def generator(
    base_url: str,
    requests: Sequence[bytes],
    *,
    observe: Done | None = None,
    again: frozenset[int] = frozenset(),
) -> Brisk | Generator:
    """Make the one that is there."""
    if COMPILED:
        return Brisk(base_url, requests, observe=observe, again=again)
    return Generator(base_url, iter(requests), observe=observe, again=again)
