"""Payments of which no acquirer hears: begun by one commit, whoever dies beside it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway.domain.identity import merchant_number
from tests.e2e.account_kit import run
from tests.e2e.harness import Reply, Shop, System, order, until
from tests.e2e.idempotency_kit import Wired, Witness, replayed
from tests.e2e.life_kit import events, number_of, refused, timeline
from tests.fakes import unionpay_platform
from tests.fakes.proxy import COMMITTED
from tests.fakes.unionpay_server import Unionpay

pytestmark = pytest.mark.usefixtures("proven")

PATH, KEY = "/v1/payments", "order-4711"
FRONT = {"type": "unionpay", "flow": "front"}
# The transactions that wrote a payment, its key and its event.
_WROTE = """
SELECT DISTINCT unnest(ARRAY[p.xmin::text, k.xmin::text, e.xmin::text])
  FROM payment p
  JOIN idempotency_key k ON k.merchant_id = p.merchant_id AND k.resource_id = p.id
  JOIN event e ON e.merchant_id = p.merchant_id AND e.payment_id = p.id
 WHERE p.merchant_id = $1
"""


@pytest.fixture
async def unionpay(system: System, tmp_path: Path) -> AsyncIterator[Unionpay]:
    """UnionPay, and an account there for every shop, until that is taken away again."""
    async with Unionpay().running() as platform:
        file = tmp_path / "unionpay.json"
        file.write_bytes(msgspec.json.encode(unionpay_platform.credential(platform.base_url)))
        made = await run(system, "add", "unionpay", "--file", str(file))
        assert made[0] == 0, made[2]
        yield platform
        assert platform.wrongly_signed == 0
        assert (await run(system, "revoke", json.loads(made[1])["credential"]))[0] == 0


async def shown(shop: Shop, body: dict[str, Any]) -> Reply:
    """Pay by the page of UnionPay."""
    headers = {"Prefer": "server-timing"}
    first = await shop.call("POST", PATH, body, key=KEY, headers=headers)
    assert (first.status, first.json["status"]) == (201, "requires_action"), first
    assert first.json["channel"] == "unionpay"
    return first


async def knows(shop: Shop) -> None:
    """Wait until this worker would go to UnionPay."""

    async def would() -> bool:
        wish = order(method=FRONT)
        return (await shop.call("POST", "/v1/routing/simulate", wish)).json["channel"] == "unionpay"

    await until(would, seconds=5)


async def test_a_payment_of_which_nobody_is_asked_lives_like_any_other(
    shop: Shop, unionpay: Unionpay, witness: Witness
) -> None:
    await knows(shop)
    body = order(method=FRONT, return_url="https://shop.example/back")
    first = await shown(shop, body)
    steps = [part.partition(";")[0] for part in first.headers["Server-Timing"].split(", ")]
    assert steps == ["verify", "admit", "match", "claim", "route", "open", "settle", "total"]
    assert unionpay.kept == {}, "UnionPay has not heard of it"
    wrote = await witness.database.fetch(_WROTE, merchant_number(shop.merchant))
    assert len(wrote) == 1

    payment = first.json
    assert (await shop.payment(payment["id"])) == payment
    moments = await timeline(shop, payment["id"])
    kinds = [moment["kind"] for moment in moments]
    assert kinds[:5] == ["request", "attempt", "answer", "state", "event"]
    assert moments[1]["details"]["routing"]["channel"] == "unionpay"
    assert moments[2]["summary"] == "unionpay: requires_action"
    feed = (await shop.call("GET", "/v1/events")).json["data"]
    assert [(e["sequence"], e["type"], e["data"]) for e in feed] == [
        (1, "payment.requires_action", payment | {"sequence": 1})
    ]

    again = await shop.call("POST", PATH, body, key=KEY)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    await witness.claim_ends(shop, KEY)
    from_the_books = await shop.call("POST", PATH, body, key=KEY)
    assert (replayed(from_the_books), from_the_books.json) == (True, payment)
    other = await shop.call("POST", PATH, order(method=FRONT, amount=1), key=KEY)
    refused(other, 422, "idempotency_key_reused")
    taken = await shop.call("POST", PATH, body, key="another")
    refused(taken, 409, "reference_exists")
    assert taken.json["payment"] == payment["id"]

    action = payment["next_action"]
    async with shop.session.post(action["url"], data=action["fields"]) as page:
        assert page.status == 200
    unionpay.pay(await number_of(shop, payment["id"]))
    await shop.until(payment["id"], "succeeded")  # recovery asks when it is due
    told = ["payment.requires_action", "payment.succeeded"]
    assert await events(shop, payment["id"]) == told


@pytest.mark.parametrize("is_durable", [False, True], ids=["before", "after"])
async def test_a_worker_that_dies_at_the_commit_leaves_all_or_nothing(
    shop: Shop, wired: Wired, unionpay: Unionpay, witness: Witness, *, is_durable: bool
) -> None:
    await knows(wired.shop)
    body = order(method=FRONT)
    marker = b"payment.requires_action"
    stop = wired.postgres.stop_at(marker, answered_by=COMMITTED if is_durable else b"")
    asking = asyncio.create_task(wired.shop.call("POST", PATH, body, key=KEY))
    await stop.reached()
    wired.kill()
    with pytest.raises(aiohttp.ClientError):
        await asking
    refused(await shop.call("POST", PATH, body, key=KEY), 409, "request_in_progress")
    await witness.claim_ends(shop, KEY)
    await knows(shop)
    first = await shown(shop, body)
    assert replayed(first) == is_durable
    assert first.json["next_action"]["fields"]["orderId"] == await number_of(shop, first.json["id"])
    assert await events(shop, first.json["id"]) == ["payment.requires_action"]
    assert unionpay.kept == {}
    listed = (await shop.call("GET", PATH)).json["data"]
    assert [payment["id"] for payment in listed] == [first.json["id"]]
