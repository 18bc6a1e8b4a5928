"""PostgreSQL fails in the middle of a write: whether it happened is found out, never guessed."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.e2e.harness import Shop, order, until
from tests.e2e.idempotency_kit import Wired, Witness, replayed
from tests.fakes.proxy import COMMITTED

KEY = "order-4711"
PATH = "/v1/payments"

# What the two writes of a payment carry on the wire: its key, and then what became of it.
WRITES = {"opening": KEY.encode(), "posting": b"payment.succeeded"}


async def is_served_once(wired: Wired, witness: Witness, asking: "asyncio.Task[Any]") -> None:
    """The merchant hears of nothing but success, and the same success again."""
    first, body = await asking
    assert (first.status, replayed(first), first.json["status"]) == (201, False, "succeeded")
    again = await wired.shop.call("POST", PATH, body, key=KEY)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    await witness.claim_ends(wired.shop, KEY)
    recalled = await wired.shop.call("POST", PATH, body, key=KEY)
    assert (recalled.status, replayed(recalled), recalled.body) == (201, True, first.body)
    await witness.proves(wired.shop)


def asks(wired: Wired, body: dict[str, Any]) -> "asyncio.Task[Any]":
    async def asking() -> Any:
        return await wired.shop.call("POST", PATH, body, key=KEY), body

    return asyncio.create_task(asking())


@pytest.mark.parametrize("write", WRITES)
async def test_a_commit_that_was_never_heard_of(wired: Wired, witness: Witness, write: str) -> None:
    stop = wired.postgres.stop_at(WRITES[write], answered_by=COMMITTED)
    asking = asks(wired, order())
    await stop.reached()
    await wired.postgres.cut()
    await is_served_once(wired, witness, asking)


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_never_arrived(wired: Wired, witness: Witness, write: str) -> None:
    stop = wired.postgres.stop_at(WRITES[write])
    asking = asks(wired, order())
    await stop.reached()
    await wired.postgres.refuse()
    await wired.postgres.accept()
    await is_served_once(wired, witness, asking)


async def test_a_deadlock_is_tried_again(
    shop: Shop, wired: Wired, witness: Witness, database: Any
) -> None:
    """Somebody locks the feed and then the payment; our write locks them the other way round."""
    await shop.pay()  # makes the merchant's feed
    body = order("tok_latency_300")
    other = await asyncpg.connect(database.owner_url)
    await other.execute("SET deadlock_timeout = '1min'")  # so that ours is the one to give way
    async with other.transaction():
        await other.execute("SELECT FROM feed FOR UPDATE")
        asking = asks(wired, body)
        payment = await until(lambda: witness.payment_of(shop, body["reference"]))
        await until(lambda: is_waited_for(witness, other))
        await other.execute("SELECT FROM payment WHERE id = $1 FOR UPDATE", payment["id"])
        assert (await witness.payment_of(shop, body["reference"]))["version"] == 0
    await other.close()
    first, _ = await asking
    assert (first.status, first.json["status"]) == (201, "succeeded")
    assert (await shop.call("POST", PATH, body, key=KEY)).body == first.body
    await witness.proves(shop, payments=2, captures=2)


async def is_waited_for(witness: Witness, other: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Tell whether anybody waits for a lock that this connection holds."""
    waiting = await witness.database.fetchval(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND $1 = ANY(pg_blocking_pids(pid))",
        other.get_server_pid(),
    )
    return bool(waiting)


async def test_a_payment_that_could_not_be_opened_may_be_tried_again(
    wired: Wired, witness: Witness
) -> None:
    body = order()
    await wired.postgres.refuse()
    refused = await wired.shop.call("POST", PATH, body, key=KEY)
    assert (refused.status, refused.json["code"]) == (503, "unavailable")
    assert await witness.remembered(wired.shop, KEY) is None
    await wired.postgres.accept()
    await is_served_once(wired, witness, asks(wired, body))


async def test_a_frozen_database_never_outlives_the_claim(wired: Wired, witness: Witness) -> None:
    """The first try is answered while its claim still holds, so no second one runs beside it."""
    body = order()
    wired.postgres.hang()
    asking = asks(wired, body)
    await until(lambda: witness.remembered(wired.shop, KEY))
    second = await wired.shop.call("POST", PATH, body, key=KEY)
    assert (second.status, second.json["code"]) == (409, "request_in_progress")
    lives = []

    async def answered() -> bool:
        lives.append(await witness.lifetime_ms(wired.shop, KEY))
        return asking.done()

    await until(answered)
    first, _ = await asking
    assert (first.status, first.json["code"], first.json["retry"]) == (
        *(500, "internal_error"),
        "same_key",
    )
    held = [life for life in lives if life > 0]
    assert lives[: len(held)] == held, "the claim was there until it was given back"
    wired.postgres.flow()
    await is_served_once(wired, witness, asks(wired, body))
