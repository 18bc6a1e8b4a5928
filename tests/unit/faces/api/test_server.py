"""What is served in the short lane ends well, whether its caller stays, goes, or has to go."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.domain.stages import Answer, Received
from gateway.drivers.clock import Clock
from gateway.faces.api import server
from gateway.faces.api.server import ApiServer
from tests.unit.faces.api.test_gate import Wire, request_of


class Flow:
    """Stands in for the flow: it answers once it is told to, or dies of what it is told."""

    def __init__(self) -> None:
        self.entered: list[Received] = []
        self.may_end = asyncio.Event()
        self.ended = 0

    async def enter(self, received: Received, _desk: object) -> Answer:
        self.entered.append(received)
        await self.may_end.wait()
        self.ended += 1
        return Answer(201, received.body)


@pytest.fixture
async def flow(monkeypatch: pytest.MonkeyPatch) -> Flow:
    flow = Flow()
    monkeypatch.setattr(server, "enter", flow.enter)
    return flow


@pytest.fixture
async def api() -> ApiServer:
    quiet = SimpleNamespace(refusal=lambda *_: None, let_in=lambda: None, came=lambda: None)
    desk: Any = SimpleNamespace(admission=quiet, clock=Clock())
    pages: Any = SimpleNamespace(find=lambda *_: None)
    return ApiServer(desk, pages)


def connected(api: ApiServer) -> tuple[Any, Wire]:
    gate, wire = api(), Wire()
    gate.connection_made(wire)
    return gate, wire


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_request_is_answered_and_the_next_one_is_too(api: ApiServer, flow: Flow) -> None:
    gate, wire = connected(api)
    flow.may_end.set()
    for body in (b"one", b"two"):
        gate.data_received(request_of("/v1/payments", body, "Prefer: server-timing"))
        await turns()
    assert [received.body for received in flow.entered] == [b"one", b"two"]
    assert wire.written.count(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n") == 2
    assert wire.written.count(b"\r\nServer-Timing: total;dur=") == 2
    await api.shutdown(1)


async def test_who_goes_away_leaves_the_flow_to_its_end(api: ApiServer, flow: Flow) -> None:
    gate, wire = connected(api)
    gate.data_received(request_of("/v1/payments", b"{}"))
    await turns()
    gate.connection_lost(None)
    leaving = asyncio.create_task(api.shutdown(60))
    await turns()
    assert not leaving.done(), "what began is waited for"
    flow.may_end.set()
    await leaving
    assert (flow.ended, wire.written) == (1, b"")


async def test_a_server_that_stops_answers_first_and_says_that_it_closes(
    api: ApiServer, flow: Flow
) -> None:
    gate, wire = connected(api)
    gate.data_received(request_of("/v1/payments", b"{}"))
    await turns()
    api.draining = True
    api.pre_shutdown()
    leaving = asyncio.create_task(api.shutdown(60))
    await turns()
    assert (leaving.done(), wire.written) == (False, b"")
    flow.may_end.set()
    await leaving
    assert b"\r\nConnection: close\r\n\r\n{}" in wire.written
    gate.data_received(request_of("/v1/payments", b"{}"))
    await turns()
    assert len(flow.entered) == 1, "nothing begins on a connection that ends"


async def test_what_does_not_end_in_time_is_cut_off_without_an_answer(
    api: ApiServer, flow: Flow
) -> None:
    gate, wire = connected(api)
    gate.data_received(request_of("/v1/payments", b"{}"))
    await turns()
    await api.shutdown(0.01)
    await turns()
    assert (gate.transport, wire.written, flow.ended) == (None, b"", 0)


async def test_a_long_request_outlives_the_time_for_which_a_connection_may_idle(
    api: ApiServer, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, wire = connected(api)
    await turns()
    gate._next_keepalive_close_time = 0.0
    gate.data_received(request_of("/v1/payments", b"{}"))
    await turns()
    gate._process_keepalive()
    flow.may_end.set()
    await turns()
    assert wire.written.endswith(b"\r\n\r\n{}")
    await api.shutdown(1)
