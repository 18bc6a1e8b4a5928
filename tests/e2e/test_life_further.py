"""What was paid beside a payment: who is paid twice gives one back, by himself or by people."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.channels.simulator.books import Books
from tests.e2e.cli_kit import run_in
from tests.e2e.harness import Shop, System, until
from tests.e2e.idempotency_kit import Wired, Witness
from tests.e2e.life_kit import (
    balances,
    events,
    further,
    give_back,
    its_time_comes,
    notify,
    number_of,
    refund_until,
    report,
    scan,
    timeline,
)
from tests.fakes.proxy import COMMITTED

pytestmark = pytest.mark.usefixtures("proven", "shop")

ONCE = {"channel receivable": 1999, "merchant pending": 1987, "commission": 12}
TWICE = ONCE | {"channel receivable": 3998, "suspense, long": 1999}
TOLD = ["payment.requires_action", "payment.succeeded", "payment.late_success"]


async def paid_twice(system: System, shop: Shop) -> Any:
    """A payment of 19.99 as it stood when the payer scanned its code again and paid once more."""
    payment = (await shop.pay("qr")).json
    assert await scan(system, shop, payment) == 200
    paid = await shop.until(payment["id"], "succeeded")
    assert await scan(system, shop, payment, "again=1") == 200
    return paid


async def refund_of(shop: Shop, payment: Any, status: str = "") -> Any:
    """The only refund of the only money beside a payment, once it has this status, or any."""

    async def reached() -> Any:
        beside = await further(shop, payment["id"])
        refunds = beside[0]["refunds"] if beside else []
        statuses = [status] if status else [each["status"] for each in refunds[:1]]
        return refunds[0] if refunds and [each["status"] for each in refunds] == statuses else None

    return await until(reached)


async def moved(shop: Shop, witness: Witness) -> list[tuple[str, int]]:
    """What the acquirer took and gave back."""
    return sorted((line["kind"], line["amount"]) for line in await witness.bookings(shop))


TAKEN_TWICE = [("payment", 1999)] * 2


@pytest.mark.parametrize("policy", ["refund", "adopt"])
async def test_a_second_payment_goes_back_by_itself(
    system: System, witness: Witness, policy: str
) -> None:
    """Nobody adopts a double charge; the payment and its own refunds stay as they are."""
    async with system.shop("Twice", late_success=policy) as shop:
        payment = await paid_twice(system, shop)
        refund = await refund_of(shop, payment, "succeeded")
        (beside,) = await further(shop, payment["id"])
        second = Books(seed=0).identify_again(await number_of(shop, payment["id"]), 1)
        assert beside == {
            "object": "further_transaction",
            "id": refund["further_transaction"],
            "payment": payment["id"],
            "merchant": shop.merchant,
            "channel": "simulator",
            "channel_transaction": second,
            "amount": 1999,
            "amount_refunded": 1999,
            "currency": "CNY",
            "refunds": [refund],
            "created_at": beside["created_at"],
        }
        assert (refund["amount"], refund["payment"]) == (1999, payment["id"])
        assert (await shop.call("GET", f"/v1/refunds/{refund['id']}")).json == refund
        after = await shop.payment(payment["id"])
        assert after == payment | {"updated_at": after["updated_at"]}
        listed = await shop.call("GET", f"/v1/payments/{payment['id']}/refunds")
        assert listed.json == {"data": [], "next_cursor": None}
        assert await events(shop, payment["id"]) == [*TOLD, "further_refund.succeeded"]
        told = (await shop.call("GET", "/v1/events")).json["data"][-1]
        assert told["data"] == refund | {"sequence": 4}
        summaries = [moment["summary"] for moment in await timeline(shop, payment["id"])]
        assert f"19.99 CNY to go back as {refund['reference']}" in summaries
        assert "further refund is succeeded" in summaries
        assert await balances(shop) == ONCE
        own = (await give_back(shop, payment["id"])).json
        assert (own["status"], own["amount"]) == ("succeeded", 1999)
        assert "further_transaction" not in own
        assert await balances(shop) == {}
        assert await moved(shop, witness) == [*TAKEN_TWICE, *[("refund", 1999)] * 2]


async def test_a_second_payment_waits_for_people_where_they_want_that(
    system: System, shop: Shop, witness: Witness
) -> None:
    payment = await paid_twice(system, shop)

    async def waits() -> Any:
        rows = await witness.database.fetch(
            "SELECT due_at FROM further_transaction WHERE payment_id = $1", payment["id"][4:]
        )
        return rows and rows[0]["due_at"] is None

    await until(waits)
    (beside,) = await further(shop, payment["id"])
    assert (beside["amount_refunded"], beside["refunds"]) == (0, [])
    assert await events(shop, payment["id"]) == TOLD
    assert await balances(shop) == TWICE
    async with system.shop("Another") as another:
        path = f"/v1/payments/{payment['id']}/further_transactions"
        assert (await another.call("GET", path)).json["code"] == "payment_not_found"


async def test_people_see_it_and_give_it_back(system: System, shop: Shop, witness: Witness) -> None:
    payment = await paid_twice(system, shop)

    async def left() -> Any:
        return (await run_in(system, "further", "list", "--merchant", shop.merchant)).json

    (waits,) = [each for each in await until(left) if each["payment"] == payment["id"]]
    assert [waits] == await further(shop, payment["id"])
    giving = ("further", "give-back", waits["id"], "--reason", "He rang us up.")
    given = await run_in(system, *giving)
    assert (given.code, given.json["reason"]) == (0, "He rang us up.")
    done = await refund_of(shop, payment, "succeeded")
    assert (done["id"], done["amount"]) == (given.json["id"], 1999)
    attempt = f"att_{await number_of(shop, payment['id'])}"
    again, *others, shown, told = await asyncio.gather(
        run_in(system, *giving),
        *(run_in(system, "payment", "show", each) for each in (attempt, waits["id"], done["id"])),
        run_in(system, "payment", "show", payment["id"]),
        run_in(system, "payment", "show", payment["id"], "--json"),
    )
    assert (again.code, again.out) == (1, "")
    assert again.err == f"floodgate: it goes back already, or did, as {done['id']}\n"
    assert (shown.code, payment["id"] in shown.out, waits["id"] in shown.out) == (0, True, True)
    assert [each.out for each in others] == [shown.out] * 3
    story = told.json
    assert story["payment"] == await shop.payment(payment["id"])
    assert story["timeline"] == await timeline(shop, payment["id"])
    assert story["further_transactions"] == await further(shop, payment["id"])
    assert [each for each in await left() if each["payment"] == payment["id"]] == []
    assert await balances(shop) == ONCE
    assert (await events(shop, payment["id"]))[-1] == "further_refund.succeeded"
    assert await moved(shop, witness) == [*TAKEN_TWICE, ("refund", 1999)]


@pytest.mark.parametrize(
    "words",
    [
        ("further", "give-back", f"xtr_{'0' * 32}"),
        ("further", "give-back", "xtr_1"),
        ("further", "give-back", f"xtr_{'0' * 32}", "--reason", "a\nb"),
        ("further", "list", "--merchant", "mer_1"),
        ("payment", "show", f"pay_{'0' * 32}"),
        ("payment", "show", "pay_1"),
        ("payment", "show", f"att_{'0' * 32}"),
        ("payment", "show", "key_1"),
    ],
)
async def test_what_is_not_there_is_not_shown_or_given_back(
    system: System, words: tuple[str, ...]
) -> None:
    told = await run_in(system, *words)
    assert (told.code, told.out, told.err.count("\n")) == (1, "", 1)


async def test_a_refund_is_noticed_before_it_is_answered(system: System, witness: Witness) -> None:
    """While the worker still waits for the answer, which then comes to nothing new."""
    async with system.shop("Noticed", late_success="refund") as shop:
        payment = (await shop.pay("tok_twice_refund_unknown")).json
        refund = await refund_of(shop, payment)

        async def booked() -> bool:
            return ("refund", 1999) in await moved(shop, witness)

        await until(booked)
        number = await number_of(shop, payment["id"])
        told = report(number, refund_number=refund["id"][3:])
        assert (await notify(system, shop, told)).status == 200
        done = await refund_of(shop, payment, "succeeded")
        await its_time_comes(witness, shop, payment["id"])
        await give_back(shop, payment["id"], 1)
        assert await refund_of(shop, payment) == done
        assert (await events(shop, payment["id"])).count("further_refund.succeeded") == 1


async def test_a_refund_that_nobody_answered_for_is_found_out(
    system: System, witness: Witness
) -> None:
    async with system.shop("Silent", late_success="refund") as shop:
        payment = (await shop.pay("tok_twice_refund_unknown")).json
        await refund_of(shop, payment, "processing")
        refund = await refund_of(shop, payment, "succeeded")
        assert await balances(shop) == ONCE
        assert await moved(shop, witness) == [*TAKEN_TWICE, ("refund", 1999)]
        # The acquirer repeats itself, and then takes it back: the money waits for people again.
        number = await number_of(shop, payment["id"])
        told = report(number, refund_number=refund["id"][3:])
        for _ in range(2):
            assert (await notify(system, shop, told)).status == 200
        assert await balances(shop) == ONCE
        assert (await notify(system, shop, replace(told, status="failed"))).status == 200
        await refund_until(shop, refund["id"], "failed")
        (beside,) = await further(shop, payment["id"])
        assert beside["amount_refunded"] == 0
        assert await balances(shop) == TWICE
        assert (await events(shop, payment["id"]))[-3:] == [
            f"further_refund.{status}" for status in ("processing", "succeeded", "failed")
        ]
        # It was done after all, as the acquirer's books have it: for people to look at.
        assert (await notify(system, shop, replace(told, transaction="sim_again"))).status == 200
        await refund_until(shop, refund["id"], "requires_review")


async def test_a_refund_that_fails_leaves_the_money_to_people(
    system: System, witness: Witness
) -> None:
    async with system.shop("Refused", late_success="refund") as shop:
        payment = (await shop.pay("tok_twice_refund_fails")).json
        refund = await refund_of(shop, payment, "failed")
        assert refund["failure"]["code"] == "refund_rejected"
        assert await events(shop, payment["id"]) == [*TOLD[1:], "further_refund.failed"]
        await its_time_comes(witness, shop, payment["id"])
        (beside,) = await further(shop, payment["id"])
        assert (beside["amount_refunded"], beside["refunds"]) == (0, [refund])
        assert await balances(shop) == TWICE
        assert await moved(shop, witness) == TAKEN_TWICE


async def test_each_transaction_goes_back_under_its_own_name(
    system: System, witness: Witness
) -> None:
    """The second payment is told first, so it is the order's; the first one goes back."""
    async with system.shop("Shuffled", late_success="refund") as shop:
        payment = (await shop.pay("qr")).json
        for how in ("silently=1", "again=1&silently=1"):
            assert await scan(system, shop, payment, how) == 200
        number = await number_of(shop, payment["id"])
        second = Books(seed=0).identify_again(number, 1)
        for told in (report(number, transaction=second), report(number)):
            assert (await notify(system, shop, told)).status == 200
        await refund_of(shop, payment, "succeeded")
        (beside,) = await further(shop, payment["id"])
        assert beside["channel_transaction"] == Books(seed=0).identify(number)
        assert (await give_back(shop, payment["id"])).json["status"] == "succeeded"
        assert await balances(shop) == {}
        assert await moved(shop, witness) == [*TAKEN_TWICE, *[("refund", 1999)] * 2]


async def test_a_second_payment_whose_notice_was_lost_is_found_by_a_later_look(
    system: System, witness: Witness
) -> None:
    """A payer can scan a code again; a card is charged by nobody but us, and not looked at.

    Unless it is one that is charged twice: its acquirer may die before he told of the second time.
    """
    async with system.shop("Unheard", late_success="refund") as shop:
        card, payment = (await shop.pay()).json, (await shop.pay("qr")).json
        twice = (await shop.pay("tok_paid_twice")).json
        assert await scan(system, shop, payment) == 200
        paid = await shop.until(payment["id"], "succeeded")
        rows = (
            "SELECT due_at - answered_at > '4 min' FROM attempt WHERE payment_id = $1 AND is_check"
        )
        for looked_at in (payment, twice):
            assert await witness.database.fetchval(rows, looked_at["id"][4:])
        assert await witness.database.fetchval(rows, card["id"][4:]) is None
        await refund_of(shop, twice, "succeeded")
        for _ in range(2):
            assert await scan(system, shop, payment, "again=1&silently=1") == 200
        assert await shop.payment(payment["id"]) == paid
        await its_time_comes(witness, shop, payment["id"])

        async def gone_back() -> bool:
            return [each["amount_refunded"] for each in await further(shop, payment["id"])] == [
                *(1999, 1999)
            ]

        await until(gone_back)
        assert (await events(shop, payment["id"])).count("payment.late_success") == 2
        own = {"merchant pending": 3 * 1987, "commission": 3 * 12, "channel receivable": 3 * 1999}

        async def is_quiet() -> bool:
            return await balances(shop) == own

        await until(is_quiet)
        assert await witness.database.fetchval(
            rows.replace("answered_at", "now()"), payment["id"][4:]
        )


async def test_late_money_that_comes_three_times_goes_back_three_times(
    system: System, witness: Witness
) -> None:
    async with system.shop("Late", late_success="refund") as shop:
        payment = (await shop.pay("tok_late_thrice")).json
        await shop.call("POST", f"/v1/payments/{payment['id']}/cancel", {})

        async def all_back() -> bool:
            told = await events(shop, payment["id"])
            return (
                told.count("further_refund.succeeded") == 2
                and told.count("refund.succeeded") == 1
                and not await balances(shop)
            )

        await until(all_back)
        late = await shop.payment(payment["id"])
        assert (late["amount_captured"], late["amount_refunded"]) == (1999, 1999)
        listed = (await shop.call("GET", f"/v1/payments/{payment['id']}/refunds")).json["data"]
        assert [refund["amount"] for refund in listed] == [1999]


# A worker that dies at each of these steps in turn: its wire, what it sends, how that is answered.
# The last of them has committed, and nobody hears of it.
STEPS = (
    ("postgres", b"further-re_", COMMITTED),
    ("acquirer", b"/refunds HTTP", b""),
    ("acquirer", b"/refunds HTTP", b"}"),
    ("postgres", b"further_refund.succeeded", b""),
    ("postgres", b"further_refund.succeeded", COMMITTED),
)


async def test_the_worker_may_die_at_every_step_of_a_refund(
    system: System, wired: Wired, witness: Witness
) -> None:
    """What was reserved is asked for under one number, by whoever comes next."""
    system.kill("work")
    async with system.shop("Mortal", late_success="refund") as shop:
        payment = await paid_twice(system, shop)
        for wire, marker, answered_by in STEPS:
            stop = getattr(wired, wire).stop_at(marker, answered_by=answered_by)
            system.start("work", "work", settings=wired.settings)
            await stop.reached()
            system.kill("work")
            await its_time_comes(witness, shop, payment["id"])
        await refund_of(shop, payment, "succeeded")
        system.start("work", "work")
        assert await balances(shop) == ONCE
        assert await moved(shop, witness) == [*TAKEN_TWICE, ("refund", 1999)]
