"""Looks, once a second while a load run goes on, at what it costs: CPU, commits, batches."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
import asyncpg
import psutil
from msgspec import Struct, field

from bench.load.costs import machine_seconds
from bench.load.stack import Stack

_EVERY_SECONDS = 1.0
_MEMORY_EVERY = 5  # looks, and at the last one
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
_LINE = re.compile(r"(floodgate_\w+(?:\{[^}]*\})?) ([0-9.e+-]+|NaN)")
# A part of the stack that is away, or gone for good, leaves a gap.
_GONE = (
    *(aiohttp.ClientError, asyncpg.PostgresError, asyncpg.InterfaceError),
    *(psutil.Error, OSError, TimeoutError),
)
GENERATOR, OTHERS = "generator", "others"
ITEMS = "floodgate_batch_items"


class Sample(Struct):
    """One look; everything is counted from the start of the processes, so differences tell.

    `at` is in seconds of the run, `cpu` in seconds (that of `others` is what the machine did for
    anybody else), `memory` in bytes, `metrics` the lines of `/metrics` that are ours.
    """

    at: float
    cpu: dict[str, float]
    commits: int
    memory: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Sampler:
    """Takes samples of a stack and of the generator's processes; `samples` has them in order."""

    def __init__(self, running: Stack, generator: Callable[[], int]) -> None:
        self._stack = running
        self._generator = generator
        self._before: dict[int, float] = {}
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self.samples: list[Sample] = []

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look once a second inside a block, and once more when it ends."""
        async with aiohttp.ClientSession() as session:
            task = asyncio.create_task(self._look_on(session))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                with contextlib.suppress(*_GONE):
                    await self._look(session, is_last=True)
                if self._connection is not None:
                    await self._connection.close()

    def begun(self, at: float) -> None:
        """Tell when the run began, in `perf_counter` seconds: from there the samples count."""
        for sample in self.samples:
            sample.at -= at

    async def _look_on(self, session: aiohttp.ClientSession) -> None:
        while True:
            with contextlib.suppress(*_GONE):
                await self._look(session)
            await asyncio.sleep(_EVERY_SECONDS)

    async def _look(self, session: aiohttp.ClientSession, *, is_last: bool = False) -> None:
        commits = await self._commits()
        async with session.get(f"{self._stack.base_url}/metrics") as answer:
            metrics = read_metrics(await answer.text())
        at = time.perf_counter()  # looking at the memory takes long
        cpu = {**self._stack.cpu_seconds(), GENERATOR: self._generator_seconds()}
        cpu[OTHERS] = machine_seconds() - sum(cpu.values())
        looks_deep = is_last or len(self.samples) % _MEMORY_EVERY == 0
        memory = self._stack.memory_bytes() if looks_deep else {}
        self.samples.append(Sample(at, cpu, commits, memory, metrics))

    async def _commits(self) -> int:
        """Ask PostgreSQL, over another connection where the last one was cut."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._stack.database_url)
        commits: int = await self._connection.fetchval(_COMMITS)
        return commits

    def _generator_seconds(self) -> float:
        """Sum what the generator's processes used; what ended keeps what it was last seen with."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._generator())
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._before[process.pid] = times.user + times.system
        return sum(self._before.values())


def read_metrics(text: str) -> dict[str, float]:
    """Read our lines of Prometheus' text format: name with labels, value."""
    return {
        found[1]: float(found[2]) for line in text.splitlines() if (found := _LINE.fullmatch(line))
    }


def labelled(metrics: Mapping[str, float], name: str, label: str) -> dict[str, float]:
    """Add up one metric's lines by the value of one label."""
    summed: dict[str, float] = {}
    for line, value in metrics.items():
        if line.partition("{")[0] == name and (found := re.search(rf'\b{label}="([^"]*)"', line)):
            summed[found[1]] = summed.get(found[1], 0.0) + value
    return summed


def gained(
    before: Mapping[str, float], after: Mapping[str, float], name: str, label: str
) -> dict[str, float]:
    """Say by how much a counter grew between two looks at `/metrics`, by the value of a label."""
    earlier, later = labelled(before, name, label), labelled(after, name, label)
    return {value: grown - earlier.get(value, 0.0) for value, grown in later.items()}


def sizes_between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Give each queue's mean number of items in a flush between two looks at `/metrics`."""
    flushes, items = (
        gained(before, after, f"{ITEMS}_{each}", "queue") for each in ("count", "sum")
    )
    return {queue: items[queue] / count for queue, count in flushes.items() if count}
