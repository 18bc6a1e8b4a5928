"""The entrance: with the front or without it, what comes is served, and the end is orderly."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doors_kit import CALLERS, GRANTED, queue_of, waiting_at

from gateway.domain import limits
from gateway.domain.stages import Answer, Received
from gateway.drivers import listening
from gateway.drivers.clock import Clock
from gateway.faces.api import front as front_door
from gateway.faces.api import server
from gateway.faces.api.entrance import opened
from gateway.faces.api.pages import Page
from gateway.faces.api.server import ApiServer
from native import front

ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
UNSIGNED = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("has_front", [True, False])
async def test_what_comes_is_served_until_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_front: bool
) -> None:
    async def page() -> Page:
        return Page(200, "text/plain", b"page")

    monkeypatch.setattr(front, "COMPILED", has_front)
    desk: Any = SimpleNamespace()
    pages: Any = SimpleNamespace(find=lambda path, *_: page if path == "/healthz" else None)
    api = ApiServer(desk, pages)
    with listening.opened("127.0.0.1", 0, str(tmp_path / "door")) as doors:
        await served_until_the_end(api, doors)


async def served_until_the_end(api: ApiServer, doors: list[socket.socket]) -> None:
    address, door = (each.getsockname() for each in doors)
    port, other = (each.dup() for each in doors)  # the doors as another worker holds them
    async with asyncio.timeout(10):
        async with opened(api, doors):
            assert (queue_of(port), waiting_at(door)) == (GRANTED, CALLERS)
            reader, writer = await asyncio.open_connection(*address)
            for ways in ((reader, writer), await asyncio.open_unix_connection(door)):
                for wire, said in ((ALIVE, b"page"), (UNSIGNED, b'"code":"not_found"')):
                    ways[1].write(wire)
                    assert said in await ways[0].readuntil(said)
            ways[1].close()
            idle, _ = await asyncio.open_connection(*address)
            assert not api.draining
        assert api.draining
        assert (await idle.read(), (await reader.read())[-1:]) == (b"", b"}")
        writer.close()
    port.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    with other, socket.socket(socket.AF_UNIX) as late:
        late.connect(door)  # it is the other's as before
        other.accept()[0].close()


@contextlib.asynccontextmanager
async def entered() -> AsyncIterator[tuple[ApiServer, tuple[str, int]]]:
    """Open a house that has room for everybody; give it, and where it listens."""
    room = SimpleNamespace(refusal=lambda *_: None, let_in=lambda: None, came=lambda: None)
    desk: Any = SimpleNamespace(clock=Clock(), admission=room)
    pages: Any = SimpleNamespace(find=lambda *_: None)
    api = ApiServer(desk, pages)
    with listening.opened("127.0.0.1", 0) as doors:
        address = doors[0].getsockname()
        async with opened(api, doors):
            yield api, address


@pytest.mark.parametrize("has_front", [True, False])
@pytest.mark.parametrize("cut", [20, -2], ids=["head", "body"])
async def test_half_a_request_is_served_to_its_end(
    monkeypatch: pytest.MonkeyPatch, *, has_front: bool, cut: int
) -> None:
    async def enter(received: Received, _desk: object) -> Answer:
        return Answer(201, received.body)

    monkeypatch.setattr(front, "COMPILED", has_front)
    monkeypatch.setattr(server, "enter", enter)
    monkeypatch.setattr(front_door, "_PIECE_SECONDS", 60.0)
    wire = POST.replace(b"0", b"4") + b"body"
    async with asyncio.timeout(10):
        async with entered() as (api, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(wire[:cut])
            after, asking = await asyncio.open_connection(*address)
            asking.write(POST)
            await after.readuntil(b"\r\n\r\n")  # so what came before is read

            async def end() -> bytes:
                while not api.draining:  # noqa: ASYNC110 - it is no Event
                    await asyncio.sleep(0)
                writer.write(wire[cut:])
                return await reader.read()

            ending = asyncio.create_task(end())
        assert (await ending).endswith(b"\r\nConnection: close\r\n\r\nbody")
        writer.close()
        asking.close()


@pytest.mark.parametrize("has_front", [True, False])
async def test_who_is_slow_with_his_body_takes_none_of_our_time(
    monkeypatch: pytest.MonkeyPatch, *, has_front: bool
) -> None:
    async def enter(received: Received, _desk: object) -> Answer:
        return Answer(201, received.body)

    monkeypatch.setattr(front, "COMPILED", has_front)
    monkeypatch.setattr(server, "enter", enter)
    wishes = b"Expect: 100-continue\r\nPrefer: server-timing\r\n\r\n"
    async with asyncio.timeout(10), entered() as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST.replace(b"0", b"4").removesuffix(b"\r\n") + wishes)
        await reader.readuntil(b"100 Continue\r\n\r\n")  # from here on it is waited for
        await asyncio.sleep(0.1)
        began = time.monotonic()
        writer.write(b"body")
        answer = await reader.readuntil(b"body")
        told = float(answer.partition(b"total;dur=")[2].partition(b"\r\n")[0])
        assert told <= (time.monotonic() - began) * 1000
        writer.close()


async def refused_unread(
    address: tuple[str, int], length: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Announce a body that is too large, and read why it is refused."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(POST.replace(b"0", b"%d" % length))
    assert b'"code":"body_too_large"' in await reader.readuntil(b"}")
    return reader, writer


@pytest.mark.parametrize("has_front", [True, False])
async def test_who_was_refused_unread_and_leaves_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, *, has_front: bool
) -> None:
    monkeypatch.setattr(front, "COMPILED", has_front)
    monkeypatch.setattr(limits, "LINGER_SECONDS", 60.0)
    async with asyncio.timeout(5), entered() as (_, address):
        _, writer = await refused_unread(address, 1 << 30)
        writer.close()


@pytest.mark.parametrize("has_front", [True, False])
async def test_who_was_refused_unread_and_stays_is_soon_let_go(
    monkeypatch: pytest.MonkeyPatch, *, has_front: bool
) -> None:
    monkeypatch.setattr(front, "COMPILED", has_front)
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.05)
    async with asyncio.timeout(5), entered() as (_, address):
        reader, writer = await refused_unread(address, 1 << 30)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("has_front", [True, False])
async def test_who_sends_on_learns_why_he_is_refused_and_may_ask_again(
    monkeypatch: pytest.MonkeyPatch, *, has_front: bool
) -> None:
    monkeypatch.setattr(front, "COMPILED", has_front)
    body = b"x" * 4_000_000  # more than the kernel keeps for us
    async with asyncio.timeout(5), entered() as (_, address):
        reader, writer = await refused_unread(address, len(body))
        writer.write(body)
        await writer.drain()
        writer.write(UNSIGNED)
        assert b'"code":"not_found"' in await reader.readuntil(b"}")
        writer.close()
