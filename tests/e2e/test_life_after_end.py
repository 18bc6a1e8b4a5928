"""After the end: money whose notice is lost, holds that come late, and money that comes again."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gateway.channels.simulator.entries import Entry, Payment
from gateway.domain import limits
from gateway.domain.identity import merchant_number
from tests.conftest import Database
from tests.e2e.harness import Shop, System, until
from tests.e2e.idempotency_kit import Wired, Witness
from tests.e2e.life_kit import (
    act,
    as_owner,
    authorized,
    balances,
    events,
    facts,
    give_back,
    its_time_comes,
    notify,
    number_of,
    report,
    timeline,
)

pytestmark = pytest.mark.usefixtures("proven")


async def row_of(shop: Shop, witness: Witness, payment_id: str) -> Any:
    """The row of a payment's attempt."""
    number = await number_of(shop, payment_id)
    return await witness.database.fetchrow("SELECT * FROM attempt WHERE id = $1", number)


def at_the_acquirer(witness: Witness, number: str) -> Payment:
    """How the acquirer has a payment, as its journal says."""
    entries = witness.acquirer_journal.read_bytes().splitlines()
    known = [msgspec.json.decode(line, type=Entry).payment for line in entries]
    return [payment for payment in known if payment is not None and payment.number == number][-1]


async def canceled(shop: Shop, token: str, **changes: Any) -> Any:
    """A payment that the merchant canceled."""
    payment = (await shop.pay(token, **changes)).json
    ended = (await act(shop, payment["id"], "cancel")).json
    assert ended["status"] == "canceled"
    return ended


async def test_money_whose_only_notice_was_lost_is_found_by_a_later_look(
    shop: Shop, witness: Witness
) -> None:
    payment = await canceled(shop, "tok_late_lost_notice")
    ended = await row_of(shop, witness, payment["id"])
    first = timedelta(seconds=limits.CHECK_WAIT_SECONDS[0])
    stands = await witness.database.fetchval(
        "SELECT updated_at FROM payment WHERE id = $1", ended["payment_id"]
    )
    assert (ended["is_check"], ended["due_at"]) == (True, stands + first)

    async def booked() -> Any:
        return await witness.bookings(shop)

    await until(booked)
    assert await shop.payment(payment["id"]) == payment
    await its_time_comes(witness, shop, payment["id"])
    late = await shop.until(payment["id"], "requires_review")
    assert late["amount_captured"] == 1999
    assert await events(shop, payment["id"]) == [
        *("payment.processing", "payment.canceled", "payment.late_success"),
    ]
    assert await balances(shop) == {"channel receivable": 1999, "suspense, long": 1999}

    async def nothing_is_due() -> bool:
        return (await row_of(shop, witness, payment["id"]))["due_at"] is None

    await until(nothing_is_due)


async def test_a_look_that_finds_nothing_changes_nothing_and_is_repeated(
    shop: Shop, witness: Witness
) -> None:
    payment = await canceled(shop, "qr")
    before = await facts(shop, payment["id"])
    due_at = (await row_of(shop, witness, payment["id"]))["due_at"]
    await its_time_comes(witness, shop, payment["id"])

    async def looked() -> Any:
        told = [moment["summary"] for moment in await timeline(shop, payment["id"])]
        row = await row_of(shop, witness, payment["id"])
        return row["due_at"] == due_at and "asked again: closed" in told

    await until(looked)
    assert (await row_of(shop, witness, payment["id"]))["is_check"]
    assert await facts(shop, payment["id"]) == before


async def test_a_hold_that_comes_after_the_end_is_let_go(
    system: System, shop: Shop, witness: Witness
) -> None:
    """It is noted down while nobody is there to let it go, and let go as soon as somebody is."""
    system.kill("work")
    payment = await canceled(shop, "tok_late_success", capture="manual")
    number = await number_of(shop, payment["id"])

    async def noted() -> bool:
        row = await row_of(shop, witness, payment["id"])
        return row["due_at"] is not None and not row["is_check"]

    await until(noted)
    assert at_the_acquirer(witness, number).status == "authorized"
    system.start("work", "work")

    async def let_go() -> Any:
        told = [(m["kind"], m["summary"]) for m in await timeline(shop, payment["id"])]
        return told if ("void", "let go of a hold that came late: closed") in told else None

    told = await until(let_go)
    assert ("notice", "told: authorized") in told
    assert at_the_acquirer(witness, number).status == "closed"
    assert await shop.payment(payment["id"]) == payment
    assert await events(shop, payment["id"]) == ["payment.processing", "payment.canceled"]
    assert await balances(shop) == {}

    async def only_looked_at() -> bool:
        row = await row_of(shop, witness, payment["id"])
        return bool(row["is_check"] and row["due_at"] is not None)

    await until(only_looked_at)


async def told_of(shop: Shop, payment_id: str, times: int) -> None:
    """Wait until money beside the payment's own was told of so often."""

    async def told() -> bool:
        return (await events(shop, payment_id)).count("payment.late_success") == times

    await until(told)


async def gone_back(shop: Shop, payment_id: str, times: int) -> None:
    """Wait until so much of what was paid beside a payment has gone back to the payer."""

    async def gone() -> bool:
        return (await events(shop, payment_id)).count("further_refund.succeeded") == times

    await until(gone)


async def heard_once_more(system: System, shop: Shop, witness: Witness, payment_id: str) -> None:
    """Every transaction that the acquirer booked is told again, and changes nothing."""
    before = await facts(shop, payment_id)
    number = await number_of(shop, payment_id)
    lines = [line for line in await witness.bookings(shop) if line["kind"] == "payment"]
    taken = {line["transaction"] for line in lines}
    assert len(taken) == len(lines) > 1
    for transaction in taken:
        await notify(system, shop, report(number, transaction=transaction))
    assert await facts(shop, payment_id) == before


async def test_a_payment_that_was_paid_twice(system: System, shop: Shop, witness: Witness) -> None:
    payment = (await shop.pay("tok_paid_twice")).json
    assert payment["status"] == "succeeded"
    await told_of(shop, payment["id"], 1)
    await heard_once_more(system, shop, witness, payment["id"])
    paid = await shop.payment(payment["id"])
    assert paid == payment | {"updated_at": paid["updated_at"]}
    assert await balances(shop) == {
        "channel receivable": 3998,
        "suspense, long": 1999,
        "merchant pending": 1987,
        "commission": 12,
    }


async def test_late_money_that_comes_three_times_waits_for_people(
    system: System, shop: Shop, witness: Witness
) -> None:
    """The first of it goes back in between; every transaction is in the books once."""
    payment = await canceled(shop, "tok_late_thrice")
    await told_of(shop, payment["id"], 1)
    assert (await give_back(shop, payment["id"])).json["status"] == "succeeded"
    await told_of(shop, payment["id"], 3)
    await heard_once_more(system, shop, witness, payment["id"])
    late = await shop.payment(payment["id"])
    assert (late["status"], late["amount_captured"], late["amount_refunded"]) == (
        *("requires_review", 1999),
        1999,
    )
    assert await balances(shop) == {"channel receivable": 3998, "suspense, long": 3998}
    entries = await shop.call("GET", f"/v1/ledger/entries?payment={payment['id']}&limit=100")
    again = {entry["journal"] for entry in entries.json["data"] if entry["kind"] == "paid_again"}
    assert len(again) == 2


async def test_late_money_that_was_adopted_and_comes_again(
    system: System, witness: Witness
) -> None:
    async with system.shop("Adopter", late_success="adopt") as shop:
        payment = await canceled(shop, "tok_late_thrice")
        await told_of(shop, payment["id"], 3)
        await gone_back(shop, payment["id"], 2)
        await heard_once_more(system, shop, witness, payment["id"])
        assert (await shop.payment(payment["id"]))["status"] == "succeeded"
        assert await balances(shop) == {
            "channel receivable": 1999,
            "merchant pending": 1987,
            "commission": 12,
        }


async def test_one_question_at_a_time_also_for_merchants(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """While one sync is under way, another one waits for its answer, and does not ask itself."""
    payment = (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    later = "UPDATE attempt SET due_at = now() + interval '1 hour' WHERE id = $1"
    await witness.database.execute(later, number)
    await until(lambda: is_free(shop, witness, payment["id"]))
    stop = wired.acquirer.stop_at(b"GET /v1/payments/")
    first = asyncio.create_task(act(wired.shop, payment["id"], "sync"))
    await stop.reached()
    second = await act(shop, payment["id"], "sync")
    assert (second.status, second.json["status"]) == (200, "requires_action")
    stop.go()
    assert (await first).json == second.json
    asked = "SELECT count(*) FROM sighting WHERE attempt_id = $1 AND source = 'sync'"
    assert await witness.database.fetchval(asked, number) == 1
    assert await is_free(shop, witness, payment["id"])
    await act(shop, payment["id"], "sync")
    assert await witness.database.fetchval(asked, number) == 2


async def test_what_is_paid_is_never_closed_at_a_channel_that_does_not_answer(
    shop: Shop, wired: Wired, witness: Witness, database: Database
) -> None:
    """An acquirer that is told to cancel what was paid may give the money back."""
    payment = (await shop.pay()).json
    number = await number_of(shop, payment["id"])
    over = "UPDATE attempt SET expires_at = now() - interval '1 minute' WHERE id = $1"
    await as_owner(database, over, number)
    await wired.acquirer.refuse()
    assert (await act(wired.shop, payment["id"], "sync")).json["status"] == "succeeded"
    await wired.acquirer.accept()
    asked = "SELECT verdict FROM sighting WHERE attempt_id = $1 AND source = 'sync'"
    assert await witness.database.fetchval(asked, number) == "unknown"
    said = "SELECT kind FROM remark WHERE subject_id = $1"
    assert await witness.database.fetch(said, number) == []


async def is_free(shop: Shop, witness: Witness, payment_id: str) -> bool:
    """Tell whether nobody asks about a payment just now."""
    return (await row_of(shop, witness, payment_id))["leased_until"] is None


async def test_whoever_asks_for_money_or_its_end_has_the_channel_to_itself(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """A create, a capture and a cancel each hold the lease until the channel has answered."""
    held = [await authorized(shop) for _ in range(2)]
    leased = "SELECT count(*) FROM attempt WHERE merchant_id = $1 AND leased_until > now()"
    merchant = merchant_number(shop.merchant)
    for marker, call in (
        (b"POST /v1/payments HTTP", wired.shop.pay()),
        (b"/capture", act(wired.shop, held[0]["id"], "capture")),
        (b"/close", act(wired.shop, held[1]["id"], "cancel")),
    ):
        assert await witness.database.fetchval(leased, merchant) == 0
        stop = wired.acquirer.stop_at(marker)
        asking = asyncio.create_task(call)
        await stop.reached()
        assert await witness.database.fetchval(leased, merchant) == 1
        stop.go()
        assert (await asking).status in {200, 201}
    assert await witness.database.fetchval(leased, merchant) == 0
