"""Signed requests as the bytes that go over the wire, made before a run is timed."""

import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any

import msgspec

from gateway.signing import Credentials, Unsigned, sign

CARD_OK: Mapping[str, str] = {"type": "card", "token": "tok_ok"}
_encode = msgspec.json.Encoder().encode


def payments(
    credentials: Credentials, host: str, method: Mapping[str, str] = CARD_OK
) -> Iterator[bytes]:
    """Sign new payments without end, each with its own key and reference; `host` has its port.

    A signature is good for 300 seconds, so take no more than what is sent within that time.
    """
    for name, order in orders(method):
        request = Unsigned("POST", "/v1/payments", _encode(order), idempotency_key=name)
        yield on_the_wire(request, sign(request, credentials, datetime.now(UTC)), host)


def batches(credentials: Credentials, host: str, items: int) -> Iterator[bytes]:
    """Sign batches of so many of the same payments, each item with its own key."""
    wanted = orders(CARD_OK)
    while True:
        body = [{"idempotency_key": name} | order for name, order in islice(wanted, items)]
        key = str(body[0]["idempotency_key"]) + "-batch"
        request = Unsigned("POST", "/v1/payments/batch", _encode({"payments": body}), key)
        yield on_the_wire(request, sign(request, credentials, datetime.now(UTC)), host)


def orders(method: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give orders without end, each with a name that nothing had before."""
    run = secrets.token_hex(6)
    for number in count(1):
        name = f"load-{run}-{number}"
        yield (
            name,
            {
                "amount": 100 + number % 90_000,
                "currency": "CNY",
                "reference": name,
                "method": method,
                "description": "Two tickets for the late show, row seven",
                "payer": {"id": f"customer-{number % 5000}", "ip": "203.0.113.7"},
                "metadata": {"cart": "c-55120931", "campaign": "flash-sale"},
            },
        )


def on_the_wire(request: Unsigned, headers: Mapping[str, str], host: str) -> bytes:
    """Write one request as HTTP/1.1."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if request.body:
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join((*lines, "", "")).encode() + request.body


def echoes(host: str) -> Iterator[bytes]:
    """Give one JSON object without end: what the echo server is asked."""
    body: dict[str, Any] = {"amount": 1999, "currency": "CNY", "method": CARD_OK, "items": [1, 2]}
    request = Unsigned("POST", "/", _encode(body))
    wire = on_the_wire(request, {"Content-Type": "application/json"}, host)
    while True:
        yield wire
