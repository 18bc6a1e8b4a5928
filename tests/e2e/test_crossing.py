"""Words that cross: what a channel does by itself while we believe something else."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Verb
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.domain.outcome import Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.e2e.account_kit import run
from tests.e2e.harness import Shop, System, until
from tests.e2e.idempotency_kit import Witness
from tests.e2e.life_kit import (
    act,
    balances,
    events,
    facts,
    give_back,
    its_time_comes,
    notify,
    number_of,
    refund_until,
    refused,
    report,
    timeline,
)
from tests.e2e.routing_kit import A, B, shop_of_both, with_two_acquirers
from tests.fakes import alipay_platform
from tests.fakes.alipay_platform import Alipay, Trade

pytestmark = pytest.mark.usefixtures("proven")


@pytest.fixture(scope="module")
def system(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    running = with_two_acquirers(database.app_url, redis_url, tmp_path_factory.mktemp("system"))
    yield running
    running.stop()


@pytest.fixture
async def shop(system: System) -> AsyncIterator[Shop]:
    async with shop_of_both(system) as shop:
        yield shop


async def test_a_hold_at_a_channel_that_was_passed_over_is_let_go(
    system: System, shop: Shop
) -> None:
    system.kill(A)
    try:
        payment = (await shop.pay(capture="manual")).json
    finally:
        system.start_simulator()
        await system.ready()
    assert (payment["status"], payment["channel"]) == ("requires_capture", B)
    moments = await timeline(shop, payment["id"])
    number = next(m["details"]["attempt"] for m in moments if m["kind"] == "attempt")[4:]
    url, key = system.settings.simulator_url, system.settings.simulator_key()
    acquirer = SimulatorChannel(url, key, notify_base=shop.base_url)
    hold = Ask(Verb.CREATE, number, 1999, "CNY", {"type": "card", "token": "tok_ok"}, capture=False)
    async with Outbound() as outbound:
        courier = Courier(outbound, Clock())
        held = await courier.ask(acquirer, hold)
        assert held.verdict is Verdict.AUTHORIZED
        told = report(number, "authorized", transaction=held.channel_transaction)
        assert (await notify(system, shop, told)).status == 200

        async def let_go() -> bool:
            summaries = {each["summary"] for each in await timeline(shop, payment["id"])}
            return "let go of a hold that came late: closed" in summaries

        await until(let_go)
        asked = await courier.ask(acquirer, replace(hold, verb=Verb.QUERY))
        assert asked.verdict is Verdict.CLOSED
    assert (await act(shop, payment["id"], "capture")).json["status"] == "succeeded"
    assert (await balances(shop))["channel receivable"] == 1999


async def test_a_notice_that_is_older_than_a_hold_does_not_end_it(
    system: System, shop: Shop
) -> None:
    payment = (await shop.pay(capture="manual")).json
    assert (payment["status"], payment["channel"]) == ("requires_capture", A)
    told = report(await number_of(shop, payment["id"]), "declined", code="card_declined")
    assert (await notify(system, shop, told)).status == 200

    async def asked() -> bool:
        summaries = {each["summary"] for each in await timeline(shop, payment["id"])}
        return {"told: failed", "asked again: authorized"} <= summaries

    await until(asked)
    assert (await act(shop, payment["id"], "capture")).json["status"] == "succeeded"


BARCODE = {"type": "alipay", "flow": "barcode", "auth_code": "28" * 9}
SUCCESS = {"trade_status": "TRADE_SUCCESS"}
TAKEN_BACK = ["payment.processing", "payment.succeeded", "payment.canceled"]


@pytest.fixture
async def alipay(system: System, shop: Shop, tmp_path: Path) -> AsyncIterator[Alipay]:
    """Alipay, and our account there."""
    async with Alipay().running() as platform:
        file = tmp_path / "alipay.json"
        file.write_bytes(msgspec.json.encode(alipay_platform.credential(platform.base_url)))
        made = await run(system, "add", "alipay", "--file", str(file))
        assert made[0] == 0, made[2]
        yield platform
        assert (await run(system, "revoke", json.loads(made[1])["credential"]))[0] == 0


async def begun(shop: Shop, alipay: Alipay) -> tuple[Any, Trade]:
    """A payment at work at the counter, and the trade that the payer has just confirmed."""

    async def made() -> Any:
        told = await shop.pay(method=BARCODE, description="pending")
        return told.json if told.status == 201 else None

    payment = await until(made, seconds=5)
    assert (payment["status"], payment["channel"]) == ("processing", "alipay")
    trade = alipay.trades[await number_of(shop, payment["id"])]
    alipay.pay(trade)
    return payment, trade


async def told_late(shop: Shop, alipay: Alipay, trade: Trade, payment: Any) -> None:
    """Let the notice of the money come that was sent before the trade was canceled."""

    async def canceled() -> bool:
        return trade.status == "TRADE_CLOSED"

    await until(canceled)
    alipay.notify(trade, **SUCCESS)

    async def heard() -> bool:
        moments = await timeline(shop, payment["id"])
        return "told: succeeded" in {moment["summary"] for moment in moments}

    await until(heard)


async def test_a_notice_overtakes_the_cancel_that_gave_the_money_back(
    shop: Shop, alipay: Alipay
) -> None:
    payment, trade = await begun(shop, alipay)
    gate = alipay.gates["cancel"] = asyncio.Event()
    canceling = asyncio.create_task(act(shop, payment["id"], "cancel"))
    await told_late(shop, alipay, trade, payment)
    assert (await shop.payment(payment["id"]))["status"] == "succeeded"
    gate.set()
    answer = await canceling
    assert (answer.status, answer.json["status"], answer.json["fee"]) == (200, "canceled", 0)
    assert answer.json["amount_captured"] == answer.json["amount_authorized"] == 0
    assert await events(shop, payment["id"]) == TAKEN_BACK
    assert await balances(shop) == {}
    refused(await give_back(shop, payment["id"]), 409, "state_conflict")
    moments = await timeline(shop, payment["id"])
    journals = [each["summary"] for each in moments if each["kind"] == "journal"]
    assert journals[-2:] == [
        "reversal: 19.87 CNY from merchant pending to channel receivable",
        "reversal: 0.12 CNY from commission to channel receivable",
    ]


async def test_a_notice_that_comes_after_the_cancel_is_no_late_money(
    shop: Shop, alipay: Alipay
) -> None:
    payment, trade = await begun(shop, alipay)
    canceled = (await act(shop, payment["id"], "cancel")).json
    assert canceled["status"] == "canceled"
    before = await facts(shop, payment["id"])
    await told_late(shop, alipay, trade, payment)
    await act(shop, payment["id"], "sync")
    assert await facts(shop, payment["id"]) == before


async def test_a_cancel_of_which_no_answer_comes_is_asked_about_after_the_notice(
    shop: Shop, alipay: Alipay, witness: Witness
) -> None:
    payment, trade = await begun(shop, alipay)
    alipay.gates = {"cancel": asyncio.Event(), "query": asyncio.Event()}
    unsure = (await act(shop, payment["id"], "cancel")).json
    assert (unsure["status"], unsure["certainty"]) == ("processing", "unknown")
    await told_late(shop, alipay, trade, payment)
    alipay.gates.clear()
    await its_time_comes(witness, shop, payment["id"])
    await shop.until(payment["id"], "canceled")
    assert await events(shop, payment["id"]) == [TAKEN_BACK[0], *TAKEN_BACK]
    assert await balances(shop) == {}


async def test_a_refund_that_is_asked_while_the_cancel_gives_all_back(
    shop: Shop, alipay: Alipay, witness: Witness
) -> None:
    """Its money came back with the rest, and no refund of a closed trade can be made."""
    payment, trade = await begun(shop, alipay)
    gate = alipay.gates["cancel"] = asyncio.Event()
    canceling = asyncio.create_task(act(shop, payment["id"], "cancel"))
    await told_late(shop, alipay, trade, payment)
    refund = (await give_back(shop, payment["id"], 500)).json
    assert refund["status"] == "processing"
    gate.set()
    canceled = (await canceling).json
    assert (canceled["status"], canceled["amount_captured"], canceled["amount_refunded"]) == (
        *("canceled", 500),
        500,
    )
    await its_time_comes(witness, shop, payment["id"])
    await refund_until(shop, refund["id"], "succeeded")
    assert await balances(shop) == {}
    assert trade.refunds == {}


async def test_what_is_to_be_captured_later_is_not_asked_of_who_takes_money_at_once(
    shop: Shop, alipay: Alipay
) -> None:
    await begun(shop, alipay)
    told = await shop.pay(method=BARCODE, capture="manual")
    refused(told, 422, "no_channel")
    assert "alipay: hold" in told.json["detail"]
    assert len(alipay.trades) == 1
