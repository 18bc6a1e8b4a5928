"""Stripe's channel beside others' code: localstripe answers it, and the official client drives it.

localstripe runs in a process of its own.  It does not know `amount_received`, without which our
channel believes no success, so a small door in front of it works that out.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp
import pytest
import stripe
from aiohttp import web
from process_kit import launched

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Verb
from gateway.channels.stripe.channel import StripeChannel
from gateway.channels.stripe.credential import StripeCredential
from gateway.domain.identity import mint, uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound

KEY, SECRET = "sk_test_0123456789", "whsec_0123456789abcdef"
GOOD, BAD, ASKS = "4242424242424242", "4000000000000341", "4000002500003155"
# On loopback alone, and without the file in which it would keep its state for the next user.
LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def number() -> str:
    return uuid_of(mint("att", 7, 1))


@pytest.fixture(scope="module")
def localstripe() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with launched(LOCALSTRIPE, port):
        yield f"http://127.0.0.1:{port}"


class Side:
    """Our channel and the official client on the same account."""

    def __init__(self, base_url: str, courier: Courier) -> None:
        self.base_url = base_url
        self.client = stripe.StripeClient(KEY, base_addresses={"api": base_url}).v1
        credential = StripeCredential(
            account="acct_1AAAAAAAAAAAAAAA",
            secret_key=KEY,
            webhook_secrets=(SECRET,),
            base_url=base_url,
        )
        self.channel = StripeChannel([credential], f"{base_url}/us")
        self.events: asyncio.Queue[tuple[Mapping[str, str], bytes]] = asyncio.Queue()
        self._courier = courier

    async def ask(self, verb: Verb, name: str, amount: int = 1999, **known: Any) -> Outcome:
        return await self._courier.ask(self.channel, Ask(verb, name, amount, "EUR", **known))

    async def card(self, digits: str) -> str:
        """What the shop's page does at Stripe: a card becomes a token, which is all that we see."""
        card = {"number": digits, "exp_month": 12, "exp_year": 2031, "cvc": "123"}
        params: Any = {"type": "card", "card": card}
        made = await asyncio.to_thread(self.client.payment_methods.create, params)
        return made.id

    async def create(self, name: str, digits: str = GOOD, *, capture: bool = True) -> Outcome:
        method = {"type": "card", "token": await self.card(digits)}
        return await self.ask(Verb.CREATE, name, method=method, capture=capture)

    async def intent(self, outcome: Outcome) -> Any:
        """The intent as the official client sees it."""
        assert outcome.channel_transaction is not None
        retrieve = self.client.payment_intents.retrieve
        return await asyncio.to_thread(retrieve, outcome.channel_transaction)


@pytest.fixture
async def side(localstripe: str) -> AsyncIterator[Side]:
    side: Side

    async def serve(request: web.BaseRequest) -> web.Response:
        raw = await request.read()
        if request.path == "/us":
            headers = {name.lower(): value for name, value in request.headers.items()}
            side.events.put_nowait((headers, raw))
            return web.Response(status=200)
        kept = ("Authorization", "Content-Type")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        url = localstripe + request.path_qs
        async with session.request(request.method, url, data=raw, headers=headers) as answer:
            return web.json_response(_completed(await answer.json()), status=answer.status)

    runner = web.ServerRunner(web.Server(serve, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session, Outbound() as outbound:
        await _until_it_answers(session, localstripe)
        base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        side = Side(base_url, Courier(outbound, Clock(), seconds=10))
        yield side
    await runner.cleanup()


async def _until_it_answers(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


def _completed(told: Any) -> Any:
    if told.get("object") == "payment_intent" and "charges" in told:
        charges = [charge for charge in told["charges"]["data"] if charge["captured"]]
        told["amount_received"] = sum(c["amount"] - c["amount_refunded"] for c in charges)
    return told


async def test_what_we_make_the_official_client_reads(side: Side) -> None:
    name = number()
    made = await side.create(name)
    assert (made.verdict, made.amount, made.currency, made.number) == (
        Verdict.SUCCEEDED,
        1999,
        "EUR",
        name,
    )
    intent = await side.intent(made)
    assert (intent.status, intent.amount, intent.currency) == ("succeeded", 1999, "eur")
    assert intent.metadata["floodgate_attempt"] == name
    found = await side.ask(Verb.QUERY, name, channel_transaction=made.channel_transaction)
    assert found == made


async def test_what_the_official_client_makes_we_read(side: Side) -> None:
    name, token = number(), await side.card(GOOD)
    params: Any = {
        "amount": 1999,
        "currency": "eur",
        "payment_method": token,
        "confirm": True,
        "metadata": {"floodgate_attempt": name},
    }
    made = await asyncio.to_thread(side.client.payment_intents.create, params)
    found = await side.ask(Verb.QUERY, name, channel_transaction=made.id)
    assert (found.verdict, found.amount, found.number) == (Verdict.SUCCEEDED, 1999, name)
    other = await side.ask(Verb.QUERY, number(), channel_transaction=made.id)
    assert (other.code, other.conflict) == ("number_mismatch", True)


async def test_a_hold_is_captured_in_part(side: Side) -> None:
    name = number()
    held = await side.create(name, capture=False)
    assert held.verdict is Verdict.AUTHORIZED
    assert (await side.intent(held)).status == "requires_capture"
    known = {"channel_transaction": held.channel_transaction}
    taken = await side.ask(Verb.CAPTURE, name, 600, **known)
    assert (taken.verdict, taken.amount) == (Verdict.SUCCEEDED, 600)
    assert (await side.intent(held)).status == "succeeded"


@pytest.mark.parametrize("who", ["we", "the official client"])
async def test_a_hold_is_let_go(side: Side, who: str) -> None:
    name = number()
    held = await side.create(name, capture=False)
    known = {"channel_transaction": held.channel_transaction}
    if who == "we":
        assert (await side.ask(Verb.CLOSE, name, **known)).verdict is Verdict.CLOSED
        assert (await side.intent(held)).status == "canceled"
    else:
        assert held.channel_transaction is not None
        await asyncio.to_thread(side.client.payment_intents.cancel, held.channel_transaction)
        assert (await side.ask(Verb.QUERY, name, **known)).verdict is Verdict.CLOSED


async def test_refunds_of_both_are_seen_by_both(side: Side) -> None:
    name, ours, theirs = number(), number(), number()
    made = await side.create(name)
    known = {"channel_transaction": made.channel_transaction}
    done = await side.ask(Verb.REFUND, name, 500, refund_number=ours, **known)
    assert (done.verdict, done.amount, done.number) == (Verdict.SUCCEEDED, 500, ours)
    wish: Any = {
        "payment_intent": made.channel_transaction,
        "amount": 300,
        "metadata": {"floodgate_attempt": name, "floodgate_refund": theirs},
    }
    await asyncio.to_thread(side.client.refunds.create, wish)
    listing: Any = {"payment_intent": made.channel_transaction}
    refunds = await asyncio.to_thread(side.client.refunds.list, listing)
    assert sorted(refund.amount for refund in refunds.data) == [300, 500]
    for refund, amount in ((ours, 500), (theirs, 300)):
        found = await side.ask(Verb.QUERY_REFUND, name, amount, refund_number=refund, **known)
        assert (found.verdict, found.number) == (Verdict.SUCCEEDED, refund)
    missing = await side.ask(Verb.QUERY_REFUND, name, refund_number=number(), **known)
    assert missing.verdict is Verdict.NOT_FOUND


async def test_a_card_that_declines_and_one_that_asks(side: Side) -> None:
    declined = await side.create(number(), BAD)
    assert declined.verdict is Verdict.FAILED
    assert declined.failure is not None
    assert declined.failure.code == "card_declined"
    asks = await side.create(number(), ASKS)
    assert asks.verdict is Verdict.REQUIRES_ACTION
    assert (await side.intent(asks)).status == "requires_action"
    unknown = {"type": "card", "token": "pm_of_somebody_else"}
    assert (await side.ask(Verb.CREATE, number(), method=unknown)).verdict is Verdict.FAILED


async def test_an_event_is_believed_by_us_and_by_the_official_client(
    side: Side, localstripe: str
) -> None:
    async with aiohttp.ClientSession() as session:
        wish = {"url": f"{side.base_url}/us", "secret": SECRET}
        await session.post(f"{localstripe}/_config/webhooks/us", json=wish)
    name = number()
    await side.create(name)
    async with asyncio.timeout(20):
        while True:  # it tells of the other tests' intents as well
            headers, raw = await side.events.get()
            event = stripe.Webhook.construct_event(raw, headers["stripe-signature"], SECRET)
            notice = side.channel.read_notice(headers, raw, Clock().now())
            if notice.number == name:
                break
    assert event.type == "payment_intent.succeeded"
    # It signs what it sends, and knows no `amount_received`: a success that is not believed.
    assert notice.notice_id == event.id
    assert notice.outcome == Outcome(code="incomplete", number=name)
