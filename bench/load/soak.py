"""Does memory stay flat: payments for minutes, with a look at each part's memory all the while.

    python -m bench.load.soak [--seconds 600] [--rate 200]
    python -m bench.load.soak --at-capacity [--seconds 600] [--payments 2000000]

At a steady rate, or as many as there is room for (64 under way all the time; the stored payments
take 3 KB each of the disk, so they are bounded).  Counted is the memory that a process shares with
nobody.  The gateway and the background worker have to stay flat: over what follows the first third,
the straight line through the looks may rise by a twentieth of what they hold.  The acquirer keeps
its books in memory by design, and Redis its answers for a day, so both grow with the payments;
PostgreSQL fills its shared buffers.
Ends with the proofs.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import islice

import uvloop
from msgspec import Struct

from bench.aims import Aim, at_most, parser_of, tell
from bench.load import requests
from bench.load.lean import Generator, Result
from bench.load.options import above_zero, one_or_more
from bench.load.stack import Stack, own_folder, stack

_LOOKS = 60
_LOOK_SECONDS_MIN = 2.0
_CONNECTIONS = 64
_FLAT = ("gateway", "worker")
_GROWTH_MAX_PERCENT = 5.0
_WARM_UP_SHARE = 1 / 3
_CREATED = 201


class Look(Struct, frozen=True):
    """What each part held at one moment of the run, in bytes."""

    at: float
    held: dict[str, int]


class Trend(Struct, frozen=True):
    """How one part's memory went after the first third: its mean, and the rise of a straight line.

    `rise` is in bytes over that whole stretch, `slope` in bytes a second.
    """

    part: str
    mean: float
    slope: float
    rise: float

    @property
    def percent(self) -> float:
        """The rise as a share of what is held."""
        return 100 * self.rise / self.mean if self.mean else 0.0


def trend_of(part: str, looks: Sequence[Look]) -> Trend:
    """Lay a straight line through the looks that follow the first third of them.

    The first third warms up: pools, caches, code that had not run yet.
    """
    later = looks[int(len(looks) * _WARM_UP_SHARE) :]
    moments = [look.at for look in later]
    held = [float(look.held.get(part, 0)) for look in later]
    slope, _ = statistics.linear_regression(moments, held)
    return Trend(part, statistics.fmean(held), slope, slope * (moments[-1] - moments[0]))


async def watch(running: Stack, looks: list[Look], every: float) -> None:
    """Look at the memory again and again."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(every)
        looks.append(Look(time.monotonic() - began, running.memory_bytes()))
        shown = "   ".join(f"{part} {held / 1e6:.1f}" for part, held in looks[-1].held.items())
        print(f"{looks[-1].at:5.0f} s   MB: {shown}", flush=True)


async def load(running: Stack, given: argparse.Namespace) -> Result:
    """Pay for so long."""
    wires = islice(requests.payments(running.credentials, running.host), given.payments)
    generator = Generator(running.base_url, wires)
    if given.at_capacity:
        return await generator.closed(connections=_CONNECTIONS, seconds=given.seconds)
    count = min(int(given.rate * given.seconds), given.payments)
    arrivals = (number / given.rate for number in range(count))
    return await generator.opened(arrivals, connections=32, connections_max=1024)


async def soak(running: Stack, given: argparse.Namespace) -> list[Aim]:
    """Pay and watch; gives the trend of each part beside what it may be."""
    looks = [Look(0.0, running.memory_bytes())]
    every = max(given.seconds / _LOOKS, _LOOK_SECONDS_MIN)
    watching = asyncio.create_task(watch(running, looks, every))
    result = await load(running, given)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    print(f"answers {result.statuses}   missed {result.missed}   broken {result.broken}")
    print(f"{result.per_second(_CREATED):,.0f} payments a second over {result.seconds:.0f} s")
    done = result.statuses.get(_CREATED, 0)
    others = result.answered - done + result.broken + result.missed
    return [
        at_most("soak: answers that were no payment", others, 0),
        *(_aim(trend_of(part, looks), looks[-1].at) for part in sorted(looks[-1].held)),
    ]


def _aim(trend: Trend, lasted: float) -> Aim:
    held = f"{trend.mean / 1e6:.1f} MB, {trend.slope * 60 / 1e6:+.2f} MB a minute"
    name = f"soak of {lasted:.0f} s, memory of {trend.part}"
    if trend.part not in _FLAT:
        return Aim(name, "", held)
    target = f"flat: ≤ {_GROWTH_MAX_PERCENT:g} %"
    return Aim(
        name, target, f"{held}, {trend.percent:+.1f} %", trend.percent <= _GROWTH_MAX_PERCENT
    )


def main() -> int:
    """Run it; 1 when memory grew, an answer was wrong or a proof does not hold."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=above_zero, default=600.0)
    parser.add_argument("--rate", type=above_zero, default=200.0, help="payments per second")
    parser.add_argument("--at-capacity", action="store_true", help="as many as there is room for")
    parser.add_argument("--payments", type=one_or_more, default=2_000_000, help="at most")
    parser.add_argument("--workers", type=one_or_more, default=1, help="gateway processes")
    given = parser.parse_args()
    with (
        own_folder() as folder,
        stack(folder / "data", workers=given.workers) as running,
    ):
        aims = uvloop.run(soak(running, given))
        holds, table = running.proofs()
        print(table)
    tell(aims, given.aims)
    flat = all(aim.met is not False for aim in aims)
    print("flat" if flat else "NOT FLAT")
    return 0 if flat and holds else 1


if __name__ == "__main__":
    sys.exit(main())
