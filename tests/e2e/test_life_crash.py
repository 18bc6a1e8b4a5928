"""`kill -9` and lost wires in the middle of captures, cancels and refunds; the worker finds out."""

import asyncio
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from tests.e2e.harness import Reply, Shop, System
from tests.e2e.idempotency_kit import Wired, Witness, replayed
from tests.e2e.life_kit import (
    act,
    authorized,
    events,
    give_back,
    its_time_comes,
    number_of,
    refund_until,
    together,
)

pytestmark = pytest.mark.usefixtures("proven")


async def of(shop: Shop, payment_id: str) -> Any:
    """The only refund of a payment."""
    (refund,) = (await shop.call("GET", f"/v1/payments/{payment_id}/refunds")).json["data"]
    return refund


async def moved(shop: Shop, witness: Witness) -> list[tuple[str, int]]:
    """What the acquirer took and gave back."""
    return sorted((line["kind"], line["amount"]) for line in await witness.bookings(shop))


async def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """Two captures, two refunds and a cancel: asked of the acquirer, or answered and not posted."""
    held = [await authorized(shop) for _ in range(3)]
    paid = [(await shop.pay()).json for _ in range(2)]
    stands = (
        (wired.acquirer.stop_at(b"/capture"), act(wired.shop, held[0]["id"], "capture", key="a")),
        (
            wired.postgres.stop_at(b"payment.succeeded"),
            act(wired.shop, held[1]["id"], "capture", {"amount": 700}, key="b"),
        ),
        (wired.acquirer.stop_at(b"/close"), act(wired.shop, held[2]["id"], "cancel", key="c")),
        (
            wired.acquirer.stop_at(b"/refunds"),
            give_back(wired.shop, paid[0]["id"], 500, reference="d", key="d"),
        ),
        (
            wired.postgres.stop_at(b"refund.succeeded"),
            give_back(wired.shop, paid[1]["id"], 500, reference="e", key="e"),
        ),
    )
    asking = []
    for stop, call in stands:
        asking.append(asyncio.create_task(call))
        await stop.reached()
    wired.kill()
    for task in asking:
        with pytest.raises(aiohttp.ClientError):
            await task
    await witness.redis.flushdb()
    recalled: list[Reply] = [
        await act(shop, held[0]["id"], "capture", key="a"),
        await act(shop, held[1]["id"], "capture", {"amount": 700}, key="b"),
        await act(shop, held[2]["id"], "cancel", key="c"),
        await give_back(shop, paid[0]["id"], 500, reference="d", key="d"),
        await give_back(shop, paid[1]["id"], 500, reference="e", key="e"),
    ]
    assert [replayed(reply) for reply in recalled] == [True] * 5
    assert [reply.json["status"] for reply in recalled] == [
        *("processing", "processing", "requires_capture"),
        *("processing", "processing"),
    ]
    for payment in (*held, *paid):
        await its_time_comes(witness, shop, payment["id"])
    assert (await shop.until(held[0]["id"], "succeeded"))["amount_captured"] == 1999
    assert (await shop.until(held[1]["id"], "succeeded"))["amount_captured"] == 700
    await shop.until(held[2]["id"], "canceled")
    for reply in recalled[3:]:
        await refund_until(shop, reply.json["id"], "succeeded")
    assert await moved(shop, witness) == [
        ("payment", 700),
        *[("payment", 1999)] * 3,
        *[("refund", 500)] * 2,
    ]


async def test_the_lost_are_asked_about_soon_by_themselves(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """As above, without anybody's help: the time at which it is due was set when it began."""
    payment, paid = await authorized(shop), (await shop.pay()).json
    asking = []
    for marker, call in (
        (b"/capture", act(wired.shop, payment["id"], "capture")),
        (b"/refunds", give_back(wired.shop, paid["id"], 500)),
    ):
        stop = wired.acquirer.stop_at(marker)
        asking.append(asyncio.create_task(call))
        await stop.reached()
    wired.kill()
    for task in asking:
        with pytest.raises(aiohttp.ClientError):
            await task
    await shop.until(payment["id"], "succeeded")
    await refund_until(shop, (await of(shop, paid["id"]))["id"], "succeeded")
    assert await moved(shop, witness) == [("payment", 1999)] * 2 + [("refund", 500)]


async def test_the_background_worker_may_die_at_any_moment(
    system: System, shop: Shop, wired: Wired, witness: Witness
) -> None:
    """While it is away, and while it asks; what it had leased is due again when its lease ends."""
    system.kill("work")
    payment = (await shop.pay("tok_timeout_booked")).json
    refund = (await give_back(shop, (await shop.pay("tok_refund_unknown")).json["id"], 500)).json
    asked = wired.acquirer.stop_at(b"GET /v1/payments/")
    url = f"http://127.0.0.1:{wired.acquirer.port}"
    system.start("work", "work", settings=replace(system.settings, simulator_url=url))
    await asked.reached()
    system.kill("work")
    assert (await shop.payment(payment["id"]))["certainty"] == "unknown"
    system.start("work", "work")
    for payment_id in (payment["id"], refund["payment"]):
        await its_time_comes(witness, shop, payment_id)
    await shop.until(payment["id"], "succeeded")
    await refund_until(shop, refund["id"], "succeeded")
    assert await events(shop, payment["id"]) == ["payment.processing", "payment.succeeded"]
    assert await moved(shop, witness) == [("payment", 1999)] * 2 + [("refund", 500)]


async def test_two_background_workers_share_the_work(
    system: System, shop: Shop, witness: Witness
) -> None:
    """Each attempt is asked about by one of them at a time."""
    system.start("work-2", "work")
    payments = [
        reply.json for reply in await together(*(shop.pay("tok_error_booked") for _ in range(40)))
    ]
    await together(*(shop.until(payment["id"], "succeeded") for payment in payments))
    assert system.kill("work-2") == -9
    numbers = [await number_of(shop, payment["id"]) for payment in payments]
    seen = await witness.database.fetch(
        "SELECT attempt_id, count(*) AS times FROM sighting WHERE attempt_id = ANY($1::uuid[])"
        " GROUP BY attempt_id",
        numbers,
    )
    assert [row["times"] for row in seen] == [1] * 40


async def test_postgresql_may_leave_while_the_acquirer_works(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """Nobody is told that nothing was begun; what the acquirer did is found out afterwards."""
    payments = [await authorized(shop), await authorized(shop), (await shop.pay()).json]
    stands = (
        (b"/capture", act(wired.shop, payments[0]["id"], "capture", {"amount": 700}, key="a")),
        (b"/close", act(wired.shop, payments[1]["id"], "cancel", key="b")),
        (b"/refunds", give_back(wired.shop, payments[2]["id"], 500, reference="c", key="c")),
    )
    asking, stops = [], []
    for marker, call in stands:
        stops.append(wired.acquirer.stop_at(marker, answered_by=b"}"))
        asking.append(asyncio.create_task(call))
        await stops[-1].reached()
    await wired.postgres.refuse()
    for stop in stops:
        stop.go()
    replies = await together(*asking)
    assert [(reply.status, reply.json["status"], reply.json["certainty"]) for reply in replies] == [
        (200, "processing", "unknown"),
        (200, "requires_capture", None),
        (201, "processing", "unknown"),
    ]
    for payment in payments:
        await its_time_comes(witness, shop, payment["id"])
    assert (await shop.until(payments[0]["id"], "succeeded"))["amount_captured"] == 700
    await shop.until(payments[1]["id"], "canceled")
    await refund_until(shop, replies[2].json["id"], "succeeded")
    again = await act(shop, payments[0]["id"], "capture", {"amount": 700}, key="a")
    assert (again.status, replayed(again), again.json["status"]) == (200, True, "succeeded")
    assert await moved(shop, witness) == [("payment", 700), ("payment", 1999), ("refund", 500)]


async def test_the_acquirer_may_die_and_come_back(
    system: System, shop: Shop, witness: Witness
) -> None:
    payments = [await authorized(shop), await authorized(shop), (await shop.pay()).json]
    system.kill("simulator")
    replies = [
        await act(shop, payments[0]["id"], "capture"),
        await act(shop, payments[1]["id"], "cancel"),
        await give_back(shop, payments[2]["id"], 500),
    ]
    assert [(reply.status, reply.json["status"], reply.json["certainty"]) for reply in replies] == [
        (200, "processing", "unknown"),
        (200, "requires_capture", None),
        (201, "processing", "unknown"),
    ]
    system.start_simulator()
    await system.ready()
    for payment in payments:
        await its_time_comes(witness, shop, payment["id"])
    await shop.until(payments[0]["id"], "succeeded")
    await shop.until(payments[1]["id"], "canceled")
    await refund_until(shop, replies[2].json["id"], "succeeded")
    assert await moved(shop, witness) == [("payment", 1999)] * 2 + [("refund", 500)]
