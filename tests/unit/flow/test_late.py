"""Late money goes back once where its merchant wants that; whatever fails then is for people."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from gateway.domain.identity import mint
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.refund import Refund, RefundStanding, RefundStatus
from gateway.domain.stages import (
    Attempt,
    KeyUse,
    Opened,
    RefundAnswered,
    RefundOpened,
    RefundPosted,
)
from gateway.flow import late
from gateway.flow.desk import Desk
from gateway.flow.refund import unless_returned
from tests.unit.nouns import ATTEMPT, NOON, STANDING

PAID_LATE = replace(
    STANDING,
    payment=replace(STANDING.payment, status=Status.REQUIRES_REVIEW, amount_captured=10_000),
)
LATE = Opened(PAID_LATE, ATTEMPT, lease=NOON)

RETURNED = replace(ATTEMPT, returned=True)
REPLACED = replace(ATTEMPT, replaced=True)


def made(reference: str, *, transaction: str | UnsetType = UNSET) -> Refund:
    return Refund(
        id=mint("re", 7, 99),
        payment=STANDING.payment.id,
        merchant=STANDING.payment.merchant,
        reference=reference,
        amount=1,
        currency="CNY",
        further_transaction=transaction,
        created_at=NOON,
        updated_at=NOON,
    )


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

    def __init__(self, attempt: Attempt = ATTEMPT) -> None:
        self.attempt = attempt
        self.made: list[RefundStanding] = []
        self.posted: list[Verdict] = []

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
        self.posted.append(answered.outcome.verdict)
        return RefundPosted(answered.opened.standing, b"")

    async def by_attempt(self, *_: Any) -> Opened:
        return replace(LATE, attempt=self.attempt, lease=None)

    @property
    def desk(self) -> Desk:
        names = ("reader", "clock", "refunds", "channels", "ledger")
        return cast("Desk", SimpleNamespace(**dict.fromkeys(names, self)))


@pytest.mark.parametrize("before", [(), ("another",)])
async def test_a_refund_by_policy_that_failed_is_not_tried_for_ever(
    before: tuple[str, ...],
) -> None:
    fake = FakeDesk()
    fake.made = [standing_of(made(reference)) for reference in before]
    for _ in range(3):
        assert await late.settle(LATE, fake.desk) == LATE
    assert fake.posted == [Verdict.FAILED]
    named = [each.refund.reference for each in fake.made]
    assert named == [*before, f"late-{STANDING.payment.id}-{len(before)}"]


async def test_what_its_channel_gave_back_is_neither_adopted_nor_refunded() -> None:
    fake, returned = FakeDesk(), replace(LATE, attempt=RETURNED)
    assert await late.settle(returned, fake.desk) == returned
    assert fake.made == []


async def test_a_refund_by_policy_that_the_return_has_overtaken_is_done() -> None:
    fake = FakeDesk(RETURNED)
    assert await late.settle(LATE, fake.desk) is not None
    assert fake.posted == [Verdict.SUCCEEDED]


@pytest.mark.parametrize("is_further", [False, True])
@pytest.mark.parametrize("attempt", [ATTEMPT, REPLACED])
@pytest.mark.parametrize("returned", [False, True])
async def test_a_return_has_done_the_refunds_of_what_its_attempt_had_moved(
    attempt: Attempt, *, is_further: bool, returned: bool
) -> None:
    fake = FakeDesk(replace(attempt, returned=returned))
    transaction = "tx_2" if is_further else UNSET
    failed = await fake.refund(RefundOpened(standing_of(made("r", transaction=transaction))))
    told = await unless_returned(failed, fake.desk)
    is_done = returned and is_further is attempt.replaced
    assert told.outcome.verdict is (Verdict.SUCCEEDED if is_done else Verdict.FAILED)
