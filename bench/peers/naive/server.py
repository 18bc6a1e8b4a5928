"""Runs the naive gateway on the PostgreSQL and Redis of a stack of ours, with its own acquirer.

The acquirer is a second process of the same simulator, so that the books of each can be held beside
those of its own.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import psutil
from msgspec import Struct
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from bench.load.stack import Stack, await_port, free_port
from bench.peers.naive.books import Balance, Base
from gateway.drivers.embedded import APP, OWNER
from gateway.settings import Settings

_DATABASE = "naive"
_BALANCE = "merchant:mer_naive:CNY"
_STOP_SECONDS = 20


class Naive(Struct, frozen=True):
    """A running naive gateway."""

    pid: int
    base_url: str
    database_url: str
    simulator_url: str

    @property
    def host(self) -> str:
        """The authority that requests name."""
        return urlsplit(self.base_url).netloc

    def cpu_seconds(self) -> float:
        """Say what its processes used so far."""
        root = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        return sum(time.user + time.system for time in times)


def _orm_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


async def _make_tables(owner_url: str, url: str) -> None:
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {_DATABASE}")
    finally:
        await connection.close()
    engine = create_async_engine(_orm_url(url))
    async with engine.begin() as tables:
        await tables.run_sync(Base.metadata.create_all)
        await tables.execute(insert(Balance).values(account=_BALANCE, amount=0))
    await engine.dispose()


@contextlib.contextmanager
def naive(running: Stack, folder: Path, *, workers: int, open_first: bool) -> Iterator[Naive]:
    """Run it inside a block, on tables of its own; its acquirer keeps its books in `folder`."""
    place = urlsplit(running.database_url.replace(f"//{APP}@", f"//{OWNER}@", 1))
    owner_url, url = urlunsplit(place), urlunsplit(place._replace(path=f"/{_DATABASE}"))
    asyncio.run(_make_tables(owner_url, url))
    port, simulator_port = free_port(), free_port()
    simulator_url = f"http://127.0.0.1:{simulator_port}"
    environment = {
        **os.environ,
        "NAIVE_DATABASE_URL": _orm_url(url),
        "NAIVE_REDIS_URL": f"{running.redis_url}?db=1",
        "NAIVE_SIMULATOR_URL": simulator_url,
        "NAIVE_SIMULATOR_SECRET": Settings().simulator_secret,
        "NAIVE_KEY_ID": running.credentials.key_id,
        "NAIVE_SECRET": running.credentials.secret,
        "NAIVE_OPEN_FIRST": str(int(open_first)),
    }
    words = ["-m", "uvicorn", "bench.peers.naive.app:app", "--port", str(port)]
    words += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    words += ["--log-level", "warning", "--workers", str(workers)]
    simulator = ["-m", "gateway", "simulator", "--port", str(simulator_port)]
    simulator += ["--data", str(folder)]
    with ExitStack() as held:
        held.enter_context(_process(simulator, os.environ))
        await_port(simulator_port)
        pid = held.enter_context(_process(words, environment))
        await_port(port)
        yield Naive(pid, f"http://127.0.0.1:{port}", url, simulator_url)


@contextlib.contextmanager
def _process(words: list[str], environment: Mapping[str, str]) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, *words], env=environment)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


async def proofs(peer: Naive, answered: int) -> list[str]:
    """Hold its books to the same standard as ours; gives what stands against them."""
    connection = await asyncpg.connect(peer.database_url)
    try:
        payments = await connection.fetch(
            "SELECT id, amount FROM payment WHERE status = 'succeeded'"
        )
        zero = await connection.fetchval("SELECT coalesce(sum(amount), 0) FROM entry")
        posted = await connection.fetchval(
            "SELECT coalesce(sum(amount), 0) FROM entry WHERE account = $1", _BALANCE
        )
        balance = await connection.fetchval(
            "SELECT amount FROM balance WHERE account = $1", _BALANCE
        )
    finally:
        await connection.close()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{peer.simulator_url}/books") as told,
    ):
        lines = (json.loads(line) for line in (await told.read()).splitlines())
        booked = {line["number"]: line["amount"] for line in lines}
    ours = {row["id"].hex: row["amount"] for row in payments}
    return [
        *([f"entries sum to {zero}"] if zero else []),
        *([f"balance {balance}, entries {posted}"] if balance != posted else []),
        *([f"{answered} answered, {len(ours)} kept"] if len(ours) < answered else []),
        *(f"{number} is not in the acquirer's books" for number in ours if number not in booked),
        *(f"{n} has another amount" for n, a in ours.items() if booked.get(n, a) != a),
    ][:20]
