"""Money that a channel takes and gives back by itself, in the books of a real database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.domain.identity import uuid_of
from gateway.domain.limits import CHECK_WAIT_SECONDS
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.recovery import pace_of
from gateway.domain.refund import RefundStatus
from gateway.domain.stages import Answered, Opened, RefundAnswered, RefundOpened
from gateway.flow.desk import Desk as FlowDesk
from gateway.flow.refund import post_refund
from gateway.ledger.recovery import RecoveryQueue
from gateway.ledger.recovery_rules import again
from tests.integration.ledger_desk import DECLINED, Desk, proven_desk

TAKEN = Outcome(Verdict.SUCCEEDED, "tx_1", amount=1999, currency="CNY")
RETURNED = Outcome(Verdict.CLOSED, "tx_1", code="refund", returned=True)
PENDING = Outcome(Verdict.PENDING)
OWED = ["1121.simulator.CNY", "2201.CNY", "2221.CNY", "4001.CNY"]


@pytest.fixture
async def desk(database: Any) -> AsyncIterator[Desk]:
    async with proven_desk(database) as desk:
        yield desk


async def hears(desk: Desk, opened: Opened, *outcomes: Outcome) -> Opened:
    """Post what the channel says, each word on a fresh look; gives the payment as it then is."""
    for outcome in outcomes:
        read = await desk.ledger.by_attempt(opened.attempt.merchant, opened.attempt.id)
        assert read is not None
        named = f"{outcome.channel_transaction} {opened.attempt.id}"
        said = replace(outcome, channel_transaction=named)
        await desk.ledger.post(Answered(read, said, desk.clock.now()))
    read = await desk.ledger.by_attempt(opened.attempt.merchant, opened.attempt.id)
    assert read is not None
    return read


async def owed(desk: Desk) -> list[int]:
    balances = await desk.balances()
    return [balances.get(account, 0) for account in OWED]


@pytest.mark.parametrize("ends_first", [False, True])
async def test_what_the_channel_gave_back_is_nobodys(desk: Desk, *, ends_first: bool) -> None:
    opened = await desk.opened()
    before = [Outcome(Verdict.CLOSED), TAKEN] if ends_first else [TAKEN]
    paid = await hears(desk, opened, *before)
    assert paid.standing.payment.amount_captured == 1999
    again = await hears(desk, opened, RETURNED)
    payment = again.standing.payment
    assert (payment.status, payment.amount_captured, payment.fee) == (Status.CANCELED, 0, 0)
    assert (again.standing.channel_fee, await desk.balances()) == (0, {})
    assert again.attempt.returned
    later = await hears(desk, opened, TAKEN, RETURNED, Outcome(Verdict.UNKNOWN))
    assert later == again, "it is told once"


async def test_adopted_money_that_the_channel_gave_back_is_nobodys_either(desk: Desk) -> None:
    opened = await desk.opened()
    late = await hears(desk, opened, Outcome(Verdict.CLOSED), TAKEN)
    await desk.ledger.adopt(late, desk.clock.now())
    after = await hears(desk, opened, RETURNED)
    assert after.standing.payment.status is Status.CANCELED
    assert await desk.balances() == {}


async def test_a_success_that_is_told_after_its_return_is_no_money(desk: Desk) -> None:
    opened = await desk.opened()
    ended = await hears(desk, opened, RETURNED)
    assert (ended.standing.payment.status, ended.attempt.returned) == (Status.CANCELED, True)
    assert await hears(desk, opened, TAKEN) == ended
    other = await hears(desk, opened, replace(TAKEN, channel_transaction="tx_2"))
    assert other.standing.payment.status is Status.CANCELED
    assert await owed(desk) == [1999, 0, -1999, 0], "another transaction is money"


async def test_a_refund_that_came_in_between_is_weighed_first(desk: Desk) -> None:
    """Whoever heard of the return had read the payment before the refund was asked for."""
    opened = await desk.opened()
    read = await hears(desk, opened, TAKEN)
    refund = await desk.reserve(read, 500)
    assert isinstance(refund, RefundOpened)
    await desk.ledger.post(Answered(read, RETURNED, desk.clock.now()))
    payment = (await desk.standing(opened)).payment
    assert (payment.status, payment.amount_captured, payment.amount_refunded) == (
        *(Status.CANCELED, 500),
        500,
    )
    await desk.answered(refund, Verdict.SUCCEEDED)
    assert await desk.balances() == {}


class LooksEarlier:
    """A worker that looks at the attempt just before it is posted that its money came back."""

    def __init__(self, desk: Desk, before: Opened) -> None:
        self.refunds = desk.refunds
        self.ledger = self
        self._now, self._looks = desk.ledger.by_attempt, [before]

    async def by_attempt(self, *which: Any) -> Opened | None:
        return self._looks.pop() if self._looks else await self._now(*which)


async def test_a_refund_that_fails_as_all_the_money_comes_back_is_done_by_that(desk: Desk) -> None:
    opened = await desk.opened()
    read = await hears(desk, opened, TAKEN)
    refund = await desk.reserve(read, 500)
    await hears(desk, opened, RETURNED)
    failed = RefundAnswered(refund, Outcome(Verdict.FAILED, failure=DECLINED), desk.clock.now())
    posted = await post_refund(failed, cast("FlowDesk", LooksEarlier(desk, read)))
    assert posted.standing.refund.status is RefundStatus.SUCCEEDED
    payment = (await desk.standing(opened)).payment
    assert (payment.amount_captured, payment.amount_refunded) == (500, 500)
    assert await desk.balances() == {}


async def test_a_refund_that_fails_just_before_its_return_is_noted_is_looked_at_again(
    desk: Desk,
) -> None:
    """All of it was reserved, so that the return changes nothing but that it is known."""
    opened = await desk.opened()
    read = await hears(desk, opened, TAKEN)
    refund = await desk.reserve(read, 1999)
    await hears(desk, opened, RETURNED)
    assert await desk.refunds.post(
        RefundAnswered(refund, Outcome(Verdict.FAILED, failure=DECLINED), desk.clock.now())
    )
    due = "SELECT due_at, is_check FROM attempt WHERE merchant_id = $1 AND id = $2"
    (row,) = await desk.postgres.read(due, desk.merchant.number, uuid_of(opened.attempt.id))
    assert row["due_at"] is not None
    assert row["is_check"]
    after = await hears(desk, opened, RETURNED)
    assert after.standing.payment.status is Status.CANCELED
    assert await desk.balances() == {}


async def test_what_refunds_had_given_back_is_left_as_it_is(desk: Desk) -> None:
    opened = await desk.opened()
    read = await hears(desk, opened, TAKEN)
    refund = await desk.reserve(read, 1999)
    assert isinstance(refund, RefundOpened)
    after = await hears(desk, opened, RETURNED)
    assert after.standing.payment.status is Status.SUCCEEDED
    assert after.attempt.returned, "so no refund of it is asked for any more"
    await desk.answered(refund, Verdict.SUCCEEDED)
    assert await desk.balances() == {}


async def test_a_refund_that_was_wished_before_all_was_given_back_is_not_begun(desk: Desk) -> None:
    paid = await hears(desk, await desk.opened(), TAKEN)
    await hears(desk, paid, RETURNED)
    assert await desk.reserve(paid, 1) is None


@pytest.mark.parametrize("capture", [None, 1999])
@pytest.mark.parametrize("is_wished", [False, True])
async def test_a_success_that_may_cross_a_close_is_asked_about_once_more(
    desk: Desk, *, is_wished: bool, capture: int | None
) -> None:
    """A capture and a cancel that were asked in the same moment go both to the channel."""
    opened = await desk.opened()
    await hears(desk, opened, Outcome(Verdict.PENDING))
    wished = "UPDATE attempt SET cancel_wished = $3, capture_amount = $4"
    number = (desk.merchant.number, uuid_of(opened.attempt.id))
    where = " WHERE merchant_id = $1 AND id = $2"
    await desk.postgres.write(wished + where, *number, is_wished, capture)
    due = "SELECT due_at FROM attempt WHERE merchant_id = $1 AND id = $2"
    (before,) = await desk.postgres.read(due, *number)
    await hears(desk, opened, TAKEN)
    (after,) = await desk.postgres.read(due, *number)
    assert after["due_at"] == (before["due_at"] if is_wished else None)


@pytest.mark.parametrize(
    ("seconds", "is_first", "is_asked"),
    [(1, False, True), (1, True, True), (-8, False, True), (-8, True, False), (-12, False, False)],
)
async def test_so_is_one_that_may_be_written_after_its_time(
    desk: Desk, *, seconds: int, is_first: bool, is_asked: bool
) -> None:
    """It is told at one time and written at another; between them a worker may begin to close.

    Until its first answer an attempt is leased to whoever opened it.
    """
    opened = await desk.opened()
    read = opened if is_first else await hears(desk, opened, PENDING)
    told_at = opened.attempt.expires_at + timedelta(seconds=seconds)
    taken = replace(TAKEN, channel_transaction=f"tx_1 {opened.attempt.id}")
    await desk.ledger.post(Answered(read, taken, told_at))
    due = "SELECT due_at, is_check FROM attempt WHERE merchant_id = $1 AND id = $2"
    (row,) = await desk.postgres.read(due, desk.merchant.number, uuid_of(opened.attempt.id))
    assert (row["due_at"] is not None, row["is_check"]) == (is_asked, False)


NOT_LATER, LATER = timedelta(), timedelta(minutes=2)
AGAIN = Outcome(Verdict.SUCCEEDED, "tx_2", amount=1999, currency="CNY")
TELLS_MORE = replace(TAKEN, tells_more=True)


@pytest.mark.parametrize(
    ("words", "is_look"),
    [
        ([(TELLS_MORE, NOT_LATER), (AGAIN, LATER)], True),
        ([(PENDING, NOT_LATER), (TELLS_MORE, LATER)], False),
        ([(TELLS_MORE, LATER)], False),
    ],
    ids=["a look is due already", "a question is due already", "the lease is held"],
)
async def test_what_was_due_sooner_stays_a_look_or_a_question(
    desk: Desk, words: list[tuple[Outcome, timedelta]], *, is_look: bool
) -> None:
    """A look may wait and is not repeated; a question is asked soon, until the channel says."""
    opened = await desk.opened()
    begun_at = opened.standing.payment.created_at
    for said, later in words:
        read = await desk.ledger.by_attempt(opened.attempt.merchant, opened.attempt.id)
        assert read is not None
        named = replace(said, channel_transaction=f"{said.channel_transaction} {read.attempt.id}")
        await desk.ledger.post(Answered(read, named, begun_at + later))
    due = "SELECT due_at, is_check FROM attempt WHERE merchant_id = $1 AND id = $2"
    (row,) = await desk.postgres.read(due, desk.merchant.number, uuid_of(opened.attempt.id))
    assert row["is_check"] is is_look
    waits = row["due_at"] - (begun_at + words[-1][1])
    assert waits < timedelta(seconds=CHECK_WAIT_SECONDS[0]), "sooner than a look of its own"


async def test_so_is_one_that_crosses_the_close_of_whoever_has_the_lease(desk: Desk) -> None:
    """The worker that closes says when to ask again, but not over what its own post has set."""
    opened = await desk.opened()
    await hears(desk, opened, Outcome(Verdict.PENDING))
    number, now = (desk.merchant.number, uuid_of(opened.attempt.id)), desk.clock.now()
    wished = "UPDATE attempt SET cancel_wished = true, due_at = $3, leased_until = NULL"
    await desk.postgres.write(wished + " WHERE merchant_id = $1 AND id = $2", *number, now)
    queue = RecoveryQueue(desk.postgres, lambda: {"simulator": pace_of(100)})
    (due,) = [each for each in await queue.take(now, {}) if each.attempt_id == opened.attempt.id]
    read = await desk.ledger.by_attempt(due.merchant, due.attempt_id)
    assert read is not None
    taken = replace(TAKEN, channel_transaction=f"tx_1 {due.attempt_id}")
    told = Answered(replace(read, lease=due.lease_ends), taken, now)
    posted = await desk.ledger.post(told)
    look = again(told, posted, queries=due.queries, was_check=False, jitter=0)
    await queue.saw(told, "query", due=due, again=look)
    due_at = "SELECT due_at FROM attempt WHERE merchant_id = $1 AND id = $2"
    (row,) = await desk.postgres.read(due_at, *number)
    assert row["due_at"] is not None
    assert row["due_at"] < due.lease_ends
