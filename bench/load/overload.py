"""Five times what the house can take, with a small merchant beside the flood: who is served how?

    python -m bench.load.overload [--seconds 60] [--times 5] [--connections 192] [--workers 1]
                                  [--over-port]

First the capacity (closed loop), then 70 % of it, the flood, what comes after it, and the first two
again: a machine's speed drifts, so the flood stands beside the mean of before and after.
Whoever is refused comes again later with the same key.  Beside the flood a small merchant pays at a
twentieth of the capacity, and somebody sends notices.  Generator and house share the machine, and
what sends the flood is not there for serving it: so where the CPU went is told, and beside the bare
goodput stands what each CPU second of the house brought about.  Everything comes through the Unix
socket, as from a proxy on the same machine: over the port loopback's TCP takes more than refusing
does, and takes it from the house.  Ends with the proofs.
"""

import argparse
import asyncio
import collections
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, islice

import uvloop
from msgspec import Struct, field

from bench.aims import Aim, at_least, at_most, parser_of, tell
from bench.load import costs, requests
from bench.load.brisk import generator
from bench.load.costs import Costs
from bench.load.histogram import Histogram
from bench.load.lean import Generator, Result
from bench.load.options import above_zero, one_or_more
from bench.load.stack import Stack, own_folder, stack
from gateway.signing import Credentials

_CREATED = 201
_REFUSED = frozenset({429, 503})
_SMALL_SHARE = 0.05
_CALM_SHARE = 0.7
_CALM_SECONDS = 10.0
_AFTER_SHARE = 0.5
AFTER_SECONDS = 6.0
_CAPACITY_SECONDS = 8.0
_SLICE_SECONDS = 0.5
_NOTICES_PER_SECOND = 10
_PER_SECOND_MAX = 6000  # more than any capacity
_SIGNED_SHARE = 1.3  # of the capacity: what is refused comes again
_CONNECTIONS = 1000
_CONNECTIONS_MAX = 2000


class Told(Struct):
    """What one sender heard: latencies (from the scheduled start) of payments and of refusals."""

    paid: Histogram = field(default_factory=Histogram)
    refused: Histogram = field(default_factory=Histogram)
    others: collections.Counter[int] = field(default_factory=collections.Counter)
    slices: dict[int, Histogram] = field(default_factory=dict)


class Sender:
    """Sends signed payments on a schedule; what was refused is sent again, after what was not."""

    def __init__(self, running: Stack, credentials: Credentials, *, over_port: bool) -> None:
        self._base_url = running.base_url if over_port else running.beside_url
        self._signed = requests.payments(credentials, running.host)
        self._ready: list[bytes] = []
        self.told = Told()
        self._began = 0.0

    def sign(self, payments: int) -> None:
        """Sign so many payments before they are needed."""
        self._ready += islice(self._signed, max(0, payments - len(self._ready)))

    async def fill(self, connections: int, seconds: float) -> Result:
        """Keep so many under way for so long."""
        self.sign(int(_PER_SECOND_MAX * seconds))
        sending = generator(self._base_url, self._ready, again=_REFUSED)
        result = await sending.closed(connections=connections, seconds=seconds)
        self._ready = sending.left
        return result

    async def send(self, per_second: float, seconds: float) -> Result:
        """Send so many a second for so long; `told` begins anew."""
        self.told = Told()
        self._began = 0.0
        arrivals = (number / per_second for number in range(int(per_second * seconds)))
        sending = generator(self._base_url, self._ready, observe=self._heard, again=_REFUSED)
        # Opened before: what a storm of new connections costs is another question.
        result = await sending.opened(
            arrivals, connections=_CONNECTIONS, connections_max=_CONNECTIONS_MAX
        )
        self._ready = sending.left
        return result

    def _heard(
        self, _request: bytes, status: int, _body: bytes, began: float, ended: float
    ) -> None:
        self._began = self._began or began  # they are told in the order in which they ended
        told, lasted = self.told, int((ended - began) * 1e6)
        if status == _CREATED:
            told.paid.record(lasted)
            at = int((began - self._began) / _SLICE_SECONDS)
            told.slices.setdefault(at, Histogram()).record(lasted)
        elif status in _REFUSED:
            told.refused.record(lasted)
        else:
            told.others[status] += 1


class Usual(Struct, frozen=True):
    """What is usual beside a flood: the capacity per second, and the p99s at 70 % of it in ms."""

    capacity: float
    p99_ms: float
    small_p99_ms: float


class Measured(Struct, frozen=True):
    """What a run came to, with what was usual before the flood and after it."""

    before: Usual
    later: Usual
    flood: Told
    flood_small: Told
    flood_result: Result
    small_offered: int
    notices: Result
    after: Told
    at_capacity: Costs
    in_flood: Costs


def small_merchant(running: Stack) -> Credentials:
    """Add one more merchant."""
    words = [sys.executable, "-m", "gateway", "merchant", "add", "Small shop"]
    environment = {**os.environ, **running.environment()}
    made = json.loads(subprocess.check_output(words, env=environment))
    return Credentials(made["key_id"], made["secret"])


def notices(host: str) -> Iterator[bytes]:
    """Give notices that nobody signed: each is to be kept, read and answered with 400."""
    for number in count():
        body = b'{"number":"%d"}' % number
        head = f"POST /notices/simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
        yield head.encode() + b"\r\n\r\n" + body


async def calm(big: Sender, small: Sender, capacity: float) -> Usual:
    """Send 70 % of the capacity, of which a part is the small merchant's."""
    low, small_rate = _CALM_SHARE * capacity, _SMALL_SHARE * capacity
    big.sign(int(low * _CALM_SECONDS))
    small.sign(int(small_rate * _CALM_SECONDS))
    await asyncio.gather(
        big.send(low - small_rate, _CALM_SECONDS), small.send(small_rate, _CALM_SECONDS)
    )
    return Usual(capacity, _p99(big.told.paid), _p99(small.told.paid))


async def measure(running: Stack, given: argparse.Namespace) -> Measured:
    """Run the parts one after the other."""
    seconds = given.seconds
    big, small = (
        Sender(running, credentials, over_port=given.over_port)
        for credentials in (running.credentials, small_merchant(running))
    )
    await asyncio.sleep(2.0)  # the new key reaches the worker
    for length in (3.0, _CAPACITY_SECONDS):
        before = costs.look(running)
        result = await big.fill(given.connections, length)
        paid = result.statuses.get(_CREATED, 0)
        at_capacity = costs.between(before, costs.look(running), result, paid=paid, refused=0)
    capacity = result.per_second(_CREATED)
    small_rate = _SMALL_SHARE * capacity
    usual = await calm(big, small, capacity)
    big.sign(int(capacity * seconds * _SIGNED_SHARE))
    small.sign(int(small_rate * seconds))
    before = costs.look(running)
    intake = Generator(running.base_url, notices(running.host))
    arrivals = (
        number / _NOTICES_PER_SECOND for number in range(int(_NOTICES_PER_SECOND * seconds))
    )
    flood_result, small_result, noticed = await asyncio.gather(
        big.send(given.times * capacity - small_rate, seconds),
        small.send(small_rate, seconds),
        intake.opened(arrivals, connections=4, connections_max=64),
    )
    flood, flood_small = big.told, small.told
    paid = flood.paid.total + flood_small.paid.total
    refused = flood.refused.total + flood_small.refused.total
    # All three send from this process: the first counts the CPU of all.
    in_flood = costs.between(before, costs.look(running), flood_result, paid=paid, refused=refused)
    big.sign(int(_AFTER_SHARE * capacity * AFTER_SECONDS))
    await big.send(_AFTER_SHARE * capacity, AFTER_SECONDS)
    after = big.told
    again = await big.fill(given.connections, _CAPACITY_SECONDS)
    later = await calm(big, small, again.per_second(_CREATED))
    return Measured(
        before=usual,
        later=later,
        flood=flood,
        flood_small=flood_small,
        flood_result=flood_result,
        small_offered=small_result.sent,
        notices=noticed,
        after=after,
        at_capacity=at_capacity,
        in_flood=in_flood,
    )


def aims_of(measured: Measured, seconds: float) -> list[Aim]:
    """Give every target beside what was measured, and print what else there is to know."""
    before, later = measured.before, measured.later
    usual, flood = (before.p99_ms + later.p99_ms) / 2, _p99(measured.flood.paid)
    usual_small = (before.small_p99_ms + later.small_p99_ms) / 2
    small = _p99(measured.flood_small.paid)
    goodput = (measured.flood.paid.total + measured.flood_small.paid.total) / seconds
    capacity = (before.capacity + later.capacity) / 2
    share = measured.flood_small.paid.total / max(1, measured.small_offered)
    refused_notices = sum(measured.notices.statuses.get(status, 0) for status in (429, 503, 500))
    at_capacity, in_flood = measured.at_capacity, measured.in_flood
    per_cpu = in_flood.paid_per_cpu_second / at_capacity.paid_per_cpu_second
    offered = measured.flood_result.sent / measured.flood_result.seconds
    print(
        f"capacity {before.capacity:,.0f}/s, after it {later.capacity:,.0f}/s"
        f"   goodput {goodput:,.0f}/s   offered {offered:,.0f}/s\n"
        f"p99 {before.p99_ms:.0f} → {flood:.0f} → {later.p99_ms:.0f} ms,"
        f" small {before.small_p99_ms:.0f} → {small:.0f} → {later.small_p99_ms:.0f} ms\n"
        f"answers {measured.flood_result.statuses},"
        f" small refused {measured.flood_small.refused.total},"
        f" others {dict(measured.flood.others)}   missed {measured.flood_result.missed}"
        f"   generator late by {measured.flood_result.late_seconds * 1000:.0f} ms at worst\n"
        f"{costs.told('CPU at capacity', at_capacity)}\n"
        f"{costs.told('CPU in the flood', in_flood)}\n"
        f"one refusal: {costs.refusal_microseconds(at_capacity, in_flood):.0f} µs of the gateway"
        f"   one request: {in_flood.generator / offered * 1e6:.0f} µs of the generator"
    )
    missed = measured.flood_result.missed
    return [
        at_least("flood: goodput over capacity", goodput / capacity, 0.9),
        Aim("… for each CPU second of the house", "", f"{per_cpu:.2f}"),
        at_most("flood: p99 of admitted over p99 at 70 %", flood / usual, 3),
        at_most("flood: p99 of refusals", _p99(measured.flood.refused), 10, " ms"),
        at_least("flood: small merchant, served of what it asked", 100 * share, 99, " %"),
        at_most("flood: small merchant, p99 over its p99 at 70 %", small / usual_small, 2),
        at_most("flood: recovered after", recovered(measured.after, 2 * usual), 2, " s"),
        at_most(f"flood: of {measured.notices.sent} notices refused", refused_notices, 0),
        at_most("flood: starts that the generator missed", missed, 0),
    ]


def _p99(histogram: Histogram) -> float:
    return histogram.percentile(0.99) / 1000


def recovered(after: Told, good: float) -> float:
    """Say after how many seconds the first whole second began that was good, or the whole time.

    One bad half second by itself comes later, too, and in calm hours: PostgreSQL tidies up.
    """
    well = {at for at, histogram in after.slices.items() if _p99(histogram) <= good}
    began = (at * _SLICE_SECONDS for at in sorted(well) if at + 1 in well)
    return next(began, AFTER_SECONDS)


def main() -> int:
    """Run it."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=above_zero, default=60.0, help="of the flood")
    parser.add_argument("--times", type=above_zero, default=5.0, help="of the capacity")
    parser.add_argument(
        "--connections", type=one_or_more, default=192, help="when capacity is measured"
    )
    parser.add_argument("--workers", type=one_or_more, default=1, help="gateway processes")
    parser.add_argument("--over-port", action="store_true", help="by TCP instead of a Unix socket")
    given = parser.parse_args()
    with (
        own_folder() as folder,
        stack(folder / "data", workers=given.workers) as running,
    ):
        measured = uvloop.run(measure(running, given))
        holds, table = running.proofs()
        print(table)
    tell(aims_of(measured, given.seconds), given.aims)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
