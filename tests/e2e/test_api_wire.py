"""HTTP itself: methods and paths, sizes and encodings, and bytes that are no request at all."""

import asyncio
import json
import re
from collections import Counter

import pytest

from gateway.domain import limits
from tests.e2e.harness import Reply, Shop, order, until
from tests.e2e.wire import asked, connected, exchange, sent, signed, written
from tests.native.signing_client import Request, digest

UNREAD = re.compile(r'requests_total\{operation="none",status="(\d+)"\} (\S+)')
INTERNAL = re.compile(rb"aiohttp|asyncpg|Traceback|\.py|postgres|redis|/work|/tmp", re.IGNORECASE)


def refused(reply: Reply, status: int, code: str) -> None:
    problem = reply.json
    assert (reply.status, problem["code"]) == (status, code), problem
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert problem["request_id"] == reply.headers["Request-Id"]
    assert INTERNAL.search(reply.body) is None
    assert reply.headers["Server"] == "Floodgate"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/payments", {"GET", "POST"}),
        ("DELETE", "/v1/payments", {"GET", "POST"}),
        ("PATCH", f"/v1/payments/pay_{'0' * 32}", {"GET"}),
        ("GET", f"/v1/payments/pay_{'0' * 32}/sync", {"POST"}),
        ("POST", "/v1/events", {"GET"}),
        ("OPTIONS", "/v1/ledger/accounts", {"GET"}),
    ],
)
async def test_a_method_that_is_not_offered(
    shop: Shop, method: str, path: str, allow: set[str]
) -> None:
    reply = await sent(shop, signed(shop, asked(shop, method, path)))
    refused(reply, 405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"])
async def test_public_pages_are_only_for_reading(shop: Shop, path: str) -> None:
    reply = await shop.send("POST", path, b"", {})
    refused(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"] == "GET, HEAD"
    head = await exchange(
        shop.base_url, f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "HEAD"
    )
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Request-Id"].startswith("req_")


async def test_signed_calls_have_no_head(shop: Shop) -> None:
    reply = await sent(shop, signed(shop, asked(shop, "HEAD", "/v1/ledger/accounts")))
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/nothing", "/v1/payments/", "/v1/payments//timeline", "/v1//payments"),
        *("/v1/payments/../events", "/v1/%70ayments", "/v1/payments%2Fx", "/v1/Payments"),
    ],
)
async def test_a_path_that_is_not_there(shop: Shop, path: str) -> None:
    refused(await sent(shop, signed(shop, asked(shop, "GET", path))), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/", "/v2/payments", "/favicon.ico", "/v1", "/healthz/", "//v1/x"]
)
async def test_outside_there_is_nothing(shop: Shop, path: str) -> None:
    reply = await exchange(shop.base_url, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    refused(reply, 404, "not_found")


async def test_a_target_has_an_end(shop: Shop) -> None:
    path = "/v1/payments?cursor="
    longest = path + "0" * (4096 - len(path))
    refused(await sent(shop, signed(shop, asked(shop, "GET", longest))), 400, "field_invalid")
    for target in (longest + "0", "/notices/" + "0" * 4096):
        method = "GET" if target.startswith("/v1") else "POST"
        reply = await exchange(
            shop.base_url, f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        refused(reply, 400, "request_malformed")


@pytest.mark.parametrize("component", ["@path", "@target-uri"])
async def test_a_target_may_name_its_server(shop: Shop, component: str) -> None:
    request = asked(shop, "GET", "/v1/payments")
    plain = signed(shop, request, ["@method", component, "@authority"])
    named = plain._replace(target=shop.base_url + plain.target).having("Host", "elsewhere")
    assert (await sent(shop, named)).status == 200
    elsewhere = plain._replace(target="http://elsewhere" + plain.target)
    refused(await sent(shop, elsewhere), 401, "signature_malformed")
    alive = await exchange(shop.base_url, b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert alive.status == 200


async def test_nobody_learns_the_paths_without_a_signature(shop: Shop) -> None:
    for path in ("/v1/payments", "/v1/nothing"):
        refused(await shop.send("GET", path, b"", {}), 401, "signature_missing")


def padded(size: int) -> bytes:
    """Write an order of this many bytes."""
    body = json.dumps(order()).encode()
    return body + b" " * (size - len(body))


async def test_a_body_of_64_kib_is_taken_and_no_byte_more(shop: Shop) -> None:
    assert limits.BODY_BYTES_MAX == 64 * 1024
    assert (await shop.call("POST", "/v1/payments", padded(64 * 1024))).status == 201
    refused(await shop.call("POST", "/v1/payments", padded(64 * 1024 + 1)), 413, "body_too_large")


def chunked(request: Request, size: int) -> bytes:
    """Write a request in chunks of this size."""
    request = request.without("Content-Length").adding("Transfer-Encoding", "chunked")
    parts = [request.body[at : at + size] for at in range(0, len(request.body), size)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])
    return written(request._replace(body=body))


async def test_a_body_may_come_in_chunks(shop: Shop) -> None:
    request = signed(shop, asked(shop, "POST", "/v1/payments", padded(64 * 1024)))
    assert (await exchange(shop.base_url, chunked(request, 1000))).status == 201
    request = signed(shop, asked(shop, "POST", "/v1/payments", padded(64 * 1024 + 1)))
    refused(await exchange(shop.base_url, chunked(request, 1000)), 413, "body_too_large")


async def test_a_body_that_is_announced_as_too_large_is_refused_unread(shop: Shop) -> None:
    request = signed(shop, asked(shop, "POST", "/v1/payments", order()))
    head = written(request.having("Content-Length", str(1 << 30))._replace(body=b""))
    refused(await exchange(shop.base_url, head), 413, "body_too_large")


async def test_the_body_is_asked_for_where_the_client_waits(shop: Shop) -> None:
    request = signed(shop, asked(shop, "POST", "/v1/payments", order()))
    head = written(request.adding("Expect", "100-continue")._replace(body=b""))
    async with connected(shop.base_url) as wire:
        await wire.send(head)
        assert (await wire.answer()).status == 100
        await wire.send(request.body)
        assert (await wire.answer()).status == 201


async def test_a_client_that_waits_is_refused_before_it_sends_too_much(shop: Shop) -> None:
    request = signed(shop, asked(shop, "POST", "/v1/payments", padded(64 * 1024 + 1)))
    head = written(request.adding("Expect", "100-continue")._replace(body=b""))
    refused(await exchange(shop.base_url, head), 413, "body_too_large")


@pytest.mark.parametrize("coding", ["gzip", "identity", "br"])
async def test_an_encoded_body_is_refused(shop: Shop, coding: str) -> None:
    request = signed(shop, asked(shop, "POST", "/v1/payments", order()))
    reply = await sent(shop, request.adding("Content-Encoding", coding))
    refused(reply, 415, "encoding_unsupported")


async def test_one_connection_serves_many_requests(shop: Shop) -> None:
    requests = [
        signed(shop, asked(shop, "POST", "/v1/payments", order(reference=f"order-{number}")))
        for number in range(5)
    ]
    async with connected(shop.base_url) as wire:
        await wire.send(b"".join(map(written, requests)))
        replies = [await wire.answer() for _ in requests]
    assert [reply.json["reference"] for reply in replies] == [f"order-{n}" for n in range(5)]
    assert len({reply.headers["Request-Id"] for reply in replies}) == 5


async def test_an_answer_after_a_refusal_is_still_the_next_requests(shop: Shop) -> None:
    refusal = asked(shop, "POST", "/v1/payments", order())
    good = signed(shop, asked(shop, "POST", "/v1/payments", order()))
    async with connected(shop.base_url) as wire:
        await wire.send(written(refusal) + written(good))
        refused(await wire.answer(), 401, "signature_missing")
        assert (await wire.answer()).status == 201


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        b"hello\r\n\r\n",
        b"GET  /v1/payments HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \x01\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda garbage: repr(garbage[:40]),
)
async def test_bytes_that_are_no_request(shop: Shop, garbage: bytes) -> None:
    async with connected(shop.base_url) as wire:
        await wire.send(garbage + b"\r\n\r\n")
        reply = await wire.answer()
        refused(reply, 400, "request_malformed")
        assert reply.json["detail"] == "This is no HTTP request, or its head is too long."
        await wire.until_closed()


async def test_chunks_that_are_none(shop: Shop) -> None:
    request = signed(shop, asked(shop, "POST", "/v1/payments", order()))
    data = chunked(request, 100).replace(b"\r\n64\r\n", b"\r\nxx\r\n", 1)
    refused(await exchange(shop.base_url, data), 400, "request_malformed")


async def unread(shop: Shop) -> Counter[str]:
    """How many requests were never read whole, by the status that they were answered with."""
    page = (await shop.send("GET", "/metrics", b"", {})).body.decode()
    return Counter({status: int(float(count)) for status, count in UNREAD.findall(page)})


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(shop: Shop) -> None:
    request = written(signed(shop, asked(shop, "POST", "/v1/payments", order())))
    before = await unread(shop)
    for length in (1, 20, len(request) // 2, len(request) - 1):
        async with connected(shop.base_url) as wire:
            await wire.send(request[:length])

    async def is_heard() -> bool:
        return (await unread(shop))["400"] > before["400"]

    # A body that stops is the client's matter, and no failure of ours that somebody must look at.
    await until(is_heard)
    assert (await unread(shop))["500"] == before["500"]
    assert (await shop.call("GET", "/v1/payments")).json["data"] == []
    assert (await shop.pay()).status == 201


async def test_many_headers_are_refused(shop: Shop) -> None:
    request = asked(shop, "GET", "/v1/payments")
    for number in range(limits.HEADERS_COUNT_MAX):
        request = request.adding(f"X-{number}", "1")
    reply = await sent(shop, signed(shop, request))
    refused(reply, 401, "signature_malformed")


async def test_every_request_has_an_id_of_its_own(shop: Shop) -> None:
    replies = await asyncio.gather(
        shop.pay(),
        shop.call("GET", "/v1/payments"),
        shop.call("GET", "/v1/nothing"),
        *(
            shop.send("GET", path, b"", {})
            for path in ("/healthz", "/openapi.json", "/docs", "/no")
        ),
    )
    ids = [reply.headers["Request-Id"] for reply in replies]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", name) for name in ids)


async def test_the_content_type_is_not_asked_for(shop: Shop) -> None:
    body = json.dumps(order()).encode()
    request = asked(shop, "POST", "/v1/payments", body).without("Content-Type")
    assert request.value("content-digest") == f"sha-256=:{digest(body)}:"
    assert (await sent(shop, signed(shop, request))).status == 201
