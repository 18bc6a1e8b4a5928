"""Heads of plain requests: the compiled reader, its specification and aiohttp agree."""

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from front_kit import KEY
from front_kit import SIGNED as SIGNED_LINE
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from gateway.domain import limits
from native import _heads_c, _heads_py
from native._heads_py import _FIELD, HEAD_BYTES_MAX, Head

SIGNED = SIGNED_LINE.encode()
LINE = b"POST /v1/payments?a=1 HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
HEAD = LINE + HOST + b"Prefer: wait=1\r\nContent-Length: 2\r\n"
BOTH = pytest.mark.parametrize("read", [_heads_c.read, _heads_py.read])

ODD_NAMES = ["ä", "", "a b", " a", "a ", "\tx", "Content-Encoding", "UPGRADE", "expect", "Trailer"]
NAMES = [
    *("PREFER", "Server", "content-type", "A!#$%&'*+-.^_`|~z", "TE", "Content-Length", "host"),
    *("Signature-Input", "Connection", "Transfer-Encoding", "Proxy-Connection", "Keep-Alive"),
    *("Sec-WebSocket-Key1", "Cookie", "Content-Length "),
]
VALUES = [
    *("", "a", " a", "a\t b \t", ':"', "~!", "wait=3", "ä", "\x7f", "\0", "\n", "\r", "\r\n b"),
    *("close", "Keep-Alive", "keep-alive, close", "upgrade", "chunked", "0", "12", "+1", "1 2"),
    *("0000001", "999999", f'a;keyid="{KEY}"', f'keyid="{KEY[:-1]}"', f'k;keyid="kkeyid="{KEY}"'),
]
names = st.sampled_from([*NAMES, *ODD_NAMES, *(f"X-{n}" for n in range(40))])
values = st.sampled_from(VALUES) | st.text(st.characters(max_codepoint=300), max_size=6)
methods = st.sampled_from(["GET", "POST", "DELETE"])
targets = st.sampled_from(
    ["/v1/payments", "/v1/a?b=%C3%A4&c=", "/v1/", "/v1/#f", "/v1/{", "/v1/\\"]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(st.tuples(names, values), max_size=5))
    lines = "".join(
        f"{name}:{draw(st.sampled_from(['', ' ']))}{value}\r\n" for name, value in fields
    )
    wire = f"{draw(methods)} {draw(targets)} HTTP/1.1\r\nHost: y\r\n{lines}\r\n"
    return wire.encode(errors="surrogatepass")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    wire = bytearray(draw(heads()))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(wire) - 1))
        wire[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(wire[: draw(st.integers(0, len(wire)))]) if draw(st.booleans()) else bytes(wire)


def as_aiohttp_reads(wire: bytes) -> tuple[RawRequestMessage, Any]:
    async def read() -> Any:
        loop = asyncio.get_running_loop()
        room = 1 << 20  # for any length of six digits: nobody here could pause what sends
        messages, _, _ = HttpRequestParser(BaseProtocol(loop), loop, room).feed_data(wire)
        assert len(messages) == 1
        return messages[0]

    message: tuple[RawRequestMessage, Any] = asyncio.run(read())
    return message


@settings(max_examples=500)
@given(heads() | mutated() | st.binary(max_size=40))
@example(b"DELETE /v1/ HTTP/1.1\r\x00\nHost:\r\n\r\n")  # nothing stands between CR and LF
@example(b"GET /v1/ HTTP/1.1\r\nHost:\r\x00\n\r\n")
def test_both_read_the_same(wire: bytes) -> None:
    found = _heads_c.read(wire)
    event(found if isinstance(found, str) else "plain")
    assert found == _heads_py.read(wire)


@settings(max_examples=300)
@given(heads() | mutated())
@example(b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n")
def test_what_is_plain_is_what_aiohttp_reads(wire: bytes) -> None:
    head = _heads_c.read(wire)
    if isinstance(head, str):
        return
    event("plain")
    body = b"x" * head.body_bytes
    message, payload = as_aiohttp_reads(wire[: head.size] + body)
    assert (head.method, head.target) == (message.method, message.path)
    assert head.headers == message.raw_headers
    assert head.prefer == message.headers.get("Prefer", "")
    assert head.closes == message.should_close
    assert (message.upgrade, message.chunked, message.compression) == (False, False, None)
    assert payload.is_eof()
    assert payload.total_bytes == head.body_bytes


@given(heads() | mutated(), st.data())
def test_what_may_be_plain_is_waited_for(wire: bytes, data: st.DataObject) -> None:
    """A head that is read once it is whole is never found to be odd before."""
    head = _heads_c.read(wire)
    if isinstance(head, Head):
        size = data.draw(st.integers(0, head.size - 1))
        assert _heads_c.read(wire[:size]) == "more"
        assert _heads_c.read(wire[: head.size]) == head


@BOTH
def test_a_plain_head_is_read(read: Any) -> None:
    assert read(HEAD + SIGNED + b"\r\n\r\n{}rest") == Head(
        "POST",
        "/v1/payments?a=1",
        (
            (b"Host", b"x"),
            (b"Prefer", b"wait=1"),
            (b"Content-Length", b"2"),
            (b"Signature-Input", SIGNED.partition(b": ")[2]),
        ),
        "wait=1",
        KEY,
        closes=False,
        size=len(HEAD + SIGNED) + 4,
        body_bytes=2,
    )
    assert read(b"GET /v1/payments HTTP/1.1\r\nHost: x\r\n\r\n").body_bytes == 0
    assert read(HEAD + b"connection: Close\r\n\r\n").closes
    assert not read(HEAD + b"Connection: keep-alive\r\n\r\n").closes


@BOTH
@pytest.mark.parametrize("size", [0, 3, 8, 20, len(LINE), len(HEAD), len(HEAD) + 1])
def test_a_head_in_pieces_is_waited_for(read: Any, size: int) -> None:
    assert read((HEAD + b"\r\n")[:size]) == "more"


@BOTH
def test_nothing_is_no_head(read: Any) -> None:
    with pytest.raises(TypeError):
        read(None)


@BOTH
def test_a_head_has_an_end(read: Any) -> None:
    room = HEAD_BYTES_MAX - len(HEAD) - len(b"X: \r\n") + 2
    assert read(HEAD + b"X: " + b"y" * room + b"\r\n\r\n").size == HEAD_BYTES_MAX + 4
    assert read(HEAD + b"X: " + b"y" * (room + 1) + b"\r\n\r\n") == "odd"
    endless = (HEAD + b"X: ").ljust(HEAD_BYTES_MAX + 4, b"y")
    assert (read(endless[:-1]), read(endless)) == ("more", "odd")


@BOTH
@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n" + HEAD + b"\r\n",
        b"\x16\x03",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /notices/simulator HTTP/1.1\r\n",
        LINE + b"\r\n",
        HEAD.replace(b"POST", b"HEAD"),
        HEAD.replace(b"/v1", b"/v2"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n",
        HEAD.replace(b"/v1/pay", b"/v1/\xc3\xa4") + b"\r\n",
        HEAD.replace(b"Host: x", b"no colon") + b"\r\n",
        HEAD.replace(b"Host: x", b"two words: x") + b"\r\n",
        HEAD.replace(b"Host: x", b"Host : x") + b"\r\n",
        HEAD.replace(b"Host: x", b": x") + b"\r\n",
        HEAD.replace(b"Host: x", b"Host: \xc3\xa4") + b"\r\n",
        HEAD.replace(b"Host: x", b"Host: x\rX: y") + b"\r\n",
        HEAD.replace(b"Host: x\r\n", b"Host: x\nX: y\r\n") + b"\r\n",
        HEAD.replace(b"Host: x", b"Host: x\x00") + b"\r\n",
        HEAD.replace(b"Host: x", b"Host: x\r\n folded") + b"\r\n",
        HEAD.replace(b"Host", b"Toast") + b"\r\n",
        HEAD + b"host: x\r\n\r\n",
        HEAD + b"Content-Length: 2\r\n\r\n",
        HEAD + b"Content-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Expect: 100-continue\r\n\r\n",
        HEAD + b"Upgrade: websocket\r\n\r\n",
        HEAD + b"Proxy-Connection: close\r\n\r\n",
        HEAD + b"Connection: keep-alive, close\r\n\r\n",
        HEAD + b"Connection: upgrade\r\n\r\n",
        HEAD + b"Connection: close\r\nConnection: close\r\n\r\n",
        HEAD.replace(b": 2", b": 2, 2") + b"\r\n",
        HEAD.replace(b": 2", b": -2") + b"\r\n",
        HEAD.replace(b": 2", b": 1000000") + b"\r\n",
        HEAD.replace(b": 2", b":") + b"\r\n",
        HEAD + b"".join(b"X%d: y\r\n" % n for n in range(limits.HEADERS_COUNT_MAX)) + b"\r\n",
    ],
)
def test_what_needs_more_care_is_odd(read: Any, wire: bytes) -> None:
    assert read(wire) == "odd"


def test_a_line_of_blanks_is_read_in_one_pass() -> None:
    """In as many ways as it is long, and this would not end on the day on which it began."""
    blanks = b" " * 10_000_000
    assert _FIELD.search(b"\nX:" + blanks + b"\x80\r\n") is None
    found = _FIELD.search(b"\nX:" + blanks + b"\r\n")
    assert found is not None
    assert found[2] == b""
