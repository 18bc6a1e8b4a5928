"""Words that cross: what a channel does by itself while we believe something else."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Verb
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.domain.outcome import Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.e2e.harness import Shop, System, until
from tests.e2e.life_kit import act, balances, notify, report, timeline
from tests.e2e.routing_kit import A, B, b_answers, with_two_acquirers

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
    """A merchant of its own, once both acquirers answer."""
    await system.ready()
    async with system.shop() as shop:
        await until(lambda: b_answers(system, shop.session))
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
