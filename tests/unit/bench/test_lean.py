"""The lean generator counts every answer, every broken connection and every start it missed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat

import pytest

from bench.load.histogram import Histogram
from bench.load.lean import Generator

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 1.0])
def test_a_percentile_is_right_to_two_hundredths(share: float) -> None:
    histogram = Histogram().add([Histogram(), Histogram()])
    for microseconds in range(100_001):
        histogram.record(microseconds)
    assert histogram.percentile(share) == pytest.approx(share * 100_000, rel=0.02)
    assert (histogram.total, histogram.highest) == (100_001, 100_000)


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """Give these answers on each connection, in order, then hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer[:20])
                await writer.drain()
                writer.write(answer[20:])
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_answers_are_counted_by_status_and_ends_as_broken() -> None:
    made = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
    async with answering(made, busy, b"") as base_url:
        result = await Generator(base_url, repeat(REQUEST)).closed(connections=3, seconds=0.2)
    assert (result.statuses, result.sent, result.broken) == ({201: 3, 503: 3}, 9, 3)


async def test_an_arrival_that_gets_no_connection_is_missed() -> None:
    async with answering() as base_url:
        pass  # from now on nobody listens there
    generator = Generator(base_url, repeat(REQUEST))
    result = await generator.opened(iter([0.0] * 5), connections=0, connections_max=9)
    assert (result.missed, result.sent, result.answered) == (5, 0, 0)


async def test_whoever_wakes_late_was_late() -> None:
    made = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    async with answering(made) as base_url:
        generator = Generator(base_url, repeat(REQUEST))
        result = await generator.opened(iter([0.01]), connections=1, connections_max=1)
    assert (result.sent, result.statuses) == (1, {201: 1})
    assert result.late_seconds > 0, "nobody wakes at the very microsecond"


async def test_a_missed_start_takes_its_request_with_it_where_somebody_asks_for_it() -> None:
    first, second, third = (b"GET /%d HTTP/1.1\r\n\r\n" % number for number in (1, 2, 3))
    missed: list[bytes] = []
    both_missed = asyncio.Event()
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        await both_missed.wait()
        writer.write(b"HTTP/1.1 204 Done\r\n\r\n")
        await reader.read()
        writer.close()

    def miss(request: bytes) -> None:
        missed.append(request)
        if len(missed) == 2:
            both_missed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        generator = Generator(base_url, iter([first, second, third]), missed=miss)
        result = await generator.opened(iter([0.0] * 3), connections=1, connections_max=1)
    assert (heard, missed) == ([first], [second, third])
    assert (result.sent, result.missed, result.statuses) == (1, 2, {204: 1})


async def test_who_loses_patience_may_ask_again_beside_the_schedule() -> None:
    again = b"GET /again HTTP/1.1\r\n\r\n"
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readuntil(b"\r\n\r\n") == again:
            writer.write(b"HTTP/1.1 204 Done\r\n\r\n")
        await reader.read()
        writer.close()

    def observe(request: bytes, status: int, *_: object) -> None:
        heard.append((request, status))
        if not status:
            generator.later(0.01, again)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        generator = Generator(base_url, repeat(REQUEST), observe=observe, patience_seconds=0.5)
        result = await generator.opened(iter([0.0]), connections=1, connections_max=2)
    assert heard == [(REQUEST, 0), (again, 204)]
    assert (result.sent, result.broken, result.statuses) == (2, 1, {204: 1})


async def test_a_closed_run_ends_when_there_is_nothing_left_to_ask() -> None:
    made = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    async with answering(made, made, made) as base_url:
        result = await Generator(base_url, iter([REQUEST] * 4)).closed(connections=2, seconds=60)
    assert (result.statuses, result.sent) == ({201: 4}, 4)
    assert result.seconds < 60
