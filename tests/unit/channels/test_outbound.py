"""The outbound client against real sockets that misbehave, and the proof that no error slips by."""

import asyncio
import contextlib
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers import outbound, outbound_guard
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound
from gateway.drivers.outbound_guard import ours

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = WireRequest("GET", "/x", {}, b"")
POST = WireRequest("POST", "/x", {}, b"")


@asynccontextmanager
async def acting(script: Script) -> AsyncIterator[str]:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(act, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def saying(answer: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return script


async def sent(script: Script, request: WireRequest = GET, seconds: float = 10) -> WireAnswer:
    async with acting(script) as base_url, Outbound(answer_bytes_max=100) as outbound:
        return await outbound.send(base_url, request, seconds=seconds)


async def test_an_answer_comes_back_whole() -> None:
    answer = await sent(saying(b"HTTP/1.1 201 Created\r\nX-Kind: A\r\nContent-Length: 2\r\n\r\nok"))
    assert answer == WireAnswer(201, {"x-kind": "A", "content-length": "2"}, b"ok")


async def test_the_request_leaves_byte_for_byte_without_headers_of_the_clients_own() -> None:
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"{}"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    headers = {"X-Signature": "s", "content-type": "application/json"}
    await sent(script, WireRequest("POST", "/a%2Fb?q=%41+c", headers, b"{}"))
    line, *fields, blank, body = heard[0].split(b"\r\n")
    assert line == b"POST /a%2Fb?q=%41+c HTTP/1.1"
    names = {field.split(b":")[0].lower() for field in fields}
    assert names == {b"host", b"x-signature", b"content-type", b"content-length"}
    assert (blank, body) == (b"", b"{}")


async def test_redirects_cookies_and_compression_are_not_followed() -> None:
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(
                b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\n"
                b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw"
            )

    async with acting(script) as base_url, Outbound() as outbound:
        answers = [await outbound.send(base_url, GET, seconds=10) for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(302, b"raw")] * 2
    # Both came over one connection, and neither went elsewhere or brought the cookie back.
    assert len(heard) == 2
    assert all(request.startswith(b"GET /x ") for request in heard)
    assert all(b"cookie" not in request.lower() for request in heard)


async def test_nobody_listening_means_never_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with Outbound() as outbound:
            with pytest.raises(NeverSent):
                await outbound.send(f"http://127.0.0.1:{port}", GET, seconds=10)


async def test_waiting_in_vain_for_a_free_connection_means_never_sent() -> None:
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    async with acting(script) as base_url, Outbound(connections_max=1) as outbound:
        first = asyncio.create_task(outbound.send(base_url, GET, seconds=60))
        await asked.wait()
        with pytest.raises(NeverSent):
            await outbound.send(base_url, GET, seconds=0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silence, id="silence"),
        pytest.param(reset, id="reset"),
        pytest.param(saying(b""), id="hung up"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Le"), id="half a head"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), id="half a body"),
        pytest.param(saying(b"no HTTP at all\r\n\r\n"), id="no HTTP"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="bad chunk"
        ),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101), id="too large"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101),
            id="too large, as it said",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), id="large head"
        ),
    ],
)
async def test_what_may_have_been_heard_means_no_answer(script: Script) -> None:
    with pytest.raises(NoAnswer):
        await sent(script, POST, seconds=0.3)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"Content-Length: 2\r\n\r\nok", b"ok"),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nA: b\r\n\r\n", b"ok"),
        (b"Connection: close\r\n\r\nok", b"ok"),
        (b"Content-Length: 100\r\n\r\n" + b"x" * 100, b"x" * 100),
        (b"Content-Length: 0\r\n\r\n", b""),
    ],
    ids=["length", "chunked", "until the end", "as long as may be", "empty"],
)
@pytest.mark.parametrize("step", [1, 1000])
async def test_every_way_to_frame_an_answer_is_read(answer: bytes, body: bytes, step: int) -> None:
    whole = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: x\r\n\r\nHTTP/1.1 200 OK\r\n" + answer
    )

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(whole), step):
            writer.write(whole[start : start + step])
            await asyncio.sleep(0)

    told = await sent(script)
    assert (told.status, told.body, "l" in told.headers) == (200, body, False)


async def test_a_drip_ends_at_the_deadline() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    with pytest.raises(NoAnswer, match="TimeoutError"):
        await sent(script, seconds=0.2)


def hanging_up(*, after: int) -> tuple[Script, list[bytes]]:
    """Answer so many requests of a connection, and hang up when the next one has come."""
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(after + 1):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            if number < after:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    return script, heard


async def test_a_connection_that_ends_at_a_post_may_have_brought_it() -> None:
    script, heard = hanging_up(after=1)
    async with acting(script) as base_url, Outbound() as outbound:
        await outbound.send(base_url, POST, seconds=10)
        with pytest.raises(NoAnswer):
            await outbound.send(base_url, POST, seconds=10)
    assert len(heard) == 2


async def test_a_connection_that_ends_at_a_get_is_made_again() -> None:
    script, heard = hanging_up(after=1)
    async with acting(script) as base_url, Outbound() as outbound:
        for _ in range(2):
            assert (await outbound.send(base_url, GET, seconds=10)).status == 200
    assert len(heard) == 3


async def test_bytes_that_nobody_asked_for_are_no_answer_to_what_is_asked_next() -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        gone.set()

    async with acting(script) as base_url, Outbound() as outbound:
        await outbound.send(base_url, GET, seconds=10)
        await gone.wait()


async def test_a_request_is_begun_at_once_where_a_connection_is_free() -> None:
    """Whoever waits no more for its answer takes the connection along."""
    left = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        left.set()

    async with acting(script) as base_url, Outbound() as outbound:
        assert outbound.begin(base_url, POST, seconds=10) is None, "there is no connection yet"
        assert (await outbound.send(base_url, POST, seconds=10)).status == 200
        assert outbound.begin(base_url, GET, seconds=10) is None, "it may be sent once more"
        begun = outbound.begin(base_url, POST, seconds=10)
        assert begun is not None
        assert (await begun[0]).status == 200
        begun = outbound.begin(base_url, POST, seconds=60)
        assert begun is not None
        assert outbound.begin(base_url, POST, seconds=10) is None, "its only one is taken"
        coming, connection = begun
        connection.leave(coming)
        await left.wait()


async def test_a_caller_who_leaves_takes_its_connection_along() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()

    async with acting(script) as base_url, Outbound(connections_max=1) as outbound:
        caller = asyncio.create_task(outbound.send(base_url, GET, seconds=60))
        await asked.wait()
        waiting = asyncio.create_task(outbound.send(base_url, GET, seconds=60))
        await asyncio.sleep(0)
        caller.cancel()
        await left.wait()
        asked.clear()
        await asked.wait()  # whoever waited for room has a connection now
        waiting.cancel()
        assert await asyncio.gather(caller, waiting, return_exceptions=True)


@pytest.mark.parametrize(
    "request_",
    [
        WireRequest("GET", "/x y", {}, b""),
        WireRequest("GET", "/x\r\nA: b", {}, b""),
        WireRequest("GET", "/x", {"A": "b\nC: d"}, b""),
        WireRequest("GET", "/x", {"A\r\nB": "c"}, b""),
        WireRequest("GET", "/x", {"A": "\ud800"}, b""),
    ],
)
async def test_what_would_break_out_of_its_line_is_never_sent(request_: WireRequest) -> None:
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    with pytest.raises(NeverSent):
        await sent(script, request_)
    assert heard == []


@pytest.mark.parametrize(
    "base_url", ["", "nowhere", "ftp://127.0.0.1", "http://", "http://a:99999", "http://u:p@a"]
)
async def test_a_base_url_that_leads_nowhere_is_never_sent_to(base_url: str) -> None:
    async with Outbound() as outbound:
        with pytest.raises(NeverSent):
            await outbound.send(base_url, GET, seconds=10)


FOREIGN_ERRORS = [
    kind
    for source in (client_exceptions, http_exceptions)
    for _, kind in inspect.getmembers(source, inspect.isclass)
    if issubclass(kind, Exception) and kind is not client_exceptions.WSMessageTypeError
]
NEVER_SENT = {
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ClientProxyConnectionError",
    "ClientSSLError",
    "UnixClientConnectorError",
    "ConnectionTimeoutError",
    "InvalidURL",
    "InvalidUrlClientError",
    "InvalidUrlRedirectClientError",
    "NonHttpUrlClientError",
    "NonHttpUrlRedirectClientError",
}


@pytest.mark.parametrize("kind", [*FOREIGN_ERRORS, OSError, TimeoutError, ConnectionResetError])
def test_every_foreign_error_is_one_of_our_two(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    assert isinstance(error, outbound_guard.FOREIGN)
    assert type(ours(error)) is (NeverSent if kind.__name__ in NEVER_SENT else NoAnswer)


def test_the_list_of_foreign_errors_is_not_empty() -> None:
    assert {aiohttp.ServerDisconnectedError, http_exceptions.BadStatusLine} <= {*FOREIGN_ERRORS}
    assert {kind.__name__ for kind in FOREIGN_ERRORS} >= NEVER_SENT


async def test_a_request_that_begins_before_the_last_one_hears_its_answer_has_a_deadline() -> None:
    """Two on one connection whose deadlines lie in the same tick."""
    transport: Any = SimpleNamespace(write=lambda _: None, is_closing=lambda: False)
    transport.abort = lambda: None
    pool: Any = SimpleNamespace(put=lambda _: None)
    connection = outbound.Connection(pool, 1024)
    connection.connection_made(transport)
    due = asyncio.get_running_loop().time() + 0.01
    first = connection.ask(b"", due)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    second = connection.ask(b"", due)  # whoever waits for the first one has not heard of it yet
    assert (await first).status == 200
    async with asyncio.timeout(5):
        with pytest.raises(NoAnswer):
            await second
