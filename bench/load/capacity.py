"""The capacity of one machine: signed durable payments per second beside a bare aiohttp echo.

    python -m bench.load.capacity [--seconds 10] [--rounds 3] [--connections 320] [--workers 2]

Three things are asked in turn by the same generator, round after round, so that a noisy machine
disturbs all of them: the echo, payments through the acquirer, and payments by a method for which no
acquirer is asked.  The medians count.  The background worker is held meanwhile, because it would
ask about the payments of the last kind, which stay open.  Ends with the proofs: a run that lost or
doubled anything fails.

Beside the ratio of the rates stands that of the CPU times.  A machine that others use gives more of
its time to the many processes of a stack than to the one of the echo, and flatters the first ratio;
the second is how often the echo's time goes into a payment's, all parts and the generator counted.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import aiohttp
import asyncpg
import uvloop
from msgspec import Struct

from bench.aims import Aim, at_least, at_most, parser_of, tell
from bench.load import requests
from bench.load.brisk import generator
from bench.load.lean import Generator, Result
from bench.load.options import above_zero, one_or_more
from bench.load.sampler import read_metrics, sizes_between
from bench.load.stack import Beside, Stack, echo_server, own_folder, stack, unasked
from bench.load.unasked import METHOD as UNASKED

_WARM_UP_SECONDS = 3.0
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
# PostgreSQL's processes report what they did at most this late.
_STATISTICS_SECONDS = 1.2
_CREATED = 201
REFUSED = frozenset({503})
_CORES = 2
_ASKING, _UNASKING = "through the acquirer", "without asking"
_SHARES = {_ASKING: 0.35, _UNASKING: 0.6}
_COMMITS_MAX = 0.1
# More than any machine does, and yet few enough to be made before.
_PER_SECOND_MAX = 12_000
_ECHOES_PER_SECOND_MAX = 100_000


class Measured(Struct, frozen=True):
    """One run: its answers, what each part used for them in CPU seconds, commits, batch sizes."""

    result: Result
    cpu: dict[str, float]
    commits: int = 0
    batches: Mapping[str, float] = {}

    @property
    def done(self) -> int:
        """Answers that did what was asked."""
        return self.result.statuses.get(_CREATED, 0) + self.result.statuses.get(200, 0)

    @property
    def per_second(self) -> float:
        """As the name says."""
        return self.done / self.result.seconds

    def microseconds(self, part: str = "") -> float:
        """CPU time for one, of a part or of all."""
        spent = self.cpu[part] if part else sum(self.cpu.values())
        return spent / max(self.done, 1) * 1e6


class Target(Struct, frozen=True):
    """Whom to send payments to: the stack, or gateway workers beside it."""

    running: Stack
    base_url: str
    method: Mapping[str, str]
    cpu_seconds: Callable[[], dict[str, float]]


async def closed_run(
    base_url: str, wires: Iterator[bytes], *, connections: int, seconds: float
) -> Result:
    """Keep so many requests under way for so long."""
    return await Generator(base_url, wires).closed(connections=connections, seconds=seconds)


async def commits_of(database_url: str) -> int:
    """Read how many transactions the database has committed."""
    await asyncio.sleep(_STATISTICS_SECONDS)
    connection = await asyncpg.connect(database_url)
    try:
        count: int = await connection.fetchval(_COMMITS)
    finally:
        await connection.close()
    return count


async def metrics_of(base_url: str) -> dict[str, float]:
    """Read what the gateway tells of itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{base_url}/metrics") as answer:
        return read_metrics(await answer.text())


async def pay(target: Target, *, connections: int, seconds: float) -> Measured:
    """Pay at capacity, with requests that are signed before; what is refused comes again."""
    running = target.running
    signed = requests.payments(running.credentials, running.host, target.method)
    ready = list(islice(signed, int(_PER_SECOND_MAX * seconds)))
    sending = generator(target.base_url, ready, again=REFUSED)
    commits = await commits_of(running.database_url)
    told = await metrics_of(target.base_url)
    used = target.cpu_seconds()
    result = await sending.closed(connections=connections, seconds=seconds)
    assert sending.left, "it paid all that was signed"
    cpu = {part: spent - used.get(part, 0.0) for part, spent in target.cpu_seconds().items()}
    commits = await commits_of(running.database_url) - commits
    sizes = sizes_between(told, await metrics_of(target.base_url))
    return Measured(result, cpu | {"generator": result.cpu_seconds}, commits, sizes)


async def ask_echo(echo: Beside, *, connections: int, seconds: float) -> Measured:
    """Ask the echo at its capacity."""
    wires = requests.echoes(echo.base_url.removeprefix("http://"))
    sending = generator(echo.base_url, list(islice(wires, int(_ECHOES_PER_SECOND_MAX * seconds))))
    used = echo.cpu_seconds()
    result = await sending.closed(connections=connections, seconds=seconds)
    assert sending.left, "it asked all that was made"
    cpu = {"echo": echo.cpu_seconds() - used, "generator": result.cpu_seconds}
    return Measured(result, cpu)


async def compare(
    targets: Mapping[str, Target], echo: Beside, given: argparse.Namespace
) -> list[Aim]:
    """Measure all in turn and print each run; gives the medians beside what they should be."""
    for target in targets.values():
        await pay(target, connections=given.connections, seconds=_WARM_UP_SECONDS)
    rates: dict[str, list[tuple[float, ...]]] = {name: [] for name in targets}
    echoes = []
    for _ in range(given.rounds):
        bare = await ask_echo(echo, connections=given.connections, seconds=given.seconds / 2)
        echoes.append(bare.per_second)
        print(f"echo {bare.per_second:,.0f}/s   CPU {bare.microseconds('echo'):.0f} µs each")
        for name, target in targets.items():
            paid = await pay(target, connections=given.connections, seconds=given.seconds)
            show(name, paid)
            by_time = _CORES * bare.microseconds("echo") / paid.microseconds()
            commits = paid.commits / max(paid.done, 1)
            rate = paid.per_second / bare.per_second
            rates[name].append((rate, by_time, commits, paid.per_second))
    aims = [Aim("echoes a second", "", f"{statistics.median(echoes):,.0f}")]
    for name, runs in rates.items():
        rate, by_time, commits, speed = (statistics.median(e) for e in zip(*runs, strict=True))
        aims += [
            Aim(f"payments a second, {name}", "", f"{speed:,.0f}"),
            at_least(f"… over the echo's rate, {name}", rate, _SHARES[name]),
            Aim(f"… over the echo, by CPU time of {_CORES} cores, {name}", "", f"{by_time:.2f}"),
            at_most(f"commits per payment, {name}", commits, _COMMITS_MAX),
        ]
    return aims


def show(name: str, paid: Measured) -> None:
    """Print one run and what one payment of it cost."""
    result = paid.result
    print(
        f"{name} {paid.per_second:,.0f}/s   p50 {result.milliseconds(0.5):.0f} ms"
        f"   p99 {result.milliseconds(0.99):.0f} ms"
        f"   commits per payment {paid.commits / max(paid.done, 1):.3f}"
        f"   answers {result.statuses}   broken {result.broken}"
    )
    sizes = (f"{queue} {size:.0f}" for queue, size in paid.batches.items())
    print("   items in a flush: " + ", ".join(sizes))
    costs = (f"{part} {paid.microseconds(part):.0f}" for part in paid.cpu)
    print(f"   CPU µs per payment: {paid.microseconds():.0f} = " + " + ".join(costs))


def main() -> int:
    """Run it; 1 when a proof does not hold."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=above_zero, default=10.0, help="of each payment run")
    parser.add_argument("--rounds", type=one_or_more, default=3)
    parser.add_argument("--connections", type=one_or_more, default=320)
    parser.add_argument("--workers", type=one_or_more, default=2, help="gateway processes")
    given = parser.parse_args()
    with (
        own_folder() as folder,
        echo_server() as echo,
        stack(folder / "data", workers=given.workers) as running,
        unasked(running, workers=given.workers) as alone,
    ):
        targets = {
            _ASKING: Target(running, running.base_url, requests.CARD_OK, running.cpu_seconds),
            _UNASKING: Target(
                running,
                alone.base_url,
                UNASKED,
                lambda: running.cpu_seconds() | {"gateway": alone.cpu_seconds()},
            ),
        }
        with running.without_worker():
            aims = uvloop.run(compare(targets, echo, given))
        holds, table = running.proofs()
        print(table)
    tell(aims, given.aims)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
