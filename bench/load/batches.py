"""What a batch buys: payments per second through `/v1/payments/batch` beside single calls.

    python -m bench.load.batches [--items 100] [--seconds 5] [--rounds 3]

Single calls are sent in two ways.  At capacity so many are under way that the house is as fast with
them as it gets: what batches do beside that is what the house gains, and the target stands there.
Over as many connections as there are batches, one call after the other, they are what the client of
one merchant sees, whatever the house could do: mostly it is the round trip that is measured then.

The same payments, the same stack, in turn; the medians count, and the proofs end the run.  Payments
are counted in the books and not by the answers.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from itertools import islice

import asyncpg
import uvloop
from msgspec import Struct

from bench.aims import Aim, at_least, parser_of, tell
from bench.load import requests
from bench.load.brisk import generator
from bench.load.capacity import REFUSED
from bench.load.options import above_zero, one_or_more
from bench.load.stack import Stack, own_folder, stack

_SUCCEEDED = "SELECT count(*) FROM payment WHERE status = 'succeeded'"
_WARM_UP_SECONDS = 2.0
_SIGNED_AHEAD = 6000
_TARGET = 3.0


class Run(Struct, frozen=True):
    """Payments per second of one run, and the gateway's CPU for one, in microseconds."""

    per_second: float
    cpu_us: float
    p99_ms: float


async def measure(
    running: Stack, wires: Sequence[bytes], *, connections: int, seconds: float
) -> Run:
    """Send for so long and count what the books say of it; what is refused comes again."""
    sending = generator(running.base_url, wires, again=REFUSED)
    connection = await asyncpg.connect(running.database_url)
    try:
        before, used = await connection.fetchval(_SUCCEEDED), running.cpu_seconds()["gateway"]
        result = await sending.closed(connections=connections, seconds=seconds)
        used = running.cpu_seconds()["gateway"] - used
        made = await connection.fetchval(_SUCCEEDED) - before
    finally:
        await connection.close()
    assert result.statuses.keys() <= {200, 201, *REFUSED}, result.statuses
    assert sending.left, "it paid all that was signed"
    assert not result.broken
    return Run(made / seconds, used / made * 1e6, result.milliseconds(0.99))


async def measure_all(running: Stack, given: argparse.Namespace, seconds: float) -> list[Run]:
    """Measure single calls at capacity, batches, and single calls over the batches' connections."""
    single = requests.payments(running.credentials, running.host)
    batched = requests.batches(running.credentials, running.host, given.items)
    payments = _SIGNED_AHEAD * int(seconds)
    runs = []
    for wires, connections, ahead in (
        (single, given.connections, payments),
        (batched, given.batches, 2 * payments // given.items),
        (single, given.batches, payments),
    ):
        signed = list(islice(wires, ahead))
        runs.append(await measure(running, signed, connections=connections, seconds=seconds))
    return runs


async def compare(running: Stack, given: argparse.Namespace) -> list[Aim]:
    """Measure all in turn; gives how often a batch's rate is that of single calls."""
    await measure_all(running, given, _WARM_UP_SECONDS)
    rounds = []
    for _ in range(given.rounds):
        rounds.append(runs := await measure_all(running, given, given.seconds))
        for name, run in zip(
            ("single", f"batches of {given.items}", "few single"), runs, strict=True
        ):
            print(
                f"{name:<16} {run.per_second:>8,.0f} payments/s   {run.cpu_us:>5.0f} µs of the"
                f" gateway each   p99 {run.p99_ms:.0f} ms"
            )
    gains = [both.per_second / many.per_second for many, both, _ in rounds]
    seen = [both.per_second / few.per_second for _, both, few in rounds]
    savings = [both.cpu_us / many.cpu_us for many, both, _ in rounds]
    name = f"payments a second in batches of {given.items} over single calls"
    return [
        at_least(f"{name}, {given.connections} under way", statistics.median(gains), _TARGET),
        Aim(
            f"… over single calls on the same {given.batches} connections",
            "",
            f"{statistics.median(seen):.1f}",
        ),
        Aim("… CPU of the gateway for one payment", "", f"{statistics.median(savings):.2f}"),
    ]


def main() -> int:
    """Run it; 1 when a proof does not hold."""
    parser = parser_of(__doc__)
    parser.add_argument("--items", type=one_or_more, default=100, help="payments per batch")
    parser.add_argument("--batches", type=one_or_more, default=4, help="batches under way")
    parser.add_argument(
        "--connections", type=one_or_more, default=64, help="single calls under way"
    )
    parser.add_argument("--seconds", type=above_zero, default=5.0, help="of each run")
    parser.add_argument("--rounds", type=one_or_more, default=3)
    given = parser.parse_args()
    with (
        own_folder() as folder,
        stack(folder / "data") as running,
    ):
        aims = uvloop.run(compare(running, given))
        holds, table = running.proofs()
        print(table)
    tell(aims, given.aims)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
