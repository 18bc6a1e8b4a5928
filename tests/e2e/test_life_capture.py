"""Captures and cancels: one of them wins, once, and whoever lost is told so."""

import asyncio
from typing import Any

import pytest

from gateway.domain.money import share
from tests.e2e.harness import Reply, Shop, System
from tests.e2e.idempotency_kit import Wired, Witness, replayed
from tests.e2e.life_kit import (
    act,
    as_owner,
    authorized,
    balances,
    events,
    facts,
    its_time_comes,
    refused,
    scan,
    together,
)

pytestmark = pytest.mark.usefixtures("proven")

CAPTURE_STARTED = b"capture_started"


async def booked(shop: Shop, witness: Witness) -> list[int]:
    """What the acquirer took from this merchant's payers."""
    return [line["amount"] for line in await witness.bookings(shop) if line["kind"] == "payment"]


@pytest.mark.parametrize(("asked", "taken"), [(None, 1999), (1999, 1999), (1, 1), (1500, 1500)])
async def test_a_capture_takes_what_was_held_or_a_part(
    shop: Shop, witness: Witness, asked: int | None, taken: int
) -> None:
    payment = await authorized(shop)
    assert (payment["amount_authorized"], payment["amount_captured"], payment["fee"]) == (
        1999,
        0,
        0,
    )
    assert await balances(shop) == {}
    reply = await act(shop, payment["id"], "capture", {"amount": asked} if asked else {})
    captured = reply.json
    assert (reply.status, captured["status"], captured["certainty"]) == (200, "succeeded", None)
    assert (captured["amount_authorized"], captured["amount_captured"]) == (1999, taken)
    assert captured["fee"] == share(taken, 60)
    assert (await balances(shop))["merchant pending"] == taken - share(taken, 60)
    assert await booked(shop, witness) == [taken]
    assert await events(shop, payment["id"]) == [
        "payment.requires_capture",
        "payment.processing",
        "payment.succeeded",
    ]
    assert await shop.payment(payment["id"]) == captured


@pytest.mark.parametrize("amount", [2000, 999_999_999_999])
async def test_more_than_was_held_is_not_captured(shop: Shop, amount: int) -> None:
    payment = await authorized(shop)
    before = await facts(shop, payment["id"])
    reply = await act(shop, payment["id"], "capture", {"amount": amount})
    refused(reply, 409, "state_conflict")
    assert (reply.json["param"], "No more than 1999" in reply.json["detail"]) == ("amount", True)
    assert await facts(shop, payment["id"]) == before
    assert (await act(shop, payment["id"], "capture")).json["status"] == "succeeded"


@pytest.mark.parametrize("amount", [0, -1, 1.5, "1", None])
async def test_an_amount_that_is_none(shop: Shop, amount: Any) -> None:
    payment = await authorized(shop)
    reply = await act(shop, payment["id"], "capture", {"amount": amount})
    if amount is None:
        assert reply.json["amount_captured"] == 1999
    else:
        refused(reply, 400, "field_invalid")


@pytest.mark.parametrize("token", ["tok_ok", "qr", "tok_forged_notice"])
async def test_a_cancel_ends_what_is_open_or_held(
    system: System, shop: Shop, witness: Witness, token: str
) -> None:
    capture = "manual" if token == "tok_ok" else "automatic"
    payment = (await shop.pay(token, capture=capture)).json
    reply = await act(shop, payment["id"], "cancel")
    canceled = reply.json
    assert (reply.status, canceled["status"], canceled["certainty"]) == (200, "canceled", None)
    assert (canceled["amount_authorized"], canceled["next_action"]) == (0, None)
    assert (await events(shop, payment["id"]))[-1] == "payment.canceled"
    if token == "qr":
        assert await scan(system, shop, payment) == 409
    assert await booked(shop, witness) == []


@pytest.mark.parametrize("verb", ["capture", "cancel"])
async def test_a_repeated_key_finds_the_work_done_where_redis_forgot_it(
    shop: Shop, witness: Witness, verb: str
) -> None:
    payment = await authorized(shop)
    first = await act(shop, payment["id"], verb, key="verb-1")
    again = await act(shop, payment["id"], verb, key="verb-1")
    await witness.redis.flushdb()
    recalled = await act(shop, payment["id"], verb, key="verb-1")
    assert [replayed(reply) for reply in (first, again, recalled)] == [False, True, True]
    assert {reply.body for reply in (first, again, recalled)} == {first.body}
    assert {reply.status for reply in (first, again, recalled)} == {200}
    refused(await act(shop, payment["id"], verb, key="verb-2"), 409, "state_conflict")
    assert await booked(shop, witness) == ([1999] if verb == "capture" else [])


async def test_a_recalled_key_answers_with_the_payment_as_it_stands(
    shop: Shop, witness: Witness
) -> None:
    payment = await authorized(shop)
    await act(shop, payment["id"], "capture", key="verb-1")
    await act(shop, payment["id"], "refunds", {"reference": "r", "amount": 9})
    await witness.redis.flushdb()
    recalled = await act(shop, payment["id"], "capture", key="verb-1")
    assert (recalled.status, replayed(recalled)) == (200, True)
    assert recalled.json["amount_refunded"] == 9
    refused(
        await act(shop, payment["id"], "capture", {"amount": 5}, key="verb-1"),
        422,
        "idempotency_key_reused",
    )


async def test_of_many_captures_and_cancels_exactly_one_wins(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    """Asked at two workers at once, each under its own key."""
    taken = 0
    for _ in range(6):
        payment = await authorized(shop)
        calls = [
            act(doors, payment["id"], verb, body)
            for amount in range(1991, 1997)
            for doors in (shop, wired.shop)
            for verb, body in (("capture", {"amount": amount}), ("cancel", {}))
        ]
        replies: list[Reply] = await together(*calls)
        won = [reply.json for reply in replies if reply.status == 200]
        lost = {(reply.status, reply.json.get("code")) for reply in replies if reply.status != 200}
        assert (len(won), lost) == (1, {(409, "state_conflict")})
        assert won[0]["status"] in {"succeeded", "canceled"}
        assert await shop.payment(payment["id"]) == won[0]
        taken += won[0]["amount_captured"]
    assert sum(await booked(shop, witness)) == taken


async def test_of_many_that_share_a_key_all_hear_of_one_capture(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = await authorized(shop)
    replies = await together(
        *(
            act(doors, payment["id"], "capture", {"amount": 1500}, key="verb-1")
            for doors in (shop, wired.shop) * 10
        )
    )
    assert {reply.status for reply in replies} <= {200, 409}
    waiting = [reply.json["code"] for reply in replies if reply.status == 409]
    assert set(waiting) <= {"request_in_progress"}
    assert await booked(shop, witness) == [1500]


async def test_a_capture_under_way_is_not_canceled(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = await authorized(shop)
    stop = wired.acquirer.stop_at(b"/capture")
    capturing = asyncio.create_task(act(wired.shop, payment["id"], "capture", {"amount": 1500}))
    await stop.reached()
    refused(
        await act(shop, payment["id"], "cancel"),
        409,
        "state_conflict",
        detail="This payment is being captured.",
    )
    refused(await act(shop, payment["id"], "capture"), 409, "state_conflict")
    assert (await shop.payment(payment["id"]))["status"] == "processing"
    stop.go()
    assert (await capturing).json["amount_captured"] == 1500
    assert await booked(shop, witness) == [1500]


async def test_a_cancel_under_way_is_not_captured(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = await authorized(shop)
    stop = wired.acquirer.stop_at(b"/close")
    canceling = asyncio.create_task(act(wired.shop, payment["id"], "cancel"))
    await stop.reached()
    refused(await act(shop, payment["id"], "capture"), 409, "state_conflict")
    again = await act(shop, payment["id"], "cancel")
    refused(again, 409, "state_conflict", detail="This payment is being canceled already.")
    stop.go()
    assert (await canceling).json["status"] == "canceled"
    assert await booked(shop, witness) == []


@pytest.mark.parametrize("first", ["capture", "close"])
async def test_where_both_have_begun_the_acquirer_decides(
    shop: Shop, wired: Wired, witness: Witness, first: str
) -> None:
    """A part is captured, so a cancel that knew of nothing would take it for a wrong amount."""
    payment = await authorized(shop)
    begin = wired.postgres.stop_at(CAPTURE_STARTED)
    capturing = asyncio.create_task(act(wired.shop, payment["id"], "capture", {"amount": 1500}))
    await begin.reached()
    close = wired.acquirer.stop_at(b"/close", answered_by=b"}" if first == "close" else b"")
    canceling = asyncio.create_task(act(wired.shop, payment["id"], "cancel"))
    await close.reached()
    begin.go()
    captured = await capturing
    close.go()
    canceled = await canceling
    if first == "capture":
        assert captured.json["status"] == "succeeded"
        refused(canceled, 409, "state_conflict")
        assert await booked(shop, witness) == [1500]
    else:
        assert canceled.json["status"] == "canceled"
        refused(captured, 409, "state_conflict")
        assert await booked(shop, witness) == []
    told = await events(shop, payment["id"])
    assert "payment.requires_review" not in told
    assert len(told) == 3


async def test_the_payer_may_be_quicker_than_the_cancel(
    system: System, shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = (await shop.pay("qr")).json
    stop = wired.acquirer.stop_at(b"/close")
    canceling = asyncio.create_task(act(wired.shop, payment["id"], "cancel"))
    await stop.reached()
    assert await scan(system, shop, payment) == 200
    stop.go()
    refused(await canceling, 409, "state_conflict")
    assert (await shop.payment(payment["id"]))["status"] == "succeeded"
    assert await booked(shop, witness) == [1999]


async def test_a_cancel_that_the_acquirer_did_not_hear_is_carried_out_later(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = await authorized(shop)
    await wired.acquirer.refuse()
    reply = await act(wired.shop, payment["id"], "cancel")
    assert (reply.status, reply.json["status"]) == (200, "requires_capture")
    refused(await act(shop, payment["id"], "capture"), 409, "state_conflict")
    await its_time_comes(witness, shop, payment["id"])
    assert (await shop.until(payment["id"], "canceled"))["amount_authorized"] == 0


async def test_a_capture_that_nobody_answered_is_found_out(
    shop: Shop, wired: Wired, witness: Witness
) -> None:
    payments = [await authorized(shop), await authorized(shop)]
    heard = wired.acquirer.stop_at(b"/capture", answered_by=b"}")
    asking = [asyncio.create_task(act(wired.shop, payments[0]["id"], "capture", {"amount": 700}))]
    await heard.reached()
    lost = wired.acquirer.stop_at(b"/capture")
    asking.append(asyncio.create_task(act(wired.shop, payments[1]["id"], "capture")))
    await lost.reached()
    await wired.acquirer.cut()
    for reply in await together(*asking):
        assert (reply.status, reply.json["certainty"]) == (200, "unknown")
        assert reply.json["status"] == "processing"
    assert (await shop.until(payments[0]["id"], "succeeded"))["amount_captured"] == 700
    assert (await shop.until(payments[1]["id"], "succeeded"))["amount_captured"] == 1999
    assert sorted(await booked(shop, witness)) == [700, 1999]


async def test_a_hold_that_lapses_is_closed_at_the_acquirer(
    database: Any, shop: Shop, witness: Witness
) -> None:
    """A week later, played by moving the payment into the past."""
    payment = await authorized(shop)
    await as_owner(
        database,
        "UPDATE payment SET created_at = created_at - interval '8 days',"
        " updated_at = updated_at - interval '8 days',"
        " expires_at = expires_at - interval '8 days' WHERE id = $1",
        payment["id"].removeprefix("pay_"),
    )
    await its_time_comes(witness, shop, payment["id"])
    await shop.until(payment["id"], "expired")
    refused(await act(shop, payment["id"], "capture"), 409, "state_conflict")
    assert await booked(shop, witness) == []
