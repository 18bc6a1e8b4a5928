"""The simulated acquirer's edge against raw sockets: order, bounds, and callers who leave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.channels.simulator.wire import Asked, Connection, Reply, Told

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """Says what it was asked; holds back what is under /later until it is let go."""

    def __init__(self) -> None:
        self.held: list[tuple[Asked, Reply]] = []
        self.asked = asyncio.Event()

    def answer(self, asked: Asked, reply: Reply) -> None:
        self.asked.set()
        if asked.path == "/later":
            self.held.append((asked, reply))
        elif asked.path == "/parts":
            reply(Told((b"x" * 50_000 for _ in range(100)), content_type="text/plain"))
        else:
            reply(Told(f"{asked.method} {asked.path} {asked.query} ".encode() + asked.body))


@asynccontextmanager
async def calling(echo: Echo) -> AsyncIterator[Stream]:
    everyone: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(echo.answer, everyone), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()


async def answer_of(stream: Stream) -> tuple[int, bytes]:
    head = await stream[0].readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await stream[0].readexactly(length)


async def test_requests_are_answered_in_order_however_many_came_at_once() -> None:
    echo = Echo()
    async with calling(echo) as stream:
        stream[1].write(b"GET /later HTTP/1.1\r\n\r\n")
        stream[1].write(b"POST /a%2Fb?c=%41 HTTP/1.1\r\nContent-Length: 2\r\n\r\nok" * 2000)
        await echo.asked.wait()
        ((_, reply),) = echo.held
        reply(Told(b"first"))
        assert await answer_of(stream) == (200, b"first")
        assert {await answer_of(stream) for _ in range(2000)} == {(200, b"POST /a/b c=%41 ok")}


@pytest.mark.parametrize("cut", [1, 10, 40, 50, 58])
async def test_a_request_is_read_however_it_is_cut(cut: int) -> None:
    one = b"POST /a HTTP/1.1\r\nA: b\r\nContent-Length: 2\r\n\r\nok"
    echo, whole = Echo(), one * 2 + one[:-2] + b"no"
    async with calling(echo) as stream:
        for part in (whole[:cut], whole[cut:-10], whole[-10:], one):
            echo.asked.clear()
            stream[1].write(part)
            await asyncio.sleep(0)
        told = [await answer_of(stream) for _ in range(4)]
    assert [body for _, body in told] == [b"POST /a  ok"] * 2 + [b"POST /a  no", b"POST /a  ok"]


async def test_a_body_in_parts_waits_for_a_slow_reader() -> None:
    async with calling(Echo()) as stream:
        stream[1].write(
            b"GET /parts HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        whole = await stream[0].read()
    assert whole.count(b"x" * 50_000) == 100
    assert whole.endswith(b"GET /next  ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"no HTTP at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
    ids=["no HTTP", "two lengths"],
)
async def test_what_is_no_request_is_refused(request_: bytes, status: int) -> None:
    echo = Echo()
    async with calling(echo) as stream:
        stream[1].write(request_)
        assert (await answer_of(stream))[0] == status
        assert await stream[0].read() == b""
    assert not echo.asked.is_set()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000,
        b"GET / HTTP/1.1\r\nA: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 400_000,
    ],
    ids=["body", "head", "endless head"],
)
async def test_too_much_ends_the_connection_and_is_not_asked(request_: bytes) -> None:
    echo = Echo()
    async with calling(echo) as stream:
        stream[1].write(request_)
        # A reset may overtake the refusal, because we are still sending.
        with contextlib.suppress(ConnectionError):
            assert (await stream[0].read()).startswith(b"HTTP/1.1 4")
    assert not echo.asked.is_set()


async def test_an_answer_for_a_caller_who_left_goes_nowhere() -> None:
    echo = Echo()
    async with calling(echo) as stream:
        stream[1].write(b"GET /later HTTP/1.1\r\n\r\n")
        await echo.asked.wait()
        stream[1].transport.abort()
        ((_, reply),) = echo.held
        await asyncio.sleep(0)
        reply(Told(b"too late"))
        reply(None)
