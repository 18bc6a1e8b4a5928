"""Idempotency claims on a real Redis: one winner, exact answers, and no harm when it is away."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
import redis.asyncio as aioredis

from gateway.domain import limits
from gateway.domain.stages import Answer
from gateway.drivers.redis import Redis
from gateway.idempotency.fast import FastClaims, Remembered
from tests.e2e.harness import free_port
from tests.fakes.proxy import Proxy

PRINT, OTHER = b"p" * 32, b"o" * 32
ANSWER = Answer(201, b'{"object":"payment"}')


@pytest.fixture
async def claims(redis_url: str) -> AsyncIterator[FastClaims]:
    # A busy machine must not look like an absent Redis here.
    driver = Redis(redis_url, budget_seconds=10, pause_seconds=0.1)
    yield FastClaims(driver)
    await driver.close()


@pytest.fixture
async def memory(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    """Look into Redis directly; it is empty at the beginning of each test."""
    client = aioredis.Redis.from_url(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


pytestmark = pytest.mark.usefixtures("memory")


async def test_the_first_claim_wins_and_the_second_learns_of_it(claims: FastClaims) -> None:
    token, nothing = await claims.claim(7, "k", PRINT)
    assert (len(token or b""), nothing) == (8, None)
    assert await claims.claim(7, "k", OTHER) == (None, Remembered(PRINT, None))


async def test_of_many_claims_at_once_one_wins(claims: FastClaims) -> None:
    results = await asyncio.gather(*(claims.claim(7, "k", PRINT) for _ in range(300)))
    assert [token is not None for token, _ in results].count(True) == 1
    assert {told for token, told in results if token is None} == {Remembered(PRINT, None)}


async def test_one_that_is_refused_takes_nobody_elses_claim(
    claims: FastClaims, memory: aioredis.Redis
) -> None:
    await memory.rpush("idem:{7:odd}", "no text")
    odd, first, last = await claims.claim_all([(7, key, PRINT) for key in ("odd", "a", "z")])
    assert odd == (None, None)
    assert [len(token or b"") for token, _ in (first, last)] == [8, 8]


async def test_claims_of_two_workers_meet(claims: FastClaims, redis_url: str) -> None:
    driver = Redis(redis_url, budget_seconds=10, pause_seconds=0.1)
    neighbour = FastClaims(driver)
    results = await asyncio.gather(
        *(side.claim(7, f"k{n}", PRINT) for n in range(100) for side in (claims, neighbour))
    )
    await driver.close()
    assert [token is not None for token, _ in results].count(True) == 100


@pytest.mark.parametrize(
    ("merchant", "key"), [(8, "k"), (7, "K"), (7, "k}"), (7, "{k}"), (77, ":k"), (7, "7:k")]
)
async def test_other_names_are_other_keys(claims: FastClaims, merchant: int, key: str) -> None:
    await claims.claim(7, "k", PRINT)
    token, told = await claims.claim(merchant, key, PRINT)
    assert token is not None
    assert told is None


@pytest.mark.parametrize(
    "answer",
    [ANSWER, Answer(409, b""), Answer(200, os.urandom(70_000)), Answer(422, "käse\n\0".encode())],
    ids=["payment", "empty", "large", "any bytes"],
)
async def test_the_answer_comes_back_byte_for_byte(claims: FastClaims, answer: Answer) -> None:
    await claims.claim(7, "k", PRINT)
    await claims.finish(7, "k", PRINT, answer)
    _, told = await claims.claim(7, "k", OTHER)
    assert told == Remembered(PRINT, Answer(answer.status, answer.body, replayed=True))


async def test_an_answer_is_kept_without_a_claim(claims: FastClaims) -> None:
    await claims.finish(7, "k", PRINT, ANSWER)
    _, told = await claims.claim(7, "k", PRINT)
    assert told is not None
    assert told.answer is not None


async def test_the_first_success_stays_the_answer(claims: FastClaims) -> None:
    """Two tries that ran beside each other, because Redis had forgotten the first one's claim."""
    await claims.finish(7, "k", PRINT, Answer(409, b"refused"))
    await claims.finish(7, "k", PRINT, ANSWER)
    await claims.finish(7, "k", PRINT, Answer(201, b"the same, a moment later"))
    _, told = await claims.claim(7, "k", PRINT)
    assert told == Remembered(PRINT, Answer(201, ANSWER.body, replayed=True))


async def test_a_claim_is_given_back_by_its_owner_alone(claims: FastClaims) -> None:
    token, _ = await claims.claim(7, "k", PRINT)
    assert token is not None
    await claims.release(7, "k", PRINT, b"stranger")
    assert await claims.claim(7, "k", PRINT) == (None, Remembered(PRINT, None))
    await claims.release(7, "k", PRINT, token)
    again, _ = await claims.claim(7, "k", PRINT)
    assert again not in {None, token}
    await claims.release(7, "k", PRINT, token)
    assert (await claims.claim(7, "k", PRINT))[0] is None


async def test_an_answer_is_not_given_back(claims: FastClaims) -> None:
    token, _ = await claims.claim(7, "k", PRINT)
    assert token is not None
    await claims.finish(7, "k", PRINT, ANSWER)
    await claims.release(7, "k", PRINT, token)
    assert (await claims.claim(7, "k", PRINT))[0] is None


async def test_a_claim_lives_for_its_lease_and_an_answer_for_a_day(
    claims: FastClaims, memory: aioredis.Redis
) -> None:
    await claims.claim(7, "k", PRINT)
    (name,) = await memory.keys()
    lease = await memory.pttl(name)
    assert 0 < lease <= limits.CLAIM_LEASE_SECONDS * 1000
    await claims.finish(7, "k", PRINT, ANSWER)
    assert await memory.keys() == [name]
    kept = await memory.pttl(name)
    assert 24 * 3600 * 1000 - 60_000 < kept <= limits.ANSWER_KEEP_SECONDS * 1000


async def test_what_gathers_shares_round_trips(redis_url: str, memory: aioredis.Redis) -> None:
    driver = Redis(redis_url, budget_seconds=10, pause_seconds=0.1)
    trips: list[int] = []
    claims = FastClaims(driver, observe=trips.append)
    await asyncio.gather(*(claims.claim(7, f"k{n}", PRINT) for n in range(500)))
    await driver.close()
    assert (len(trips) <= 4, sum(trips)) == (True, 500)
    assert len(await memory.keys()) == 500


async def test_a_forgotten_script_is_taught_again(
    claims: FastClaims, memory: aioredis.Redis
) -> None:
    for key in ("k", "l"):
        token, _ = await claims.claim(7, key, PRINT)
        assert token is not None
        await memory.script_flush()
        await claims.release(7, key, PRINT, token)
    assert await memory.keys() == []


async def test_without_redis_nobody_waits_and_nobody_fails() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    driver = Redis(url, budget_seconds=0.05, pause_seconds=60)
    away = FastClaims(driver)
    assert await away.claim(7, "k", PRINT) == (None, None)
    assert driver.is_away
    await away.finish(7, "k", PRINT, ANSWER)
    await away.release(7, "k", PRINT, b"12345678")
    results = await asyncio.gather(*(away.claim(7, f"k{n}", PRINT) for n in range(100)))
    assert set(results) == {(None, None)}
    await driver.close()


async def test_a_redis_that_hangs_is_left_alone_and_found_again(redis_url: str) -> None:
    place = urlsplit(redis_url)
    async with Proxy(place.path) as proxy:
        driver = Redis(
            f"redis://127.0.0.1:{proxy.port}/{parse_qs(place.query)['db'][0]}",
            budget_seconds=0.2,
            pause_seconds=0.1,
        )
        claims = FastClaims(driver)
        proxy.hang()
        assert await claims.claim(7, "k", PRINT) == (None, None)
        assert driver.is_away
        proxy.flow()
        async with asyncio.timeout(20):
            while (await claims.claim(7, "k", PRINT)) == (None, None):  # noqa: ASYNC110 - a pause
                await asyncio.sleep(0.02)
        await driver.close()


@contextlib.asynccontextmanager
async def behind(proxy: Proxy, redis_url: str) -> AsyncIterator[FastClaims]:
    """Claims at a Redis behind a wire, given up and found again soon."""
    database = parse_qs(urlsplit(redis_url).query)["db"][0]
    url = f"redis://127.0.0.1:{proxy.port}/{database}"
    driver = await Redis(url, budget_seconds=0.2, pause_seconds=0.1).open()
    yield FastClaims(driver)
    await driver.close()


async def found_again(claims: FastClaims, key: str) -> tuple[bytes | None, Remembered | None]:
    async with asyncio.timeout(20):
        while (told := await claims.claim(7, key, PRINT)) == (None, None):  # noqa: ASYNC110 - a pause
            await asyncio.sleep(0.02)
    return told


async def test_a_claim_that_came_late_is_given_back(redis_url: str, memory: aioredis.Redis) -> None:
    """Redis hung while a request was served, and hears of its claim when that has long ended."""
    async with Proxy(urlsplit(redis_url).path) as proxy, behind(proxy, redis_url) as claims:
        hanging = proxy.stop_at(b"idem:{7:k}")
        assert await claims.claim(7, "k", PRINT) == (None, None)
        hanging.go()
        async with asyncio.timeout(20):
            while await memory.get("idem:{7:k}") is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        token, told = await found_again(claims, "k")
        assert (len(token or b""), told) == (8, None)


@pytest.mark.parametrize("end", ["finish", "finish_all", "refuse", "release"])
async def test_a_claim_whose_end_was_not_heard_is_given_back(redis_url: str, end: str) -> None:
    async with Proxy(urlsplit(redis_url).path) as proxy, behind(proxy, redis_url) as claims:
        held, _ = await found_again(claims, "k")
        assert held is not None
        await proxy.refuse()
        for _ in range(2):  # first it is found out that Redis is away
            match end:
                case "finish":
                    await claims.finish(7, "k", PRINT, ANSWER)
                case "finish_all":
                    await claims.finish_all([(7, "k", PRINT, ANSWER, True)])
                case "refuse":
                    await claims.refuse(7, "k", PRINT, token=held, answer=ANSWER)
                case _:
                    await claims.release(7, "k", PRINT, held)
        await proxy.accept()
        token, told = await found_again(claims, "k")
        assert (len(token or b""), told) == (8, None)


async def test_only_a_claim_of_the_same_request_is_given_back(
    redis_url: str, claims: FastClaims
) -> None:
    async with Proxy(urlsplit(redis_url).path) as proxy, behind(proxy, redis_url) as unheard:
        held = [(await found_again(unheard, key))[0] for key in ("answered", "other")]
        await proxy.refuse()
        for key, token in zip(("answered", "other"), held, strict=True):
            assert token is not None
            await unheard.release(7, key, PRINT, token)
        await claims.finish(7, "answered", PRINT, ANSWER)
        assert held[1] is not None
        await claims.release(7, "other", PRINT, held[1])
        await claims.claim(7, "other", OTHER)
        await proxy.accept()
        await found_again(unheard, "new")
    _, answered = await claims.claim(7, "answered", PRINT)
    assert answered is not None
    assert answered.answer is not None
    assert await claims.claim(7, "other", PRINT) == (None, Remembered(OTHER, None))


@pytest.mark.parametrize("value", [b"", b"?", b"D" + PRINT, b"D" + PRINT + b"2x1{}"])
async def test_what_makes_no_sense_is_as_good_as_nothing(
    claims: FastClaims, memory: aioredis.Redis, value: bytes
) -> None:
    """PostgreSQL decides then, for this key and not for those that were asked with it."""
    await memory.set("idem:{7:k}", value)
    assert await claims.claim(7, "k", PRINT) == (None, None)
    (odd, told), (token, nothing) = await claims.claim_all([(7, "k", PRINT), (7, "other", PRINT)])
    assert (odd, told, len(token or b""), nothing) == (None, None, 8, None)
