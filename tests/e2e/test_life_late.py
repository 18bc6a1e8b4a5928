"""Deadlines and late money: nothing ends by time alone, and money after the end counts."""

import asyncio
from typing import Any

import pytest

from tests.e2e.cli_kit import run_in
from tests.e2e.harness import Shop, System, until
from tests.e2e.idempotency_kit import Witness
from tests.e2e.life_kit import (
    act,
    balances,
    events,
    facts,
    give_back,
    in_seconds,
    its_time_comes,
    notify,
    number_of,
    refused,
    report,
    timeline,
    together,
)

pytestmark = pytest.mark.usefixtures("proven", "shop")

LATE = ["payment.processing", "payment.canceled", "payment.late_success"]


async def late(shop: Shop) -> Any:
    """A payment that the merchant canceled, and that the acquirer booked all the same."""
    payment = (await shop.pay("tok_late_success")).json
    canceled = (await act(shop, payment["id"], "cancel")).json
    assert (canceled["status"], canceled["amount_captured"]) == ("canceled", 0)

    async def booked() -> Any:
        paid = await shop.payment(payment["id"])
        return paid if paid["amount_captured"] else None

    return await until(booked)


async def test_late_money_waits_for_people(system: System, shop: Shop, witness: Witness) -> None:
    """The default: it lies in suspense, earns no commission, and they may give it back."""
    payment = await late(shop)
    number = await number_of(shop, payment["id"])
    assert (payment["status"], payment["amount_captured"], payment["fee"]) == (
        *("requires_review", 1999),
        0,
    )
    assert await events(shop, payment["id"]) == LATE
    assert await balances(shop) == {"channel receivable": 1999, "suspense, long": 1999}
    before = await facts(shop, payment["id"])
    synced = await act(shop, payment["id"], "sync")
    assert (synced.status, synced.json) == (200, payment)
    for verb in ("capture", "cancel"):
        refused(await act(shop, payment["id"], verb), 409, "state_conflict")
    for status in ("succeeded", "closed", "declined", "pending", "authorized"):
        assert (await notify(system, shop, report(number, status))).status == 200
    assert await facts(shop, payment["id"]) == before
    refund = (await give_back(shop, payment["id"])).json
    assert (refund["status"], refund["amount"]) == ("succeeded", 1999)
    assert await balances(shop) == {}


async def test_late_money_is_adopted_where_the_merchant_wants_it(
    system: System, witness: Witness
) -> None:
    async with system.shop("Adopter", late_success="adopt") as shop:
        payment = await late(shop)
        paid = await shop.until(payment["id"], "succeeded")
        assert (paid["amount_captured"], paid["fee"], paid["certainty"]) == (1999, 12, None)
        assert await events(shop, payment["id"]) == [*LATE, "payment.succeeded"]
        assert await balances(shop) == {
            "channel receivable": 1999,
            "merchant pending": 1987,
            "commission": 12,
        }
        states = [each for each in await timeline(shop, payment["id"]) if each["kind"] == "state"]
        assert states[-1]["at"] > states[-2]["at"]
        await together(*(act(shop, payment["id"], "sync") for _ in range(5)))
        assert await shop.payment(payment["id"]) == paid
        assert (await give_back(shop, payment["id"])).json["status"] == "succeeded"
        assert await balances(shop) == {}


async def test_late_money_goes_back_where_the_merchant_wants_that(
    system: System, witness: Witness
) -> None:
    async with system.shop("Returner", late_success="refund") as shop:
        payment = await late(shop)

        async def given_back() -> Any:
            page = (await shop.call("GET", f"/v1/payments/{payment['id']}/refunds")).json["data"]
            return page if page and page[0]["status"] == "succeeded" else None

        (refund,) = await until(given_back)
        assert (refund["amount"], refund["reference"]) == (1999, f"late-{payment['id']}-0")
        await together(*(act(shop, payment["id"], "sync") for _ in range(5)))
        after = await shop.payment(payment["id"])
        assert (after["amount_captured"], after["amount_refunded"]) == (1999, 1999)
        assert await given_back() == [refund]
        assert await events(shop, payment["id"]) == [*LATE, "refund.succeeded"]
        assert await balances(shop) == {}
        assert sorted(line["kind"] for line in await witness.bookings(shop)) == [
            "payment",
            "refund",
        ]


async def test_another_policy_reaches_late_money_that_waits(system: System) -> None:
    """As `docs/operations.md` tells operators."""
    async with system.shop("Thinks again") as shop:
        payment = await late(shop)
        assert payment["status"] == "requires_review"
        choosing = await run_in(system, "merchant", "late-success", shop.merchant, "adopt")
        assert choosing.code == 0
        synced = await act(shop, payment["id"], "sync")
        assert (synced.status, synced.json["status"]) == (200, "succeeded")
        assert await balances(shop) == {
            "channel receivable": 1999,
            "merchant pending": 1987,
            "commission": 12,
        }


async def test_late_money_is_settled_once_whoever_comes_first(
    system: System, witness: Witness
) -> None:
    """The worker and the merchant's own syncs, at the same moment, for both policies."""
    for policy in ("adopt", "refund"):
        async with system.shop("Hurried", late_success=policy) as shop:
            payment = (await shop.pay("tok_late_success")).json
            await act(shop, payment["id"], "cancel")

            async def settled(shop: Shop = shop, payment: Any = payment) -> bool:
                await together(*(act(shop, payment["id"], "sync") for _ in range(4)))
                told = await events(shop, payment["id"])
                return told[-1] in {"payment.succeeded", "refund.succeeded"}

            await until(settled)
            assert len(await events(shop, payment["id"])) == 4


async def test_silence_ends_nothing(system: System, shop: Shop, witness: Witness) -> None:
    """The acquirer is away at the deadline: only its own word ends a payment."""
    ends = in_seconds(2)
    payments = [
        (await shop.pay("qr", expires_at=ends)).json,
        (await shop.pay("tok_timeout_lost", expires_at=ends)).json,
        (await shop.pay("tok_pending_lost_notice", expires_at=ends)).json,
    ]
    system.kill("simulator")
    numbers = [await number_of(shop, payment["id"]) for payment in payments]

    async def asked_in_vain() -> bool:
        rows = await witness.database.fetch(
            "SELECT attempt_id, count(*) AS times FROM sighting WHERE attempt_id = ANY($1::uuid[])"
            " AND verdict = 'unknown' AND seen_at > $2 GROUP BY attempt_id",
            numbers,
            await witness.database.fetchval("SELECT $1::text::timestamptz", ends),
        )
        return len(rows) == 3

    await until(asked_in_vain)
    left = [(await shop.payment(payment["id"]))["status"] for payment in payments]
    assert left == ["requires_action", "processing", "processing"]
    system.start_simulator()
    await system.ready()
    for payment in payments:
        await its_time_comes(witness, shop, payment["id"])
    await together(
        shop.until(payments[0]["id"], "expired"),
        shop.until(payments[1]["id"], "expired"),
        shop.until(payments[2]["id"], "succeeded"),
    )


async def test_a_payment_is_closed_soon_after_its_deadline(shop: Shop) -> None:
    """Whatever the waits between two queries, the one at the deadline is not late."""
    payment = (await shop.pay("qr", expires_at=in_seconds(1))).json
    expired = await shop.until(payment["id"], "expired")
    assert expired["updated_at"] >= expired["expires_at"]
    told = [moment["summary"] for moment in await timeline(shop, payment["id"])]
    assert "asked to close: closed" in told


async def test_no_sync_hurries_a_payment_to_its_end(shop: Shop) -> None:
    """Not found, asked ten times, is still not an end."""
    payment = (await shop.pay("tok_timeout_lost")).json
    for _ in range(10):
        synced = (await act(shop, payment["id"], "sync")).json
        assert (synced["status"], synced["certainty"]) == ("processing", "unknown")
    canceled = await asyncio.wait_for(act(shop, payment["id"], "cancel"), 10)
    assert canceled.json["status"] == "canceled"
