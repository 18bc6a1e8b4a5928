"""The real client of `python-alipay-sdk` against our Alipay on loopback: each must believe it.

The channel is tested on the same server, so not only on our reading of the documents.
"""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import pytest
from alipay import AliPay

from gateway.channels.alipay.channel import AlipayChannel
from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Verb
from gateway.domain.outcome import Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes import alipay_platform as fake
from tests.fakes.alipay_platform import Alipay

NUMBER = "01a206b0c7ff7d22800000015e1f0a80"
QR = {"type": "alipay", "flow": "qr"}


@pytest.fixture
async def platform() -> AsyncIterator[Alipay]:
    async with Alipay().running() as platform:
        yield platform


def client_of(platform: Alipay) -> AliPay:
    client = fake.client()
    client._gateway = f"{platform.base_url}/gateway.do"
    return client


async def test_the_independent_client_believes_our_server(platform: Alipay) -> None:
    client = client_of(platform)
    create = client.api_alipay_trade_precreate
    shown = await asyncio.to_thread(create, "Two tickets", NUMBER, "19.99")
    assert shown["qr_code"] == f"https://qr.alipay.example/{NUMBER}"
    platform.pay(platform.shown[NUMBER])
    told = await asyncio.to_thread(client.api_alipay_trade_query, out_trade_no=NUMBER)
    assert (told["trade_status"], told["total_amount"]) == ("TRADE_SUCCESS", "19.99")
    refund = client.api_alipay_trade_refund
    given = await asyncio.to_thread(refund, "5.00", out_trade_no=NUMBER, out_request_no="r1")
    assert given["fund_change"] == "Y"
    assert platform.wrongly_signed == 0


async def test_the_channel_and_the_client_see_the_same_trade(platform: Alipay) -> None:
    credential = fake.credential(platform.base_url)
    channel = AlipayChannel([credential], notify_url=f"{platform.base_url}/nobody")
    client = client_of(platform)
    async with Outbound() as outbound:
        courier = Courier(outbound, Clock(), seconds=5)

        async def ask(verb: Verb, refund_number: str | None = None, amount: int = 1999) -> Verdict:
            asked = Ask(verb, NUMBER, amount, "CNY", QR, refund_number=refund_number)
            return (await courier.ask(channel, asked)).verdict

        assert await ask(Verb.CREATE) is Verdict.REQUIRES_ACTION
        assert await ask(Verb.QUERY) is Verdict.NOT_FOUND
        platform.pay(platform.shown[NUMBER])
        assert await ask(Verb.QUERY) is Verdict.SUCCEEDED
        assert await ask(Verb.CLOSE) is Verdict.UNKNOWN
        assert await ask(Verb.QUERY_REFUND, "r1", 500) is Verdict.NOT_FOUND
        assert await ask(Verb.REFUND, "r1", 500) is Verdict.SUCCEEDED
        assert await ask(Verb.REFUND, "r1", 500) is Verdict.PENDING
        assert await ask(Verb.QUERY_REFUND, "r1", 500) is Verdict.SUCCEEDED
    query = client.api_alipay_trade_fastpay_refund_query
    told = await asyncio.to_thread(query, "r1", out_trade_no=NUMBER)
    assert told["refund_amount"] == "5.00"
    assert platform.wrongly_signed == 0


def test_the_independent_client_believes_our_notices() -> None:
    said = dict(parse_qsl(fake.noticed(out_trade_no=NUMBER, trade_status="TRADE_SUCCESS").decode()))
    signature = said.pop("sign")
    assert fake.client().verify(dict(said), signature)
    assert not fake.client().verify(said | {"out_trade_no": "0"}, signature)
