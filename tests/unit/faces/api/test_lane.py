"""The short lane reads a request as aiohttp reads it, or leaves it to aiohttp."""

import asyncio
from typing import Any

import pytest
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.faces.api.lane import _FIELD, Asked, read_whole

HEAD = b"POST /v1/payments?a=1 HTTP/1.1\r\nHost: x\r\nPrefer: wait=1\r\nContent-Length: 2\r\n"
NAMES = ["Host", "PREFER", "Server", "content-type", "A!#$%&'*+-.^_`|~z", "ä", "", "a b", " a"]
VALUES = ["", "a", " a", "a\t b \t", ':"', "~!", "wait=3", "ä", "\x7f", "\0", "\n", "\r"]
names = st.sampled_from(NAMES + [f"X-{n}" for n in range(40)])
values = st.sampled_from(VALUES)
targets = st.sampled_from(["/v1/payments", "/v1/a?b=%C3%A4&c=", "/v1/", "/v1/#f", "/v1/{"])


def as_aiohttp_reads(wire: bytes) -> RawRequestMessage:
    async def read() -> Any:
        loop = asyncio.get_running_loop()
        messages, _, _ = HttpRequestParser(asyncio.Protocol(), loop, 1 << 16).feed_data(wire)
        return messages[0][0]

    message: RawRequestMessage = asyncio.run(read())
    return message


def test_a_whole_request_is_read() -> None:
    assert read_whole(HEAD + b"\r\n{}", 7.0) == Asked(
        "POST",
        "/v1/payments?a=1",
        ((b"Host", b"x"), (b"Prefer", b"wait=1"), (b"Content-Length", b"2")),
        "wait=1",
        7.0,
        b"{}",
    )


@settings(max_examples=300, deadline=None)
@given(targets, st.lists(st.tuples(names, values), max_size=4))
def test_what_is_read_is_what_aiohttp_reads(target: str, headers: list[tuple[str, str]]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    wire = f"GET {target} HTTP/1.1\r\nHost: y\r\n{lines}\r\n".encode(errors="surrogatepass")
    asked = read_whole(wire, 0.0)
    if asked is None:
        return
    event("short")
    message = as_aiohttp_reads(wire)
    assert (asked.method, asked.target) == (message.method, message.path)
    assert asked.headers == message.raw_headers
    assert asked.prefer == message.headers.get("Prefer", "")


@pytest.mark.parametrize(
    "wire",
    [
        HEAD,
        HEAD.replace(b"POST", b"HEAD") + b"\r\n{}",
        HEAD.replace(b"/v1", b"/v2") + b"\r\n{}",
        HEAD.replace(b"/v1/pay", b"/v1/\xc3\xa4") + b"\r\n{}",
        HEAD.replace(b"Host: x", b"no colon") + b"\r\n{}",
        HEAD.replace(b"Host: x", b"two words: x") + b"\r\n{}",
        HEAD.replace(b"Host: x", b"Host : x") + b"\r\n{}",
        HEAD.replace(b"Host: x", b": x") + b"\r\n{}",
        HEAD.replace(b"Host: x", b"Host: \xc3\xa4") + b"\r\n{}",
        HEAD.replace(b"Host: x", b"Host: x\rX: y") + b"\r\n{}",
        HEAD.replace(b"Host: x", b"Host: x\x00") + b"\r\n{}",
        HEAD + b"host: x\r\n\r\n{}",
        HEAD.replace(b"Host", b"Toast") + b"\r\n{}",
        HEAD + b"Content-Encoding: gzip\r\n\r\n{}",
        HEAD + b"X: y\r\n" * limits.HEADERS_COUNT_MAX + b"\r\n{}",
        HEAD + b"X: " + b"y" * 8190 + b"\r\n\r\n{}",
        HEAD + b"\r\n" + b"x" * (limits.BODY_BYTES_MAX + 1),
    ],
)
def test_what_needs_more_care_goes_the_ordinary_way(wire: bytes) -> None:
    assert read_whole(wire, 0.0) is None


def test_a_line_of_blanks_is_read_in_one_pass() -> None:
    """In as many ways as it is long, and this would not end on the day on which it began."""
    blanks = b" " * 10_000_000
    assert _FIELD.search(b"\nX:" + blanks + b"\x80\r\n") is None
    found = _FIELD.search(b"\nX:" + blanks + b"\r\n")
    assert found is not None
    assert found[2] == b""
