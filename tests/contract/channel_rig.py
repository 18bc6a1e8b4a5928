"""What the cases of the channel contract ask of a rig, and how they ask the channel through it.

Like the flow, these remember how the channel calls a payment.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from aiohttp import web
from loopback import Acquirer, served
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Channel, Notice, Verb
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound

_Platform = TypeVar("_Platform", bound=Acquirer)
AMOUNT = 1999
CURRENCY = "CNY"
CLOCK = Clock()


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
        """The payment method that makes the acquirer behave so; `description` says the same."""
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


# The cases in which the payer gives his money at once.
_PAID = frozenset({"approved", "refund_unknown", "refund_fails"})
# How the channel calls what we know by our numbers, and how it was to be paid.
_told: dict[str, str] = {}
_methods: dict[str, Mapping[str, str]] = {}


def fresh() -> str:
    """A number as we make them: it carries the time at which it was made."""
    return uuid_of(CLOCK.mint("att", 7))


def question(
    verb: Verb, number: str, *, refund_number: str | None = None, amount: int = AMOUNT
) -> Ask:
    return Ask(
        verb,
        number,
        amount,
        CURRENCY,
        _methods.get(number, {}),
        refund_number=refund_number,
        channel_transaction=_told.get(number),
        captured=AMOUNT,
    )


async def asked(rig: Rig, ask: Ask) -> Outcome:
    """Ask, and remember what the flow would."""
    _methods.setdefault(ask.number, ask.method or rig.method("approved"))
    ask = replace(ask, method=_methods[ask.number])
    outcome = await rig.courier.ask(rig.channel, ask)
    if outcome.channel_transaction is not None and ask.refund_number is None:
        _told.setdefault(ask.number, outcome.channel_transaction)
    return outcome


def money(outcome: Outcome) -> tuple[Verdict, int | None, str | None, str | None]:
    """What must be the same however the channel tells it."""
    return outcome.verdict, outcome.amount, outcome.currency, outcome.channel_transaction


async def create(rig: Rig, case: str, number: str, *, capture: bool = True) -> Outcome:
    """Ask for money; where only the payer can give it he does, in the cases in which he pays."""
    order = Ask(Verb.CREATE, number, AMOUNT, CURRENCY, rig.method(case), capture, description=case)
    outcome = await asked(rig, order)
    if rig.channel.capabilities.sync_result or outcome.verdict is not Verdict.REQUIRES_ACTION:
        return outcome
    if case in _PAID:
        await rig.pay(outcome)
        return await ask(rig, Verb.QUERY, number)
    return outcome


async def ask(rig: Rig, verb: Verb, number: str, *, amount: int = AMOUNT) -> Outcome:
    return await asked(rig, question(verb, number, amount=amount))


async def refund(
    rig: Rig, number: str, refund_number: str, amount: int, *, verb: Verb = Verb.REFUND
) -> Outcome:
    """Ask for a refund; where that is only taken, ask what became of it."""
    order = question(verb, number, refund_number=refund_number, amount=amount)
    outcome = await asked(rig, order)
    if verb is Verb.REFUND and outcome.verdict is Verdict.PENDING:
        return await asked(rig, replace(order, verb=Verb.QUERY_REFUND))
    return outcome


def read(rig: Rig, raw: RawNotice) -> Notice:
    return rig.channel.read_notice(raw.headers, raw.body, datetime.now(UTC))


async def raw(rig: Rig, ask: Ask) -> WireAnswer:
    """The acquirer's answer as it comes off the wire."""
    request = rig.channel.build(ask, datetime.now(UTC))
    assert isinstance(request, WireRequest)
    async with Outbound() as outbound:
        return await outbound.send(rig.channel.base_url, request, seconds=10)


class Mailbox:
    """Where an acquirer sends its notices: any path under `url`."""

    def __init__(self) -> None:
        self.url = ""
        self._letters: asyncio.Queue[RawNotice] = asyncio.Queue()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._letters.put_nowait(RawNotice(headers, await request.read()))
        return web.Response(body=b"success")

    async def next(self) -> RawNotice:
        async with asyncio.timeout(10):
            return await self._letters.get()


class Parrot:
    """An acquirer that says the same to everybody, whatever it was asked."""

    def __init__(self) -> None:
        self.base_url = ""
        self.says = WireAnswer(200, {}, b"")

    async def handle(self, request: web.BaseRequest) -> web.Response:
        await request.read()
        headers = {k: v for k, v in self.says.headers.items() if k not in _OF_THE_CONNECTION}
        return web.Response(status=self.says.status, body=self.says.body, headers=headers)


_OF_THE_CONNECTION = {"content-length", "transfer-encoding", "connection", "date", "server"}


@asynccontextmanager
async def parrot() -> AsyncIterator[Parrot]:
    """Let one stand on a free port."""
    bird = Parrot()
    async with served(bird.handle) as bird.base_url:
        yield bird


class PostedRig(Generic[_Platform]):
    """What is alike in rigs of acquirers that post their notices to a mailbox of ours."""

    def __init__(self, platform: _Platform, courier: Courier, box: Mailbox) -> None:
        self.platform = platform
        self.courier = courier
        self.box = box
        self.channel = self.at(platform.base_url)

    def at(self, base_url: str) -> Channel:
        raise NotImplementedError

    async def next_notice(self) -> RawNotice:
        return await self.box.next()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    """Put one up on a free port."""
    box = Mailbox()
    async with served(box.handle) as box.url:
        yield box
