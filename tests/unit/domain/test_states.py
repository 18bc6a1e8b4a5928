"""A payment and its refunds as a machine: whatever happens in whatever order, the tables hold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET
from msgspec.structs import replace

from gateway.domain import identity, payment
from gateway.domain.errors import Problem
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import OPEN, Certainty, Fact, Status
from gateway.domain.posting import JournalKind
from gateway.domain.refund import TRANSITIONS as REFUND_TRANSITIONS
from gateway.domain.refund import Refund, RefundStanding, RefundStatus
from gateway.domain.stages import DueFurther
from gateway.ledger import refund_rules, rules
from tests.unit.ledger.books import Books
from tests.unit.nouns import ATTEMPT, EXPIRY, NOON, PAYMENT, STANDING

FAILURE = Failure("declined", "No.", Advice.NEVER)
AMOUNTS = st.sampled_from([None, 10_000, 9_999]) | st.integers(1, 12_000)
# Which facts a channel's word can be, by the word.
FACTS: Mapping[Verdict, set[Fact]] = {
    Verdict.SUCCEEDED: {Fact.CAPTURED, Fact.CONFLICTED, Fact.PAID_AGAIN},
    Verdict.AUTHORIZED: {Fact.AUTHORIZED, Fact.CONFLICTED},
    Verdict.REQUIRES_ACTION: {Fact.ACTION_REQUIRED, Fact.CONFLICTED},
    Verdict.PENDING: {Fact.PENDING, Fact.CONFLICTED},
    Verdict.FAILED: {Fact.DECLINED, Fact.CONFLICTED},
    Verdict.CLOSED: {Fact.CANCELED, Fact.EXPIRED, Fact.CONFLICTED, Fact.REVERSED},
    Verdict.NOT_FOUND: {Fact.UNKNOWN, Fact.CONFLICTED},
    Verdict.UNKNOWN: {Fact.UNKNOWN, Fact.CONFLICTED},
}
CAPTURES = {JournalKind.CAPTURE, JournalKind.LATE_SUCCESS}
UNDONE = {RefundStatus.FAILED}


class PaymentMachine(RuleBasedStateMachine):
    """One payment of 100.00 yuan; every change is applied as PostgreSQL applies it."""

    def __init__(self) -> None:
        super().__init__()
        self.standing, self.attempt = STANDING, ATTEMPT
        self.refunds: list[RefundStanding] = []
        self.books = Books()
        self.told: list[str] = []
        self.further: list[int] = []
        # What of it is reserved for refunds, by its place there.
        self.going: dict[int, int] = {}

    @property
    def payment(self) -> payment.Payment:
        return self.standing.payment

    def apply(self, change: rules.Change, facts: set[Fact]) -> None:
        """Take a change, which must be one that the table has for one of these facts."""
        before = self.payment.status
        after = {payment.after(before, fact) for fact in facts} - {None}
        assert change.standing.payment.status in after
        assert change.standing.version == self.standing.version + 1
        known, told = self.attempt.channel_transaction, change.outcome.channel_transaction
        captures = change.journal is not None and change.journal.kind in CAPTURES
        known = (told or known) if captures else (known or told)
        self.standing = change.standing
        self.attempt = replace(change.attempt, channel_transaction=known)
        self.books.post(change.journal)
        self.told.append(change.event_type)

    @initialize(said=st.sampled_from(["", "authorized", "succeeded", "closed succeeded"]))
    def it_begins(self, said: str) -> None:
        """Begin at the doors of the larger rooms, which chance alone finds too seldom."""
        for word in said.split():
            self.the_channel_speaks(Verdict(word), None, None, NOON)

    @rule(
        verdict=st.sampled_from(Verdict),
        amount=AMOUNTS,
        transaction=st.sampled_from([None, "T1", "T2", "T3"]),
        at=st.sampled_from([NOON, EXPIRY]),
    )
    def the_channel_speaks(
        self, verdict: Verdict, amount: int | None, transaction: str | None, at: datetime
    ) -> None:
        self.the_channel_says(Outcome(verdict, transaction, amount=amount, failure=FAILURE), at)

    @rule(transaction=st.sampled_from([None, "T1", "T2"]), at=st.sampled_from([NOON, EXPIRY]))
    def the_channel_gave_all_back(self, transaction: str | None, at: datetime) -> None:
        """What refunds gave back, or are about to, is left as it is."""
        taken, given = self.payment.amount_captured, self.payment.amount_refunded
        self.the_channel_says(Outcome(Verdict.CLOSED, transaction, returned=True), at)
        self.attempt = replace(self.attempt, returned=True)
        assert self.payment.amount_captured == given
        if taken > given:
            assert self.payment.status is Status.CANCELED

    def the_channel_says(self, outcome: Outcome, at: datetime) -> None:
        verdict, amount = outcome.verdict, outcome.amount
        transaction = outcome.channel_transaction
        change = rules.consequence(self.standing, self.attempt, outcome, at=at)
        possible = {payment.after(self.payment.status, fact) for fact in FACTS[verdict]} - {None}
        if change is not None:
            self.apply(change, FACTS[verdict])
        if not possible:
            assert change is None, "the table refuses it"
        if verdict is Verdict.SUCCEEDED and amount == self.attempt.expected:
            known = self.payment.amount_captured or self.attempt.returned
            assert known, "money that moved is never overlooked"
            booked = {self.attempt.channel_transaction, *self.attempt.further_transactions}
            assert self.attempt.channel_transaction is None or transaction in {None, *booked}
        if change is not None and change.further_id is not None:
            self.further.append(amount or self.attempt.expected)
        assert len(self.further) == len(set(self.attempt.further_transactions))

    @rule(amount=st.integers(1, 12_000))
    def a_capture_is_asked(self, amount: int) -> None:
        change = rules.begin_capture(self.standing, self.attempt, amount, NOON)
        allowed = payment.after(self.payment.status, Fact.CAPTURE_STARTED) is not None
        allowed = allowed and not self.attempt.cancel_wished
        assert (change is not None) == (allowed and amount <= self.payment.amount_authorized)
        if change is not None:
            self.apply(change, {Fact.CAPTURE_STARTED})

    @precondition(lambda self: not self.attempt.is_capturing)
    @rule()
    def a_cancel_is_asked(self) -> None:
        if self.payment.status in payment.CANCELABLE:
            self.attempt = replace(self.attempt, cancel_wished=True)

    @rule()
    def late_money_is_adopted(self) -> None:
        change = rules.adopt(self.standing, self.attempt, NOON)
        waits = self.payment.status is Status.REQUIRES_REVIEW and self.payment.amount_captured > 0
        assert (change is not None) == (waits and not self.payment.amount_refunded)
        if change is not None:
            self.apply(change, {Fact.ADOPTED})

    @rule(amount=st.none() | st.integers(1, 6_000))
    def a_refund_is_asked(self, amount: int | None) -> None:
        left = self.payment.amount_captured - self.payment.amount_refunded
        wanted = amount or left
        if not 0 < wanted <= left:
            with pytest.raises(Problem):
                refund_rules.refundable(self.standing, amount)
            return
        assert refund_rules.refundable(self.standing, amount) == wanted
        refund = Refund(
            id=identity.mint("re", 7, len(self.refunds)),
            payment=PAYMENT.id,
            merchant=PAYMENT.merchant,
            reference=str(len(self.refunds)),
            amount=wanted,
            currency="CNY",
            created_at=NOON,
            updated_at=NOON,
        )
        made = refund_rules.planned(self.standing, refund=refund, attempt=ATTEMPT)
        self.refunds.append(made)
        self.books.post(refund_rules.accepted_journal(made))
        self.reserve(made, 1)

    @precondition(lambda self: len(self.going) < len(self.further))
    @rule()
    def what_was_paid_beside_it_goes_back(self) -> None:
        """Each of it once, the amount in the books of the transaction that it was."""
        place = len(self.going)
        due = DueFurther(
            id=f"xtr_{place}",
            number=7,
            merchant=PAYMENT.merchant,
            payment=PAYMENT.id,
            attempt_id=ATTEMPT.id,
            channel="simulator",
            channel_transaction=self.attempt.further_transactions[place],
            amount=self.further[place],
            currency="CNY",
        )
        refund_id = identity.mint("re", 7, len(self.refunds))
        made = refund_rules.planned_further(due, refund_id, NOON)
        self.refunds.append(made)
        self.books.post(refund_rules.accepted_journal(made))
        self.reserve(made, 1)

    def reserve(self, made: RefundStanding, sign: int) -> None:
        further = made.refund.further_transaction
        if further is not UNSET:
            place = int(further[4:])
            self.going[place] = self.going.get(place, 0) + sign * made.refund.amount
            assert 0 <= self.going[place] <= self.further[place]
            return
        refunded = self.payment.amount_refunded + sign * made.refund.amount
        self.standing = replace(
            self.standing,
            payment=replace(self.payment, amount_refunded=refunded),
            fee_refunded=self.standing.fee_refunded + sign * made.commission_back,
            channel_fee_refunded=self.standing.channel_fee_refunded + sign * made.channel_fee_back,
        )

    @precondition(lambda self: self.refunds)
    @rule(data=st.data(), verdict=st.sampled_from(Verdict), extra=st.sampled_from([None, 0, 1]))
    def the_channel_speaks_of_a_refund(
        self, data: Any, verdict: Verdict, extra: int | None
    ) -> None:
        index = data.draw(st.integers(0, len(self.refunds) - 1))
        before = self.refunds[index]
        amount = before.refund.amount + extra if extra is not None else None
        is_own = not before.refund.is_further
        if is_own and self.attempt.returned and verdict in {Verdict.FAILED, Verdict.CLOSED}:
            verdict = Verdict.SUCCEEDED  # its money came back with the rest
        outcome = Outcome(verdict, amount=amount)
        change = refund_rules.consequence(before, outcome, at=NOON, jitter=0)
        status = REFUND_TRANSITIONS[before.refund.status].get(verdict)
        if change is None:
            return
        assert status is not None, "the table refuses it"
        after = change.standing.refund.status
        assert after is (RefundStatus.REQUIRES_REVIEW if extra else status)
        assert change.standing.version == before.version + 1
        assert change.event_type.startswith("refund." if is_own else "further_refund.")
        self.refunds[index] = change.standing
        self.books.post(change.journal)
        if change.frees:
            self.reserve(before, -1)

    @invariant()
    def amounts_are_in_order(self) -> None:
        money = self.payment
        assert 0 <= money.amount_refunded <= money.amount_captured <= money.amount
        assert money.amount_captured <= money.amount_authorized <= money.amount
        assert 0 <= self.standing.fee_refunded <= money.fee <= money.amount_captured
        assert 0 <= self.standing.channel_fee_refunded <= self.standing.channel_fee
        held = [each for each in self.refunds if each.refund.status not in UNDONE]
        own = [each for each in held if not each.refund.is_further]
        assert total(own) == money.amount_refunded
        assert total(held) - total(own) == sum(self.going.values())

    @invariant()
    def the_status_says_what_became_of_the_money(self) -> None:
        money = self.payment
        assert (money.amount_captured > 0) >= (money.status is Status.SUCCEEDED)
        ended = money.status in {Status.FAILED, Status.CANCELED, Status.EXPIRED}
        assert (money.amount_captured == money.amount_refunded) or not ended
        assert (money.amount_captured == 0) or not ended or self.attempt.returned
        if money.amount_captured and not ended:
            assert money.status in {Status.SUCCEEDED, Status.REQUIRES_REVIEW}
        assert (money.certainty is None) or money.status in OPEN
        if money.certainty is Certainty.UNKNOWN:
            assert money.status is Status.PROCESSING
        assert (money.failure is not None) == (money.status is Status.FAILED)

    @invariant()
    def each_change_is_told_once(self) -> None:
        assert len(self.told) == self.standing.version
        assert self.told.count("payment.succeeded") <= 1
        assert self.told.count("payment.late_success") <= 1 + len(self.further)

    @invariant()
    def the_books_have_what_was_taken_and_not_given_back(self) -> None:
        done = [each for each in self.refunds if each.refund.status is RefundStatus.SUCCEEDED]
        asked = [
            each
            for each in self.refunds
            if each.refund.status in {RefundStatus.PROCESSING, RefundStatus.REQUIRES_REVIEW}
        ]
        captured = self.payment.amount_captured
        again, going = sum(self.further), sum(self.going.values())
        assert self.books["1121.simulator.CNY"] == captured + again - total(done)
        assert self.books["2222.CNY"] == -total(asked)
        left = captured + again - self.payment.amount_refunded - going
        if self.payment.status is Status.SUCCEEDED:
            assert self.books["2221.CNY"] == going - again
        assert self.books["2201.CNY"] + self.books["2221.CNY"] + self.books["4001.CNY"] == -left
        assert max(self.books[account] for account in ("2201.CNY", "2221.CNY", "4001.CNY")) <= 0


def total(refunds: list[RefundStanding]) -> int:
    return sum(each.refund.amount for each in refunds)


PaymentMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestPayment = PaymentMachine.TestCase
