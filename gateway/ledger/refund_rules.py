"""What a refund means in the books: what may go back, and the journals by which it does."""

from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from gateway.domain import money
from gateway.domain.errors import Problem
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Certainty, Standing, Status
from gateway.domain.posting import Journal, JournalKind
from gateway.domain.recovery import next_query_at
from gateway.domain.refund import TRANSITIONS, Refund, RefundStanding, RefundStatus
from gateway.domain.stages import Attempt, DueFurther
from gateway.ledger.chart import FEES, Code, account_number, journal

_REFUNDABLE: Final = frozenset({Status.SUCCEEDED, Status.REQUIRES_REVIEW})
_PAID_BESIDE: Final = "It was paid beside the order's own payment."


class RefundChange(Struct, frozen=True, kw_only=True):
    """One change of a refund with all that becomes durable together with it.

    `frees` says that what was reserved on the payment is free again.
    """

    standing: RefundStanding
    outcome: Outcome
    event_type: str
    journal: Journal | None
    at: datetime
    due_at: datetime | None
    frees: bool

    @property
    def merchant(self) -> int:
        """The number of the merchant whose refund changes."""
        return self.standing.merchant

    @property
    def payment_id(self) -> str:
        """The payment that the change belongs to."""
        return self.standing.refund.payment

    @property
    def resource(self) -> Refund:
        """The refund after the change."""
        return self.standing.refund


def refundable(standing: Standing, amount: int | None) -> int:
    """Say how much goes back; `Problem` 409 when that is more than there is."""
    payment = standing.payment
    if payment.status not in _REFUNDABLE or not payment.amount_captured:
        raise Problem(
            "state_conflict",
            f"A payment that is {payment.status.value} holds no money that could be given back.",
        )
    left = payment.amount_captured - payment.amount_refunded
    wanted = amount if amount is not None else left
    if not 0 < wanted <= left:
        raise Problem(
            "refund_exceeds_captured", "The refunds of a payment never exceed what was captured."
        )
    return wanted


def fees_back(standing: Standing, amount: int) -> tuple[int, int]:
    """Say how much commission and how much channel fee go back with this amount.

    The cumulative method: all refunds together return exactly the fee, and the last one sweeps.
    Where one in between failed, the next ones catch up, each by no more than its own amount.
    """
    payment = standing.payment
    captured, refunded = payment.amount_captured, payment.amount_refunded + amount
    due = money.cumulative_share(payment.fee, captured, 0, refunded)
    channel_due = money.cumulative_share(standing.channel_fee, captured, 0, refunded)
    return (
        min(amount, max(0, due - standing.fee_refunded)),
        max(0, channel_due - standing.channel_fee_refunded),
    )


def accepted_journal(standing: RefundStanding) -> Journal:
    """The merchant gives up its part and we our commission: the money is on its way back."""
    refund, currency = standing.refund, standing.refund.currency
    transit = account_number(Code.REFUND_IN_TRANSIT, currency)
    return journal(
        JournalKind.REFUND_ACCEPTED,
        refund.id,
        currency,
        (
            (_source(standing), transit, refund.amount - standing.commission_back),
            (account_number(Code.COMMISSION_INCOME, currency), transit, standing.commission_back),
        ),
    )


def consequence(
    standing: RefundStanding, outcome: Outcome, *, at: datetime, jitter: float
) -> RefundChange | None:
    """Work out the change that an outcome brings; None when it brings nothing new.

    Words about other money or another number freeze an open refund for people; they say nothing of
    one that has ended.
    """
    before = standing.refund
    status = TRANSITIONS[before.status].get(outcome.verdict)
    if status is None:
        return None
    agreed = outcome.amount in {None, before.amount} and not outcome.conflict
    if not agreed or outcome.currency not in {None, before.currency}:
        if before.status is not RefundStatus.PROCESSING:
            return None
        status = RefundStatus.REQUIRES_REVIEW
    transaction = outcome.channel_transaction
    if before.status is RefundStatus.FAILED and transaction in {None, standing.channel_transaction}:
        return None  # what was done before it came back is told once more
    unsure = outcome.verdict in {Verdict.UNKNOWN, Verdict.NOT_FOUND}
    open_ = status is RefundStatus.PROCESSING
    certainty = (Certainty.UNKNOWN if unsure else Certainty.PENDING) if open_ else None
    if standing.version > 0 and (status, certainty) == (before.status, before.certainty):
        return None
    refund = replace(
        before,
        status=status,
        certainty=certainty,
        failure=outcome.failure if status is RefundStatus.FAILED else None,
        updated_at=at,
    )
    return RefundChange(
        standing=replace(
            standing,
            refund=refund,
            version=standing.version + 1,
            channel_transaction=standing.channel_transaction or transaction,
        ),
        outcome=outcome,
        event_type=f"{'further_refund' if refund.is_further else 'refund'}.{status.value}",
        journal=_outcome_journal(standing, status),
        at=at,
        due_at=next_query_at(at, 0, jitter) if open_ else None,
        frees=status is RefundStatus.FAILED,
    )


def _outcome_journal(standing: RefundStanding, status: RefundStatus) -> Journal | None:
    """Write the journal of a refund that was done, failed, came back, or was done after all."""
    refund, currency = standing.refund, standing.refund.currency
    transit = account_number(Code.REFUND_IN_TRANSIT, currency)
    receivable = account_number(Code.CHANNEL_RECEIVABLE, currency, standing.channel)
    fees = account_number(Code.CHANNEL_RECEIVABLE, currency, standing.channel, FEES)
    cost = account_number(Code.CHANNEL_FEE_COST, currency, standing.channel)
    if status is RefundStatus.SUCCEEDED:
        return journal(
            JournalKind.REFUND_DONE,
            refund.id,
            currency,
            (
                (transit, receivable, refund.amount),
                (fees, cost, standing.channel_fee_back),
            ),
        )
    if refund.status is RefundStatus.FAILED:
        short = account_number(Code.SUSPENSE_SHORT, currency)
        return journal(
            JournalKind.REFUND_LATE, refund.id, currency, ((short, receivable, refund.amount),)
        )
    if status is not RefundStatus.FAILED:
        return None
    came_back = refund.status is RefundStatus.SUCCEEDED
    giver = receivable if came_back else transit
    return journal(
        JournalKind.REFUND_RETURNED if came_back else JournalKind.REFUND_FAILED,
        refund.id,
        currency,
        (
            (giver, _source(standing), refund.amount - standing.commission_back),
            (giver, account_number(Code.COMMISSION_INCOME, currency), standing.commission_back),
            (cost, fees, standing.channel_fee_back if came_back else 0),
        ),
    )


def _source(standing: RefundStanding) -> int:
    code = Code.SUSPENSE_LONG if standing.from_suspense else Code.MERCHANT_PENDING
    return account_number(code, standing.refund.currency)


def planned_further(
    due: DueFurther, refund_id: str, at: datetime, *, reason: str = _PAID_BESIDE
) -> RefundStanding:
    """Plan to give back all of what was paid beside a payment; nobody earned anything by it."""
    is_named = due.channel_transaction != uuid_of(due.attempt_id)
    return RefundStanding(
        refund=Refund(
            id=refund_id,
            payment=due.payment,
            merchant=due.merchant,
            reference=f"further-{refund_id}",
            amount=due.amount,
            currency=due.currency,
            reason=reason,
            created_at=at,
            updated_at=at,
            further_transaction=due.id,
        ),
        merchant=due.number,
        version=0,
        attempt_id=due.attempt_id,
        channel=due.channel,
        from_suspense=True,
        commission_back=0,
        channel_fee_back=0,
        captured=due.amount,
        payment_transaction=due.channel_transaction if is_named else None,
    )


def planned(
    standing: Standing,
    *,
    refund: Refund,
    attempt: Attempt,
) -> RefundStanding:
    """Plan a refund on what the payment has refunded now."""
    commission_back, channel_fee_back = fees_back(standing, refund.amount)
    if attempt.terms is not None and not attempt.terms.returned:
        channel_fee_back = 0
    assert standing.payment.channel is not None
    return RefundStanding(
        refund=refund,
        merchant=standing.merchant,
        version=0,
        attempt_id=attempt.id,
        channel=standing.payment.channel,
        from_suspense=standing.payment.status is Status.REQUIRES_REVIEW,
        commission_back=commission_back,
        channel_fee_back=channel_fee_back,
        captured=standing.payment.amount_captured,
        account=attempt.account,
        payment_transaction=attempt.channel_transaction,
    )
