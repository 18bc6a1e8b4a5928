"""What an outcome means: the payment's next state, its event and its journal, all pure."""

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain import money
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Certainty, Fact, Payment, Standing, Status, after
from gateway.domain.posting import Journal, JournalKind, Transfer
from gateway.domain.recovery import next_query_at
from gateway.domain.stages import Attempt
from gateway.ledger.chart import FEES, Account, Code

_FACTS: Final[Mapping[Verdict, Fact]] = {
    Verdict.SUCCEEDED: Fact.CAPTURED,
    Verdict.AUTHORIZED: Fact.AUTHORIZED,
    Verdict.REQUIRES_ACTION: Fact.ACTION_REQUIRED,
    Verdict.PENDING: Fact.PENDING,
    Verdict.FAILED: Fact.DECLINED,
    Verdict.CLOSED: Fact.EXPIRED,
    Verdict.NOT_FOUND: Fact.UNKNOWN,
    Verdict.UNKNOWN: Fact.UNKNOWN,
}
_STILL_OPEN: Final = frozenset({Status.PROCESSING, Status.REQUIRES_ACTION})


class Change(Struct, frozen=True):
    """One change of a payment with all that becomes durable together with it.

    `standing` is the payment after the change; the change applies only to the version before it.
    """

    standing: Standing
    attempt: Attempt
    outcome: Outcome
    event_type: str
    journal: Journal | None
    at: datetime
    due_at: datetime | None


def fact_of(attempt: Attempt, outcome: Outcome) -> Fact:
    """Say what an outcome is a fact of; another amount or currency is a conflict, never money."""
    said = (outcome.amount, outcome.currency)
    asked = (attempt.amount, attempt.currency)
    if any(word is not None and word != own for word, own in zip(said, asked, strict=True)):
        return Fact.CONFLICTED
    return _FACTS[outcome.verdict]


def consequence(
    standing: Standing, attempt: Attempt, outcome: Outcome, *, at: datetime, channel_fee_bps: int
) -> Change | None:
    """Work out the change that an outcome brings; None when it brings nothing new.

    A fact that the table of states refuses brings nothing: the payment stays as it is.
    """
    before = standing.payment
    fact = fact_of(attempt, outcome)
    status = after(before.status, fact)
    if status is None:
        return None
    payment = _next_payment(standing, fact, status, outcome, at)
    told_before = standing.version > 0
    if told_before and (payment.status, payment.certainty) == (before.status, before.certainty):
        return None
    due_at = next_query_at(at, 0, random.uniform(-1, 1)) if status in _STILL_OPEN else None  # noqa: S311 - jitter
    return Change(
        standing=msgspec.structs.replace(standing, payment=payment, version=standing.version + 1),
        attempt=attempt,
        outcome=outcome,
        event_type=f"payment.{status.value}",
        journal=capture_journal(payment, attempt, channel_fee_bps)
        if fact is Fact.CAPTURED
        else None,
        at=at,
        due_at=due_at,
    )


def _next_payment(
    standing: Standing, fact: Fact, status: Status, outcome: Outcome, at: datetime
) -> Payment:
    before = standing.payment
    moved = {
        Fact.CAPTURED: {
            "amount_authorized": before.amount,
            "amount_captured": before.amount,
            "fee": money.share(before.amount, standing.commission_bps),
        },
        Fact.AUTHORIZED: {"amount_authorized": before.amount},
        Fact.CANCELED: {"amount_authorized": 0},
        Fact.EXPIRED: {"amount_authorized": 0},
    }.get(fact, {})
    certainty = None
    if status is Status.PROCESSING:
        certainty = Certainty.UNKNOWN if fact is Fact.UNKNOWN else Certainty.PENDING
    return msgspec.structs.replace(
        before,
        status=status,
        certainty=certainty,
        next_action=outcome.next_action if status is Status.REQUIRES_ACTION else None,
        failure=outcome.failure if status is Status.FAILED else None,
        updated_at=at,
        **moved,
    )


def capture_journal(payment: Payment, attempt: Attempt, channel_fee_bps: int) -> Journal:
    """Write the journal of a capture.

    The channel owes us the amount; the merchant gets it less our commission, and what the channel
    will keep is accrued as cost against the receivable.  Movements of nothing are left out.
    """
    currency, channel = payment.currency, attempt.channel
    receivable = Account(Code.CHANNEL_RECEIVABLE, currency, channel).number
    channel_fee = money.share(payment.amount_captured, channel_fee_bps)
    movements = (
        (
            receivable,
            Account(Code.MERCHANT_PENDING, currency).number,
            payment.amount_captured - payment.fee,
        ),
        (receivable, Account(Code.COMMISSION_INCOME, currency).number, payment.fee),
        (
            Account(Code.CHANNEL_FEE_COST, currency, channel).number,
            Account(Code.CHANNEL_RECEIVABLE, currency, channel, FEES).number,
            channel_fee,
        ),
    )
    return Journal(
        JournalKind.CAPTURE,
        attempt.id,
        currency,
        tuple(Transfer(*movement) for movement in movements if movement[2] > 0),
    )
