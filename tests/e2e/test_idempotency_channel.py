"""The acquirer does not answer in time: unknown until known, and one key stays one payment."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.harness import Reply, Shop, order, until
from tests.e2e.idempotency_kit import Wired, Witness, replayed

KEY = "order-4711"
PATH = "/v1/payments"


async def becomes(shop: Shop, payment_id: str, status: str) -> None:
    """Ask the channel, as a merchant may, until the payment has this status."""

    async def has() -> bool:
        reply = await shop.call("POST", f"{PATH}/{payment_id}/sync", {})
        return bool(reply.json["status"] == status)

    await until(has)


async def is_unknown_and_then(
    shop: Shop, witness: Witness, body: dict[str, Any], first: Reply, status: str
) -> None:
    """The first answer stays the answer; who looks, or asks when it is forgotten, sees the end."""
    assert (first.status, replayed(first)) == (201, False)
    assert (first.json["status"], first.json["certainty"]) == ("processing", "unknown")
    await becomes(shop, first.json["id"], status)
    again = await shop.call("POST", PATH, body, key=KEY)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    await witness.claim_ends(shop, KEY)
    recalled = [await shop.call("POST", PATH, body, key=KEY) for _ in range(2)]
    assert all(replayed(reply) and reply.json["status"] == status for reply in recalled)
    seen = await shop.call("GET", f"{PATH}/{first.json['id']}")
    assert {reply.body for reply in recalled} == {seen.body}


@pytest.mark.parametrize("token", ["tok_timeout_booked", "tok_error_booked"])
async def test_money_was_taken(shop: Shop, witness: Witness, token: str) -> None:
    body = order(token)
    first = await shop.call("POST", PATH, body, key=KEY)
    await is_unknown_and_then(shop, witness, body, first, "succeeded")
    await witness.proves(shop)


async def test_the_acquirer_never_heard_of_it(shop: Shop, witness: Witness) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    body = order("tok_timeout_lost", expires_at=expires_at.isoformat())
    first = await shop.call("POST", PATH, body, key=KEY)
    await is_unknown_and_then(shop, witness, body, first, "expired")
    await witness.proves(shop, captures=0)


@pytest.mark.parametrize(
    ("token", "status", "captures"), [("tok_declined", "failed", 0), ("tok_ok", "succeeded", 1)]
)
async def test_the_acquirers_answer_was_lost(
    wired: Wired, witness: Witness, token: str, status: str, captures: int
) -> None:
    assert wired.redis.calls_count == 1, "it is connected to Redis before it serves anybody"
    body = order(token)
    stop = wired.acquirer.stop_at(b"POST /v1/payments HTTP", answered_by=b"}")
    asking = asyncio.create_task(wired.shop.call("POST", PATH, body, key=KEY))
    await stop.reached()
    await wired.acquirer.cut()
    await is_unknown_and_then(wired.shop, witness, body, await asking, status)
    await witness.proves(wired.shop, captures=captures)


async def test_a_payment_that_never_left_has_failed_for_good(
    wired: Wired, witness: Witness
) -> None:
    """Nobody listens at the acquirer: no money can move, and nobody asks for it later."""
    body = order()
    await wired.acquirer.refuse()
    first = await wired.shop.call("POST", PATH, body, key=KEY)
    assert (first.status, first.json["status"], first.json["certainty"]) == (201, "failed", None)
    assert first.json["failure"] == {
        "code": "channel_unavailable",
        "message": "The acquirer cannot be reached.",
        "advice": "retry_later",
        "channel_code": None,
    }
    await wired.acquirer.accept()
    await witness.claim_ends(wired.shop, KEY)
    again = await wired.shop.call("POST", PATH, body, key=KEY)
    assert (replayed(again), again.json["id"]) == (True, first.json["id"])
    synced = await wired.shop.call("POST", f"{PATH}/{first.json['id']}/sync", {})
    assert synced.json == again.json
    assert not await witness.is_heard(wired.shop, payments=1)
    assert (await wired.shop.pay()).json["status"] == "succeeded"
    await witness.proves(wired.shop, payments=2, captures=1)
