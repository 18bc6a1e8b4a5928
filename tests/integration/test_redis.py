"""Redis is given its budget: a loop of ours that was late does not count against it."""

import asyncio
import time

import pytest
import uvloop

from gateway.drivers.redis import Redis

BUDGET_SECONDS = 0.2
ECHO = "return ARGV"


def test_our_own_lateness_is_no_fault_of_redis(redis_url: str) -> None:
    """On the loop that workers run on, which looks at its timers before it looks at its sockets."""

    async def ask_and_be_late() -> None:
        redis = Redis(redis_url, budget_seconds=BUDGET_SECONDS, pause_seconds=60)
        assert await redis.call(ECHO, [b"k"], [b"warm"]) == [b"warm"]
        # One of these is the moment between question and answer.
        for steps in range(6, 11):
            asking = asyncio.ensure_future(redis.call(ECHO, [b"k"], [b"answer"]))
            for _ in range(steps):
                await asyncio.sleep(0)
            time.sleep(1.5 * BUDGET_SECONDS)  # noqa: ASYNC251 - the loop has to be late
            assert await asking == [b"answer"]
        await redis.close()

    uvloop.run(ask_and_be_late())


def test_what_came_in_time_is_read_although_the_timer_was_looked_at_first() -> None:
    async def answer() -> str:
        await asyncio.sleep(0.8 * BUDGET_SECONDS)
        time.sleep(0.25 * BUDGET_SECONDS)  # noqa: ASYNC251 - late, but by less than a fifth
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "answer"

    async def ask() -> None:
        redis = Redis("redis://127.0.0.1:1", budget_seconds=BUDGET_SECONDS, pause_seconds=60)
        assert await redis._in_time(asyncio.ensure_future(answer())) == "answer"
        with pytest.raises(TimeoutError):
            await redis._in_time(asyncio.ensure_future(asyncio.sleep(60)))

    uvloop.run(ask())
