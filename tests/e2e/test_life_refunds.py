"""Refunds: reserved before the acquirer hears of them, one number each, and the fee comes back."""

import asyncio
from typing import Any

import pytest

from tests.e2e.harness import Reply, Shop, System
from tests.e2e.idempotency_kit import Wired, Witness, replayed
from tests.e2e.life_kit import (
    act,
    authorized,
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
    together,
)

pytestmark = pytest.mark.usefixtures("proven")

EXCEEDS = (409, "refund_exceeds_captured")


async def given_back(shop: Shop, witness: Witness) -> list[int]:
    """What the acquirer gave back to this merchant's payers."""
    return [line["amount"] for line in await witness.bookings(shop) if line["kind"] == "refund"]


async def test_a_refund_is_shown_whole(shop: Shop) -> None:
    payment = (await shop.pay()).json
    asked = {"reference": "back-1", "amount": 500, "reason": "one ticket of four"}
    reply = await act(shop, payment["id"], "refunds", asked)
    refund = reply.json
    assert reply.status == 201
    assert refund == asked | {
        "object": "refund",
        "id": refund["id"],
        "payment": payment["id"],
        "merchant": shop.merchant,
        "currency": "CNY",
        "status": "succeeded",
        "certainty": None,
        "failure": None,
        "created_at": refund["created_at"],
        "updated_at": refund["updated_at"],
    }
    assert refund["id"].startswith("re_")
    read = await shop.call("GET", f"/v1/refunds/{refund['id']}")
    assert (read.status, read.body) == (200, reply.body)
    after = await shop.payment(payment["id"])
    assert (after["status"], after["amount_refunded"]) == ("succeeded", 500)
    listed = await shop.call("GET", f"/v1/payments/{payment['id']}/refunds")
    assert listed.json == {"data": [refund], "next_cursor": None}


async def test_without_an_amount_all_that_is_left_goes_back(shop: Shop, witness: Witness) -> None:
    payment = (await shop.pay()).json
    assert (await give_back(shop, payment["id"], 999)).json["amount"] == 999
    assert (await give_back(shop, payment["id"])).json["amount"] == 1000
    refused(await give_back(shop, payment["id"]), *EXCEEDS)
    refused(await give_back(shop, payment["id"], 1), *EXCEEDS)
    assert await given_back(shop, witness) == [999, 1000]
    assert await balances(shop) == {}


@pytest.mark.parametrize(
    ("amount", "bps", "parts"),
    [
        (1000, 100, (333, 333, 334)),
        (100, 55, (33, 33, 34)),
        (3, 5000, (1, 1, 1)),
        (10, 1, (3, 3, 4)),
        (7, 10_000, (1, 2, 4)),
    ],
)
async def test_the_parts_return_the_commission_to_the_last_cent(
    system: System, amount: int, bps: int, parts: tuple[int, ...]
) -> None:
    async with system.shop("Thirds", bps) as shop:
        payment = (await shop.pay(amount=amount)).json
        for part in parts:
            assert (await give_back(shop, payment["id"], part)).json["status"] == "succeeded"
        query = f"/v1/ledger/entries?payment={payment['id']}&account=4001.CNY&limit=100"
        entries = (await shop.call("GET", query)).json["data"]
        returned = sum(each["amount"] for each in entries if each["direction"] == "debit")
        assert returned == payment["fee"]
        assert await balances(shop) == {}


async def test_many_at_two_workers_never_exceed_what_was_captured(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = (await shop.pay()).json
    replies: list[Reply] = await together(
        *(give_back(doors, payment["id"], 150) for doors in (shop, wired.shop) * 10)
    )
    won = [reply.json for reply in replies if reply.status == 201]
    lost = {(reply.status, reply.json["code"]) for reply in replies if reply.status != 201}
    assert (len(won), lost) == (13, {EXCEEDS})
    assert (await shop.payment(payment["id"]))["amount_refunded"] == 1950
    assert await given_back(shop, witness) == [150] * 13


async def test_what_is_reserved_is_gone_before_the_acquirer_hears(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = (await shop.pay()).json
    stop = wired.acquirer.stop_at(b"/refunds")
    asking = asyncio.create_task(give_back(wired.shop, payment["id"], 1500))
    await stop.reached()
    assert (await shop.payment(payment["id"]))["amount_refunded"] == 1500
    assert await given_back(shop, witness) == []
    refused(await give_back(shop, payment["id"], 500), *EXCEEDS)
    stop.go()
    assert (await asking).json["status"] == "succeeded"
    assert await given_back(shop, witness) == [1500]


@pytest.mark.parametrize("amount", [None, 500])
async def test_a_repeated_key_finds_the_work_done_where_redis_forgot_it(
    shop: Shop, witness: Witness, amount: int | None
) -> None:
    payment = (await shop.pay()).json
    replies = []
    for _ in range(3):
        replies.append(
            await give_back(shop, payment["id"], amount, reference="back-1", key="refund-1")
        )
        await witness.redis.flushdb()
    assert [replayed(reply) for reply in replies] == [False, True, True]
    assert {(reply.status, reply.body) for reply in replies} == {(201, replies[0].body)}
    assert await given_back(shop, witness) == [amount or 1999]


async def test_a_refusal_leaves_its_key_to_a_refund_that_becomes_possible(
    shop: Shop, witness: Witness
) -> None:
    """Redis repeats the refusal; without it the request is weighed anew, and made once."""
    payment = await authorized(shop)
    ask = {"reference": "back-1", "key": "refund-1"}
    for _ in range(2):
        refused(await give_back(shop, payment["id"], 500, **ask), 409, "state_conflict")
    await act(shop, payment["id"], "capture")
    refused(await give_back(shop, payment["id"], 500, **ask), 409, "state_conflict")
    for _ in range(2):
        await witness.redis.flushdb()
        assert (await give_back(shop, payment["id"], 500, **ask)).status == 201
    assert await given_back(shop, witness) == [500]


async def test_a_reference_is_used_once_and_named(shop: Shop, witness: Witness) -> None:
    payments = [(await shop.pay()).json for _ in range(2)]
    first = (await give_back(shop, payments[0]["id"], 5, reference="back-1")).json
    for payment in payments:
        before = await facts(shop, payment["id"])
        for key in ("again-1", "again-2"):
            reply = await give_back(
                shop, payment["id"], 5, reference="back-1", key=payment["id"] + key
            )
            refused(reply, 409, "reference_exists")
            assert (reply.json["refund"], reply.json["param"]) == (first["id"], "reference")
            await witness.redis.flushdb()
        assert await facts(shop, payment["id"]) == before
    assert await given_back(shop, witness) == [5]


@pytest.mark.parametrize("amount", [None, 1999, 500])
async def test_a_reference_is_named_where_nothing_is_left_to_give_back_either(
    shop: Shop, amount: int | None
) -> None:
    payment = (await shop.pay()).json
    first = (await give_back(shop, payment["id"], 1999, reference="back-1")).json
    reply = await give_back(shop, payment["id"], amount, reference="back-1")
    refused(reply, 409, "reference_exists")
    assert (reply.json["refund"], reply.json["param"]) == (first["id"], "reference")
    refused(await give_back(shop, payment["id"], amount, reference="back-2"), *EXCEEDS)


async def test_one_reference_raced_for_belongs_to_one_refund(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """For refunds of different payments, at two workers."""
    payments = [(await shop.pay()).json for _ in range(8)]
    replies: list[Reply] = await together(
        *(
            give_back(doors, payment["id"], 5, reference="back-1")
            for payment, doors in zip(payments, (shop, wired.shop) * 4, strict=True)
        )
    )
    assert sorted(reply.status for reply in replies) == [201] + [409] * 7, replies
    assert await given_back(shop, witness) == [5]


async def test_what_was_not_captured_does_not_go_back(shop: Shop) -> None:
    for payment in (await authorized(shop), (await shop.pay("tok_declined")).json):
        before = await facts(shop, payment["id"])
        refused(await give_back(shop, payment["id"], 1), 409, "state_conflict")
        assert await facts(shop, payment["id"]) == before


async def test_of_a_part_that_was_captured_no_more_than_that_goes_back(shop: Shop) -> None:
    payment = await authorized(shop)
    await act(shop, payment["id"], "capture", {"amount": 700})
    refused(await give_back(shop, payment["id"], 701), *EXCEEDS)
    assert (await give_back(shop, payment["id"])).json["amount"] == 700
    assert await balances(shop) == {}


@pytest.mark.parametrize("verb", ["POST {}/refunds", "GET {}/refunds"])
async def test_another_merchants_refunds_are_not_there(
    system: System, shop: Shop, verb: str
) -> None:
    payment = (await shop.pay()).json
    refund = (await give_back(shop, payment["id"], 5)).json
    method, _, path = verb.format(f"/v1/payments/{payment['id']}").partition(" ")
    async with system.shop("Neighbour") as neighbour:
        body = {"reference": "theirs"} if method == "POST" else None
        refused(await neighbour.call(method, path, body), 404, "payment_not_found")
        refused(await neighbour.call("GET", f"/v1/refunds/{refund['id']}"), 404, "refund_not_found")


async def test_a_refund_that_nobody_answered_is_found_out(shop: Shop, witness: Witness) -> None:
    payment = (await shop.pay("tok_refund_unknown")).json
    refund = (await give_back(shop, payment["id"], 500)).json
    assert (refund["status"], refund["certainty"]) == ("processing", "unknown")
    assert (await shop.payment(payment["id"]))["amount_refunded"] == 500
    done = await refund_until(shop, refund["id"], "succeeded")
    assert (done["certainty"], done["failure"]) == (None, None)
    assert await given_back(shop, witness) == [500]
    assert await events(shop, payment["id"]) == [
        "payment.succeeded",
        "refund.processing",
        "refund.succeeded",
    ]


async def test_a_refund_that_was_never_heard_is_asked_again_under_its_number(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = (await shop.pay()).json
    stop = wired.acquirer.stop_at(b"/refunds")
    asking = asyncio.create_task(give_back(wired.shop, payment["id"], 500))
    await stop.reached()
    await wired.acquirer.cut()
    refund = (await asking).json
    assert (refund["status"], refund["certainty"]) == ("processing", "unknown")
    await refund_until(shop, refund["id"], "succeeded")
    (line,) = [each for each in await witness.bookings(shop) if each["kind"] == "refund"]
    assert line["refund_number"] == refund["id"].removeprefix("re_")


async def test_a_refund_that_fails_frees_what_it_had_reserved(shop: Shop, witness: Witness) -> None:
    payment = (await shop.pay("tok_refund_fails")).json
    before = await balances(shop)
    for _ in range(2):
        refund = (await give_back(shop, payment["id"], 1500)).json
        assert (refund["status"], refund["failure"]["code"]) == ("failed", "refund_rejected")
        assert (await shop.payment(payment["id"]))["amount_refunded"] == 0
        assert await balances(shop) == before
    assert await given_back(shop, witness) == []


async def test_a_refund_may_fail_after_it_had_succeeded(
    system: System, shop: Shop, wired: Wired
) -> None:
    """The bank sends the money back: it is the merchant's again, and may be refunded again."""
    payment = (await shop.pay("tok_refund_fails")).json
    before = await balances(shop)
    stop = wired.acquirer.stop_at(b"/refunds")
    asking = asyncio.create_task(give_back(wired.shop, payment["id"], 500))
    await stop.reached()
    (refund,) = (await shop.call("GET", f"/v1/payments/{payment['id']}/refunds")).json["data"]
    number = await number_of(shop, payment["id"])
    told = report(number, refund_number=refund["id"].removeprefix("re_"), amount=500)
    assert (await notify(system, shop, told)).status == 200
    assert (await refund_until(shop, refund["id"], "succeeded"))["certainty"] is None
    assert (await balances(shop))["channel receivable"] == 1499
    stop.go()
    failed = (await asking).json
    assert (failed["id"], failed["status"]) == (refund["id"], "failed")
    assert (await shop.payment(payment["id"]))["amount_refunded"] == 0
    assert await balances(shop) == before
    assert (await events(shop, payment["id"]))[1:] == ["refund.succeeded", "refund.failed"]


@pytest.mark.parametrize("changes", [{"amount": 501}, {"currency": "USD"}])
async def test_a_refund_of_other_money_is_left_to_people(
    system: System, shop: Shop, witness: Witness, changes: dict[str, Any]
) -> None:
    payment = (await shop.pay("tok_refund_unknown")).json
    refund = (await give_back(shop, payment["id"], 500)).json
    number = await number_of(shop, payment["id"])
    told = report(
        number, **{"refund_number": refund["id"].removeprefix("re_"), "amount": 500} | changes
    )
    assert (await notify(system, shop, told)).status == 200
    await refund_until(shop, refund["id"], "requires_review")
    await its_time_comes(witness, shop, payment["id"])
    refused(await give_back(shop, payment["id"], 1500), *EXCEEDS)
    assert (await shop.payment(payment["id"]))["amount_refunded"] == 500


async def test_a_refund_is_noticed_under_its_own_payments_number_alone(
    system: System, shop: Shop, witness: Witness
) -> None:
    payment, other = (await shop.pay("tok_refund_unknown")).json, (await shop.pay()).json
    refund = (await give_back(shop, payment["id"], 500)).json
    wrong = await number_of(shop, other["id"])
    told = report(wrong, refund_number=refund["id"].removeprefix("re_"), amount=1)
    assert (await notify(system, shop, told)).status == 200
    await refund_until(shop, refund["id"], "succeeded")
