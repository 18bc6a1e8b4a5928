"""A reply is the same on the wire, whether aiohttp writes it or we do."""

import asyncio
import re

import pytest
from aiohttp import web

from gateway.faces.api.reply import JSON, Reply
from tests.fakes.transport import Wire


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("status", [200, 201, 404, 422, 503])
@pytest.mark.parametrize("more", [(), (("Retry-After", "2"), ("Allow", "GET, HEAD"))])
async def test_our_bytes_are_those_that_aiohttp_would_write(
    status: int, more: tuple[tuple[str, str], ...], *, closes: bool
) -> None:
    reply = Reply(status, JSON, "req_1", b"{}", more)

    async def serve(_request: web.BaseRequest) -> web.Response:
        response = reply.as_response()
        if closes:
            response.force_close()
        return response

    server, wire = web.Server(serve), Wire()
    protocol = server()
    protocol.connection_made(wire)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(30):
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    await server.shutdown(0)
    dates = re.compile(rb"(?<=\r\nDate: )\w{3}, \d\d \w{3} 20\d\d [\d:]{8} GMT(?=\r\n)")
    theirs, ours = (
        dates.subn(b"now", written) for written in (wire.written, reply.on_the_wire(closes=closes))
    )
    assert ours == theirs
    assert ours[1] == 1
