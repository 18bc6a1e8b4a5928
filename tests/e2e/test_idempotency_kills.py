"""`kill -9` of a worker between any two of its steps, and others that leave in the middle."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.e2e.harness import Reply, Shop, order, until
from tests.e2e.idempotency_kit import Wired, Witness, insist, replayed
from tests.e2e.life_kit import its_time_comes
from tests.fakes.proxy import COMMITTED, Stop

KEY = "order-4711"
PATH = "/v1/payments"


async def killed_at(wired: Wired, stop: Stop, body: dict[str, Any]) -> None:
    """Ask the worker for a payment and kill it when it comes to this stop."""
    asking = asyncio.create_task(wired.shop.call("POST", PATH, body, key=KEY))
    await stop.reached()
    wired.kill()
    with pytest.raises(aiohttp.ClientError):
        await asking


async def refused_until_the_claim_ends(shop: Shop, witness: Witness, body: dict[str, Any]) -> None:
    """A dead worker's claim holds the key for its lease and no longer."""
    refused = await shop.call("POST", PATH, body, key=KEY)
    assert (refused.status, refused.json["code"]) == (409, "request_in_progress")
    assert int(refused.headers["Retry-After"]) > 0
    await witness.claim_ends(shop, KEY)


async def synced(shop: Shop, payment_id: str) -> Any:
    reply = await shop.call("POST", f"{PATH}/{payment_id}/sync", {})
    assert reply.status == 200
    return reply.json


async def test_after_the_claim_nothing_was_begun(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    body = order()
    await killed_at(wired, wired.postgres.stop_at(KEY.encode()), body)
    await refused_until_the_claim_ends(shop, witness, body)
    first = await shop.call("POST", PATH, body, key=KEY)
    assert (first.status, replayed(first), first.json["status"]) == (201, False, "succeeded")
    assert (await shop.call("POST", PATH, body, key=KEY)).body == first.body
    await witness.proves(shop)


async def test_before_the_channel_was_asked_the_payment_expires(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """The channel has never heard of it; at the deadline it promises that it never will."""
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    body = order(expires_at=expires_at.isoformat())
    await killed_at(wired, wired.acquirer.stop_at(b"POST /v1/payments HTTP"), body)
    await refused_until_the_claim_ends(shop, witness, body)
    recalled = await shop.call("POST", PATH, body, key=KEY)
    assert (recalled.status, replayed(recalled)) == (201, True)
    assert recalled.json["status"] == "processing"

    async def is_over() -> bool:
        return bool((await synced(shop, recalled.json["id"]))["status"] == "expired")

    await until(is_over)
    answers = [await insist(shop, body, KEY) for _ in range(2)]
    assert {reply.json["status"] for reply in answers} == {"expired"}
    assert answers[0].body == answers[1].body
    await witness.proves(shop, captures=0)


async def test_after_the_channels_answer_it_is_asked_again_and_not_anew(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    body = order()
    await killed_at(wired, wired.postgres.stop_at(b"payment.succeeded"), body)
    assert await witness.bookings(shop)
    await refused_until_the_claim_ends(shop, witness, body)
    recalled = await shop.call("POST", PATH, body, key=KEY)
    assert (recalled.status, replayed(recalled)) == (201, True)
    assert recalled.json["status"] == "processing"
    await its_time_comes(witness, shop, recalled.json["id"])
    assert (await synced(shop, recalled.json["id"]))["status"] == "succeeded"
    answers = [await insist(shop, body, KEY) for _ in range(2)]
    assert answers[0].body == answers[1].body
    await witness.proves(shop)


async def test_after_the_commit_the_books_answer(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """The answer is durable, and neither the merchant nor Redis has heard of it."""
    body = order()
    stop = wired.postgres.stop_at(b"payment.succeeded", answered_by=COMMITTED)
    await killed_at(wired, stop, body)
    await refused_until_the_claim_ends(shop, witness, body)
    answers = [await shop.call("POST", PATH, body, key=KEY) for _ in range(2)]
    assert [replayed(reply) for reply in answers] == [True, True]
    assert answers[0].json["status"] == "succeeded"
    assert answers[0].body == answers[1].body
    await witness.proves(shop)


async def test_a_lease_that_ends_too_early_lets_nobody_pay_twice(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    body = order("tok_latency_1500")
    slow = asyncio.create_task(wired.shop.call("POST", PATH, body, key=KEY))
    await until(lambda: witness.payment_of(shop, body["reference"]))
    await witness.claim_ends(shop, KEY)
    others = await asyncio.gather(*(shop.call("POST", PATH, body, key=KEY) for _ in range(10)))
    assert all(reply.status == 409 or replayed(reply) for reply in others)
    assert {reply.json["status"] for reply in others if reply.status == 201} == {"processing"}
    first = await slow
    assert (first.status, replayed(first), first.json["status"]) == (201, False, "succeeded")
    again: list[Reply] = [await insist(shop, body, KEY), await insist(wired.shop, body, KEY)]
    assert {reply.body for reply in again} == {first.body}
    await witness.proves(shop)


async def test_a_merchant_who_hangs_up_finds_the_work_done(shop: Shop, witness: Witness) -> None:
    body = order("tok_latency_300")
    asking = asyncio.create_task(shop.call("POST", PATH, body, key=KEY))
    await until(lambda: witness.payment_of(shop, body["reference"]))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    answers = [await insist(shop, body, KEY) for _ in range(2)]
    assert [replayed(reply) for reply in answers] == [True, True]
    assert answers[0].json["status"] == "succeeded"
    assert answers[0].body == answers[1].body
    await witness.proves(shop)
