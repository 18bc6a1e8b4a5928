"""The outbound client against real sockets that misbehave, and the proof that no error slips by."""

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers import outbound as module
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound, ours

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = WireRequest("GET", "/x", {}, b"")


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
            saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), id="large head"
        ),
    ],
)
async def test_what_may_have_been_heard_means_no_answer(script: Script) -> None:
    request = WireRequest("POST", "/x", {}, b"")
    with pytest.raises(NoAnswer):
        await sent(script, request, seconds=0.3)


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
    assert isinstance(error, module.FOREIGN)
    assert type(ours(error)) is (NeverSent if kind.__name__ in NEVER_SENT else NoAnswer)


def test_the_list_of_foreign_errors_is_not_empty() -> None:
    assert {aiohttp.ServerDisconnectedError, http_exceptions.BadStatusLine} <= {*FOREIGN_ERRORS}
    assert {kind.__name__ for kind in FOREIGN_ERRORS} >= NEVER_SENT
