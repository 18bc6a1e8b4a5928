"""Payments from the outside: sections 3, 4 and 5 of the contract, call by call."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from gateway.domain.money import share
from tests.e2e.harness import Reply, Shop, System, order

MEMBERS = [
    *("object", "id", "merchant", "reference", "amount", "currency", "amount_authorized"),
    *("amount_captured", "amount_refunded", "fee", "status", "certainty", "method", "channel"),
    *("next_action", "failure", "metadata", "description", "created_at", "updated_at"),
    "expires_at",
]


def refused(reply: Reply, status: int, code: str, **members: object) -> None:
    problem = reply.json
    told = {name: problem.get(name) for name in members}
    assert (reply.status, problem["code"], told) == (status, code, members), problem
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert problem["request_id"] == reply.headers["Request-Id"]


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


async def test_a_payment_is_shown_whole(shop: Shop) -> None:
    asked = order(
        metadata={"order": "4711", "note": "käse 🧀"},
        description="Two tickets",
        payer={"id": "u-1", "ip": "192.0.2.7", "device": "d", "name": "Zhang Wei"},
        return_url="https://shop.example/thanks",
    )
    before = datetime.now(UTC)
    reply = await shop.call("POST", "/v1/payments", asked)
    payment = reply.json
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Request-Id"].startswith("req_")
    assert "Idempotent-Replayed" not in reply.headers
    assert list(payment) == MEMBERS
    created, expires = moment(payment["created_at"]), moment(payment["expires_at"])
    assert timedelta(seconds=-1) < created - before < timedelta(seconds=20)
    assert created <= moment(payment["updated_at"]) < expires
    assert payment["id"].startswith("pay_")
    assert {name: payment[name] for name in MEMBERS[2:-3] if name != "id"} == {
        "merchant": shop.merchant,
        "reference": asked["reference"],
        "amount": 1999,
        "currency": "CNY",
        "amount_authorized": 1999,
        "amount_captured": 1999,
        "amount_refunded": 0,
        "fee": 12,
        "status": "succeeded",
        "certainty": None,
        "method": asked["method"],
        "channel": "simulator",
        "next_action": None,
        "failure": None,
        "metadata": asked["metadata"],
        "description": "Two tickets",
    }
    read = await shop.call("GET", f"/v1/payments/{payment['id']}")
    assert (read.status, read.body) == (200, reply.body)


async def test_ids_order_payments_by_time(shop: Shop) -> None:
    ids = [(await shop.pay()).json["id"] for _ in range(5)]
    assert ids == sorted(ids)


@pytest.mark.parametrize("token", ["tok_declined", "tok_insufficient_funds", "tok_expired_card"])
async def test_a_decline_is_an_answer_and_no_error(shop: Shop, token: str) -> None:
    reply = await shop.pay(token)
    payment = reply.json
    assert (reply.status, payment["status"], payment["certainty"]) == (201, "failed", None)
    assert payment["failure"].keys() == {"code", "message", "advice", "channel_code"}
    assert payment["failure"]["advice"] in {"other_method", "retry_later", "never"}
    assert payment["failure"]["code"] in {
        "card_declined",
        "insufficient_funds",
        "expired_card",
    }
    assert (payment["amount_authorized"], payment["amount_captured"], payment["fee"]) == (0, 0, 0)


@pytest.mark.parametrize("token", ["tok_timeout_booked", "tok_error_booked"])
async def test_silence_is_unknown_until_the_channel_speaks(shop: Shop, token: str) -> None:
    reply = await shop.pay(token)
    payment = reply.json
    assert reply.status == 201
    assert (payment["status"], payment["certainty"]) == ("processing", "unknown")
    assert (payment["amount_captured"], payment["failure"]) == (0, None)
    settled = await shop.until(payment["id"], "succeeded")
    assert (settled["certainty"], settled["amount_captured"]) == (None, 1999)


async def test_pending_is_said_and_becomes_true(shop: Shop) -> None:
    payment = (await shop.pay("tok_pending")).json
    assert (payment["status"], payment["certainty"]) == ("processing", "pending")
    assert (await shop.until(payment["id"], "succeeded"))["amount_captured"] == 1999


async def test_sync_asks_the_channel_now(system: System, shop: Shop) -> None:
    payment = (await shop.pay("qr")).json
    assert (payment["status"], payment["method"]) == ("requires_action", {"type": "qr"})
    assert payment["next_action"]["type"] == "qr"
    nothing_new = await shop.call("POST", f"/v1/payments/{payment['id']}/sync")
    assert nothing_new.json["status"] == "requires_action"
    url = f"{system.settings.simulator_url}/pay/{payment['next_action']['qr']}"
    async with shop.session.post(url) as paid:
        assert paid.status < 300
    synced = await shop.call("POST", f"/v1/payments/{payment['id']}/sync", {})
    assert (synced.status, synced.json["status"]) == (200, "succeeded")
    assert (synced.json["next_action"], synced.json["amount_captured"]) == (None, 1999)
    again = await shop.call("POST", f"/v1/payments/{payment['id']}/sync", {})
    assert again.body == synced.body


async def test_sync_is_answered_once_for_each_key(shop: Shop) -> None:
    payment = (await shop.pay()).json
    path = f"/v1/payments/{payment['id']}/sync"
    first, second = [await shop.call("POST", path, key="sync-1") for _ in range(2)]
    assert (second.status, second.body) == (200, first.body)
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_the_merchant_may_say_when_a_payment_ends(shop: Shop) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    east = ends.astimezone(tz=datetime.fromisoformat("2026-01-01T00:00:00+08:00").tzinfo)
    payment = (await shop.pay("qr", expires_at=east.isoformat())).json
    assert moment(payment["expires_at"]) == ends


@pytest.mark.parametrize(
    ("bps", "amount", "fee"),
    [
        (60, 1999, 12),  # 11.994
        (60, 75, 0),  # 0.45
        (60, 83, 0),  # 0.498
        (50, 100, 1),  # 0.5 is rounded up
        (50, 99, 0),  # 0.495
        (50, 300, 2),  # 1.5 is rounded up, and not to even
        (50, 500, 3),  # 2.5 is rounded up, and not to even
        (0, 1_000_000, 0),
        (10_000, 7, 7),
        (60, 999_999_999_999, 6_000_000_000),
        (1, 1, 0),
    ],
)
async def test_commission_is_rounded_half_up_to_the_minor_unit(
    system: System, bps: int, amount: int, fee: int
) -> None:
    assert share(amount, bps) == fee
    async with system.shop("Commission", bps) as shop:
        payment = (await shop.pay(amount=amount)).json
        assert (payment["status"], payment["fee"]) == ("succeeded", fee)


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", 500), ("KWD", 1_005), ("EUR", 1), ("USD", 999_999_999_999)]
)
async def test_every_currency_counts_in_its_own_minor_unit(
    shop: Shop, currency: str, amount: int
) -> None:
    payment = (await shop.pay(currency=currency, amount=amount)).json
    assert (payment["currency"], payment["amount_captured"]) == (currency, amount)


OTHERS = ["GET {}", "GET {}/timeline", "POST {}/sync"]


@pytest.mark.parametrize("call", OTHERS)
async def test_another_merchants_payment_is_not_there(
    system: System, shop: Shop, call: str
) -> None:
    payment = (await shop.pay()).json
    method, _, path = call.format(f"/v1/payments/{payment['id']}").partition(" ")
    async with system.shop("Neighbour") as neighbour:
        refused(await neighbour.call(method, path), 404, "payment_not_found")
        assert (await neighbour.call("GET", "/v1/payments")).json["data"] == []
        query = f"/v1/payments?reference={payment['reference']}"
        assert (await neighbour.call("GET", query)).json["data"] == []
        query = f"/v1/ledger/entries?payment={payment['id']}"
        assert (await neighbour.call("GET", query)).json["data"] == []
        assert (await neighbour.call("GET", "/v1/events")).json["data"] == []
        assert (await neighbour.call("GET", "/v1/ledger/accounts")).json["data"] == []
    assert (await shop.call(method, path)).status == 200


@pytest.mark.parametrize("call", OTHERS)
@pytest.mark.parametrize(
    "name", [f"pay_{'0' * 32}", f"evt_{'1' * 32}", "pay_1", "1", "pay_" + "F" * 32]
)
async def test_a_payment_that_never_was(shop: Shop, call: str, name: str) -> None:
    method, _, path = call.format(f"/v1/payments/{name}").partition(" ")
    refused(await shop.call(method, path), 404, "payment_not_found", retry="never")


async def test_two_merchants_may_use_one_reference_and_one_key(system: System, shop: Shop) -> None:
    async with system.shop("Neighbour") as neighbour:
        mine = await shop.pay(reference="4711", key="k")
        theirs = await neighbour.pay(reference="4711", key="k")
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["id"] != theirs.json["id"]
    assert "Idempotent-Replayed" not in theirs.headers


async def test_what_is_null_was_not_said(shop: Shop) -> None:
    left_out = await shop.pay()
    names = ("description", "payer", "metadata", "expires_at", "return_url")
    null = await shop.pay(**dict.fromkeys(names))
    assert [null.json[name] for name in ("description", "metadata")] == [None, {}]
    assert (null.json["status"], null.json.keys()) == ("succeeded", left_out.json.keys())


async def test_a_reference_is_used_once(shop: Shop) -> None:
    first = (await shop.pay(reference="4711")).json
    second = await shop.pay(reference="4711", amount=5)
    refused(second, 409, "reference_exists", payment=first["id"], param="reference", retry="never")
    assert len((await shop.call("GET", "/v1/payments?reference=4711")).json["data"]) == 1


async def test_the_same_key_gives_the_same_answer(shop: Shop) -> None:
    asked = order(metadata={"a": "b"})
    first, second = [
        await shop.call("POST", "/v1/payments", asked, key="order-1") for _ in range(2)
    ]
    assert (second.status, second.body) == (first.status, first.body)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Request-Id"] != first.headers["Request-Id"]


async def test_a_refusal_is_repeated_too(shop: Shop) -> None:
    await shop.pay(reference="4711")
    asked = order(reference="4711")
    first, second = [await shop.call("POST", "/v1/payments", asked, key="late") for _ in range(2)]
    refused(first, 409, "reference_exists")
    assert (second.status, second.body) == (409, first.body)
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "changes"),
    [("/v1/payments", {"amount": 2000}), ("/v1/payments/{}/sync", None)],
    ids=["another body", "another path"],
)
async def test_a_key_is_for_one_request(
    shop: Shop, path: str, changes: dict[str, Any] | None
) -> None:
    asked = order()
    first = await shop.call("POST", "/v1/payments", asked, key="order-1")
    body = asked | changes if changes is not None else None
    other = await shop.call("POST", path.format(first.json["id"]), body, key="order-1")
    refused(other, 422, "idempotency_key_reused", retry="new_key")
    assert (await shop.call("POST", "/v1/payments", asked, key="order-1")).body == first.body


async def test_what_never_began_leaves_its_key_free(shop: Shop) -> None:
    refused(await shop.pay(key="order-1", currency="XXX"), 400, "field_invalid", param="currency")
    gone = await shop.call("POST", f"/v1/payments/pay_{'0' * 32}/sync", key="order-1")
    refused(gone, 404, "payment_not_found")
    assert (await shop.pay(key="order-1")).status == 201


async def test_a_key_is_for_one_request_even_when_redis_forgot_it(
    shop: Shop, redis_url: str
) -> None:
    asked = order()
    first = await shop.call("POST", "/v1/payments", asked, key="order-1")
    with redis.Redis.from_url(redis_url) as memory:
        memory.flushdb()
    other = await shop.call("POST", "/v1/payments", asked | {"amount": 2000}, key="order-1")
    refused(other, 422, "idempotency_key_reused")
    again = await shop.call("POST", "/v1/payments", asked, key="order-1")
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
