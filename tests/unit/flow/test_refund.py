"""A refund whose outcome cannot be weighed or posted is answered as it durably is."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from gateway.domain.errors import Unavailable
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.refund import Refund, RefundStanding
from gateway.domain.stages import Claimed, Opened, RefundAnswered, RefundOpened, RefundPosted
from gateway.flow import refund
from gateway.flow.desk import Desk
from tests.unit.nouns import ATTEMPT, HEX, MATCHED, NOON, PAYMENT

STANDING = RefundStanding(
    refund=Refund(
        id=f"re_{HEX}",
        payment=PAYMENT.id,
        merchant=PAYMENT.merchant,
        reference="refund 1",
        amount=500,
        currency="CNY",
        created_at=NOON,
        updated_at=NOON,
    ),
    merchant=7,
    version=0,
    attempt_id=ATTEMPT.id,
    channel="simulator",
    from_suspense=False,
    commission_back=0,
    channel_fee_back=0,
    captured=10_000,
)


class FakeDesk:
    """A channel that has answered, and books that are away from then on."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.released: list[Claimed] = []

    async def refund(self, opened: RefundOpened) -> RefundAnswered:
        return RefundAnswered(opened, Outcome(self.verdict), NOON)

    async def by_attempt(self, *_: Any) -> Opened:
        raise Unavailable

    async def post(self, _answered: RefundAnswered) -> RefundPosted:
        raise Unavailable

    async def release(self, claimed: Claimed) -> None:
        self.released.append(claimed)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.SUCCEEDED])
async def test_books_that_go_away_once_the_channel_answered_are_no_refusal(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    async def opened(*_: Any) -> RefundOpened:
        return RefundOpened(STANDING)

    monkeypatch.setattr(refund, "_open", opened)
    fake, claimed = FakeDesk(verdict), Claimed(MATCHED, "k", b"f", None)
    names = ("channels", "ledger", "refunds", "idempotency")
    desk = cast("Desk", SimpleNamespace(**dict.fromkeys(names, fake)))
    answer = await refund.refund(claimed, desk)
    body = msgspec.json.decode(answer.body)
    assert (answer.status, body["status"], body["certainty"]) == (201, "processing", "unknown")
    assert fake.released == [claimed]
