"""Does memory stay flat: payments at a steady rate for minutes, with a look at each part's memory.

    python -m bench.load.soak [--seconds 600] [--rate 200]

Counted is the memory that a process shares with nobody.  The gateway and the background worker have
to stay flat; the acquirer keeps its books in memory by design, and Redis keeps answers for a day.
Ends with the proofs.
"""

import argparse
import asyncio
import statistics
import sys
import time

import uvloop

from bench.load import requests
from bench.load.lean import Generator
from bench.load.stack import Stack, own_folder, stack

_LOOK_SECONDS = 10.0
_FLAT = ("gateway", "worker")
_GROWTH_MAX = 0.05


async def watch(running: Stack, looks: list[dict[str, int]]) -> None:
    """Look at the memory again and again."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        looks.append(running.memory_bytes())
        shown = "   ".join(f"{part} {held / 1e6:.1f}" for part, held in looks[-1].items())
        print(f"{time.monotonic() - began:5.0f} s   MB: {shown}", flush=True)


async def soak(running: Stack, given: argparse.Namespace) -> bool:
    """Pay at a steady rate; tells whether the memory was flat."""
    looks: list[dict[str, int]] = []
    watching = asyncio.create_task(watch(running, looks))
    wires = requests.payments(running.credentials, running.host)
    arrivals = (number / given.rate for number in range(int(given.rate * given.seconds)))
    result = await Generator(running.base_url, wires).opened(
        arrivals, connections=32, connections_max=1024
    )
    watching.cancel()
    print(f"answers {result.statuses}   missed {result.missed}   broken {result.broken}")
    flat = result.statuses.keys() == {201} and not result.broken
    for part in _FLAT:
        # The first third warms up: pools, caches, code that had not run yet.
        held = [look[part] for look in looks[len(looks) // 3 :]]
        half = len(held) // 2
        before, after = statistics.median(held[:half]), statistics.median(held[half:])
        flat = flat and after <= before * (1 + _GROWTH_MAX)
        print(f"{part}: {before / 1e6:.1f} MB, later {after / 1e6:.1f} MB")
    return flat


def main() -> int:
    """Run it; 1 when memory grew, an answer was wrong or a proof does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=200.0, help="payments per second")
    given = parser.parse_args()
    with (
        own_folder() as folder,
        stack(folder / "data") as running,
    ):
        flat = uvloop.run(soak(running, given))
        holds, table = running.proofs()
        print(table)
    return 0 if flat and holds else 1


if __name__ == "__main__":
    sys.exit(main())
