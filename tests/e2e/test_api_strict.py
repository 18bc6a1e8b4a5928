"""What a request may say: unknown, doubled, mistyped and oversized input is refused by name."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.domain import limits
from tests.e2e.harness import Reply, Shop, System, order
from tests.e2e.wire import asked, exchange, sent, signed

CARD = "4111111111111111"


def refused(reply: Reply, code: str, param: str | None = None) -> None:
    problem = reply.json
    assert (reply.status, problem["code"], problem.get("param")) == (400, code, param), problem
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Request-Id"] == problem["request_id"]


def soon(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown field": ({"tip": 1}, "field_unknown", "tip"),
    "an unknown field of the method": (
        {"method": {"type": "card", "token": "tok_ok", "cvc": "123"}},
        "field_unknown",
        "method.cvc",
    ),
    "an unknown field of the payer": ({"payer": {"ssn": "1"}}, "field_unknown", "payer.ssn"),
    "a float": ({"amount": 19.99}, "field_invalid", "amount"),
    "a float that is whole": ({"amount": 20.0}, "field_invalid", "amount"),
    "a string for a number": ({"amount": "1999"}, "field_invalid", "amount"),
    "a truth for a number": ({"amount": True}, "field_invalid", "amount"),
    "nothing": ({"amount": 0}, "field_invalid", "amount"),
    "less than nothing": ({"amount": -1}, "field_invalid", "amount"),
    "too much": ({"amount": limits.AMOUNT_MINOR_MAX + 1}, "field_invalid", "amount"),
    "more than 64 bits": ({"amount": 1 << 80}, "field_invalid", "amount"),
    "null where a value must stand": ({"reference": None}, "field_invalid", "reference"),
    "a small currency": ({"currency": "cny"}, "field_invalid", "currency"),
    "no currency of ISO 4217": ({"currency": "XXX"}, "field_invalid", "currency"),
    "an empty reference": ({"reference": ""}, "field_invalid", "reference"),
    "a long reference": ({"reference": "r" * 65}, "field_invalid", "reference"),
    "a reference with a zero byte": ({"reference": "a\0b"}, "field_invalid", "reference"),
    "a reference of two lines": ({"reference": "a\n"}, "field_invalid", "reference"),
    "a number as reference": ({"reference": 4711}, "field_invalid", "reference"),
    "no such method": ({"method": {"type": "cash"}}, "field_invalid", "method.type"),
    "a method as a word": ({"method": "card"}, "field_invalid", "method"),
    "a card number": ({"method": {"type": "card", "token": CARD}}, "field_invalid", "method.token"),
    "a long token": (
        {"method": {"type": "card", "token": "tok_" + "a" * 61}},
        "field_invalid",
        "method.token",
    ),
    "no such capture": ({"capture": "later"}, "field_invalid", "capture"),
    "a long description": ({"description": "d" * 256}, "field_invalid", "description"),
    "21 metadata pairs": (
        {"metadata": {str(n): "" for n in range(21)}},
        "field_invalid",
        "metadata",
    ),
    "a number in the metadata": ({"metadata": {"a": 1}}, "field_invalid", "metadata[...]"),
    "a long metadata value": ({"metadata": {"a": "v" * 501}}, "field_invalid", "metadata[...]"),
    "a time without offset": (
        {"expires_at": "2030-01-01T00:00:00"},
        "field_invalid",
        "expires_at",
    ),
    "an end in the past": ({"expires_at": soon(seconds=-1)}, "field_invalid", "expires_at"),
    "an end in eight days": ({"expires_at": soon(days=8)}, "field_invalid", "expires_at"),
    "an end before all time": (
        {"expires_at": "0001-01-01T00:00:00+23:00"},
        "field_invalid",
        "expires_at",
    ),
    "a link of no kind": ({"return_url": "javascript:alert(1)"}, "field_invalid", "return_url"),
}


@pytest.mark.parametrize(("changes", "code", "param"), WRONG.values(), ids=WRONG)
async def test_a_wrong_field_is_named(
    shop: Shop, changes: dict[str, Any], code: str, param: str
) -> None:
    refused(await shop.call("POST", "/v1/payments", order() | changes), code, param)


@pytest.mark.parametrize("field", ["amount", "currency", "reference", "method"])
async def test_a_missing_field_is_named(shop: Shop, field: str) -> None:
    body = {name: value for name, value in order().items() if name != field}
    refused(await shop.call("POST", "/v1/payments", body), "field_missing", field)


def text(**changes: Any) -> bytes:
    return json.dumps(order(**changes)).encode()


MANGLED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "no JSON": (lambda: b"amount=1999", "json_malformed", "body"),
    "no object": (lambda: b"[]", "field_invalid", "body"),
    "NaN": (lambda: text().replace(b"1999", b"NaN"), "json_malformed", "amount"),
    "a tail": (lambda: text() + b"x", "json_malformed", "body"),
    "two objects": (lambda: text() * 2, "json_malformed", "body"),
    "half an object": (lambda: text()[:-1], "json_malformed", "body"),
    "no UTF-8": (
        lambda: text(reference="ab").replace(b"ab", b"\xc3\x28"),
        "json_malformed",
        "body",
    ),
    "a byte order mark": (lambda: b"\xef\xbb\xbf" + text(), "json_malformed", "body"),
    "half a surrogate pair": (
        lambda: text(reference="ab").replace(b"ab", b"\\ud800"),
        "json_malformed",
        "body",
    ),
    "a field twice": (
        lambda: text().replace(b"{", b'{"amount": 1, ', 1),
        "field_invalid",
        "amount",
    ),
    "a metadata key twice": (
        lambda: text(metadata={"a": "1"}).replace(b'"a": "1"', b'"a": "1", "a": "1"'),
        "field_invalid",
        "metadata.a",
    ),
    "ten thousand brackets": (lambda: b"[" * 10_000, "field_invalid", "body"),
    "a number with an exponent": (
        lambda: text().replace(b"1999", b"2e3"),
        "field_invalid",
        "amount",
    ),
    "a number of five thousand digits": (
        lambda: text().replace(b"1999", b"9" * 5_000),
        "field_invalid",
        "amount",
    ),
}


@pytest.mark.parametrize(("body", "code", "param"), MANGLED.values(), ids=MANGLED)
async def test_a_body_is_one_json_object(
    shop: Shop, body: Callable[[], bytes], code: str, param: str
) -> None:
    refused(await shop.call("POST", "/v1/payments", body()), code, param)


async def test_an_empty_body_misses_its_fields(shop: Shop) -> None:
    refused(await shop.call("POST", "/v1/payments"), "field_missing", "amount")


async def test_sync_takes_no_field(shop: Shop) -> None:
    path = f"/v1/payments/{(await shop.pay()).json['id']}/sync"
    refused(await shop.call("POST", path, {"force": True}), "field_unknown", "force")
    refused(await shop.call("POST", f"{path}?force=1", {}), "field_unknown", "force")


QUERIES: dict[str, tuple[str, str, str | None]] = {
    "/v1/payments?colour=red": ("an unknown name", "field_unknown", "colour"),
    "/v1/payments?limit=0": ("no item", "field_invalid", "limit"),
    "/v1/payments?limit=101": ("too many", "field_invalid", "limit"),
    "/v1/payments?limit=ten": ("a word", "field_invalid", "limit"),
    "/v1/payments?limit=1.5": ("a half", "field_invalid", "limit"),
    "/v1/payments?limit=": ("nothing", "field_invalid", "limit"),
    "/v1/payments?limit=1&limit=2": ("a name twice", "field_invalid", "limit"),
    "/v1/payments?status=paid": ("no such status", "field_invalid", "status"),
    "/v1/payments?reference=": ("an empty reference", "field_invalid", "reference"),
    "/v1/payments?reference=%00": ("a zero byte", "field_invalid", "reference"),
    "/v1/payments?reference=%ff": ("no UTF-8", "request_malformed", None),
    "/v1/payments?created_after=yesterday": ("no time", "field_invalid", "created_after"),
    "/v1/payments?created_after=2026-01-01T00:00:00": (
        "a time without offset",
        "field_invalid",
        "created_after",
    ),
    "/v1/payments?created_before=0001-01-01T00:00:00%2B23:00": (
        "a time before all time",
        "field_invalid",
        "created_before",
    ),
    "/v1/payments?created_after=9999-12-31T23:59:59-23:00": (
        "a time after all time",
        "field_invalid",
        "created_after",
    ),
    "/v1/payments?cursor=1": ("a cursor of nobody", "field_invalid", "cursor"),
    "/v1/payments?cursor=evt_00000000000000000000000000000000": (
        "a cursor of another list",
        "field_invalid",
        "cursor",
    ),
    "/v1/payments?&": ("an empty pair", "request_malformed", None),
    "/v1/ledger/entries?cursor=1": ("a short cursor", "field_invalid", "cursor"),
    f"/v1/ledger/entries?cursor={'0' * 32}.99999.0": (
        "a leg that cannot be",
        "field_invalid",
        "cursor",
    ),
    f"/v1/ledger/entries?cursor={'0' * 31}_.0.0": (
        "a journal that cannot be",
        "field_invalid",
        "cursor",
    ),
    "/v1/ledger/entries?account=2201": ("half an account", "field_invalid", "account"),
    "/v1/ledger/entries?account=2201.XXX": ("no currency", "field_invalid", "account"),
    "/v1/ledger/entries?account=1121.moon.CNY": ("no channel", "field_invalid", "account"),
    "/v1/ledger/entries?payment=1": ("no payment's id", "field_invalid", "payment"),
    "/v1/events?after=-1": ("before the beginning", "field_invalid", "after"),
    f"/v1/events?after={1 << 64}": ("more than 64 bits", "field_invalid", "after"),
    "/v1/events?limit=1000": ("too many events", "field_invalid", "limit"),
    "/v1/ledger/accounts?limit=1": ("a query where none is taken", "field_unknown", "limit"),
}


@pytest.mark.parametrize(
    ("target", "code", "param"),
    [pytest.param(t, code, param, id=name) for t, (name, code, param) in QUERIES.items()],
)
async def test_a_wrong_query_is_named(
    shop: Shop, target: str, code: str, param: str | None
) -> None:
    refused(await sent(shop, signed(shop, asked(shop, "GET", target))), code, param)


@pytest.mark.parametrize("key", ["k", "k" * 255, "!~", 'a"b', "order:4711/1"])
async def test_a_key_in_quotes_and_bare_is_one_key(shop: Shop, key: str) -> None:
    body = order()
    first = await shop.call("POST", "/v1/payments", body, key=key)
    assert first.status == 201, first.body
    second = await bare(shop, body, key)
    assert (second.status, second.body) == (201, first.body)
    assert second.headers["Idempotent-Replayed"] == "true"


async def bare(shop: Shop, body: Any, key: str | None) -> Reply:
    """Send a payment whose key stands without quotes, or is not there."""
    request = asked(shop, "POST", "/v1/payments", body).without("Idempotency-Key")
    if key is not None:
        request = request.adding("Idempotency-Key", key)
    return await sent(shop, signed(shop, request))


async def test_a_post_without_a_key(shop: Shop) -> None:
    refused(await bare(shop, order(), None), "idempotency_key_missing")


@pytest.mark.parametrize("key", ["k" * 256, "a b", '""', '"a b"', ""])
async def test_a_key_that_is_none(shop: Shop, key: str) -> None:
    refused(await bare(shop, order(), key), "idempotency_key_invalid")


async def test_a_card_number_is_neither_answered_nor_logged(system: System, shop: Shop) -> None:
    method = {"type": "card", "token": CARD}
    replies = [
        await shop.pay(method=method),
        await shop.call("POST", "/v1/payments", order() | {CARD: 1}),
        await shop.call("POST", "/v1/payments", order(metadata={CARD: 1})),
        await shop.call("POST", "/v1/payments", order(payer={CARD: 1})),
        await shop.call("GET", f"/v1/payments/{CARD}"),
        await shop.call("GET", f"/v1/payments?reference=1&{CARD}=1"),
        await shop.call("GET", f"/v1/payments?reference=1&cursor={CARD}"),
        await shop.call("GET", f"/v1/{CARD}"),
        await shop.send("GET", f"/v1/{CARD}", b"", {}),
        await exchange(shop.base_url, f"GET /{CARD} {CARD}\r\n\r\n".encode()),
        await exchange(shop.base_url, f"GET / HTTP/1.1\r\n{CARD}\r\n\r\n".encode()),
    ]
    for reply in replies:
        assert 400 <= reply.status < 500, reply
        assert CARD.encode() not in reply.body
        assert CARD not in str(reply.headers)
    metrics = await shop.send("GET", "/metrics", b"", {})
    assert CARD.encode() not in metrics.body
    for log in system.folder.glob("*.log"):
        assert CARD not in log.read_text()
