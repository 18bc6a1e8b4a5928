"""Redis is asked over one connection and given its budget, which our own lateness does not use."""

import asyncio
import contextlib
import time
from urllib.parse import unquote, urlsplit

import pytest
import redis.asyncio as aioredis
import uvloop

from gateway.domain import limits
from gateway.domain.errors import Unavailable
from gateway.drivers.redis import Redis
from tests.e2e.harness import until
from tests.fakes.proxy import Proxy

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


async def test_each_call_has_its_own_answer_whoever_stopped_waiting(redis_url: str) -> None:
    redis = Redis(redis_url, budget_seconds=5, pause_seconds=60)
    await redis.call(ECHO, [b"k"], [b"warm"])
    calls = [asyncio.ensure_future(redis.call(ECHO, [b"k"], [b"%d" % n])) for n in range(6)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    assert await asyncio.gather(*calls[1::2]) == [[b"1"], [b"3"], [b"5"]]
    await redis.close()


async def test_a_script_that_was_forgotten_is_taught_again(redis_url: str) -> None:
    redis = Redis(redis_url, budget_seconds=5, pause_seconds=60)
    async with aioredis.from_url(redis_url) as memory:
        for word in (b"1", b"2"):
            assert await redis.call(ECHO, [b"k"], [word]) == [word]
            await memory.script_flush()
    await redis.close()


async def test_commands_share_a_round_trip_and_each_has_its_own_reply(redis_url: str) -> None:
    redis = Redis(redis_url, budget_seconds=5, pause_seconds=60)
    await redis.ask([("DEL", b"k")])
    large = b"x" * 300_000  # more than one read brings
    commands = [("SET", b"k", large, b"GET"), ("GET", b"k"), ("GET", b"nothing"), ("STRLEN", b"k")]
    asked = [asyncio.ensure_future(redis.ask(commands)) for _ in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    assert await asked[0] == [None, large, None, 300_000]
    assert await asked[2] == [large, large, None, 300_000]
    assert await redis.ask([("DEL", b"k")]) == [1]
    await redis.close()


async def test_calls_that_come_before_the_connection_share_it(redis_url: str) -> None:
    redis = Redis(redis_url, budget_seconds=5, pause_seconds=60)
    async with aioredis.from_url(redis_url) as memory:
        here = (await memory.client_info())["db"]
        before = {one["id"] for one in await memory.client_list()}
        calls = (redis.call(ECHO, [b"k"], [b"%d" % n]) for n in range(3))
        assert await asyncio.gather(*calls) == [[b"0"], [b"1"], [b"2"]]
        # Other tests have connections there as well, but none to our database.
        ours = [
            one
            for one in await memory.client_list()
            if one["id"] not in before and int(one["db"]) == int(here)
        ]
        assert len(ours) == 1
    await redis.close()


async def test_connecting_goes_on_when_nobody_waits_for_it_any_more(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REDIS_CONNECT_SECONDS", 60)
    async with Proxy(unquote(urlsplit(redis_url).path)) as wire:
        redis = Redis(f"redis://127.0.0.1:{wire.port}", budget_seconds=0.2, pause_seconds=0)
        wire.hang()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await redis.ask([("PING",)])
        wire.flow()

        async def answers() -> bool:
            with contextlib.suppress(Unavailable):
                return await redis.ask([("PING",)]) == [b"PONG"]
            return False

        await until(answers)
        assert wire.calls_count == 1
        await redis.close()


async def test_it_is_connected_before_anybody_asks_and_needs_not_be(redis_url: str) -> None:
    async with Proxy(unquote(urlsplit(redis_url).path)) as wire:
        redis = Redis(f"redis://127.0.0.1:{wire.port}", budget_seconds=5, pause_seconds=0)
        await redis.open()
        assert (wire.calls_count, redis.is_away) == (1, False)
        await redis.ask([("PING",)])
        assert wire.calls_count == 1
        await redis.close()
        await wire.refuse()
        other = Redis(f"redis://127.0.0.1:{wire.port}", budget_seconds=5, pause_seconds=60)
        await other.open()
        assert other.is_away
        await other.close()


async def test_a_refusal_makes_it_away_and_tells_nothing_of_what_was_sent(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Redis(redis_url, budget_seconds=5, pause_seconds=60)
    with pytest.raises(Unavailable):
        await redis.call("return redis.call('INCR', KEYS[1], ARGV[1])", [b"k"], [b"s3cret"])
    assert redis.is_away
    other = Redis(redis_url, budget_seconds=5, pause_seconds=60)
    refused = ("INCRBY", b"k", b"s3cret")
    first, away, *rest = await other.ask([("PING",), refused, ("PING",), refused])
    assert (first, rest) == (b"PONG", [b"PONG", away]), "each has its own reply"
    assert isinstance(away, Unavailable)
    assert other.is_away
    await other.close()
    assert "s3cret" not in caplog.text
    await redis.close()


async def test_it_says_who_it_is_where_a_url_names_a_user(redis_url: str) -> None:
    async with aioredis.from_url(redis_url) as memory:
        await memory.acl_setuser("teller", enabled=True, passwords=["+p4ss"], commands=["+@all"])
        await memory.acl_setuser("teller", enabled=True, keys=["*"])
        named = redis_url.replace("unix://", "unix://teller:p4ss@")
        redis = Redis(named, budget_seconds=5, pause_seconds=60)
        assert await redis.call(ECHO, [b"k"], [b"a"]) == [b"a"]
        assert "teller" in {one["user"] for one in await memory.client_list()}
        wrong = Redis(named.replace("p4ss", "other"), budget_seconds=5, pause_seconds=60)
        with pytest.raises(Unavailable):
            await wrong.call(ECHO, [b"k"], [])
        await memory.acl_deluser("teller")
    await redis.close()
    await wrong.close()
