"""The capacity of one machine: signed durable payments per second beside a bare aiohttp echo.

    python -m bench.load.capacity [--seconds 10] [--rounds 3] [--connections 64] [--workers 1]

Both are asked in turn by the same generator, round after round, so that a noisy machine disturbs
both; the medians count.  Ends with the proofs: a run that lost or doubled anything fails.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import asyncpg
import uvloop
from msgspec import Struct

from bench.load import requests
from bench.load.lean import Generator, Result
from bench.load.stack import Stack, echo_server, stack

_WARM_UP_SECONDS = 3.0
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
# PostgreSQL's processes report what they did at most this late.
_STATISTICS_SECONDS = 1.2
_CREATED = 201


class Round(Struct, frozen=True):
    """One round: the echo's and the payments' results, what the payments cost meanwhile."""

    echo: Result
    payments: Result
    commits: int
    cpu: dict[str, float]

    @property
    def ratio(self) -> float:
        """Payments per echo."""
        return self.payments.per_second(_CREATED) / self.echo.per_second(200)


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


async def pay(
    running: Stack, *, connections: int, seconds: float, guess: float
) -> tuple[Result, int, dict[str, float]]:
    """Pay at capacity with requests signed before; gives the result, commits and CPU seconds.

    `guess` is how many payments per second to sign for.
    """
    signed = requests.payments(running.credentials, running.host)
    ready = list(islice(signed, int(guess * seconds)))
    wires = (wire for source in (ready, signed) for wire in source)
    commits = await commits_of(running.database_url)
    used = running.cpu_seconds()
    result = await closed_run(running.base_url, wires, connections=connections, seconds=seconds)
    cpu = {part: spent - used.get(part, 0.0) for part, spent in running.cpu_seconds().items()}
    return result, await commits_of(running.database_url) - commits, cpu


async def rounds(
    running: Stack, echo_url: str, *, count: int, connections: int, seconds: float
) -> list[Round]:
    """Measure echo and payments in turn."""
    warm, _, _ = await pay(running, connections=connections, seconds=_WARM_UP_SECONDS, guess=500)
    guess = 2 * warm.per_second(_CREATED)
    done = []
    for _ in range(count):
        wires = requests.echoes(echo_url.removeprefix("http://"))
        echo = await closed_run(echo_url, wires, connections=connections, seconds=seconds / 2)
        paid, commits, cpu = await pay(
            running, connections=connections, seconds=seconds, guess=guess
        )
        done.append(Round(echo, paid, commits, cpu))
    return done


def show(measured: list[Round]) -> None:
    """Print the medians and the cost of one payment."""
    for each in measured:
        paid = each.payments
        payments = paid.statuses.get(_CREATED, 0)
        rates = each.echo.per_second(200), paid.per_second(_CREATED), each.ratio
        print("echo {:,.0f}/s   payments {:,.0f}/s   ratio {:.3f}".format(*rates))
        print(
            f"   p50 {paid.milliseconds(0.5):.1f} ms   p99 {paid.milliseconds(0.99):.1f} ms"
            f"   commits per payment {each.commits / payments:.3f}"
            f"   answers {paid.statuses}   broken {paid.broken}"
        )
        parts = {**each.cpu, "generator": paid.cpu_seconds}
        costs = (f"{part} {spent / payments * 1e6:.0f}" for part, spent in parts.items())
        print("   CPU µs per payment: " + "   ".join(costs))
    print(f"median ratio {statistics.median(each.ratio for each in measured):.3f}")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each payment run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1, help="gateway processes")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="floodgate-bench-") as folder,
        echo_server() as echo_url,
        stack(Path(folder) / "data", workers=given.workers) as running,
    ):
        measured = uvloop.run(
            rounds(
                running,
                echo_url,
                count=given.rounds,
                connections=given.connections,
                seconds=given.seconds,
            )
        )
        show(measured)
        holds, table = running.proofs()
        print(table)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
