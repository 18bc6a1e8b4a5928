"""Heads of requests: half of one is not waited for, and an absolute target is an ordinary one."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser
from aiohttp.http_parser import RawRequestMessage as Message

from gateway.faces.api.heads import HeadTimer, in_origin_form

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Impatient(HeadTimer):
    head_seconds = 0.05


class Server(web.Server):
    def __call__(self) -> Any:
        return Impatient(self, loop=self._loop, access_log=None)


async def served() -> asyncio.Server:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=request.raw_path)

    return await asyncio.get_running_loop().create_server(Server(answer), "127.0.0.1", 0)


@pytest.mark.parametrize("before", [b"", REQUEST], ids=["at first", "after a request"])
async def test_whoever_sends_half_a_head_is_cut_off(before: bytes) -> None:
    server = await served()
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(10):
        if before:
            writer.write(before)
            assert b"200 OK" in await reader.readuntil(b"/healthz")
        writer.write(REQUEST[:20])
        assert await reader.read() == b""
    writer.close()
    server.close()


async def test_a_head_in_pieces_and_a_silent_connection_are_waited_for() -> None:
    server = await served()
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    other, loud = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(10):
        writer.write(REQUEST[:20])
        writer.write(REQUEST[20:])
        assert b"200 OK" in await reader.readuntil(b"/healthz")
        loud.write(REQUEST[:20])
        assert await other.read() == b""  # by now the others' time would have come, too
        writer.write(REQUEST)
        assert b"200 OK" in await reader.readuntil(b"/healthz")
    writer.close()
    loud.close()
    server.close()


def message(target: str) -> Message:
    loop: Any = asyncio.new_event_loop()
    parser = HttpRequestParser(None, loop, 1 << 16)
    data = f"GET {target} HTTP/1.1\r\nHost: other\r\nX: 1\r\n\r\n".encode()
    ((found, _),) = parser.feed_data(data)[0]
    loop.close()
    return found


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://shop.example:8080/v1/x?a=http://b/c", "/v1/x?a=http://b/c", b"shop.example:8080"),
        ("HTTPS://shop.example/v1/%70", "/v1/%70", b"shop.example"),
        ("http://shop.example", "/", b"shop.example"),
        ("http://shop.example?a=1", "/?a=1", b"shop.example"),
        ("http://[::1]:8080/v1", "/v1", b"[::1]:8080"),
    ],
)
def test_an_absolute_target_is_taken_apart(target: str, path: str, host: bytes) -> None:
    found = in_origin_form(message(target))
    assert found.path == path
    assert found.raw_headers == ((b"X", b"1"), (b"Host", host))


@pytest.mark.parametrize("target", ["http://user@shop.example/v1", "*", "ftp://shop.example/v1"])
def test_other_targets_are_left_as_they_are(target: str) -> None:
    found = in_origin_form(message("/")._replace(path=target))
    assert (found.path, found.raw_headers[0]) == (target, (b"Host", b"other"))
