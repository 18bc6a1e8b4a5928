"""The channel contract on Alipay, whose simulator checks us with an independent package."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
from channel_kit import HOLDS, ChannelContract, SignedAnswers, without
from channel_rig import Mailbox, PostedRig, RawNotice, mailbox

from gateway.channels.alipay.channel import AlipayChannel
from gateway.channels.courier import Courier
from gateway.domain.outcome import Outcome
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes import alipay_platform
from tests.fakes.alipay_platform import Alipay, Trade, cents

# What the payer does by himself, after he was shown a code.
SHOWN = {"payer", "duplicate_notice", "wrong_amount_notice", "forged_notice", "pending"}
PAID = {"trade_status": "TRADE_SUCCESS", "gmt_payment": "2026-05-01 12:00:00"}


class AlipayRig(PostedRig[Alipay]):
    def __init__(self, platform: Alipay, courier: Courier, box: Mailbox) -> None:
        super().__init__(platform, courier, box)
        self._told: set[str] = set()

    def method(self, case: str) -> Mapping[str, str]:
        if case in SHOWN:
            return {"type": "alipay", "flow": "qr"}
        return {"type": "alipay", "flow": "barcode", "auth_code": "28" * 9}

    def at(self, base_url: str) -> AlipayChannel:
        return AlipayChannel(
            [alipay_platform.credential(base_url)], f"{self.box.url}/notices/alipay"
        )

    async def booked(self, number: str) -> list[tuple[str, int]]:
        trade = self.platform.trades.get(number)
        if trade is None or trade.status != "TRADE_SUCCESS":
            return []
        refunds = [("refund", cents(amount)) for amount in trade.refunds.values()]
        return [("payment", cents(trade.asked["total_amount"])), *refunds]

    async def pay(self, outcome: Outcome) -> None:
        assert outcome.next_action is not None
        assert outcome.next_action.qr is not None
        trade = self.platform.shown[outcome.next_action.qr.rpartition("/")[2]]
        if trade.status == "WAIT_BUYER_PAY":
            self.platform.pay(trade)

    async def next_notice(self) -> RawNotice:
        for number, trade in self.platform.shown.items():
            if number not in self._told:
                self._told.add(number)
                self._act(trade)
        letter = await self.box.next()
        if b"forged=yes" not in letter.body:
            return letter
        return RawNotice(letter.headers, letter.body.replace(b"TRADE_SUCCESS", b"TRADE_FINISHED"))

    def _act(self, trade: Trade) -> None:
        """Let Alipay tell of a trade as its script wants."""
        match trade.asked["subject"]:
            case "wrong_amount_notice":
                self.platform.notify(trade, **PAID, total_amount="20.00")
            case "forged_notice":
                self.platform.notify(trade, **PAID, forged="yes")
            case script:
                self.platform.pay(trade)
                for _ in range(3 if script == "duplicate_notice" else 1):
                    self.platform.notify(trade)


@pytest.fixture
async def rig() -> AsyncIterator[AlipayRig]:
    async with mailbox() as box, Alipay().running() as platform, Outbound() as outbound:
        yield AlipayRig(platform, Courier(outbound, Clock(), seconds=0.5), box)
        assert platform.wrongly_signed == 0


class TestAlipay(SignedAnswers, ChannelContract):
    cannot: ClassVar[Mapping[str, str]] = without(
        HOLDS, "Alipay takes money at once: capabilities.authorize is False."
    ) | {
        "test_a_timeout_before_booking_can_be_closed_for_good": (
            "A trade that does not exist cannot be closed; after the payment's time it is."
        ),
        "test_money_may_come_after_a_confirmed_close": "A closed trade is never paid.",
        "test_a_true_notice_is_refused_without_its_headers": "A notice is signed in its body.",
        "test_a_true_notice_is_refused_when_it_is_old": "A notice carries no time of its sending.",
    }
