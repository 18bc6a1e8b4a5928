"""Refunds and late money in the books of a real database, with nobody but the books to decide."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.domain.errors import InDoubt, StatementRefused, Unavailable
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Standing, Status
from gateway.domain.refund import RefundStatus
from gateway.domain.stages import (
    Answered,
    Heard,
    Merchant,
    Opened,
    ReferenceTaken,
    RefundOpened,
    RefundWish,
)
from gateway.ledger.lists import Reader
from gateway.ledger.proofs import prove
from gateway.ledger.refund_rules import planned, refundable
from tests.integration.ledger_desk import Desk, desk_on, new_merchant


@pytest.fixture
async def merchant(database: Any) -> Merchant:
    return await new_merchant(database)


@pytest.fixture
async def desk(database: Any, merchant: Merchant) -> AsyncIterator[Desk]:
    """One worker; when its test is over every proof of the books holds."""
    async with desk_on(database, merchant) as desk:
        yield desk
        for proof in await prove(desk.postgres):
            assert proof.holds, proof


@pytest.fixture
async def other(database: Any, merchant: Merchant) -> AsyncIterator[Desk]:
    """A second worker for the same merchant."""
    async with desk_on(database, merchant) as desk:
        yield desk


@pytest.mark.parametrize(
    "change",
    [
        "amount_refunded = amount_captured + 1",
        "amount_refunded = -1",
        "amount_captured = amount + 1",
        "fee_refunded = fee + 1",
        "channel_fee_refunded = channel_fee + 1",
    ],
)
async def test_the_database_itself_refuses_more_than_there_is(desk: Desk, change: str) -> None:
    opened = await desk.paid()
    with pytest.raises(StatementRefused, match=r"^23514 "):
        await desk.postgres.write(
            f"UPDATE payment SET {change} WHERE merchant_id = $1 AND id = $2",
            desk.merchant.number,
            uuid_of(opened.standing.payment.id),
        )


async def test_a_refund_planned_on_what_is_no_longer_so_is_not_made(desk: Desk) -> None:
    opened = await desk.paid()
    stale = opened.standing
    assert isinstance(await desk.reserve(opened, 500), RefundOpened)
    for amount in (1, 1499, 1999):
        refund = desk.asked(opened, amount)
        plan = planned(stale, refund=refund, attempt=opened.attempt)
        wish = RefundWish(desk.use(), stale, plan, refund.created_at)
        assert list(await desk.refund_books.refund_batch([wish])) == [None]
    assert (await desk.standing(opened)).payment.amount_refunded == 500


async def test_of_a_batch_each_payment_gives_one_refund_at_a_time(desk: Desk) -> None:
    payments = [await desk.paid() for _ in range(2)]
    wishes = []
    for opened in payments * 3:
        refund = desk.asked(opened, 1999)
        plan = planned(opened.standing, refund=refund, attempt=opened.attempt)
        wishes.append(RefundWish(desk.use(), opened.standing, plan, refund.created_at))
    made = await desk.refund_books.refund_batch(wishes)
    assert [isinstance(each, RefundOpened) for each in made] == [True, True] + [False] * 4
    assert [(await desk.standing(opened)).payment.amount_refunded for opened in payments] == [
        1999,
        1999,
    ]


async def test_the_same_batch_twice_reserves_once(desk: Desk) -> None:
    """As when the answer to the first run was lost on its way."""
    opened = await desk.paid()
    refund = desk.asked(opened, 500)
    plan = planned(opened.standing, refund=refund, attempt=opened.attempt)
    wish = RefundWish(desk.use(), opened.standing, plan, refund.created_at)
    for _ in range(2):
        assert list(await desk.refund_books.refund_batch([wish])) == [RefundOpened(plan)]
    assert (await desk.standing(opened)).payment.amount_refunded == 500


async def test_two_workers_never_reserve_more_than_was_captured(desk: Desk, other: Desk) -> None:
    opened = await desk.paid()

    async def insist(worker: Desk) -> bool:
        while refundable_now((await worker.standing(opened)), 150):
            if isinstance(await worker.reserve(opened, 150), RefundOpened):
                return True
        return False

    made = await asyncio.gather(*(insist(worker) for worker in (desk, other) * 10))
    assert sum(made) == 13
    assert (await desk.standing(opened)).payment.amount_refunded == 1950


def refundable_now(standing: Standing, amount: int) -> bool:
    payment = standing.payment
    return refundable(standing, None) >= amount if payment.amount_refunded < 1999 else False


async def test_a_reference_that_is_taken_in_the_same_moment(
    database: Any, desk: Desk, other: Desk
) -> None:
    """Another worker has inserted it and not committed yet when ours begins."""
    first, second = await desk.paid(), await desk.paid()
    theirs = await asyncpg.connect(database.owner_url)
    moment = theirs.transaction()
    await moment.start()
    made = await desk.reserve(first, 1)
    await theirs.execute(
        "UPDATE refund SET reference = 'back-1' WHERE id = $1", uuid_of(made.standing.refund.id)
    )
    asking = asyncio.create_task(desk.reserve(second, 1, "back-1"))
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not (await other.postgres.read(waiting))[0][0]:  # noqa: ASYNC110 - PostgreSQL's wait
        await asyncio.sleep(0.01)
    await moment.commit()
    await theirs.close()
    assert await asking == ReferenceTaken(uuid_of(made.standing.refund.id))
    assert (await desk.standing(second)).payment.amount_refunded == 0


async def test_a_key_that_was_used_for_another_refund_is_recalled(desk: Desk) -> None:
    opened = await desk.paid()
    use, refund = desk.use(), desk.asked(opened, 1)
    assert isinstance(await desk.refunds.open(use, refund, opened.attempt), RefundOpened)
    heard = await desk.refunds.open(use, desk.asked(opened, 1), opened.attempt)
    assert heard == Heard(use.fingerprint, use.operation, uuid_of(refund.id))


async def test_what_failed_is_free_again_with_its_part_of_the_fee(desk: Desk) -> None:
    opened = await desk.paid(1000)
    before = await desk.balances()
    refunds = [await desk.reserve(opened, 333) for _ in range(2)]
    for refund in refunds:
        await desk.answered(refund, Verdict.FAILED)
    standing = await desk.standing(opened)
    updated = replace(opened.standing.payment, updated_at=standing.payment.updated_at)
    assert standing == replace(opened.standing, payment=updated)
    assert await desk.balances() == before
    for part in (333, 333, 334):
        await desk.answered(await desk.reserve(opened, part), Verdict.SUCCEEDED)
    standing = await desk.standing(opened)
    assert (standing.fee_refunded, standing.channel_fee_refunded) == (standing.payment.fee, 3)
    assert await desk.balances() == {}


async def test_a_refund_that_comes_back_is_the_merchants_again(desk: Desk) -> None:
    opened = await desk.paid()
    before = await desk.balances()
    refund = await desk.reserve(opened, 1999)
    done = await desk.answered(refund, Verdict.SUCCEEDED)
    assert await desk.balances() == {}
    back = await desk.answered(RefundOpened(done.standing), Verdict.FAILED)
    assert back.standing.refund.status is RefundStatus.FAILED
    assert await desk.balances() == before
    assert (await desk.standing(opened)).payment.amount_refunded == 0
    again = await desk.answered(RefundOpened(back.standing), Verdict.SUCCEEDED)
    assert again.standing == back.standing
    await desk.answered(await desk.reserve(opened, 1999), Verdict.SUCCEEDED)
    assert await desk.balances() == {}


async def test_two_workers_post_one_outcome_once(desk: Desk, other: Desk) -> None:
    opened = await desk.paid()
    refund = await desk.reserve(opened, 500)
    posted = await asyncio.gather(
        *(worker.answered(refund, Verdict.SUCCEEDED) for worker in (desk, other) * 5)
    )
    assert {each.standing.refund.status for each in posted} == {RefundStatus.SUCCEEDED}
    assert {each.standing.version for each in posted} == {1}


async def test_success_after_a_decline_waits_in_suspense(desk: Desk) -> None:
    """ "Declined, final", they said; and yet they took the money."""
    opened = await desk.opened()
    posted = await desk.said(opened, Verdict.FAILED, Verdict.SUCCEEDED, Verdict.SUCCEEDED)
    payment = posted.standing.payment
    assert (payment.status, payment.amount_captured) == (Status.REQUIRES_REVIEW, 1999)
    assert (payment.fee, payment.failure) == (0, None)
    assert await desk.balances() == {
        "1121.simulator.CNY": 1999,
        "1121.simulator.fees.CNY": -6,
        "2221.CNY": -1999,
        "5001.simulator.CNY": 6,
    }


async def test_late_money_is_adopted_once_by_whoever_is_first(desk: Desk, other: Desk) -> None:
    opened = await desk.opened()
    posted = await desk.said(opened, Verdict.CLOSED, Verdict.SUCCEEDED)
    late = Opened(posted.standing, opened.attempt)
    now = desk.clock.now()
    made = await asyncio.gather(*(worker.ledger.adopt(late, now) for worker in (desk, other) * 3))
    assert sum(each is not None for each in made) == 1
    standing = await desk.standing(opened)
    assert (standing.payment.status, standing.payment.fee) == (Status.SUCCEEDED, 12)
    assert "2221.CNY" not in await desk.balances()


async def test_late_money_is_adopted_although_more_came_beside_it_meanwhile(desk: Desk) -> None:
    """Else nobody would carry out the merchant's policy any more."""
    opened = await desk.opened()
    closed = await desk.said(opened, Verdict.CLOSED)
    first, second = (Outcome(Verdict.SUCCEEDED, f"{opened.attempt.id} {n}") for n in range(2))
    ended = Opened(closed.standing, opened.attempt)
    late = await desk.ledger.post(Answered(ended, first, desk.clock.now()))
    await desk.ledger.post(Answered(ended, second, desk.clock.now()))
    stale = Opened(late.standing, replace(opened.attempt, channel_transaction=first.code))
    adopted = await desk.ledger.adopt(stale, desk.clock.now())
    assert adopted is not None
    assert adopted.standing.payment.status is Status.SUCCEEDED
    assert (await desk.balances())["2221.CNY"] == -1999, "what came beside it waits"


async def test_a_refund_whose_batch_cannot_be_explained_is_in_doubt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is durable, and goes back: whoever hears that nothing was begun would ask for another."""
    wishes = []
    for _ in range(2):
        opened = await desk.paid()
        refund = desk.asked(opened, 500)
        plan = planned(opened.standing, refund=refund, attempt=opened.attempt)
        wishes.append(RefundWish(desk.use(), opened.standing, plan, refund.created_at))
    await desk.reserve(opened, 1)
    with monkeypatch.context() as patch:
        patch.setattr(desk.postgres, "read", away)
        with pytest.raises(InDoubt):
            await desk.refund_books.refund_batch(wishes)
    made = [await desk.refunds.standing(w.standing.merchant, w.standing.refund.id) for w in wishes]
    assert [each is not None for each in made] == [True, False]


async def away(*_: Any, **__: Any) -> Any:
    raise Unavailable("PostgreSQL does not answer")


async def test_a_refund_from_suspense_is_planned_anew_after_an_adoption(desk: Desk) -> None:
    """Else it would take from suspense what is no longer there."""
    opened = await desk.opened()
    posted = await desk.said(opened, Verdict.CLOSED, Verdict.SUCCEEDED)
    late = Opened(posted.standing, opened.attempt)
    refund = desk.asked(late, 1999)
    plan = planned(late.standing, refund=refund, attempt=opened.attempt)
    assert plan.from_suspense
    await desk.ledger.adopt(late, desk.clock.now())
    wish = RefundWish(desk.use(), late.standing, plan, refund.created_at)
    assert list(await desk.refund_books.refund_batch([wish])) == [None]
    await desk.answered(await desk.reserve(late, 1999), Verdict.SUCCEEDED)
    assert await desk.balances() == {}


async def test_late_money_that_goes_back_is_not_adopted(desk: Desk) -> None:
    """A refund that began after the adoption was planned, and before it was posted."""
    opened = await desk.opened()
    posted = await desk.said(opened, Verdict.CLOSED, Verdict.SUCCEEDED)
    late = Opened(posted.standing, opened.attempt)
    refund = await desk.reserve(late, 500)
    assert await desk.ledger.adopt(late, desk.clock.now()) is None
    await desk.answered(refund, Verdict.SUCCEEDED)
    assert (await desk.balances())["2221.CNY"] == -1499


async def test_the_policy_is_review_unless_the_merchant_says_otherwise(desk: Desk) -> None:
    assert await Reader(desk.postgres).late_success_policy(desk.merchant.number) == "review"


async def test_a_place_that_another_try_took_first_is_told_as_it_was_made(desk: Desk) -> None:
    """Two tries of one request that was refused before may take its place at different times."""
    opened = await desk.paid()
    use, first = desk.use(), desk.asked(opened, 500)
    second = replace(first, created_at=first.created_at + timedelta(seconds=9))
    assert isinstance(await desk.refunds.open(use, first, opened.attempt), RefundOpened)
    heard = await desk.refunds.open(use, second, opened.attempt)
    assert heard == Heard(use.fingerprint, use.operation, uuid_of(first.id))


async def test_where_late_money_came_the_waits_for_more_begin_anew(desk: Desk) -> None:
    """However often it was asked about before: a silence must not last as long as the last one."""
    opened = await desk.opened()
    await desk.said(opened, Verdict.CLOSED)
    number = (desk.merchant.number, uuid_of(opened.attempt.id))
    where = " WHERE merchant_id = $1 AND id = $2"
    await desk.postgres.write("UPDATE attempt SET queries = 9" + where, *number)
    for verdict, queries in ((Verdict.UNKNOWN, 9), (Verdict.SUCCEEDED, 0)):
        await desk.said(opened, verdict)
        (row,) = await desk.postgres.read("SELECT queries FROM attempt" + where, *number)
        assert row["queries"] == queries
