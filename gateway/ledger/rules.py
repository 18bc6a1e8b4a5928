"""What an outcome means: the payment's next state, its event and its journal, all pure."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from gateway.domain import identity, limits
from gateway.domain.fees import Terms, usual_terms
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import ENDED, OPEN, Certainty, Fact, Payment, Standing, Status, after
from gateway.domain.posting import Journal, JournalKind
from gateway.domain.recovery import check_at, next_query_at, silence_ends_at
from gateway.domain.stages import Attempt, KeyUse
from gateway.ledger.journal_rules import (
    adoption_journal,
    capture_journal,
    late_journal,
    reversal_journal,
    suspense_journal,
)

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

_WITHOUT_MONEY: Final = frozenset({Fact.CANCELED, Fact.EXPIRED, Fact.DECLINED})
_BEFORE_CAPTURE: Final = frozenset({Fact.ACTION_REQUIRED, Fact.AUTHORIZED})
_BEFORE_RETURN: Final = frozenset({Fact.AUTHORIZED, Fact.CAPTURED})
_CLOSED: Final = frozenset({Status.CANCELED, Status.EXPIRED})


class Change(Struct, frozen=True, kw_only=True):
    """One change of a payment with all that becomes durable together with it.

    `standing` is the payment after the change; the change applies only to the version before it.
    `use` is the idempotency key of the request that asked for it, where it is not durable yet.
    `further_id` is the cause of the journal when the last of the attempt's further transactions is
    what came.
    """

    standing: Standing
    attempt: Attempt
    outcome: Outcome
    event_type: str
    journal: Journal | None
    at: datetime
    due_at: datetime | None
    use: KeyUse | None = None
    further_id: str | None = None

    @property
    def merchant(self) -> int:
        """The number of the merchant whose payment changes."""
        return self.standing.merchant

    @property
    def payment_id(self) -> str:
        """The payment that the change belongs to."""
        return self.standing.payment.id

    @property
    def resource(self) -> Payment:
        """The payment after the change."""
        return self.standing.payment

    @property
    def is_check(self) -> bool:
        """Tell whether nothing is open any more, and what is due is a look whether money came."""
        status, outcome = self.standing.payment.status, self.outcome
        is_looked_at = outcome.tells_more and outcome.news_in_seconds is None
        return status in _CLOSED or (status is Status.SUCCEEDED and is_looked_at)


def terms_of(standing: Standing, attempt: Attempt) -> Terms:
    """Give the terms that were fixed with the attempt, or the usual ones of its time."""
    return attempt.terms or usual_terms(standing.commission_bps, attempt.channel)


def fact_of(standing: Standing, attempt: Attempt, outcome: Outcome, at: datetime) -> Fact:
    """Say what an outcome is a fact of; another amount or currency is a conflict, never money.

    A close that the merchant wished, or before the payment's time is over, is a cancellation; any
    other one an expiry.
    """
    is_sum = outcome.amount is None or 0 < outcome.amount <= limits.AMOUNT_MINOR_MAX
    strange = outcome.conflict or not is_sum or outcome.currency not in (None, attempt.currency)
    is_success = outcome.verdict is Verdict.SUCCEEDED and not strange
    if is_success and _is_again(standing, attempt, outcome):
        return Fact.PAID_AGAIN
    if outcome.returned and standing.payment.amount_captured and not attempt.replaced:
        return Fact.REVERSED
    if strange or not _is_amount_meant(attempt, outcome):
        return Fact.CONFLICTED
    early = attempt.cancel_wished or at < standing.payment.expires_at
    if outcome.verdict is Verdict.CLOSED and early:
        return Fact.CANCELED
    return _FACTS[outcome.verdict]


def _is_again(standing: Standing, attempt: Attempt, outcome: Outcome) -> bool:
    """Tell whether a success is one beside the money that the payment is about.

    It is another transaction than those that are booked or were given back, or a success of an
    attempt that had provably moved nothing when another one took its place.
    """
    if attempt.replaced:
        is_known = _name_of(attempt, outcome) in attempt.further_transactions
        return not (is_known or attempt.returned)
    if attempt.channel_transaction is None:
        return False
    known = {None, attempt.channel_transaction, *attempt.further_transactions}
    was_booked = standing.payment.amount_captured > 0 or attempt.returned
    return was_booked and outcome.channel_transaction not in known


def _name_of(attempt: Attempt, outcome: Outcome) -> str:
    """Name a transaction as the channel does, or as we asked for it."""
    return outcome.channel_transaction or identity.uuid_of(attempt.id)


def _is_amount_meant(attempt: Attempt, outcome: Outcome) -> bool:
    """Tell whether the amount fits: what was taken is the capture, what is held is the whole.

    Where nothing is taken, a channel speaks of the one or the other.
    """
    amount, verdict = outcome.amount, outcome.verdict
    if amount is None:
        return True
    if verdict is Verdict.SUCCEEDED:
        return amount == attempt.expected
    return amount == attempt.amount or (
        verdict is not Verdict.AUTHORIZED and amount == attempt.expected
    )


def consequence(
    standing: Standing, attempt: Attempt, outcome: Outcome, *, at: datetime
) -> Change | None:
    """Work out the change that an outcome brings; None when it brings nothing new.

    A fact that the table of states refuses brings nothing: the payment stays as it is.  Nor does
    any word of the channel about a payment once its money is captured, but that it gave the money
    back by itself; refunds have their own.
    """
    before = standing.payment
    fact = fact_of(standing, attempt, outcome, at)
    status = after(before.status, fact)
    if status is not None and fact is Fact.PAID_AGAIN:
        return _paid_again(standing, attempt, outcome, at)
    if status is not None and fact is Fact.REVERSED:
        return _reversed(standing, attempt, outcome, at)
    if status is None or _is_no_news(before, attempt, fact, outcome):
        return None
    late = fact is Fact.CAPTURED and status is Status.REQUIRES_REVIEW
    certainty = _certainty(status, fact)
    if standing.version > 0 and (status, certainty) == (before.status, before.certainty):
        return None
    authorized, captured, fee, channel_fee = _amounts(standing, fact, status, attempt)
    payment = replace(
        before,
        status=status,
        certainty=certainty,
        amount_authorized=authorized,
        amount_captured=captured,
        fee=fee,
        next_action=outcome.next_action if status is Status.REQUIRES_ACTION else None,
        failure=outcome.failure if status is Status.FAILED else None,
        updated_at=at,
    )
    next_standing = replace(
        standing,
        payment=payment,
        version=standing.version + 1,
        channel_fee=channel_fee,
    )
    booked = None
    if fact is Fact.CAPTURED:
        booked = (late_journal if late else capture_journal)(next_standing, attempt)
    return Change(
        standing=next_standing,
        attempt=attempt,
        outcome=outcome,
        event_type="payment.late_success" if late else f"payment.{status.value}",
        journal=booked,
        at=at,
        # Late money is due at once: the worker carries out what the merchant wants done with it.
        due_at=at if late else _due_at(standing, attempt, payment, outcome),
    )


def _is_no_news(before: Payment, attempt: Attempt, fact: Fact, outcome: Outcome) -> bool:
    """Tell whether a word changes nothing, or was said before what we know already.

    What the payer has to do, and that it is held, was said before a capture that is under way; what
    was held or paid, before the channel gave it back.
    """
    return (
        before.amount_captured > 0
        or attempt.replaced
        or (before.status in ENDED and not outcome.is_money)
        or (fact in _BEFORE_CAPTURE and attempt.is_capturing)
        or (fact in _BEFORE_RETURN and attempt.returned)
    )


def _paid_again(standing: Standing, attempt: Attempt, outcome: Outcome, at: datetime) -> Change:
    """Book money beside the payment's own to suspense; what was booked stays as it is.

    Late money that nobody has decided about yet stays due, for whoever carries out the policy.
    """
    transaction = _name_of(attempt, outcome)
    payment = replace(standing.payment, updated_at=at)
    amount = outcome.amount if outcome.amount is not None else attempt.expected
    further = (*attempt.further_transactions, transaction)
    cause = identity.derived("xtr", attempt.id, transaction)
    is_due = payment.status is Status.REQUIRES_REVIEW and not attempt.replaced
    return Change(
        standing=replace(standing, payment=payment, version=standing.version + 1),
        attempt=replace(attempt, further_transactions=further),
        # Its number is kept with the further transaction and not with the attempt.
        outcome=replace(outcome, channel_transaction=None) if attempt.replaced else outcome,
        event_type="payment.late_success",
        journal=suspense_journal(JournalKind.PAID_AGAIN, attempt, amount, cause=cause),
        at=at,
        due_at=at if is_due else _more_at(outcome, at),
        further_id=cause,
    )


def _reversed(
    standing: Standing, attempt: Attempt, outcome: Outcome, at: datetime
) -> Change | None:
    """Take back what the channel gave back by itself; None where refunds had given all of it back.

    A part of which a refund was asked stays captured and refunded: that refund ends by itself, and
    as its money came back with the rest it is done.
    """
    before = standing.payment
    kept = before.amount_refunded
    if kept == before.amount_captured:
        return None
    payment = replace(
        before,
        status=Status.CANCELED,
        certainty=None,
        amount_authorized=before.amount_authorized if kept else 0,
        amount_captured=kept,
        fee=standing.fee_refunded,
        updated_at=at,
    )
    fees_return = attempt.terms is None or attempt.terms.returned
    after_it = replace(
        standing,
        payment=payment,
        version=standing.version + 1,
        channel_fee=standing.channel_fee_refunded if fees_return else standing.channel_fee,
    )
    return Change(
        standing=after_it,
        attempt=replace(attempt, returned=True),
        outcome=outcome,
        event_type=f"payment.{payment.status.value}",
        journal=reversal_journal(standing, after_it, attempt),
        at=at,
        due_at=check_at(at, at),
    )


def begin_capture(standing: Standing, attempt: Attempt, amount: int, at: datetime) -> Change | None:
    """Note down that a capture of this amount is about to be asked; None when it may not be."""
    status = after(standing.payment.status, Fact.CAPTURE_STARTED)
    if status is None or attempt.cancel_wished:
        return None
    if not 0 < amount <= standing.payment.amount_authorized:
        return None
    payment = replace(standing.payment, status=status, certainty=Certainty.PENDING, updated_at=at)
    return Change(
        standing=replace(standing, payment=payment, version=standing.version + 1),
        attempt=replace(attempt, capture_amount=amount),
        outcome=Outcome(Verdict.PENDING, code="capture_started"),
        event_type=f"payment.{status.value}",
        journal=None,
        at=at,
        due_at=silence_ends_at(at),
    )


def adopt(standing: Standing, attempt: Attempt, at: datetime) -> Change | None:
    """Take money that came late as the order's money after all; None when there is none.

    Nor when some of it is on its way back already: people have begun to decide otherwise.
    """
    status = after(standing.payment.status, Fact.ADOPTED)
    if status is None or not standing.payment.amount_captured or standing.payment.amount_refunded:
        return None
    payment = replace(
        standing.payment,
        status=status,
        fee=terms_of(standing, attempt).commission_of(standing.payment.amount_captured),
        updated_at=at,
    )
    adopted = replace(standing, payment=payment, version=standing.version + 1)
    return Change(
        standing=adopted,
        attempt=attempt,
        outcome=Outcome(Verdict.SUCCEEDED, code="adopted"),
        event_type=f"payment.{status.value}",
        journal=adoption_journal(adopted, attempt),
        at=at,
        # More may have come beside it, and nobody has asked since.
        due_at=at,
    )


def _amounts(
    standing: Standing, fact: Fact, status: Status, attempt: Attempt
) -> tuple[int, int, int, int]:
    """Say what is authorized and captured by this fact, our commission, and what the channel keeps.

    Late money earns no commission until it is adopted.
    """
    payment = standing.payment
    if fact is Fact.CAPTURED:
        terms, captured = terms_of(standing, attempt), attempt.expected
        return (
            payment.amount_authorized or payment.amount,
            captured,
            terms.commission_of(captured) if status is Status.SUCCEEDED else 0,
            terms.channel.of(captured),
        )
    authorized = payment.amount_authorized
    if fact is Fact.AUTHORIZED:
        authorized = payment.amount
    elif fact in _WITHOUT_MONEY:
        authorized = 0
    return authorized, payment.amount_captured, payment.fee, standing.channel_fee


def _certainty(status: Status, fact: Fact) -> Certainty | None:
    if status is not Status.PROCESSING:
        return None
    return Certainty.UNKNOWN if fact is Fact.UNKNOWN else Certainty.PENDING


def _due_at(
    before: Standing, attempt: Attempt, payment: Payment, outcome: Outcome
) -> datetime | None:
    """Say when somebody must ask again: soon while it is open, and before a hold lapses.

    What is frozen for people is closed at its deadline all the same, if it never was paid; what was
    closed is looked at once more, because money may come all the same.  So is a hold or a capture
    that failed: the word may be older than it, and then the hold is let go, or the money is late.
    """
    at = payment.updated_at
    if payment.status is Status.SUCCEEDED:
        return _more_at(outcome, at)
    soon = next_query_at(at, 0, random.uniform(-1, 1))  # noqa: S311 - jitter
    was_held = before.payment.status is Status.REQUIRES_CAPTURE or attempt.is_capturing
    if payment.status in OPEN or (was_held and payment.status is Status.FAILED):
        return soon
    if payment.status is Status.REQUIRES_CAPTURE:
        return at + timedelta(seconds=limits.AUTHORIZATION_SECONDS)
    if payment.status is Status.REQUIRES_REVIEW:
        return max(soon, payment.expires_at)
    if payment.status in _CLOSED:
        return check_at(at, at)
    return None


def _more_at(outcome: Outcome, at: datetime) -> datetime | None:
    """Say when to ask for more money beside what is paid, where the channel would tell of some."""
    if outcome.news_in_seconds is not None:
        return at + timedelta(seconds=outcome.news_in_seconds)
    return check_at(at, at) if outcome.tells_more else None
