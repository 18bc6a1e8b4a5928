"""What tests of idempotency need: a worker with wires to pull, and a look behind the gateway."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import asyncpg
import msgspec
import redis.asyncio as aioredis

from gateway.assembly import prove_everything
from gateway.domain.identity import merchant_number
from gateway.settings import Settings
from tests.e2e.harness import Reply, Shop, System, free_port
from tests.fakes.proxy import Proxy

PATIENCE_SECONDS = 30.0

_ATTEMPTS = """
SELECT p.id AS payment, a.id AS attempt
  FROM payment p LEFT JOIN attempt a ON a.merchant_id = p.merchant_id AND a.payment_id = p.id
 WHERE p.merchant_id = $1
"""


def replayed(reply: Reply) -> bool:
    """Tell whether an answer says that it was given before."""
    return reply.headers.get("Idempotent-Replayed") == "true"


async def insist(shop: Shop, body: dict[str, Any], key: str) -> Reply:
    """Ask with one key until the payment is settled, as the contract advises a merchant to do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        reply = await shop.call("POST", "/v1/payments", body, key=key)
        if reply.status == 201 and reply.json["status"] != "processing":
            return reply
        assert reply.status == 201 or reply.json["code"] == "request_in_progress", reply
        assert time.monotonic() < deadline, reply
        await asyncio.sleep(0.1)


@dataclass
class Wired:
    """A gateway worker of its own whose three wires are in the test's hands."""

    shop: Shop
    system: System
    settings: Settings
    postgres: Proxy
    redis: Proxy
    acquirer: Proxy

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.system.kill("wired")


@contextlib.asynccontextmanager
async def wired(system: System, shop: Shop) -> AsyncIterator[Wired]:
    """Start one more worker beside those of the system, behind proxies, for the same merchant."""
    database, memory = urlsplit(system.settings.database_url), urlsplit(system.settings.redis_url)
    place = {name: values[0] for name, values in parse_qs(database.query).items()}
    number = parse_qs(memory.query).get("db", ["0"])[0]
    async with (
        Proxy(f"{place['host']}/.s.PGSQL.{place['port']}") as postgres,
        Proxy(unquote(memory.path)) as redis,
        Proxy(("127.0.0.1", urlsplit(system.settings.simulator_url).port or 0)) as acquirer,
    ):
        login = f"{database.username}@127.0.0.1:{postgres.port}"
        settings = msgspec.structs.replace(
            system.settings,
            port=free_port(),
            database_url=f"postgresql://{login}{database.path}?sslmode=disable",
            redis_url=f"redis://127.0.0.1:{redis.port}/{number}",
            simulator_url=f"http://127.0.0.1:{acquirer.port}",
            channel_seconds=3.0,
        )
        system.start_worker("wired", settings)
        base_url = f"http://127.0.0.1:{settings.port}"
        try:
            await system.ready(base_url)
            yield Wired(
                replace(shop, base_url=base_url),
                *(system, settings),
                *(postgres, redis, acquirer),
            )
        finally:
            if "wired" in system.processes:
                system.kill("wired")


@dataclass
class Witness:
    """Looks behind the gateway: into PostgreSQL, Redis and the acquirer's books."""

    settings: Settings
    database: "asyncpg.Connection[asyncpg.Record]"
    redis: "aioredis.Redis"
    acquirer_journal: Path

    async def remembered(self, shop: Shop, key: str) -> bytes | None:
        """What Redis holds of an idempotency key."""
        return await self.redis.get(_name(shop, key))

    async def claim_ends(self, shop: Shop, key: str) -> None:
        """Let whatever Redis holds of a key run out, as time would."""
        await self.redis.delete(_name(shop, key))

    async def misuses(self, shop: Shop, key: str) -> None:
        """Leave in Redis what a worker that died claimed this key for: another request."""
        await self.redis.set(_name(shop, key), b"P" + b"?" * 40)

    async def forgets_keys(self, shop: Shop) -> None:
        """Delete the merchant's idempotency keys from PostgreSQL, as their retention will."""
        await self.database.execute(
            "DELETE FROM idempotency_key WHERE merchant_id = $1", merchant_number(shop.merchant)
        )

    async def lifetime_ms(self, shop: Shop, key: str) -> int:
        """How long Redis will still hold a key, by its own clock."""
        left: int = await self.redis.pttl(_name(shop, key))
        return left

    async def payment_of(self, shop: Shop, reference: str) -> "asyncpg.Record | None":
        """The row of the payment that has this reference."""
        return await self.database.fetchrow(
            "SELECT * FROM payment WHERE merchant_id = $1 AND reference = $2",
            merchant_number(shop.merchant),
            reference,
        )

    async def is_heard(self, shop: Shop, *, payments: int) -> bool:
        """Tell whether the acquirer has heard of this many payments of the merchant, all it has."""
        rows = await self.database.fetch(_ATTEMPTS, merchant_number(shop.merchant))
        heard = self.acquirer_journal.read_text()
        return len(rows) == payments and all(row["attempt"].hex in heard for row in rows)

    async def bookings(self, shop: Shop) -> list[dict[str, Any]]:
        """The lines of the acquirer's books that are about this merchant's attempts."""
        rows = await self.database.fetch(_ATTEMPTS, merchant_number(shop.merchant))
        ours = {row["attempt"].hex for row in rows if row["attempt"] is not None}
        url = f"{self.settings.simulator_url}/books"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            lines = [json.loads(line) for line in (await answer.read()).splitlines()]
        return [line for line in lines if line["number"] in ours]

    async def proves(self, shop: Shop, *, payments: int = 1, captures: int = 1) -> None:
        """Assert the end of every test: this many payments of the merchant, each asked for once.

        So many of them were captured, none twice, and every proof of the books holds.
        """
        rows = await self.database.fetch(_ATTEMPTS, merchant_number(shop.merchant))
        assert len(rows) == len({row["payment"] for row in rows}) == payments
        taken = [line["number"] for line in await self.bookings(shop) if line["kind"] == "payment"]
        assert len(taken) == len(set(taken)) == captures
        for proof in await prove_everything(self.settings):
            assert proof.holds, proof


def _name(shop: Shop, key: str) -> str:
    return f"idem:{{{merchant_number(shop.merchant)}:{key}}}"
