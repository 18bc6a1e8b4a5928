"""What the cases of the channel contract ask of a rig, and how they ask the channel through it.

Like the flow, these remember how the channel calls a payment.
"""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Channel, Notice, Verb
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers.outbound import Outbound

AMOUNT = 1999
CURRENCY = "CNY"


@dataclass(frozen=True)
class RawNotice:
    """A notice as it came; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Rig(Protocol):
    """A channel, a courier with time enough, and the view behind the acquirer's counter."""

    channel: Channel
    courier: Courier

    def method(self, case: str) -> Mapping[str, str]:
        """The payment method that makes the acquirer behave so."""
        ...

    def at(self, base_url: str) -> Channel:
        """The same channel with another acquirer's address."""
        ...

    async def booked(self, number: str) -> list[tuple[str, int]]:
        """What the acquirer truly booked: (`payment` or `refund`, amount), in order."""
        ...

    async def pay(self, outcome: Outcome) -> None:
        """Play the payer who follows the outcome's next action."""
        ...

    async def next_notice(self) -> RawNotice:
        """Wait for the next notice."""
        ...


# How the channel calls what we know by our numbers.
_told: dict[str, str] = {}


def fresh() -> str:
    return uuid.uuid4().hex


def question(
    verb: Verb, number: str, *, refund_number: str | None = None, amount: int = AMOUNT
) -> Ask:
    return Ask(
        verb,
        number,
        amount,
        CURRENCY,
        refund_number=refund_number,
        channel_transaction=_told.get(number),
        captured=AMOUNT,
    )


async def asked(rig: Rig, ask: Ask) -> Outcome:
    """Ask, and remember what the flow would."""
    outcome = await rig.courier.ask(rig.channel, ask)
    if outcome.channel_transaction is not None and ask.refund_number is None:
        _told.setdefault(ask.number, outcome.channel_transaction)
    return outcome


def money(outcome: Outcome) -> tuple[Verdict, int | None, str | None, str | None]:
    """What must be the same however the channel tells it."""
    return outcome.verdict, outcome.amount, outcome.currency, outcome.channel_transaction


async def create(rig: Rig, case: str, number: str, *, capture: bool = True) -> Outcome:
    return await asked(rig, Ask(Verb.CREATE, number, AMOUNT, CURRENCY, rig.method(case), capture))


async def ask(rig: Rig, verb: Verb, number: str, *, amount: int = AMOUNT) -> Outcome:
    return await asked(rig, question(verb, number, amount=amount))


async def refund(
    rig: Rig, number: str, refund_number: str, amount: int, *, verb: Verb = Verb.REFUND
) -> Outcome:
    return await asked(rig, question(verb, number, refund_number=refund_number, amount=amount))


def read(rig: Rig, raw: RawNotice) -> Notice:
    return rig.channel.read_notice(raw.headers, raw.body, datetime.now(UTC))


async def raw(rig: Rig, ask: Ask) -> WireAnswer:
    """The acquirer's answer as it comes off the wire."""
    request = rig.channel.build(ask, datetime.now(UTC))
    assert isinstance(request, WireRequest)
    async with Outbound() as outbound:
        return await outbound.send(rig.channel.base_url, request, seconds=10)


@asynccontextmanager
async def answering(
    status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """An acquirer that says the same to everybody; gives its base URL."""
    kept = {
        name: value
        for name, value in (headers or {"content-type": "application/json"}).items()
        if name not in {"content-length", "transfer-encoding", "connection", "date", "server"}
    }

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(status=status, body=body, headers=kept)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
