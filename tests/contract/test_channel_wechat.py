"""The channel contract on WeChat Pay, whose simulator checks us with an independent package."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
from channel_kit import HOLDS, ChannelContract, SignedAnswers, without
from channel_rig import PostedRig, mailbox

from gateway.channels.courier import Courier
from gateway.channels.wechat.channel import WechatChannel
from gateway.domain.outcome import Outcome
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes import wechat_pay
from tests.fakes.wechat_pay import WechatPay


class WechatRig(PostedRig[WechatPay]):
    def method(self, case: str) -> Mapping[str, str]:
        return {"type": "wechat", "flow": "jsapi", "openid": case}

    def at(self, base_url: str) -> WechatChannel:
        return WechatChannel([wechat_pay.credential(base_url)], f"{self.box.url}/notices/wechat")

    async def booked(self, number: str) -> list[tuple[str, int]]:
        order = self.platform.orders.get(number)
        if order is None or order.state != "SUCCESS":
            return []
        done = [each for each in order.refunds.values() if each["status"] == "SUCCESS"]
        refunds = [("refund", int(each["amount"]["refund"])) for each in done]
        return [("payment", order.total), *refunds]

    async def pay(self, outcome: Outcome) -> None:
        assert outcome.next_action is not None
        assert outcome.next_action.fields is not None
        number = outcome.next_action.fields["package"].rpartition("/")[2]
        self.platform.book(self.platform.orders[number])


@pytest.fixture
async def rig() -> AsyncIterator[WechatRig]:
    async with mailbox() as box, WechatPay().running() as platform, Outbound() as outbound:
        yield WechatRig(platform, Courier(outbound, Clock(), seconds=0.5), box)
        assert platform.wrongly_signed == 0


class TestWechat(SignedAnswers, ChannelContract):
    cannot: ClassVar[Mapping[str, str]] = without(
        HOLDS, "WeChat Pay takes money at once: capabilities.authorize is False."
    ) | {
        "test_a_timeout_before_booking_can_be_closed_for_good": (
            "An order that does not exist cannot be closed; after the payment's time it is."
        ),
        "test_money_may_come_after_a_confirmed_close": "A closed order is never paid.",
    }
