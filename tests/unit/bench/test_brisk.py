"""Both lean generators send the same and count the same: the compiled one and its twin."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.load.brisk import COMPILED, Brisk, generator
from bench.load.lean import Generator

MADE = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nX: y\r\ncontent-length:  0\r\n\r\n"
Make = Callable[..., Any]
# What is told of how a request ended: itself, its status, from when to when.
Heard = tuple[bytes, int, float, float]


def asking(path: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % path


@pytest.fixture(params=["compiled", "twin"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "compiled":
        assert COMPILED
        return Brisk
    return lambda url, requests, **also: Generator(url, iter(requests), **also)


@asynccontextmanager
async def serving(say: Callable[[bytes], bytes], door: Path | None = None) -> AsyncIterator[str]:
    """Answer as `say` says, on a port or at a door; nothing: hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                answer = say(head)
                if not answer:
                    return
                for piece in (answer[:20], answer[20:]):
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    if door is not None:
        async with await asyncio.start_unix_server(serve, door):
            yield f"unix://{door}"
        return
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}"


def hearing(heard: list[Heard]) -> Callable[..., None]:
    def observe(request: bytes, status: int, _body: bytes, began: float, ended: float) -> None:
        heard.append((request, status, began, ended))

    return observe


async def test_answers_are_counted_by_status_and_ends_as_broken(make: Make) -> None:
    said: list[bytes] = []

    def say(head: bytes) -> bytes:
        said.append(head)
        return (MADE, BUSY, b"")[(len(said) - 1) // 3] if len(said) <= 9 else b""

    async with serving(say) as url:
        result = await make(url, [asking(n) for n in range(99)]).closed(connections=3, seconds=0.3)
    assert (result.statuses, result.sent, result.broken) == ({201: 3, 503: 3}, 9, 3)
    assert result.latency.total == 6


async def test_a_closed_run_ends_when_there_is_nothing_left_to_ask(make: Make) -> None:
    async with serving(lambda _: MADE) as url:
        sending = make(url, [asking(n) for n in range(4)])
        async with asyncio.timeout(20):
            result = await sending.closed(connections=2, seconds=60)
    assert (result.statuses, result.sent, result.missed, sending.left) == ({201: 4}, 4, 0, [])


async def test_who_was_refused_asks_again_after_all_others(make: Make) -> None:
    asked: list[bytes] = []

    def say(head: bytes) -> bytes:
        asked.append(head[5:6])
        return BUSY if asked.count(head[5:6]) == 1 else MADE

    heard: list[Heard] = []
    times = [0.0, 0.05, 0.1, 0.15, 0.2]
    async with serving(say) as url:
        sending = make(
            url,
            [asking(n) for n in range(3)],
            observe=hearing(heard),
            again=frozenset({503}),
        )
        result = await sending.opened(iter(times), connections=2, connections_max=2)
    assert asked == [b"0", b"1", b"2", b"0", b"1"]
    assert sending.left == [asking(2)]
    assert (result.statuses, result.missed, result.broken) == ({503: 3, 201: 2}, 0, 0)
    first = heard[0][2]
    assert [began - first for _, _, began, _ in heard] == pytest.approx(times, abs=1e-6)
    assert all(ended >= began for _, _, began, ended in heard)


async def test_who_was_refused_in_a_closed_run_rests_before_it_asks_again(make: Make) -> None:
    """The others go on meanwhile, and while anything is left nobody thinks that all is asked."""
    asked: list[bytes] = []
    heard: list[Heard] = []

    def say(head: bytes) -> bytes:
        asked.append(head[5:6])
        return BUSY if asked[-1] == b"0" and asked.count(b"0") < 3 else MADE

    async with serving(say) as url:
        sending = make(
            url,
            [asking(n) for n in range(4)],
            observe=hearing(heard),
            again=frozenset({503}),
        )
        async with asyncio.timeout(20):
            result = await sending.closed(connections=2, seconds=60)
    assert sorted(asked[:4]) == [b"0", b"1", b"2", b"3"]
    assert asked[4:] == [b"0", b"0"], "what was refused comes last"
    assert (result.statuses, sending.left) == ({503: 2, 201: 4}, [])
    refused = next(each for each in heard if each[1] == 503)
    assert max(began for _, _, began, _ in heard) - refused[3] >= 0.9


async def test_what_finds_no_connection_or_has_nothing_to_ask_is_missed(make: Make) -> None:
    async with serving(lambda _: MADE) as url:
        sending = make(url, [asking(1)] * 2)
        result = await sending.opened(iter([0.0, 0.0, 0.1, 0.2]), connections=1, connections_max=1)
    assert (result.sent, result.missed, result.statuses) == (2, 2, {201: 2})
    nobody = make(url, [asking(1)] * 9)  # from now on nobody listens there
    result = await nobody.opened(iter([0.0] * 5), connections=0, connections_max=9)
    assert (result.sent, result.missed, len(nobody.left)) == (0, 5, 9)


async def test_a_connection_that_ended_is_replaced(make: Make) -> None:
    """As many end as there may be, so the last request has none but a new one."""
    async with serving(lambda head: MADE if head[5:6] == b"1" else b"") as url:
        sending = make(url, [asking(n) for n in (1, 2, 1, 2, 1, 2, 1)])
        times = iter([0.05 * n for n in range(7)])
        result = await sending.opened(times, connections=1, connections_max=3)
    assert (result.statuses, result.broken, result.missed) == ({201: 4}, 3, 0)


async def test_a_unix_socket_is_reached_as_a_port_is(make: Make, tmp_path: Path) -> None:
    async with serving(lambda _: MADE, tmp_path / "door") as url:
        closed = await make(url, [asking(n) for n in range(9)]).closed(connections=2, seconds=9)
        opened = await make(url, [asking(n) for n in range(3)]).opened(
            iter([0.0] * 3), connections=1, connections_max=3
        )
    assert (closed.statuses, opened.statuses, opened.missed) == ({201: 9}, {201: 3}, 0)


async def test_long_requests_and_answers_come_whole(make: Make) -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    wire = b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"y" * 9_000_000
    async with serving(lambda _: long) as url:
        result = await make(url, [wire] * 3).closed(connections=1, seconds=30)
    assert (result.statuses, result.sent, result.broken) == ({200: 3}, 3, 0)


async def test_what_is_compiled_sends_where_it_is_there() -> None:
    assert isinstance(generator("http://127.0.0.1:1", []), Brisk)
