"""The channel contract on a Stripe of the documented shapes, over real loopback sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
from channel_kit import ChannelContract
from channel_rig import AMOUNT, RawNotice, ask, create, fresh, money, read, refund

from gateway.channels.courier import Courier
from gateway.channels.port import CREDENTIAL_REFUSED, Ask, Verb
from gateway.channels.stripe.channel import StripeChannel
from gateway.channels.stripe.credential import StripeCredential
from gateway.domain.outcome import Outcome, Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes.stripe_platform import KEY, StripePlatform, standing

SECRET = "whsec_0123456789abcdef0123"


def channel_at(base_url: str, key: str = KEY) -> StripeChannel:
    credential = StripeCredential(
        account="acct_1AAAAAAAAAAAAAAA",
        secret_key=key,
        webhook_secrets=(SECRET,),
        base_url=base_url,
    )
    return StripeChannel([credential], "https://us.example/notices/stripe")


class StripeRig:
    def __init__(self, platform: StripePlatform, courier: Courier) -> None:
        self.platform = platform
        self.channel = channel_at(platform.base_url)
        self.courier = courier

    def method(self, case: str) -> Mapping[str, str]:
        return {"type": "card", "token": f"pm_card_{case}"}

    def at(self, base_url: str) -> StripeChannel:
        return channel_at(base_url)

    async def booked(self, number: str) -> list[tuple[str, int]]:
        return [(kind, amount) for kind, n, amount in self.platform.books if n == number]

    async def pay(self, outcome: Outcome) -> None:
        assert outcome.channel_transaction is not None
        self.platform.authenticate(outcome.channel_transaction)

    async def next_notice(self) -> RawNotice:
        async with asyncio.timeout(10):
            return RawNotice(*await self.platform.events.get())


@pytest.fixture
async def rig() -> AsyncIterator[StripeRig]:
    async with standing(SECRET) as platform, Outbound() as outbound:
        yield StripeRig(platform, Courier(outbound, Clock(), seconds=10))


class TestStripe(ChannelContract):
    """Stripe keeps the contract of every channel, but for what cannot happen at it."""

    cannot: ClassVar[Mapping[str, str]] = {
        "test_money_may_come_after_a_confirmed_close": "A canceled intent never succeeds."
    }

    async def test_an_intent_that_the_search_does_not_know_yet_is_never_taken_for_none(
        self, rig: StripeRig
    ) -> None:
        number = fresh()
        rig.platform.searchable = False
        assert (await create(rig, "error_booked", number)).verdict is Verdict.UNKNOWN
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.NOT_FOUND
        assert (await ask(rig, Verb.CLOSE, number)).code == "idempotency_error"
        rig.platform.searchable = True
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.SUCCEEDED
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_a_close_wins_against_a_call_that_is_still_on_its_way(
        self, rig: StripeRig
    ) -> None:
        number = fresh()
        assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED
        assert (await create(rig, "approved", number)).code == "idempotency_error"
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.CLOSED
        assert await rig.booked(number) == []

    async def test_the_payer_is_sent_to_his_bank_and_back(self, rig: StripeRig) -> None:
        back = Ask(
            Verb.CREATE, fresh(), AMOUNT, "EUR", rig.method("payer"), return_url="https://shop"
        )
        shown = await rig.courier.ask(rig.channel, back)
        assert shown.next_action is not None
        assert (shown.next_action.type, shown.next_action.url) == (
            "redirect",
            f"{rig.platform.base_url}/pay/{shown.channel_transaction}",
        )
        nowhere = await create(rig, "payer", fresh())
        assert nowhere.next_action is not None
        assert (nowhere.next_action.type, nowhere.next_action.fields) == (
            "invoke",
            {"client_secret": "pi_secret"},
        )

    async def test_a_wrong_key_takes_no_money_and_is_told_as_such(self, rig: StripeRig) -> None:
        wrong = channel_at(rig.platform.base_url, "sk_test_of_somebody_else")
        number = fresh()
        order = Ask(Verb.CREATE, number, AMOUNT, "CNY", rig.method("approved"))
        made = await rig.courier.ask(wrong, order)
        assert (made.verdict, made.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)
        asked = await rig.courier.ask(wrong, Ask(Verb.QUERY, number, AMOUNT, "CNY"))
        assert asked == Outcome(code=CREDENTIAL_REFUSED)
        assert await rig.booked(number) == []

    async def test_a_refund_is_told_by_an_event_as_well(self, rig: StripeRig) -> None:
        number, name = fresh(), fresh()
        await create(rig, "approved", number)
        await rig.next_notice()
        done = await refund(rig, number, name, 500)
        notice = read(rig, await rig.next_notice())
        assert (notice.number, notice.refund_number) == (number, name)
        assert money(notice.outcome) == money(done)
