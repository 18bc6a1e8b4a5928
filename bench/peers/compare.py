"""Floodgate beside the naive gateway: the same PostgreSQL, Redis, acquirer, requests, generator.

    python -m bench.peers.compare [--rounds 3] [--seconds 6] [--naive-workers 2]

In turn, round after round: the capacity of each (a closed run), then both at the naive one's
capacity on a schedule.  The medians count.  Both end with proofs; either's failure is status 1.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import uvloop
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.aims import Aim, at_least, at_most, parser_of, tell
from bench.load import requests
from bench.load.capacity import closed_run
from bench.load.lean import Generator, Result
from bench.load.options import above_zero, one_or_more
from bench.load.shapes import Leg, arrivals
from bench.load.stack import Stack, stack
from bench.peers.naive.server import Naive, naive, proofs

_CREATED = 201
_CONNECTIONS = 64
_CONNECTIONS_MAX = 4000
_WARM_UP_SECONDS = 3.0
_EASY_SHARE = 0.8
SPEED_TARGET, LATENCY_TARGET = 6.0, 0.2


class Round(Struct):
    """One round: closed runs of both, and scheduled runs at the naive one's capacity and below."""

    ours: Result
    naives: Result
    ours_at: Result
    naives_at: Result
    ours_below: Result
    naives_below: Result


class Peers:
    """Both gateways and the generator between them."""

    def __init__(self, running: Stack, peer: Naive, seconds: float) -> None:
        self._stack = running
        self._peer = peer
        self._seconds = seconds
        self.naive_answered = 0

    def _wires(self, host: str) -> Iterator[bytes]:
        return requests.payments(self._stack.credentials, host)

    async def closed(self, base_url: str, seconds: float) -> Result:
        """Find the capacity of one."""
        wires = self._wires(base_url.removeprefix("http://"))
        result = await closed_run(base_url, wires, connections=_CONNECTIONS, seconds=seconds)
        return self._counted(base_url, result)

    async def at(self, base_url: str, rate: float) -> Result:
        """Send at this rate, whatever is answered."""
        wires = self._wires(base_url.removeprefix("http://"))
        due = arrivals((Leg(self._seconds, rate, rate),))
        result = await Generator(base_url, wires).opened(
            due, connections=_CONNECTIONS, connections_max=_CONNECTIONS_MAX
        )
        return self._counted(base_url, result)

    def _counted(self, base_url: str, result: Result) -> Result:
        if base_url == self._peer.base_url:
            self.naive_answered += result.statuses.get(_CREATED, 0)
        return result

    async def rounds(self, count: int) -> list[Round]:
        """Warm both up, then measure them in turn."""
        bases = self._stack.base_url, self._peer.base_url
        for base in bases:
            await self.closed(base, _WARM_UP_SECONDS)
        measured = []
        for _ in range(count):
            ours, naives = [await self.closed(base, self._seconds) for base in bases]
            rate = naives.per_second(_CREATED)
            at = [await self.at(base, rate) for base in bases]
            below = [await self.at(base, rate * _EASY_SHARE) for base in bases]
            measured.append(Round(ours, naives, *at, *below))
        return measured


def median(measured: list[Round], name: str, share: float = 0.0) -> float:
    """Give the median of one result over the rounds: payments a second, or a latency in ms."""
    results: list[Result] = [getattr(each, name) for each in measured]
    if share:
        return statistics.median(result.milliseconds(share) for result in results)
    return statistics.median(result.per_second(_CREATED) for result in results)


def show(console: Console, measured: list[Round]) -> list[Aim]:
    """Print both beside each other; gives what is aimed at."""
    table = Table(title="Medians", title_justify="left")
    table.add_column("")
    for column in ("Floodgate", "naive", "Floodgate ÷ naive"):
        table.add_column(column, justify="right")
    rows = [
        ("payments a second, 64 connections", "ours", "naives", 0.0),
        ("p50 ms, 64 connections", "ours", "naives", 0.5),
        ("p99 ms, 64 connections", "ours", "naives", 0.99),
        ("p50 ms at the naive one's capacity", "ours_at", "naives_at", 0.5),
        ("p99 ms at the naive one's capacity", "ours_at", "naives_at", 0.99),
        ("p50 ms at 80 % of it", "ours_below", "naives_below", 0.5),
        ("p99 ms at 80 % of it", "ours_below", "naives_below", 0.99),
    ]
    for words, one, other, share in rows:
        ours, naives = median(measured, one, share), median(measured, other, share)
        table.add_row(words, f"{ours:,.1f}", f"{naives:,.1f}", f"{ours / naives:.2f}")
    console.print(table)
    speed = median(measured, "ours") / median(measured, "naives")
    calm = median(measured, "ours_at", 0.99)
    return [
        at_least("payments a second over the naive one's", speed, SPEED_TARGET),
        at_most(
            "p99 at the naive one's capacity, over its own in the closed run",
            calm / median(measured, "naives", 0.99),
            LATENCY_TARGET,
        ),
        at_most(
            "… over its own at the same rate",
            calm / median(measured, "naives_at", 0.99),
            LATENCY_TARGET,
        ),
    ]


def main() -> int:
    """Run it."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=one_or_more, default=3)
    parser.add_argument("--seconds", type=above_zero, default=6.0)
    parser.add_argument("--workers", type=one_or_more, default=1, help="of ours")
    parser.add_argument("--naive-workers", type=one_or_more, default=1)
    parser.add_argument(
        "--one-commit",
        action="store_true",
        help="let the naive one write a payment down only after the acquirer was asked",
    )
    given = parser.parse_args()
    console = Console(highlight=False)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="floodgate-peers-")))
        folder.chmod(0o711)
        running = held.enter_context(stack(folder / "data", workers=given.workers))
        peer = held.enter_context(
            naive(
                running,
                folder / "naive",
                workers=given.naive_workers,
                open_first=not given.one_commit,
            )
        )
        peers = Peers(running, peer, given.seconds)
        measured = uvloop.run(peers.rounds(given.rounds))
        aims = show(console, measured)
        against = asyncio.run(proofs(peer, peers.naive_answered))
        console.print("the naive one's books: " + ("; ".join(against) or "they balance"))
        holds, _ = running.proofs()
        console.print(f"our proofs: {'all hold' if holds else '[red]NOT ALL HOLD[/]'}")
    tell(aims, given.aims)
    return 0 if holds and not against else 1


if __name__ == "__main__":
    sys.exit(main())
