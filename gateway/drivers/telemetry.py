"""What can be measured, in one place; Prometheus reads it at `/metrics`.

With several workers on one port each writes into its own file of a shared folder, and whichever
worker is asked adds them up.  What happens with every request is counted in plain integers first
and handed over once a second: an addition costs a twentieth of a write into such a file.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.domain import limits
from native.laps import Buckets

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_PROCESS: Final = re.compile(r"_(\d+)\.db\Z")

REQUESTS: Final = Counter(
    "floodgate_requests", "Requests by operation and HTTP status", ["operation", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "floodgate_request_seconds",
    "Time from the body's last byte to the answer",
    ["operation"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STEP_SECONDS: Final = Histogram(
    "floodgate_step_seconds",
    "Time that a step of a request took",
    ["step"],
    buckets=[mantissa * 10.0**exponent for exponent in range(-5, 1) for mantissa in (1, 2, 5)],
)
BATCH_ITEMS: Final = Histogram(
    "floodgate_batch_items",
    "Items that shared one flush",
    ["queue"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
QUEUE_ITEMS: Final = Gauge(
    "floodgate_queue_items",
    "Items that wait for a flush now",
    ["queue"],
    multiprocess_mode="livesum",
)
CREDENTIALS: Final = Gauge(
    "floodgate_channel_credentials",
    "Credentials of channels: live, and of those unreadable, unusable, expired, keyless, refused",
    ["channel", "state"],
    multiprocess_mode="livemax",
)
STRANDED: Final = Gauge(
    "floodgate_stranded_items",
    "Open attempts, captures and refunds that nobody can ask about: no live credential is left",
    ["channel", "kind"],
    multiprocess_mode="livemax",
)
SECRETS_UNREADABLE: Final = Gauge(
    "floodgate_webhook_secrets_unreadable",
    "Endpoints to which nothing is sent, because the key that their secret is hidden under is lost",
    multiprocess_mode="livemax",
)
LOOP_LAG: Final = Gauge(
    "floodgate_loop_lag_seconds",
    "How late the event loop was at worst within the last second; of all workers the worst",
    multiprocess_mode="livemax",
)

CHANNEL_WELL: Final = Gauge(
    "floodgate_channel_well",
    "1 while a channel serves like any other, 0 while it rests (the sickest worker's view)",
    ["channel", "bank"],
    multiprocess_mode="livemin",
)
CHANNEL_BAD_SHARE: Final = Gauge(
    "floodgate_channel_bad_share_bps",
    "Answers that were errors or unknown in the last seconds, in basis points (worst worker)",
    ["channel", "bank", "kind", "seconds"],
    multiprocess_mode="livemax",
)
CHANNEL_USUAL_SHARE: Final = Gauge(
    "floodgate_channel_usual_bad_share_bps",
    "The channel's own usual share of bad answers, in basis points (worst worker)",
    ["channel", "bank"],
    multiprocess_mode="livemax",
)
ADMISSION: Final = Counter(
    "floodgate_admission",
    "Requests by kind and what became of them at the admission step",
    ["kind", "outcome"],
)
UNDER_WAY: Final = Gauge(
    "floodgate_under_way", "Requests being served", ["kind"], multiprocess_mode="livesum"
)
SEATS: Final = Gauge(
    "floodgate_seats", "Requests in our own hands", ["room"], multiprocess_mode="livesum"
)
LIMIT: Final = Gauge(
    "floodgate_limit", "How many seats there are now", ["room"], multiprocess_mode="livesum"
)
LANE_CALLS: Final = Gauge(
    "floodgate_lane_calls",
    "Calls under way to a channel",
    ["channel", "lane"],
    multiprocess_mode="livesum",
)
LANE_LIMIT: Final = Gauge(
    "floodgate_lane_limit",
    "How many calls a channel gets now before new payments stand back",
    ["channel", "lane"],
    multiprocess_mode="livesum",
)
BREAKER: Final = Gauge(
    "floodgate_breaker",
    "0 closed, 1 half open, 2 open; of all workers the worst",
    ["channel", "lane"],
    multiprocess_mode="livemax",
)


class Tally(Buckets):
    """Observations of one histogram in plain numbers, until they are handed over."""

    __slots__ = ("_histogram",)

    def __init__(self, name: str, histogram: Histogram) -> None:
        super().__init__(name, histogram._upper_bounds)  # noqa: SLF001 - it has no other name
        self._histogram = histogram
        _tallies.append(self)

    def hand_over(self) -> int:
        """Add what was counted since the last time to the histogram; gives how many those are."""
        counts, total = self.taken()
        observed = sum(counts)
        if observed:
            buckets = self._histogram._buckets  # noqa: SLF001 - as above
            for bucket, count in zip(buckets, counts, strict=True):
                if count:
                    bucket.inc(count)
            self._histogram._sum.inc(total)  # noqa: SLF001 - as above
        return observed


class _Served(Tally):
    """The requests of one operation with one status."""

    __slots__ = ("_requests",)

    def __init__(self, operation: str, status: int) -> None:
        super().__init__(operation, REQUEST_SECONDS.labels(operation))
        self._requests = REQUESTS.labels(operation, status)

    def hand_over(self) -> int:
        """Count the requests as well."""
        observed = super().hand_over()
        self._requests.inc(observed)
        return observed


class _TurnedAway:
    """The requests of one operation that were refused with one status before they were read."""

    __slots__ = ("_requests", "count")

    def __init__(self, operation: str, status: int) -> None:
        self._requests = REQUESTS.labels(operation, status)
        self.count = 0
        _tallies.append(self)

    def hand_over(self) -> None:
        """Count the requests."""
        self._requests.inc(self.count)
        self.count = 0


_tallies: Final[list[Tally | _TurnedAway]] = []
_served: Final[dict[tuple[str, int], _Served]] = {}
_turned_away: Final[dict[tuple[str, int], _TurnedAway]] = {}


def count_request(operation: str, status: int, seconds: float) -> None:
    """Count one request; there are few operations, and none that strangers name."""
    served = _served.get((operation, status))
    if served is None:
        served = _served[operation, status] = _Served(operation, status)
    served.observe(seconds)


def count_turned_away(operation: str, status: int, count: int) -> None:
    """Count requests that were refused before they were read: a flood of them has to be cheap."""
    turned = _turned_away.get((operation, status))
    if turned is None:
        turned = _turned_away[operation, status] = _TurnedAway(operation, status)
    turned.count += count


def batch_items(queue: str) -> Callable[[int], None]:
    """Give what a queue tells the size of each flush."""
    return Tally(queue, BATCH_ITEMS.labels(queue)).observe


def hand_over() -> None:
    """Hand everything that was counted to Prometheus' objects."""
    for tally in _tallies:
        tally.hand_over()


@contextlib.asynccontextmanager
async def kept_told(tellers: Iterable[Callable[[], None]]) -> AsyncIterator[None]:
    """Let these write down how things stand, twice a second, inside a block."""
    telling = asyncio.create_task(_tell(tuple(tellers)))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(tellers: Iterable[Callable[[], None]]) -> None:
    while True:
        for tell in tellers:
            tell()
        await asyncio.sleep(limits.TELLING_SECONDS)


def exposition(shared: Path | None) -> bytes:
    """Write every metric in Prometheus' text format; `shared` is the workers' common folder."""
    hand_over()
    if shared is None:
        return generate_latest(REGISTRY)
    _forget_the_dead(shared)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(shared))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_the_dead(shared: Path) -> None:
    """Drop the gauges of processes that are no more; their counts stay, for they happened."""
    for file in shared.glob("gauge_live*.db"):
        process = _PROCESS.search(file.name)
        if process is not None and not _is_alive(int(process[1])):
            with contextlib.suppress(OSError):
                file.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
