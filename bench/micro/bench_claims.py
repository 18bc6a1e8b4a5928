"""Times claiming a key and keeping its answer on a real Redis, alone and with others."""

import asyncio
import time
import uuid

import pytest

from bench.micro.conftest import Timed
from bench.micro.stage import Urls, all_of
from gateway.domain.stages import Answer
from gateway.drivers.redis import Redis
from gateway.idempotency.fast import FastClaims

ANSWER = Answer(201, b"x" * 600)
PRINT = b"p" * 32


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("together", [1, 64, 256])
def test_claim_and_settle(
    urls: Urls, runner: asyncio.Runner, per_item: Timed, together: int
) -> None:
    redis = Redis(urls.redis, budget_seconds=5, pause_seconds=0.1)
    claims = FastClaims(redis)
    repeats = max(1, 128 // together)

    async def serve_one(key: str) -> bytes | None:
        token, _ = await claims.claim(7, key, PRINT)
        await claims.finish(7, key, PRINT, ANSWER)
        return token

    async def serve_some() -> list[bytes | None]:
        tokens: list[bytes | None] = []
        for _ in range(repeats):
            tokens += await all_of(*(serve_one(uuid.uuid4().hex) for _ in range(together)))
        return tokens

    async def twice() -> None:
        assert await serve_one("k") is not None
        token, remembered = await claims.claim(7, "k", PRINT)
        assert token is None
        assert remembered is not None
        assert remembered.answer is not None
        assert remembered.answer.body == ANSWER.body

    runner.run(redis.call("return redis.call('FLUSHDB') and {}", [b"k"], []))
    runner.run(twice())
    assert all(runner.run(serve_some()))
    step = "claim and settle" if together == 64 else None
    per_item(lambda: runner.run(serve_some()), items=together * repeats, step=step)
    runner.run(redis.close())
