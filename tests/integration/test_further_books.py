"""What was paid beside payments, in the books of a real database: it goes back once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.errors import StatementRefused
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.refund import FurtherTransaction, RefundStatus
from gateway.domain.stages import (
    Answered,
    DueFurther,
    Merchant,
    Opened,
    RefundAnswered,
    RefundOpened,
)
from gateway.ledger.proofs import prove
from gateway.ledger.recovery import RecoveryQueue
from gateway.ledger.refund_rules import planned_further
from tests.integration.books_kit import Stammering
from tests.integration.ledger_desk import Desk, desk_on, new_merchant


@pytest.fixture
async def merchant(database: Any) -> Merchant:
    return await new_merchant(database)


@pytest.fixture
async def desk(database: Any, merchant: Merchant) -> AsyncIterator[Desk]:
    """One worker for a merchant who wants it back; at the end every proof of the books holds."""
    async with desk_on(database, merchant) as desk:
        await wants(desk, "refund")
        yield desk
        for proof in await prove(desk.postgres):
            assert proof.holds, proof


@pytest.fixture
async def other(database: Any, merchant: Merchant) -> AsyncIterator[Desk]:
    """A second worker for the same merchant."""
    async with desk_on(database, merchant) as desk:
        yield desk


async def wants(desk: Desk, policy: str) -> None:
    await desk.postgres.write(
        "UPDATE merchant SET late_success = $2 WHERE id = $1", desk.merchant.number, policy
    )


async def paid_twice(desk: Desk) -> Opened:
    """A payment of 19.99, and as much beside it."""
    opened = await desk.opened()
    for number in range(2):
        said = Outcome(Verdict.SUCCEEDED, f"{opened.attempt.id} {number}")
        posted = await desk.ledger.post(Answered(opened, said, desk.clock.now()))
        opened = Opened(posted.standing, replace(opened.attempt, channel_transaction="first"))
    return opened


async def take(desk: Desk, *, later: float = 0) -> list[DueFurther]:
    """Take what of this merchant is due to a worker after so many seconds."""
    now = desk.clock.now() + timedelta(seconds=later)
    due = await RecoveryQueue(desk.postgres, dict).take_further(now)
    return [each for each in due if each.number == desk.merchant.number]


async def settle(desk: Desk, due: list[DueFurther]) -> None:
    now = desk.clock.now()
    plans = [planned_further(each, desk.clock.mint("re", each.number), now) for each in due]
    await desk.refunds.give_back(plans)


async def beside(desk: Desk, opened: Opened) -> FurtherTransaction:
    (found,) = await desk.refunds.further_of(desk.merchant.number, opened.standing.payment.id)
    return found


async def test_what_is_one_payments_own_money_is_not_booked_beside_another(desk: Desk) -> None:
    """From there it would go back to its payer, and that payment would have been for nothing."""
    one, other = await desk.opened(), await desk.opened()
    for opened, number in ((one, 1), (other, 2), (other, 1)):
        said = Outcome(Verdict.SUCCEEDED, f"{one.attempt.id} {number}")
        read = await desk.ledger.by_attempt(desk.merchant.number, opened.attempt.id)
        assert read is not None
        posted = await desk.ledger.post(Answered(read, said, desk.clock.now()))
    assert (posted.standing.payment.status, posted.standing.version) == (Status.SUCCEEDED, 1)
    assert await take(desk) == []


async def test_one_worker_at_a_time_and_the_next_when_it_died(desk: Desk, other: Desk) -> None:
    opened = await paid_twice(desk)
    taken = await asyncio.gather(*(take(each) for each in (desk, other) * 3))
    (due,) = [due for each in taken for due in each]
    assert (due.payment, due.amount) == (opened.standing.payment.id, 1999)
    assert await take(other, later=limits.QUERY_LEASE_SECONDS - 1) == []
    assert await take(other, later=limits.QUERY_LEASE_SECONDS + 1) == [due]


async def test_it_is_reserved_once_by_whoever_is_first(desk: Desk, other: Desk) -> None:
    """As when a lease ended while its holder was slow: both believe that it is theirs."""
    opened = await paid_twice(desk)
    due = await take(desk)
    await asyncio.gather(*(settle(each, due) for each in (desk, other) * 5))
    found = await beside(desk, opened)
    assert (found.amount_refunded, len(found.refunds)) == (1999, 1)
    balances = await desk.balances()
    assert (balances["2222.CNY"], balances.get("2221.CNY")) == (-1999, None)
    assert await take(desk, later=3600) == []


async def test_a_commit_that_nobody_heard_of_reserves_once(
    desk: Desk, database: Any, merchant: Merchant
) -> None:
    opened = await paid_twice(desk)
    stammering = Stammering(database.app_url, connections=1)
    await stammering.open()
    await settle(Desk(stammering, merchant, desk.clock), await take(desk))
    await stammering.close()
    assert len((await beside(desk, opened)).refunds) == 1


async def test_what_failed_or_came_back_waits_for_people(desk: Desk) -> None:
    for verdicts in ((Verdict.FAILED,), (Verdict.SUCCEEDED, Verdict.FAILED)):
        opened = await paid_twice(desk)
        before = await desk.balances()
        await settle(desk, await take(desk))
        (refund,) = (await beside(desk, opened)).refunds
        for verdict in verdicts:
            standing = await desk.refunds.standing(desk.merchant.number, refund.id)
            assert standing is not None
            assert (standing.captured, standing.payment_transaction) == (
                *(1999,),
                f"{opened.attempt.id} 1",
            )
            await desk.answered(RefundOpened(standing), verdict)
        found = await beside(desk, opened)
        assert (found.amount_refunded, found.refunds[0].status) == (0, RefundStatus.FAILED)
        assert await desk.balances() == before
        assert (await desk.standing(opened)).payment.amount_refunded == 0
        assert await take(desk, later=3600) == []


async def test_what_is_left_to_people_is_due_no_more(desk: Desk) -> None:
    opened = await paid_twice(desk)
    await wants(desk, "review")
    assert await take(desk) == []
    await wants(desk, "refund")
    assert await take(desk, later=3600) == []
    assert (await beside(desk, opened)).refunds == ()


async def by_hand(desk: Desk, opened: Opened) -> tuple[str, bool]:
    """Give it back as people do; gives the refund that was to be made, and whether it was."""
    found = await desk.refund_books.further(desk.merchant.number, (await beside(desk, opened)).id)
    assert found is not None
    refund_id = desk.clock.mint("re", desk.merchant.number)
    plan = planned_further(found[0], refund_id, desk.clock.now(), reason="He rang us up.")
    return refund_id, await desk.refund_books.give_back_by_hand(plan)


async def left(desk: Desk) -> list[str]:
    found = await desk.refund_books.left_to_people([desk.merchant.number])
    return [each.payment for each in found]


async def test_people_give_back_what_is_left_to_them_once(desk: Desk, other: Desk) -> None:
    opened = await paid_twice(desk)
    assert (await left(desk), (await by_hand(desk, opened))[1]) == ([], False), "it is due"
    await wants(desk, "review")
    assert await take(desk) == []
    assert await left(desk) == [opened.standing.payment.id]
    tries = await asyncio.gather(*(by_hand(each, opened) for each in (desk, other) * 5))
    (made,) = [refund_id for refund_id, was_made in tries if was_made]
    found = await beside(desk, opened)
    (refund,) = found.refunds
    assert (refund.id, refund.reason, found.amount_refunded) == (made, "He rang us up.", 1999)
    balances = await desk.balances()
    assert (balances["2222.CNY"], balances.get("2221.CNY")) == (-1999, None)
    assert await left(desk) == []


async def test_people_try_again_what_failed_but_not_what_was_done_all_the_same(
    desk: Desk,
) -> None:
    opened = await paid_twice(desk)
    await wants(desk, "review")
    await take(desk)
    for _ in range(2):
        assert await left(desk) == [opened.standing.payment.id]
        refund_id, was_made = await by_hand(desk, opened)
        assert was_made
        standing = await desk.refunds.standing(desk.merchant.number, refund_id)
        assert standing is not None
        failed = await desk.answered(RefundOpened(standing), Verdict.FAILED)
    late = RefundAnswered(
        RefundOpened(failed.standing),
        Outcome(Verdict.SUCCEEDED, channel_transaction="after all"),
        desk.clock.now(),
    )
    assert await desk.refunds.post(late) is not None
    assert await left(desk) == [opened.standing.payment.id]
    assert not (await by_hand(desk, opened))[1]
    assert (await beside(desk, opened)).amount_refunded == 0


async def test_people_learn_of_a_commit_that_nobody_heard_of(
    desk: Desk, database: Any, merchant: Merchant
) -> None:
    opened = await paid_twice(desk)
    await wants(desk, "review")
    await take(desk)
    stammering = Stammering(database.app_url, connections=1)
    await stammering.open()
    assert (await by_hand(Desk(stammering, merchant, desk.clock), opened))[1]
    await stammering.close()
    assert len((await beside(desk, opened)).refunds) == 1


async def test_a_success_without_a_number_goes_back_by_ours(desk: Desk) -> None:
    """Money through an attempt that another one had replaced may have no name but our number."""
    opened = await desk.opened()
    replaced = replace(opened, attempt=replace(opened.attempt, replaced=True))
    await desk.ledger.post(Answered(replaced, Outcome(Verdict.SUCCEEDED), desk.clock.now()))
    await settle(desk, await take(desk))
    (refund,) = (await beside(desk, opened)).refunds
    standing = await desk.refunds.standing(desk.merchant.number, refund.id)
    assert standing is not None
    assert standing.payment_transaction is None
    assert standing.attempt_id == opened.attempt.id


@pytest.mark.parametrize("amount", ["amount + 1", "-1"])
async def test_the_database_itself_refuses_more_than_there_is(desk: Desk, amount: str) -> None:
    await paid_twice(desk)
    with pytest.raises(StatementRefused, match=r"^23514 further_refunded"):
        await desk.postgres.write(
            f"UPDATE further_transaction SET amount_refunded = {amount} WHERE merchant_id = $1",
            desk.merchant.number,
        )
