"""Webhooks from payment to receiver through real processes, and their management by the API."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import standardwebhooks
import svix

from tests.e2e.harness import Reply, Shop, System
from tests.e2e.idempotency_kit import Witness, replayed
from tests.fakes.receiver import Got, Receiver, receiving, says

ENDPOINTS = "/v1/webhook_endpoints"


class Raw(msgspec.Struct):
    """An event of the feed whose data is left as the bytes that came."""

    id: str
    sequence: int
    type: str
    created_at: str
    data: msgspec.Raw


class Page(msgspec.Struct):
    data: list[Raw]
    next_cursor: str | None


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def listen(shop: Shop, receiver: Receiver, *events: str) -> Any:
    reply = await shop.call("POST", ENDPOINTS, {"url": receiver.url, "events": events or ["*"]})
    assert reply.status == 201, reply.body
    return reply.json


async def feed(shop: Shop) -> dict[str, Raw]:
    reply = await shop.call("GET", "/v1/events?limit=100")
    return {event.id: event for event in msgspec.json.decode(reply.body, type=Page).data}


def of_type(type_: str) -> Callable[[list[Got]], bool]:
    return lambda got: any(webhook.json["type"] == type_ for webhook in got)


async def test_a_payment_is_heard_of_and_verified_by_libraries_of_others(
    shop: Shop, receiver: Receiver
) -> None:
    endpoint = await listen(shop, receiver)
    assert endpoint["secret"].startswith("whsec_")
    payment = (await shop.pay()).json
    (got,) = await receiver.arrived(1)
    headers = dict(got.headers)
    for library in (standardwebhooks, svix):
        library.Webhook(endpoint["secret"]).verify(got.body, headers)
        with pytest.raises(library.WebhookVerificationError):
            library.Webhook(endpoint["secret"]).verify(got.body + b" ", headers)
    assert got.json["type"] == "payment.succeeded"
    assert got.json["data"] == payment | {"sequence": 1}


async def test_the_feed_equals_what_is_pushed_byte_for_byte(shop: Shop, receiver: Receiver) -> None:
    await listen(shop, receiver)
    payments = [(await shop.pay(token)).json for token in ("tok_ok", "tok_declined", "qr")]
    refund = {"reference": uuid.uuid4().hex}
    await shop.call("POST", f"/v1/payments/{payments[0]['id']}/refunds", refund)
    await receiver.until(of_type("refund.succeeded"))
    events = await feed(shop)
    assert [event.sequence for event in events.values()] == list(range(1, len(events) + 1))
    await receiver.arrived(len(events))
    assert {got.id for got in receiver.got} == set(events)
    for got in receiver.got:
        event = events[got.id]
        envelope = {"type": event.type, "timestamp": event.created_at, "data": event.data}
        assert got.body == msgspec.json.encode(envelope)
        assert got.json["data"]["sequence"] == event.sequence


async def test_the_worker_may_be_away_for_a_while(
    system: System, shop: Shop, receiver: Receiver
) -> None:
    await listen(shop, receiver)
    system.kill("work")
    for _ in range(5):
        await shop.pay()
    assert receiver.got == []
    system.start("work", "work")
    await receiver.arrived(5)
    assert sorted(got.sequence for got in receiver.got) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("redis_forgets", [False, True])
async def test_a_repeated_creation_makes_one_endpoint_and_keeps_its_secret(
    shop: Shop, receiver: Receiver, witness: Witness, *, redis_forgets: bool
) -> None:
    body = {"url": receiver.url, "events": ["payment.succeeded"]}
    first = await shop.call("POST", ENDPOINTS, body, key="once")
    if redis_forgets:
        await witness.forgets_keys(shop)
    second = await shop.call("POST", ENDPOINTS, body, key="once")
    assert (first.status, second.status) == (201, 201)
    assert (replayed(first), replayed(second)) == (False, True)
    assert second.json == {k: v for k, v in first.json.items() if k != "secret"}
    assert len((await shop.call("GET", ENDPOINTS)).json["data"]) == 1
    if redis_forgets:
        await witness.forgets_keys(shop)
    third = await shop.call("POST", ENDPOINTS, body | {"events": ["*"]}, key="once")
    assert (third.status, third.json["code"]) == (422, "idempotency_key_reused")


async def test_no_memory_of_an_answer_has_a_secret(
    shop: Shop, receiver: Receiver, witness: Witness
) -> None:
    body = {"url": receiver.url, "events": ["*"]}
    made = (await shop.call("POST", ENDPOINTS, body, key="made")).json
    path = f"{ENDPOINTS}/{made['id']}/rotate_secret"
    turned = (await shop.call("POST", path, key="turned")).json
    assert made["secret"] != turned["secret"]
    for key, answer in (("made", made), ("turned", turned)):
        kept = await witness.remembered(shop, key)
        assert kept is not None
        assert answer["id"].encode() in kept
        assert b"whsec_" not in kept


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": "http://shop.example/", "events": ["*"]}, "url"),
        ({"url": "https://10.0.0.1/", "events": ["*"]}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data", "events": ["*"]}, "url"),
        ({"url": "https://shop.example:22/", "events": ["*"]}, "url"),
        ({"url": "https://user:pass@shop.example/", "events": ["*"]}, "url"),
        ({"url": "https://2130706433/", "events": ["*"]}, "url"),
        ({"url": "https://shop.example/\0", "events": ["*"]}, "url"),
        ({"url": "", "events": ["*"]}, "url"),
        ({"url": "https://shop.example/", "events": []}, "events"),
        ({"url": "https://shop.example/", "events": ["payment.eaten"]}, "events[0]"),
        ({"url": "https://shop.example/"}, "events"),
        ({"url": "https://shop.example/", "events": ["*"], "secret": "mine"}, "secret"),
    ],
)
async def test_an_endpoint_that_cannot_be(shop: Shop, body: dict[str, Any], param: str) -> None:
    reply = await shop.call("POST", ENDPOINTS, body)
    assert (reply.status, reply.json["param"]) == (400, param)
    assert (await shop.call("GET", ENDPOINTS)).json["data"] == []


async def test_health_and_deliveries_tell_how_it_goes(shop: Shop, receiver: Receiver) -> None:
    receiver.answer = says(500)
    made = await listen(shop, receiver)
    path = f"{ENDPOINTS}/{made['id']}"
    assert (await shop.call("GET", path)).json["health"]["status"] == "untried"
    await shop.pay()
    await receiver.arrived(1)
    delivery = await _until_tried(shop, path)
    assert delivery["last_status"] == 500
    assert delivery["event"] == receiver.got[0].id
    health = (await shop.call("GET", path)).json["health"]
    assert health["status"] == "failing"
    assert health["consecutive_failures"] >= 1
    receiver.answer = says(204)
    # The first retry of the table comes after some five seconds.
    await receiver.arrived(2)
    assert len({got.id for got in receiver.got}) == 1
    await _until_tried(shop, path, "delivered")
    assert (await shop.call("GET", path)).json["health"]["status"] == "healthy"
    assert (await shop.call("GET", f"{path}/deliveries?status=dead")).json["data"] == []


async def _until_tried(shop: Shop, path: str, status: str = "pending") -> Any:
    """Wait until the one delivery has this status and the answer to its last try is kept."""
    async with asyncio.timeout(20):
        while True:
            found = (await shop.call("GET", f"{path}/deliveries?status={status}")).json["data"]
            if found and found[0]["last_tried_at"]:
                return found[0]


async def test_events_are_sent_again_on_demand(shop: Shop, receiver: Receiver) -> None:
    before = (await shop.pay()).json
    made = await listen(shop, receiver)
    await shop.pay()
    (first,) = await receiver.arrived(1)
    reply = await shop.call("POST", f"/v1/events/{first.id}/redeliver")
    assert (reply.status, reply.json["queued"]) == (200, 1)
    await receiver.arrived(2)
    assert [got.id for got in receiver.got] == [first.id] * 2
    span = {"created_after": before["created_at"]}
    reply = await shop.call("POST", f"{ENDPOINTS}/{made['id']}/redeliver", span)
    assert reply.json == {"object": "webhook_redelivery", "queued": 2, "resume_after": None}
    await receiver.arrived(4)
    assert sorted(got.sequence for got in receiver.got) == [1, 2, 2, 2]
    deliveries = f"{ENDPOINTS}/{made['id']}/deliveries?limit=1"
    newest = (await shop.call("GET", deliveries)).json
    oldest = (await shop.call("GET", f"{deliveries}&cursor={newest['next_cursor']}")).json
    assert [page["data"][0]["sequence"] for page in (newest, oldest)] == [2, 1]
    assert oldest["next_cursor"] is None


async def test_a_deleted_endpoint_hears_nothing_more(shop: Shop, receiver: Receiver) -> None:
    gone = await listen(shop, receiver)
    path = f"{ENDPOINTS}/{gone['id']}"
    reply = await shop.call("DELETE", path)
    assert reply.json == {"object": "webhook_endpoint", "id": gone["id"], "deleted": True}
    async with receiving() as other:
        await listen(shop, other)
        await shop.pay()
        await other.arrived(1)
    assert receiver.got == []
    for method, of in (("GET", ""), ("DELETE", ""), ("POST", "/enable"), ("GET", "/deliveries")):
        reply = await shop.call(method, path + of)
        assert (reply.status, reply.json["code"]) == (404, "endpoint_not_found")


async def test_what_is_not_there_is_not_found(system: System, shop: Shop) -> None:
    async with receiving() as receiver, system.shop("Other") as other:
        theirs = await listen(other, receiver)
        await other.pay()
        (got,) = await receiver.arrived(1)
        nothing = f"we_{uuid.uuid4().hex}"
        replies: list[Reply] = []
        for endpoint in (theirs["id"], nothing, "we_1", "x"):
            path = f"{ENDPOINTS}/{endpoint}"
            span = {"created_after": "2026-01-01T00:00:00Z"}
            replies += [
                await shop.call("GET", path),
                await shop.call("DELETE", path),
                await shop.call("GET", f"{path}/deliveries"),
                await shop.call("POST", f"{path}/enable"),
                await shop.call("POST", f"{path}/rotate_secret"),
                await shop.call("POST", f"{path}/redeliver", span),
            ]
        assert {(r.status, r.json["code"]) for r in replies} == {(404, "endpoint_not_found")}
        for event in (got.id, f"evt_{uuid.uuid4().hex}", "evt_1"):
            reply = await shop.call("POST", f"/v1/events/{event}/redeliver")
            assert (reply.status, reply.json["code"]) == (404, "event_not_found")
        assert (await other.call("GET", f"{ENDPOINTS}/{theirs['id']}")).status == 200


async def test_there_is_a_bound_to_endpoints(shop: Shop, receiver: Receiver) -> None:
    for _ in range(16):
        await listen(shop, receiver)
    reply = await shop.call("POST", ENDPOINTS, {"url": receiver.url, "events": ["*"]})
    assert (reply.status, reply.json["code"]) == (409, "too_many_endpoints")


@pytest.mark.parametrize(
    "span",
    [
        {},
        {"created_after": "yesterday"},
        {"created_after": "2026-01-01T00:00:00"},
        {"created_after": "2999-01-01T00:00:00Z"},
        {"created_after": "2026-01-02T00:00:00Z", "created_before": "2026-01-01T00:00:00Z"},
    ],
)
async def test_a_span_that_is_none(shop: Shop, receiver: Receiver, span: dict[str, str]) -> None:
    """The last of the fields that were given is named: it does not fit what is before it."""
    made = await listen(shop, receiver)
    reply = await shop.call("POST", f"{ENDPOINTS}/{made['id']}/redeliver", span)
    assert (reply.status, reply.json["param"]) == (400, max(span, default="created_after"))
