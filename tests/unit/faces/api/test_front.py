"""The front door and the house behind it: what comes is answered, whoever answers it."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admission.rules import Kind
from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.domain.stages import Answer, Received
from gateway.drivers.clock import Clock
from gateway.faces.api import server
from gateway.faces.api.front import FrontDoor
from gateway.faces.api.pages import Page
from gateway.faces.api.server import ApiServer
from tests.native.front_kit import KEY, SIGNED, request_of

CHANCE = re.compile(rb"(?<=req_)[0-9a-f]{24}|(?<=\r\nDate: )[^\r]+")


class Flow:
    """Stands in for the flow: it answers once it may, with the body it was sent."""

    def __init__(self) -> None:
        self.entered: list[Received] = []
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = 0

    async def enter(self, received: Received, _desk: object) -> Answer:
        self.entered.append(received)
        self.has_begun.set()
        await self.may_end.wait()
        self.ended += 1
        return Answer(201, received.body)


class Admission:
    """Refuses these kinds, with so many `spared`; counts who was let in and is not served yet."""

    def __init__(self) -> None:
        self.full: set[Kind] = set()
        self.merchants: list[str | None] = []
        self.coming = self.spared = 0
        self.told: Counter[tuple[Kind, str]] = Counter()

    def refusal(self, kind: Kind, merchant: str | None) -> Refused | None:
        self.merchants.append(merchant)
        return Refused("full", 2) if kind in self.full else None

    def spare(self, _kind: Kind, _merchant: str | None) -> int:
        return self.spared

    def let_in(self) -> None:
        self.coming += 1

    def came(self) -> None:
        self.coming -= 1

    def count(self, kind: Kind, outcome: str, requests: int) -> None:
        self.told[kind, outcome] += requests


@pytest.fixture
async def flow(monkeypatch: pytest.MonkeyPatch) -> Flow:
    flow = Flow()
    monkeypatch.setattr(server, "enter", flow.enter)
    return flow


@pytest.fixture
def admission() -> Admission:
    return Admission()


@pytest.fixture
async def api(admission: Admission) -> ApiServer:
    async def page() -> Page:
        return Page(200, "text/plain", b"page")

    verify = SimpleNamespace(named=lambda key_id: f"merchant of {key_id}")
    desk: Any = SimpleNamespace(admission=admission, clock=Clock(), verify=verify)
    pages: Any = SimpleNamespace(find=lambda path, *_: page if path == "/healthz" else None)
    return ApiServer(desk, pages)


class Street:
    """A door, and who comes to it."""

    def __init__(self, api: ApiServer) -> None:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        self.address = listening.getsockname()
        self.door = FrontDoor(api, [listening], connections_max=64)
        self.writers: list[asyncio.StreamWriter] = []
        self._has_ended = False

    async def comes(self, wire: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        self.writers.append(writer)
        writer.write(wire)
        return reader, writer

    async def end(self, seconds: float = 10) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        await self.door.close()
        await self.door.finish(seconds)


@pytest.fixture
async def street(api: ApiServer, flow: Flow) -> AsyncIterator[Street]:
    street = Street(api)
    yield street
    flow.may_end.set()
    api.draining = True
    await street.end()
    for writer in street.writers:  # not before: who goes away does not read what he was answered
        writer.close()
    await api.shutdown(1)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a thread sets no Event
            await asyncio.sleep(0.001)


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        return head + await reader.readexactly(int(length[1]))


async def test_a_request_is_answered_and_the_next_one_is_too(
    street: Street, flow: Flow, admission: Admission
) -> None:
    flow.may_end.set()
    reader, writer = await street.comes(b"")
    for body in (b"one", b"two"):
        writer.write(request_of("/v1/payments", body, "Prefer: server-timing", SIGNED))
        written = await answer(reader)
        assert written.startswith(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n")
        assert b"\r\nServer-Timing: total;dur=" in written
        assert written.endswith(b"\r\n\r\n" + body)
    assert [received.body for received in flow.entered] == [b"one", b"two"]
    assert {received.kept_for for received in flow.entered} == {KEY}
    assert admission.merchants == [f"merchant of {KEY}"] * 2
    assert admission.coming == 0


async def test_while_there_is_no_room_requests_are_refused_unread(
    street: Street, flow: Flow, admission: Admission
) -> None:
    admission.full = {Kind.CREATE}
    flow.may_end.set()
    create, read = request_of("/v1/payments", b"{}", SIGNED), request_of("/v1/payments")
    reader, writer = await street.comes(create + create + read + create)
    answers = [await answer(reader) for _ in range(4)]
    assert [written[9:12] for written in answers] == [b"503", b"503", b"201", b"503"]
    assert b"\r\nRetry-After: 2\r\n" in answers[0]
    assert b'"code":"overloaded"' in answers[0]
    ids = {re.search(rb"Request-Id: (req_\w+)", written)[1] for written in answers}  # type: ignore[index]
    assert len(ids) == 4
    assert [received.method for received in flow.entered] == ["GET"]
    assert (admission.told[Kind.CREATE, "full"], admission.coming) == (3, 0)
    writer.write(request_of("/v1/payments", b"{}", "Connection: close"))
    assert b"\r\nConnection: close\r\n" in await reader.read()


async def test_many_that_come_at_once_are_refused_together(
    street: Street, flow: Flow, admission: Admission
) -> None:
    admission.full = {Kind.CREATE}
    loop, door = asyncio.get_running_loop(), street.door
    loop.remove_reader(door._front.bell)
    wire = request_of("/v1/payments", b"{}", SIGNED)
    callers = await asyncio.gather(*(street.comes(wire) for _ in range(50)))
    requests: list[Any] = []

    def all_came() -> bool:
        requests.extend(door._front.take()[0])
        return len(requests) == 50

    await until(all_came)
    door._meet(requests)
    loop.add_reader(door._front.bell, door._look)
    for reader, _ in callers:
        assert (await answer(reader)).startswith(b"HTTP/1.1 503 ")
    assert admission.told[Kind.CREATE, "full"] == 50
    assert admission.merchants == [f"merchant of {KEY}"], "it is asked once for all"
    assert not flow.entered


async def test_a_flood_on_one_connection_is_answered_in_order_and_counted(
    street: Street, flow: Flow, admission: Admission
) -> None:
    admission.full = {Kind.CREATE}
    flow.may_end.set()
    flood = request_of("/v1/payments", b"{}", SIGNED) * 200
    many = await asyncio.gather(*(street.comes(flood) for _ in range(4)))
    reader, _ = await street.comes(request_of("/v1/payments", b"{}", "Prefer: wait=1"))
    for flooded, _ in many:
        for _ in range(200):
            assert (await answer(flooded)).startswith(b"HTTP/1.1 503 ")
    assert (await answer(reader)).startswith(b"HTTP/1.1 503 ")
    await until(lambda: admission.told[Kind.CREATE, "full"] >= 801)
    assert admission.told[Kind.CREATE, "full"] == 801
    admission.spared = 1
    reader, writer = many[0]
    said = b""
    while not said.startswith(b"HTTP/1.1 201 "):  # it has its seat, though all are taken again
        writer.write(request_of("/v1/payments", b"{}", SIGNED))
        said = await answer(reader)
    await until(lambda: not street.door._standing)


async def test_who_goes_away_leaves_the_flow_to_its_end(street: Street, flow: Flow) -> None:
    _, writer = await street.comes(request_of("/v1/payments", b"{}"))
    await flow.has_begun.wait()
    writer.transport.abort()
    leaving = asyncio.create_task(street.end())
    await street.door._quiet.wait()
    await asyncio.sleep(0)
    assert not leaving.done(), "what began is waited for"
    flow.may_end.set()
    await leaving
    assert flow.ended == 1


async def test_a_door_that_closes_answers_first_and_says_so(
    street: Street, flow: Flow, api: ApiServer
) -> None:
    reader, writer = await street.comes(request_of("/v1/payments", b"{}"))
    idle, _ = await street.comes(b"")
    await flow.has_begun.wait()
    api.draining = True
    leaving = asyncio.create_task(street.end())
    assert await idle.read() == b""
    flow.may_end.set()
    writer.write(request_of("/v1/payments", b"second"))
    assert b"\r\nConnection: close\r\n\r\n{}" in await reader.readuntil(b"{}")
    await leaving
    assert len(flow.entered) == 1, "nothing begins on a connection that ends"
    with pytest.raises(ConnectionRefusedError):
        await street.comes(b"")


async def test_what_does_not_end_in_time_is_cut_off_without_an_answer(
    street: Street, flow: Flow
) -> None:
    reader, _ = await street.comes(request_of("/v1/payments", b"{}"))
    await flow.has_begun.wait()
    await street.end(0.01)
    assert (await reader.read(), flow.ended) == (b"", 0)


async def test_half_a_request_is_served_to_its_end_when_the_door_closes(
    street: Street, flow: Flow, api: ApiServer
) -> None:
    wire = request_of("/v1/payments", b"body")
    reader, writer = await street.comes(wire[:-2])
    api.draining = True
    await street.door.close()
    flow.may_end.set()
    writer.write(wire[-2:])
    assert (await reader.read()).endswith(b"\r\nConnection: close\r\n\r\nbody")


async def test_half_a_head_that_was_handed_over_is_cut_off(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._Protocol, "head_seconds", 0.01)
    reader, _ = await street.comes(b"GET /heal")
    assert await reader.read() == b""


async def test_a_front_that_becomes_quiet_while_it_is_looked_at_is_heard(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rings no more then."""
    quiet = SimpleNamespace(is_quiet=False, refused=tuple)

    def take() -> tuple[list[Any], list[Any]]:
        quiet.is_quiet = True
        return [], []

    quiet.take = take
    with monkeypatch.context() as context:
        context.setattr(street.door, "_front", quiet)
        street.door._look()
    assert street.door._quiet.is_set()


async def test_a_look_that_fails_forgets_nothing_that_came(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    came = SimpleNamespace(
        is_quiet=True, take=lambda: ([1], [(1 << 20, b"")]), left=lambda: left.append(1)
    )
    with monkeypatch.context() as context:
        context.setattr(street.door, "_front", came)
        context.setattr(street.door, "_meet", None)
        with pytest.raises(TypeError):
            street.door._look()
        await street.door.hand_over()
    assert left == [1]
    assert street.door._quiet.is_set()


async def test_what_the_thread_refuses_at_last_is_counted(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_running: list[bool] = []

    def count() -> None:
        was_running.append(street.door._thread.is_alive())

    monkeypatch.setattr(street.door, "_standing", SimpleNamespace(count=count))
    await street.end()
    assert not was_running[-1]


async def test_what_cannot_be_handed_over_gives_its_place_back(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    with monkeypatch.context() as context:
        context.setattr(street.door, "_front", SimpleNamespace(left=lambda: left.append(1)))
        await street.door._hand_over(1 << 20, b"")
    assert left == [1]


ODD = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /v1/payments HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/payments HTTP/1.0\r\nHost: x\r\n\r\n",
    b"GET /v1/payments HTTP/1.1\r\n\r\n",
    b"GET http://x/v1/payments HTTP/1.1\r\nHost: y\r\n\r\n",
    b"\r\n\r\nGET /v1/payments HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET  /v1/payments HTTP/1.1\r\nHost: x\r\n\r\n",
    request_of("/v1/payments", b"5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    request_of("/v1/payments").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    + b"5\r\nhello\r\n0\r\n\r\n",
    request_of("/v1/payments", b"{}", "Expect: 100-continue"),
    request_of("/v1/payments", b"{}", "Content-Length: 2"),
    request_of("/v1/payments", b"{}", "Content-Length: 3"),
    request_of("/v1/payments", b"{}", "Content-Encoding: gzip"),
    request_of("/v1/payments", b"{}", "Connection: close, keep-alive"),
    request_of("/v1/payments", b"{}", "Connection: close") + b"x",
    request_of("/v1/payments", b"{}", "Upgrade: websocket", "Connection: upgrade"),
    request_of("/v1/payments", b"{}", "no colon"),
    request_of("/v1/payments", b"{}", "X : y"),
    request_of("/v1/payments", b"{}", "X: \x01"),
    request_of("/v1/payments", b"x" * (limits.BODY_BYTES_MAX + 1)),
    request_of("/v1/" + "a" * 9000),
    *(request_of("/v1/payments", b"{}", *[f"X-{n}: y" for n in range(n)]) for n in (40, 60)),
]
PLAIN = [
    request_of("/v1/payments"),
    request_of("/v1/nothing?a=b", b"{}", "connection: Keep-Alive"),
    request_of("/v1/payments", b"{}", "Connection: close"),
    request_of("/v1/payments") + request_of("/v1/payments", b"second") + ODD[0],
    request_of("/v1/payments/batch", b"x" * limits.BATCH_BODY_BYTES_MAX),
    request_of("/v1/payments?" + "a" * 5000),
]


@pytest.mark.parametrize("wire", ODD + PLAIN, ids=lambda wire: repr(wire[:60]))
async def test_every_form_is_answered_as_aiohttp_alone_would(
    street: Street, flow: Flow, api: ApiServer, wire: bytes
) -> None:
    flow.may_end.set()
    alone = await asyncio.get_running_loop().create_server(api, "127.0.0.1", 0)
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    heard = []
    for address in (street.address, alone.sockets[0].getsockname()):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(wire + last * (b"Connection: close" not in wire))
        heard.append(CHANCE.sub(b"", await reader.read()))
        writer.close()
    alone.close()
    assert heard[0] == heard[1]
    assert heard[0].startswith(b"HTTP/1.")
