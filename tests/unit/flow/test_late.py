"""Late money goes back once where its merchant wants that; whatever fails then is for people."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.domain.identity import mint
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.refund import Refund, RefundStanding, RefundStatus
from gateway.domain.stages import KeyUse, Opened, RefundAnswered, RefundOpened, RefundPosted
from gateway.flow import late
from gateway.flow.desk import Desk
from tests.unit.nouns import ATTEMPT, NOON, STANDING

PAID_LATE = replace(
    STANDING,
    payment=replace(STANDING.payment, status=Status.REQUIRES_REVIEW, amount_captured=10_000),
)
LATE = Opened(PAID_LATE, ATTEMPT, lease=NOON)


def standing_of(refund: Refund) -> RefundStanding:
    return RefundStanding(
        refund=refund,
        merchant=7,
        version=0,
        attempt_id=ATTEMPT.id,
        channel="simulator",
        from_suspense=True,
        commission_back=0,
        channel_fee_back=0,
        captured=10_000,
    )


class FakeDesk:
    """A merchant who wants late money to go back, and a channel at which every refund fails."""

    def __init__(self) -> None:
        self.made: list[RefundStanding] = []

    async def late_success_policy(self, _merchant: int) -> str:
        return "refund"

    def now(self) -> Any:
        return NOON

    def mint(self, prefix: str, merchant: int) -> str:
        return mint(prefix, merchant, len(self.made))

    async def of_payment(self, *_: Any) -> list[RefundStanding]:
        return self.made

    async def open(self, _use: KeyUse, refund: Refund, _attempt: Any) -> RefundOpened:
        failed = replace(refund, status=RefundStatus.FAILED)
        self.made = [*self.made, standing_of(failed)]
        return RefundOpened(self.made[-1])

    async def refund(self, opened: RefundOpened) -> RefundAnswered:
        return RefundAnswered(opened, Outcome(Verdict.FAILED), NOON)

    async def post(self, answered: RefundAnswered) -> RefundPosted:
        return RefundPosted(answered.opened.standing, b"")

    async def by_attempt(self, *_: Any) -> Opened:
        return replace(LATE, lease=None)


@pytest.mark.parametrize("before", [(), ("another",)])
async def test_a_refund_by_policy_that_failed_is_not_tried_for_ever(
    before: tuple[str, ...],
) -> None:
    fake = FakeDesk()
    names = ("reader", "clock", "refunds", "channels", "ledger")
    desk = cast("Desk", SimpleNamespace(**dict.fromkeys(names, fake)))
    for reference in before:
        refund = Refund(
            id=mint("re", 7, 99),
            payment=STANDING.payment.id,
            merchant=STANDING.payment.merchant,
            reference=reference,
            amount=1,
            currency="CNY",
            created_at=NOON,
            updated_at=NOON,
        )
        fake.made.append(standing_of(refund))
    for _ in range(3):
        assert await late.settle(LATE, desk) == LATE
    named = [each.refund.reference for each in fake.made]
    assert named == [*before, f"late-{STANDING.payment.id}-{len(before)}"]
