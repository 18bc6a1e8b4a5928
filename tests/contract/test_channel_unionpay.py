"""The channel contract on UnionPay, which checks our signatures and signs in its own name."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
from channel_kit import HOLDS, ChannelContract, SignedAnswers, without
from channel_rig import PostedRig, mailbox

from gateway.channels.courier import Courier
from gateway.channels.unionpay.channel import UnionpayChannel
from gateway.domain.outcome import Outcome
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes import unionpay_platform
from tests.fakes.unionpay_server import Unionpay


class UnionpayRig(PostedRig[Unionpay]):
    def method(self, case: str) -> Mapping[str, str]:
        self.platform.script = case
        return {"type": "unionpay", "flow": "app"}

    def at(self, base_url: str) -> UnionpayChannel:
        return UnionpayChannel(
            [unionpay_platform.credential(base_url)], f"{self.box.url}/notices/unionpay"
        )

    async def booked(self, number: str) -> list[tuple[str, int]]:
        order = self.platform.kept.get(number)
        if order is None or order.became != "00":
            return []
        refunds = [("refund", int(t.asked["txnAmt"])) for t in self.platform.refunds_of(order)]
        return [("payment", int(order.asked["txnAmt"])), *refunds]

    async def pay(self, outcome: Outcome) -> None:
        assert outcome.next_action is not None
        assert outcome.next_action.fields is not None
        self.platform.pay(outcome.next_action.fields["tn"].removeprefix("tn"))


@pytest.fixture
async def rig() -> AsyncIterator[UnionpayRig]:
    async with mailbox() as box, Unionpay().running() as platform, Outbound() as outbound:
        yield UnionpayRig(platform, Courier(outbound, Clock(), seconds=0.5), box)
        assert platform.wrongly_signed == 0


class TestUnionpay(SignedAnswers, ChannelContract):
    cannot: ClassVar[Mapping[str, str]] = without(
        HOLDS, "These products take money at once: capabilities.authorize is False."
    ) | {
        "test_a_timeout_before_booking_can_be_closed_for_good": (
            "Nothing can be closed (capabilities.close); after the payment's time it is over."
        ),
        "test_money_may_come_after_a_confirmed_close": "What is over is never paid.",
        "test_a_true_notice_is_refused_without_its_headers": "A notice is signed in its body.",
        "test_a_true_notice_is_refused_when_it_is_old": "A notice carries no time of its sending.",
    }
