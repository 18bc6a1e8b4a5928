"""The courier: whatever happens on the way or in the channel's head becomes an honest outcome."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime

import pytest
from aiohttp import web
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.lanes import Lanes
from gateway.channels.port import Ask, BillLine, Capabilities, Notice, Verb
from gateway.domain.identity import mint, uuid_of
from gateway.domain.limits import LANE_CALLS_MAX
from gateway.domain.outcome import NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.contract.loopback import served

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ASK = Ask(Verb.CREATE, "0" * 32, 1000, "CNY")


class NoonClock(Clock):
    def now(self) -> datetime:
        return NOON


class EchoChannel:
    """Asks the server for a status, and reads whatever outcome the test has put on its tongue."""

    name = "echo"
    number = 9
    capabilities = Capabilities(
        methods=frozenset(),
        currencies=None,
        partial_refund=False,
        close=False,
        notify=False,
        bill=False,
    )

    def __init__(self, base_url: str, *, status: int = 200) -> None:
        self.base_url = base_url
        self.status = status
        self.outcome = Outcome(Verdict.SUCCEEDED, amount=1000, currency="CNY")
        self.trips: Exception | None = None
        self.built_at: datetime | None = None
        self.knows_already: Outcome | None = None

    def build(self, _ask: Ask, now: datetime) -> WireRequest | Outcome:
        self.built_at = now
        if self.knows_already is not None:
            return self.knows_already
        return WireRequest("POST", f"/{self.status}", {}, b"{}")

    def read(self, _ask: Ask, _answer: WireAnswer) -> Outcome:
        if self.trips is not None:
            raise self.trips
        return self.outcome

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        raise NotImplementedError

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        raise NotImplementedError


def courier_of(
    outbound: Outbound, clock: Clock | None = None, *, seconds: float = 3.0, calls_max: int = 9
) -> Courier:
    lanes = Lanes(lambda _: (), calls_max=dict.fromkeys(LANE_CALLS_MAX, calls_max))
    return Courier(outbound, clock or Clock(), lanes=lanes, seconds=seconds)


class Server:
    def __init__(self) -> None:
        self.base_url = ""
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked.set()
        await self.go_on.wait()
        return web.Response(status=int(request.path[1:]), body=b"{}")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    server.go_on.set()
    async with served(server.handle) as server.base_url:
        yield server


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound() as outbound:
        yield outbound


async def test_the_channels_word_comes_back_as_it_is(server: Server, outbound: Outbound) -> None:
    channel = EchoChannel(server.base_url)
    assert await courier_of(outbound, NoonClock()).ask(channel, ASK) is channel.outcome
    assert channel.built_at == NOON


@pytest.mark.parametrize("status", [300, 301, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599])
async def test_a_channel_in_trouble_is_not_even_read(
    server: Server, outbound: Outbound, status: int
) -> None:
    channel = EchoChannel(server.base_url, status=status)
    outcome = await courier_of(outbound).ask(channel, ASK)
    assert outcome == Outcome(Verdict.UNKNOWN, code=f"http_{status}")


async def test_a_channel_that_trips_is_unknown_and_its_words_stay_out_of_the_log(
    server: Server, outbound: Outbound, caplog: pytest.LogCaptureFixture
) -> None:
    channel = EchoChannel(server.base_url)
    channel.trips = KeyError("6222020000000000000")
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        outcome = await courier_of(outbound).ask(channel, ASK)
    assert outcome == Outcome(code="unreadable")
    assert caplog.messages == ["echo create: KeyError in the answer"]
    assert "6222" not in caplog.text


@pytest.mark.parametrize(("amount", "currency"), [(1001, "CNY"), (1000, "USD"), (0, None)])
@pytest.mark.parametrize("verdict", [Verdict.SUCCEEDED, Verdict.AUTHORIZED, Verdict.PENDING])
async def test_other_money_is_frozen(
    server: Server,
    outbound: Outbound,
    amount: int,
    currency: str | None,
    verdict: Verdict,
) -> None:
    channel = EchoChannel(server.base_url)
    channel.outcome = Outcome(verdict, "txn", amount, currency, code="ok")
    assert await courier_of(outbound).ask(channel, ASK) == Outcome(
        Verdict.UNKNOWN, "txn", amount, currency, code="amount_mismatch", conflict=True
    )


@pytest.mark.parametrize(
    ("verb", "captured", "transaction", "passes"),
    [
        (Verb.QUERY, 1000, "txn_2", True),
        (Verb.QUERY, 1000, "txn", False),
        (Verb.QUERY, 1000, None, False),
        (Verb.QUERY, 0, "txn_2", False),
        (Verb.CLOSE, 1000, "txn_2", False),
    ],
)
async def test_another_transaction_beside_the_booked_one_has_its_own_amount(
    server: Server,
    outbound: Outbound,
    verb: Verb,
    captured: int,
    transaction: str | None,
    *,
    passes: bool,
) -> None:
    channel = EchoChannel(server.base_url)
    channel.outcome = Outcome(Verdict.SUCCEEDED, transaction, 300, "CNY")
    asked = replace(ASK, verb=verb, captured=captured, channel_transaction="txn")
    outcome = await courier_of(outbound).ask(channel, asked)
    assert (outcome is channel.outcome) is passes
    assert outcome.conflict is not passes


async def test_silence_ends_at_the_deadline(server: Server, outbound: Outbound) -> None:
    channel = EchoChannel(server.base_url)
    # So there is a connection: one that is not made in time was never asked.
    assert await courier_of(outbound).ask(channel, ASK) is channel.outcome
    server.go_on.clear()
    outcome = await courier_of(outbound, seconds=0.05).ask(channel, ASK)
    assert outcome == Outcome(Verdict.UNKNOWN, code="no_answer")


async def test_one_call_too_many_is_turned_away_unsent(server: Server, outbound: Outbound) -> None:
    courier, channel = courier_of(outbound, calls_max=1), EchoChannel(server.base_url)
    server.go_on.clear()
    first = asyncio.create_task(courier.ask(channel, ASK))
    await server.asked.wait()
    assert await courier.ask(channel, ASK) == Outcome(code="lane_full", sent=False)
    server.go_on.set()
    assert await first is channel.outcome
    assert await courier.ask(channel, ASK) is channel.outcome


@pytest.mark.parametrize("has_asked", [False, True])
async def test_a_caller_who_gives_up_makes_room(
    server: Server, outbound: Outbound, *, has_asked: bool
) -> None:
    courier, channel = courier_of(outbound, calls_max=1), EchoChannel(server.base_url)
    if has_asked:  # so there is a connection, which the next call takes at once
        assert await courier.ask(channel, ASK) is channel.outcome
        server.asked.clear()
    server.go_on.clear()
    first = asyncio.create_task(courier.ask(channel, ASK))
    await server.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.go_on.set()
    assert await courier.ask(channel, ASK) is channel.outcome


async def test_what_a_channel_knows_by_itself_is_asked_of_nobody(
    outbound: Outbound, server: Server
) -> None:
    channel = EchoChannel(server.base_url)
    channel.knows_already = Outcome(
        Verdict.REQUIRES_ACTION, next_action=NextAction("redirect", url="https://pay.example/1")
    )
    assert await courier_of(outbound, NoonClock()).ask(channel, ASK) is channel.knows_already
    assert not server.asked.is_set()


def test_an_ask_shows_neither_the_payers_method_nor_where_he_is() -> None:
    asked = replace(ASK, method={"type": "card", "token": "tok_secret"}, payer_ip="203.0.113.9")
    assert "tok_secret" not in repr(asked)
    assert "203.0.113.9" not in repr(asked)


def test_an_ask_knows_when_its_attempt_was_made() -> None:
    number = uuid_of(mint("att", 7, int(NOON.timestamp() * 1000)))
    assert replace(ASK, number=number).asked_first_at == NOON
