"""The real client of `wechatpayv3` against our WeChat Pay on loopback: each must believe the other.

What the client accepts, the provider's own words are like; so the channel, which is tested on the
same server, is not only tested on our reading of the documents.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from wechatpayv3 import WeChatPay, WeChatPayType

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Verb
from gateway.channels.wechat.channel import WechatChannel
from gateway.domain.outcome import Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes import wechat_pay as fake
from tests.fakes.wechat_pay import WechatPay

NUMBER = "01a206b0c7ff7d22800000015e1f0a80"


@pytest.fixture
async def platform() -> AsyncIterator[WechatPay]:
    async with WechatPay().running() as platform:
        yield platform


def client_of(platform: WechatPay) -> WeChatPay:
    """The client, which knows the platform's public key, or fetches its certificates."""
    agreed = {"public_key": fake.pem_of_theirs(), "public_key_id": fake.PLATFORM_NAME}
    client = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=fake.MCHID,
        private_key=fake.pem_of_ours(),
        cert_serial_no=fake.SERIAL,
        apiv3_key=fake.APIV3_KEY,
        appid=fake.APPID,
        notify_url=f"{platform.base_url}/nobody",
        timeout=(5, 5),
        **agreed,
    )
    client._core._gate_way = platform.base_url
    if platform.certificates:
        client._core._public_key = client._core._public_key_id = None
    return client


async def spoken(call: Any, **arguments: Any) -> tuple[int, dict[str, Any]]:
    status, body = await asyncio.to_thread(call, **arguments)
    return status, json.loads(body) if body else {}


async def test_the_independent_client_believes_our_server(platform: WechatPay) -> None:
    client = client_of(platform)
    asked = {"description": "Two tickets", "out_trade_no": NUMBER, "amount": {"total": 1999}}
    status, shown = await spoken(client.pay, **asked)
    assert (status, shown["code_url"]) == (200, f"weixin://{NUMBER}")
    platform.book(platform.orders[NUMBER])
    status, told = await spoken(client.query, out_trade_no=NUMBER)
    assert (status, told["trade_state"]) == (200, "SUCCESS")
    status, refused = await spoken(client.close, out_trade_no=NUMBER)
    assert (status, refused["code"]) == (400, "ORDERPAID")
    amount = {"refund": 500, "total": 1999, "currency": "CNY"}
    refund = {"out_refund_no": "r" * 8, "out_trade_no": NUMBER, "amount": amount}
    status, given = await spoken(client.refund, **refund)
    assert (status, given["status"]) == (200, "SUCCESS")
    assert platform.wrongly_signed == 0


async def test_the_channel_and_the_client_read_the_same_certificates() -> None:
    now = datetime.now(UTC)
    older, newer = (fake.certificate(n, begins=now - timedelta(days=1)) for n in (0xA1, 0xB2))
    ended = fake.certificate(0xC3, begins=now - timedelta(days=5 * 365 + 1))
    async with WechatPay(older, newer, ended).running() as platform, Outbound() as outbound:
        status, _ = await spoken(client_of(platform).query, out_trade_no=NUMBER)
        assert status == 404, "it fetched the certificates, and by them it believes the answer"
        credential = replace(fake.credential(platform.base_url), platform_keys={})
        channel = WechatChannel([credential], notify_url=f"{platform.base_url}/nobody")
        courier = Courier(outbound, Clock(), seconds=5)
        query = Ask(Verb.QUERY, NUMBER, 1999, "CNY")
        assert (await courier.ask(channel, query)).code == "unsigned"
        request = channel.ask_for_keys(now)
        assert request is not None
        answer = await courier.fetch(channel, request)
        assert answer is not None
        keys = channel.read_keys(answer, datetime.now(UTC))
        assert keys == {each.serial_no: each.pem for each in (older, newer)}
        taught = WechatChannel([credential.with_keys(keys)], f"{platform.base_url}/nobody")
        assert (await courier.ask(taught, query)).verdict is Verdict.NOT_FOUND
    assert platform.wrongly_signed == 0


async def test_the_channel_and_the_client_see_the_same_order(platform: WechatPay) -> None:
    credential = fake.credential(platform.base_url)
    channel = WechatChannel([credential], notify_url=f"{platform.base_url}/nobody")
    client = client_of(platform)
    method = {"type": "wechat", "flow": "native"}
    async with Outbound() as outbound:
        courier = Courier(outbound, Clock(), seconds=5)
        created = await courier.ask(channel, Ask(Verb.CREATE, NUMBER, 1999, "CNY", method))
        assert created.verdict is Verdict.REQUIRES_ACTION
        status, told = await spoken(client.query, out_trade_no=NUMBER)
        assert (status, told["trade_state"]) == (200, "NOTPAY")
        status, _ = await spoken(client.close, out_trade_no=NUMBER)
        assert status == 204
        queried = await courier.ask(channel, Ask(Verb.QUERY, NUMBER, 1999, "CNY"))
    assert queried.verdict is Verdict.CLOSED
    assert platform.wrongly_signed == 0


def test_the_independent_client_opens_our_notices() -> None:
    body = json.dumps(
        {
            "id": "EV-1",
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "resource": fake.sealed({"out_trade_no": NUMBER}),
        }
    )
    client = client_of(WechatPay())
    opened = client.callback(fake.signed_headers(body), body)
    assert opened["resource"]["out_trade_no"] == NUMBER
