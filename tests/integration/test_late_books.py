"""Late money that goes back by its merchant's policy, in the books of a real database."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Standing
from gateway.domain.stages import Answered, Opened, RefundAnswered, RefundOpened
from gateway.flow import late
from gateway.flow.desk import Desk as FlowDesk
from gateway.ledger.refunds import RefundLedger
from tests.integration.ledger_desk import Desk, proven_desk


@pytest.fixture
async def desk(database: Any) -> AsyncIterator[Desk]:
    async with proven_desk(database) as desk:
        yield desk


class GivesBack:
    """A merchant who wants late money to go back, and a channel at which refunds are done.

    The payment is looked at as it was `before`, once.
    """

    def __init__(self, desk: Desk, before: Standing | None = None) -> None:
        self._now, self._before = desk.books.standing, before
        self.refunds = RefundLedger(cast("Any", self), desk.refund_books)
        self.ledger, self.clock, self._desk = desk.ledger, desk.clock, desk

    async def standing(self, *which: Any) -> Standing | None:
        before, self._before = self._before, None
        return before or await self._now(*which)

    async def late_success_policy(self, _merchant: int) -> str:
        return "refund"

    async def release(self, _opened: Opened) -> None:
        return None

    async def refund(self, opened: RefundOpened) -> RefundAnswered:
        return RefundAnswered(opened, Outcome(Verdict.SUCCEEDED), self._desk.clock.now())

    @property
    def desk(self) -> FlowDesk:
        own = dict.fromkeys(("reader", "recovery", "channels"), self)
        rest = {"refunds": self.refunds, "ledger": self.ledger, "clock": self.clock}
        return cast("FlowDesk", SimpleNamespace(**own, **rest))


async def paid_late(desk: Desk) -> Opened:
    """A payment that had ended before it was paid."""
    opened = await desk.opened()
    for outcome in (Outcome(Verdict.CLOSED), said(opened, "1")):
        await desk.ledger.post(Answered(opened, outcome, desk.clock.now()))
    return await read(desk, opened)


def said(opened: Opened, nth: str) -> Outcome:
    return Outcome(Verdict.SUCCEEDED, f"{nth} {opened.attempt.id}", amount=1999, currency="CNY")


async def read(desk: Desk, opened: Opened) -> Opened:
    again = await desk.ledger.by_attempt(opened.attempt.merchant, opened.attempt.id)
    assert again is not None
    return again


async def test_late_money_goes_back_although_more_came_while_that_began(desk: Desk) -> None:
    """The first try takes its key and can make nothing; the next one is the same refund."""
    opened = await paid_late(desk)
    await desk.ledger.post(Answered(opened, said(opened, "2"), desk.clock.now()))
    assert await late.settle(opened, GivesBack(desk, opened.standing).desk) is None
    for _ in range(2):
        after = await late.settle(await read(desk, opened), GivesBack(desk).desk)
        assert after is not None
        assert after.standing.payment.amount_refunded == 1999


async def test_late_money_is_for_people_where_its_refund_has_no_name(desk: Desk) -> None:
    opened, other = await paid_late(desk), await desk.paid()
    await desk.reserve(other, 1, f"late-{opened.standing.payment.id}-0")
    after = await late.settle(opened, GivesBack(desk).desk)
    assert after is not None, "it is not tried for ever"
    assert after.standing.payment.amount_refunded == 0
