"""The merchant's side of the wire for tests of the simulator: it asks and takes notices."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Notice, Verb
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.domain.outcome import Outcome
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound
from tests.contract.loopback import served

SECRET = b"between us and the acquirer"
QR = {"type": "qr"}


def card(token: str) -> dict[str, str]:
    return {"type": "card", "token": token}


def fresh() -> str:
    return uuid.uuid4().hex


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 -- another process cannot set our Event
            await asyncio.sleep(0.01)


class Merchant:
    """Our side of the wire: it asks the acquirer and takes its notices."""

    def __init__(self, outbound: Outbound, notify_base: str) -> None:
        self.outbound = outbound
        self.notify_base = notify_base
        self.answers: list[int] = []
        self.notices: asyncio.Queue[Notice] = asyncio.Queue()
        self.courier = Courier(outbound, Clock(), seconds=10)
        self.channel = self.at("")

    def at(self, base_url: str) -> SimulatorChannel:
        self.channel = SimulatorChannel(base_url, SECRET, notify_base=self.notify_base)
        return self.channel

    async def take(self, request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.notices.put_nowait(self.channel.read_notice(headers, body, datetime.now(UTC)))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def next_notice(self) -> Notice:
        async with asyncio.timeout(20):
            return await self.notices.get()

    async def ask(self, verb: Verb, number: str, amount: int = 1000, **more: object) -> Outcome:
        return await self.courier.ask(self.channel, Ask(verb, number, amount, "CNY", **more))

    async def create(self, method: dict[str, str], number: str, **more: object) -> Outcome:
        return await self.ask(Verb.CREATE, number, method=method, **more)

    async def call(self, method: str, path: str) -> WireAnswer:
        request = WireRequest(method, path, {}, b"")
        return await self.outbound.send(self.channel.base_url, request, seconds=10)

    async def books(self, since: str = "") -> list[dict[str, object]]:
        answer = await self.call("GET", "/books" + (f"?since={since}" if since else ""))
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
        return [json.loads(line) for line in answer.body.splitlines()]

    async def is_booked(self, number: str) -> bool:
        return any(line["number"] == number for line in await self.books())


@asynccontextmanager
async def listening() -> AsyncIterator[Merchant]:
    merchant: Merchant

    async def take(request: web.BaseRequest) -> web.Response:
        return await merchant.take(request)

    async with served(take) as base_url, Outbound(answer_bytes_max=10_000_000) as outbound:
        merchant = Merchant(outbound, base_url)
        yield merchant


async def is_up(merchant: Merchant) -> bool:
    try:
        return (await merchant.call("GET", "/healthz")).status == 200
    except (NeverSent, NoAnswer):
        return False
