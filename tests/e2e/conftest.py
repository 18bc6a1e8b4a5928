"""One running system per test module, and a merchant per test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as aioredis

from gateway.assembly import prove_everything
from tests.e2e import idempotency_kit
from tests.e2e.harness import Shop, System, system_of
from tests.e2e.idempotency_kit import Wired, Witness


@pytest.fixture(scope="module")
def system(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    folder: Path = tmp_path_factory.mktemp("system")
    running = system_of(database.app_url, redis_url, folder)
    running.start_simulator()
    running.start_worker()
    running.start("work", "work")
    yield running
    running.stop()


@pytest.fixture
async def shop(system: System) -> AsyncIterator[Shop]:
    await system.ready()
    async with system.shop() as shop:
        yield shop


@pytest.fixture
async def wired(system: System, shop: Shop) -> AsyncIterator[Wired]:
    """One more worker for this test, all of whose wires can be pulled."""
    async with idempotency_kit.wired(system, shop) as wired:
        yield wired


@pytest.fixture
async def witness(system: System) -> AsyncIterator[Witness]:
    database = await asyncpg.connect(system.settings.database_url)
    redis = aioredis.Redis.from_url(system.settings.redis_url)
    journal = system.folder / "simulator" / "simulator.jsonl"
    yield Witness(system.settings, database, redis, journal)
    await redis.aclose()
    await database.close()


@pytest.fixture(scope="module")
def proven(system: System) -> Iterator[None]:
    """Prove the books when the module's last test is over."""
    yield
    for proof in asyncio.run(prove_everything(system.settings)):
        assert proof.holds, proof
