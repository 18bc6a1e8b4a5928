"""Redis is stopped, emptied, slow, silent or replaced: everything gets slower and nothing wrong."""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.drivers.embedded import REDIS_DATABASES_COUNT
from gateway.drivers.embedded_binaries import find_redis
from tests.e2e.harness import Reply, Shop, order, until
from tests.e2e.idempotency_kit import Wired, Witness, insist, replayed

KEY = "order-4711"
PATH = "/v1/payments"
DISTINCT, OFTEN = 100, 20


@contextlib.asynccontextmanager
async def again_and_again(act: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    async def keep_acting() -> None:
        while True:
            await act()
            await asyncio.sleep(0.07)

    acting = asyncio.create_task(keep_acting())
    try:
        yield
        assert not acting.done(), acting
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)


@contextlib.asynccontextmanager
async def stopped(wired: Wired, _: Witness) -> AsyncIterator[None]:
    await wired.redis.refuse()
    yield
    await wired.redis.accept()


@contextlib.asynccontextmanager
async def silent(wired: Wired, _: Witness) -> AsyncIterator[None]:
    wired.redis.hang()
    yield
    wired.redis.flow()


@contextlib.asynccontextmanager
async def slow(wired: Wired, _: Witness) -> AsyncIterator[None]:
    wired.redis.delay_seconds = 0.2
    yield
    wired.redis.delay_seconds = 0.0


@contextlib.asynccontextmanager
async def emptied(_: Wired, witness: Witness) -> AsyncIterator[None]:
    async with again_and_again(witness.redis.flushdb):
        yield


@contextlib.asynccontextmanager
async def restarted(wired: Wired, witness: Witness) -> AsyncIterator[None]:
    async def restart() -> None:
        await wired.redis.refuse()
        await witness.redis.flushdb()
        await wired.redis.accept()

    async with again_and_again(restart):
        yield


Fault = Callable[[Wired, Witness], contextlib.AbstractAsyncContextManager[None]]
FAULTS = [stopped, silent, slow, emptied, restarted]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__name__))
async def test_a_flood_gets_slower_and_never_wrong(
    shop: Shop, wired: Wired, witness: Witness, fault: Fault
) -> None:
    """Many payments and one of them very often, at two workers of which one has the fault."""
    bodies = {f"order-{n}": order("tok_ok" if n % 10 else "tok_declined") for n in range(DISTINCT)}
    bodies[KEY] = order()

    async def buy(key: str) -> None:
        body, times = bodies[key], OFTEN if key == KEY else 1
        shops = [wired.shop, shop, wired.shop] * times
        replies = await asyncio.gather(*(insist(any_shop, body, key) for any_shop in shops))
        assert {reply.body for reply in replies} == {replies[0].body}
        assert replies[0].json["reference"] == body["reference"]

    async with fault(wired, witness):
        await asyncio.gather(*map(buy, bodies))
    await asyncio.gather(*map(buy, bodies))
    await witness.proves(shop, payments=DISTINCT + 1, captures=DISTINCT * 9 // 10 + 1)


@pytest.fixture
def empty_redis() -> Iterator[str]:
    """Another Redis that knows nothing: its socket."""
    given = os.environ.get("FLOODGATE_REDIS_BIN")
    program = find_redis(Path(given) if given else None)
    with tempfile.TemporaryDirectory(prefix="floodgate-tests-") as folder:
        place = f"{folder}/redis.sock"
        words = ["--port", "0", "--unixsocket", place, "--save", "", "--dir", folder]
        words += ["--databases", str(REDIS_DATABASES_COUNT)]
        with subprocess.Popen([program, *words], stdout=subprocess.DEVNULL) as server:
            yield place
            server.terminate()


async def test_a_replica_without_the_last_second_takes_over(
    shop: Shop, wired: Wired, witness: Witness, empty_redis: str
) -> None:
    """One payment is done and one is under way when the claims and answers of both are lost."""
    await until(lambda: asyncio.to_thread(os.path.exists, empty_redis))
    done, under_way = order(), order("tok_latency_500")
    first = await wired.shop.call("POST", PATH, done, key="done")
    paying = asyncio.create_task(wired.shop.call("POST", PATH, under_way, key=KEY))
    await until(lambda: witness.payment_of(shop, under_way["reference"]))
    await wired.redis.point_at(empty_redis)

    again = await wired.shop.call("POST", PATH, done, key="done")
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    asked = await asyncio.gather(*(insist(wired.shop, under_way, KEY) for _ in range(20)))
    answers: list[Reply] = [await paying, *asked]
    assert [replayed(reply) for reply in answers].count(False) == 1
    assert {reply.body for reply in answers} == {answers[0].body}
    await witness.proves(shop, payments=2, captures=2)
