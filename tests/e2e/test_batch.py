"""`POST /v1/payments/batch`: each item stands alone, whatever its neighbours and the machine do."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from gateway.domain import limits
from tests.e2e.harness import Reply, Shop, order, until
from tests.e2e.idempotency_kit import Wired, Witness, replayed
from tests.fakes.proxy import COMMITTED

PATH = "/v1/payments/batch"


def item(token: str = "tok_ok", **changes: Any) -> dict[str, Any]:
    return {"idempotency_key": uuid.uuid4().hex} | order(token, **changes)


def alone(of: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Give the body and the key that an item has as a request of its own."""
    return {name: of[name] for name in of if name != "idempotency_key"}, of["idempotency_key"]


async def paid(shop: Shop, *items: Any, key: str | None = None) -> Reply:
    reply = await shop.call("POST", PATH, {"payments": items}, key=key)
    assert reply.status == 200, reply.body
    return reply


def ends(reply: Reply) -> list[Any]:
    """Give, item by item, the status of the payment or the code of the refusal."""
    told = []
    for result in reply.json["results"]:
        if result["status"] == 201:
            told.append(result["payment"]["status"])
        else:
            assert result["status"] == result["problem"]["status"]
            told.append((result["status"], result["problem"]["code"]))
    return told


async def test_items_stand_in_order_and_alone(shop: Shop, witness: Witness) -> None:
    before, used = order(), uuid.uuid4().hex
    earlier = (await shop.pay(key=used, **before)).json
    twin = item()
    reply = await paid(
        shop,
        item(),
        item("tok_declined"),
        item(amount=0),
        item(colour="red"),
        7,
        {"amount": 1},
        item(idempotency_key="not visible"),
        twin,
        twin,
        twin | {"amount": 7},
        item(idempotency_key=used),
        item(idempotency_key="batch-1"),
        item(reference=before["reference"]),
        item("tok_error_booked"),
        item(description="x" * limits.BODY_BYTES_MAX),
        item(),
        key="batch-1",
    )
    assert ends(reply) == [
        *("succeeded", "failed", (400, "field_invalid"), (400, "field_unknown")),
        *((400, "field_invalid"), (400, "field_missing"), (400, "idempotency_key_invalid")),
        *("succeeded", "succeeded", *[(422, "idempotency_key_reused")] * 3),
        *((409, "reference_exists"), "processing", (413, "body_too_large"), "succeeded"),
    ]
    problems = [result.get("problem", {}) for result in reply.json["results"]]
    assert (problems[2]["param"], problems[12]["payment"]) == ("amount", earlier["id"])
    assert {problems[place]["param"] for place in (6, 9, 10, 11)} == {"idempotency_key"}
    unknown = reply.json["results"][13]["payment"]
    await shop.until(unknown["id"], "succeeded")
    await witness.proves(shop, payments=6, captures=5)


async def test_the_same_batch_again_is_answered_as_before(shop: Shop, witness: Witness) -> None:
    items = [item(), item("tok_declined"), item(amount=-1)]
    first = await paid(shop, *items, key="batch-1")
    again = await paid(shop, *items, key="batch-1")
    assert (replayed(first), replayed(again), again.body) == (False, True, first.body)
    changed = await shop.call("POST", PATH, {"payments": items[:1]}, key="batch-1")
    assert (changed.status, changed.json["code"]) == (422, "idempotency_key_reused")
    others = await paid(shop, item(), *items)
    assert not replayed(others)
    assert others.json["results"][1:3] == first.json["results"][:2]
    await witness.proves(shop, payments=3, captures=2)


async def test_an_item_is_the_same_request_alone(shop: Shop, witness: Witness) -> None:
    """Whichever came first, the other one is told the same."""
    batched, single = item(), item()
    in_batch = (await paid(shop, batched)).json["results"][0]["payment"]
    body, key = alone(batched)
    reply = await shop.call("POST", "/v1/payments", body, key=key)
    assert (replayed(reply), reply.json) == (True, in_batch)
    body, key = alone(single)
    first = await shop.call("POST", "/v1/payments", body, key=key)
    last = body | {"idempotency_key": key}  # the key as the last member
    assert (await paid(shop, last)).json["results"][0]["payment"] == first.json
    await witness.proves(shop, payments=2, captures=2)


async def test_without_redis_every_item_is_recalled_by_its_own_key(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    items = [item(), item("tok_declined"), item()]
    first = await paid(shop, *items, key="batch-1")
    await wired.redis.refuse()
    again = await paid(wired.shop, *items, key="batch-1")
    assert (replayed(again), ends(again)) == (True, ends(first))
    assert again.json == first.json
    await witness.proves(shop, payments=3, captures=2)


async def test_a_batch_with_something_unfinished_goes_on_where_it_stood(
    shop: Shop, witness: Witness
) -> None:
    slow = item("tok_latency_800")
    body, key = alone(slow)
    running = asyncio.create_task(shop.call("POST", "/v1/payments", body, key=key))
    await until(lambda: witness.payment_of(shop, slow["reference"]))
    items = [slow, item()]
    early = await paid(shop, *items, key="batch-1")
    assert ends(early) == [(409, "request_in_progress"), "succeeded"]
    first = await running
    late = await paid(shop, *items, key="batch-1")
    assert late.json["results"][0] == {"status": 201, "payment": first.json}
    assert late.json["results"][1] == early.json["results"][1]
    await witness.proves(shop, payments=2, captures=2)


async def test_kill_9_in_the_middle_doubles_nothing(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """The channel has booked much of it; the worker dies before anything of that is durable.

    How many of the items were opened by then is the flushes' matter.
    """
    items = [item() for _ in range(40)]
    stop = wired.postgres.stop_at(b"payment.succeeded")
    asking = asyncio.create_task(paid(wired.shop, *items, key="batch-1"))
    await stop.reached()
    wired.kill()
    with pytest.raises(aiohttp.ClientError):
        await asking
    refused = await shop.call("POST", PATH, {"payments": items}, key="batch-1")
    assert (refused.status, refused.json["code"]) == (409, "request_in_progress")
    for name in ("batch-1", *(of["idempotency_key"] for of in items)):
        await witness.claim_ends(shop, name)

    again = await paid(shop, *items)
    assert {result["status"] for result in again.json["results"]} == {201}
    for result in again.json["results"]:
        await shop.call("POST", f"/v1/payments/{result['payment']['id']}/sync", {})
    assert ends(await paid(shop, *items)) == ["succeeded"] * 40
    await witness.proves(shop, payments=40, captures=40)


async def test_kill_9_before_any_channel_was_asked_is_recovered(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """All of it is durable, and nobody was asked: what nobody wants any more ends at once."""
    items = [item() for _ in range(3)]
    stop = wired.postgres.stop_at(items[0]["reference"].encode(), answered_by=COMMITTED)
    asking = asyncio.create_task(paid(wired.shop, *items))
    await stop.reached()
    wired.kill()
    with pytest.raises(aiohttp.ClientError):
        await asking
    for of in items:
        await witness.claim_ends(shop, of["idempotency_key"])
    recalled = await paid(shop, *items)
    assert (replayed(recalled), ends(recalled)) == (True, ["processing"] * 3)
    for result in recalled.json["results"]:
        await shop.call("POST", f"/v1/payments/{result['payment']['id']}/cancel", {})
    assert ends(await paid(shop, *items)) == ["canceled"] * 3
    await witness.proves(shop, payments=3, captures=0)


async def test_what_was_to_end_before_now_is_recalled_and_never_begun(
    shop: Shop, witness: Witness
) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    begun, never = (item(expires_at=expires_at.isoformat()) for _ in range(2))
    first = (await paid(shop, begun)).json["results"][0]
    await witness.claim_ends(shop, begun["idempotency_key"])

    async def is_over() -> bool:
        return datetime.now(UTC) > expires_at

    await until(is_over)
    told = await paid(shop, begun, never, item())
    assert told.json["results"][0] == first
    assert ends(told)[1:] == [(400, "field_invalid"), "succeeded"]
    await witness.proves(shop, payments=2, captures=2)


async def test_redis_that_leaves_in_the_middle_stops_nobody(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    items = [item(), item("tok_declined"), item()]
    stop = wired.postgres.stop_at(items[0]["reference"].encode())
    paying = asyncio.create_task(paid(wired.shop, *items, key="batch-1"))
    await stop.reached()
    await wired.redis.refuse()
    stop.go()
    first = await paying
    assert (replayed(first), ends(first)) == (False, ["succeeded", "failed", "succeeded"])
    again = await paid(wired.shop, *items, key="batch-1")
    assert (replayed(again), again.json) == (True, first.json)
    await witness.proves(shop, payments=3, captures=2)


async def test_a_slow_item_holds_up_no_other(shop: Shop, wired: Wired, witness: Witness) -> None:
    slow, quick = item("tok_latency_1"), item()
    stop = wired.acquirer.stop_at(b"tok_latency_1")
    paying = asyncio.create_task(paid(wired.shop, slow, quick, item("tok_declined")))
    body, key = alone(quick)
    await stop.reached()

    async def is_answered() -> bool:
        held = await witness.remembered(shop, key)
        return held is not None and held.startswith(b"D")

    await until(is_answered)
    told = await shop.call("POST", "/v1/payments", body, key=key)
    assert (replayed(told), told.json["status"]) == (True, "succeeded")
    row = await witness.payment_of(shop, slow["reference"])
    assert row is not None
    assert row["status"] == "processing"
    stop.go()
    await paying
    assert ends(await paid(shop, slow, quick))[1] == "succeeded"
    payment = (await witness.payment_of(shop, slow["reference"]))["id"].hex
    await shop.until(f"pay_{payment}", "succeeded")
    await witness.proves(shop, payments=3, captures=2)


async def test_twice_at_once_is_taken_once(shop: Shop, witness: Witness) -> None:
    """One batch twice, and its items in another batch besides, all at the same moment."""
    items = [item() for _ in range(40)]
    same = [shop.call("POST", PATH, {"payments": items}, key="batch-1") for _ in range(2)]
    other = shop.call("POST", PATH, {"payments": items[::-1]}, key="batch-2")
    *twice, reversed_ = await asyncio.gather(*same, other)
    assert {reply.status for reply in twice} <= {200, 409}
    for reply in (*twice, reversed_):
        if reply.status == 200:
            assert set(ends(reply)) <= {"succeeded", (409, "request_in_progress")}
    finally_ = await paid(shop, *items)
    assert ends(finally_) == ["succeeded"] * 40
    await witness.proves(shop, payments=40, captures=40)


async def test_redis_may_hold_a_misuse_of_an_items_key_and_postgresql_decides(
    shop: Shop, witness: Witness
) -> None:
    mine, misused, new = item(), item(), item()
    first = (await paid(shop, mine)).json["results"][0]
    for of in (mine, misused):
        await witness.misuses(shop, of["idempotency_key"])
    told = await paid(shop, mine, misused, new)
    assert told.json["results"][0] == first
    assert ends(told)[1:] == [(422, "idempotency_key_reused"), "succeeded"]
    await witness.proves(shop, payments=2, captures=2)


async def test_how_large_a_batch_may_be(shop: Shop, witness: Witness) -> None:
    items = [item() for _ in range(limits.BATCH_PAYMENTS_MAX)]
    assert len(json.dumps(items)) > limits.BODY_BYTES_MAX
    reply = await paid(shop, *items)
    assert ends(reply) == ["succeeded"] * limits.BATCH_PAYMENTS_MAX
    one_more = await shop.call("POST", PATH, {"payments": [*items, item()]})
    none = await shop.call("POST", PATH, {"payments": []})
    for refused in (one_more, none):
        assert (refused.status, refused.json["param"]) == (400, "payments")
    too_large = await shop.call("POST", PATH, b" " * (limits.BATCH_BODY_BYTES_MAX + 1))
    assert (too_large.status, too_large.json["code"]) == (413, "body_too_large")
    read = await shop.call("GET", PATH)
    assert (read.status, read.headers["Allow"]) == (405, "POST")
    await witness.proves(
        shop, payments=limits.BATCH_PAYMENTS_MAX, captures=limits.BATCH_PAYMENTS_MAX
    )
