"""The channel contract on WeChat Pay, whose simulator checks us with an independent package."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
from aiohttp import web
from channel_kit import HOLDS, ChannelContract, without
from channel_rig import RawNotice

from gateway.channels.courier import Courier
from gateway.channels.wechat.channel import WechatChannel
from gateway.domain.outcome import Outcome
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes import wechat_pay
from tests.fakes.wechat_pay import WechatPay


class WechatRig:
    def __init__(self, platform: WechatPay, courier: Courier, notify_url: str) -> None:
        self.platform = platform
        self.notices: asyncio.Queue[RawNotice] = asyncio.Queue()
        self.notify_url = notify_url
        self.channel = self.at(platform.base_url)
        self.courier = courier

    def method(self, case: str) -> Mapping[str, str]:
        return {"type": "wechat", "flow": "jsapi", "openid": case}

    def at(self, base_url: str) -> WechatChannel:
        return WechatChannel([wechat_pay.credential(base_url)], self.notify_url)

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

    async def next_notice(self) -> RawNotice:
        async with asyncio.timeout(10):
            return await self.notices.get()


@pytest.fixture
async def rig() -> AsyncIterator[WechatRig]:
    rig: WechatRig

    async def take(request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        rig.notices.put_nowait(RawNotice(headers, await request.read()))
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(take, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    notify_url = f"http://127.0.0.1:{runner.addresses[0][1]}/notices/wechat"
    async with WechatPay().running() as platform, Outbound() as outbound:
        rig = WechatRig(platform, Courier(outbound, Clock(), seconds=0.5), notify_url)
        yield rig
        assert platform.wrongly_signed == 0
    await runner.cleanup()


class TestWechat(ChannelContract):
    cannot: ClassVar[Mapping[str, str]] = without(
        HOLDS, "WeChat Pay takes money at once: capabilities.authorize is False."
    ) | {
        "test_a_timeout_before_booking_can_be_closed_for_good": (
            "An order that does not exist cannot be closed; after the payment's time it is."
        ),
        "test_money_may_come_after_a_confirmed_close": "A closed order is never paid.",
    }
