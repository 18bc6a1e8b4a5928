"""The channel contract on the simulated acquirer, over real loopback sockets."""

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from channel_kit import ChannelContract
from channel_rig import Mailbox, RawNotice, mailbox

from gateway.channels.courier import Courier
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.channels.simulator.server import SimulatorConfig, running
from gateway.domain.outcome import Outcome
from gateway.domain.wire import WireRequest
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound

SECRET = b"between us and the acquirer"


class SimulatorRig:
    def __init__(self, base_url: str, box: Mailbox, outbound: Outbound) -> None:
        self.box = box
        self.channel = SimulatorChannel(base_url, SECRET, notify_base=box.url)
        self.courier = Courier(outbound, Clock(), seconds=10)
        self._outbound = outbound

    def method(self, case: str) -> Mapping[str, str]:
        if case == "payer":
            return {"type": "qr"}
        return {"type": "card", "token": "tok_ok" if case == "approved" else f"tok_{case}"}

    def at(self, base_url: str) -> SimulatorChannel:
        return SimulatorChannel(base_url, SECRET, notify_base="http://127.0.0.1:9")

    async def booked(self, number: str) -> list[tuple[str, int]]:
        books = await self._unsigned("GET", "/books")
        lines = [json.loads(line) for line in books.splitlines()]
        return [(line["kind"], line["amount"]) for line in lines if line["number"] == number]

    async def pay(self, outcome: Outcome) -> None:
        assert outcome.next_action is not None
        await self._unsigned("POST", f"/pay/{outcome.next_action.qr}")

    async def next_notice(self) -> RawNotice:
        return await self.box.next()

    async def _unsigned(self, method: str, path: str) -> bytes:
        request = WireRequest(method, path, {}, b"")
        return (await self._outbound.send(self.channel.base_url, request, seconds=10)).body


@pytest.fixture
async def rig() -> AsyncIterator[SimulatorRig]:
    config = SimulatorConfig(port=0, secret=SECRET, delay_ms=20, hold_ms=20)
    async with mailbox() as box, running(config) as base_url, Outbound() as outbound:
        yield SimulatorRig(base_url, box, outbound)


class TestSimulator(ChannelContract):
    """The simulated acquirer keeps the contract of every channel."""
