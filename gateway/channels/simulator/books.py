"""The books of the simulated acquirer: the truth, whatever its scripts tell the callers."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from hashlib import blake2b
from itertools import islice
from typing import Final

from msgspec.structs import replace

from gateway.channels.port import BillLine
from gateway.channels.simulator.entries import Booking, Entry, Payment, Refund, Status
from gateway.channels.simulator.journal import Journal
from gateway.channels.simulator.messages import RETURNED
from gateway.domain.money import cumulative_share

_SUCCEEDED: Final = Status.SUCCEEDED  # without the way through its class, for every payment


class Books:
    """Payments by number, refunds by number and refund number, bookings in order.

    An entry is in the journal before it counts, and counts the same way when it is replayed.
    """

    def __init__(self, seed: int, journal: Journal | None = None) -> None:
        self._seed = str(seed)
        self._journal = journal
        self._payments: dict[str, Payment] = {}
        self._refunds: dict[tuple[str, str], Refund] = {}
        self._bookings: list[Booking] = []
        self._given: Counter[tuple[str, str | None]] = Counter()
        self._closed: set[str] = set()
        for entry in journal.replay() if journal is not None else ():
            self._count(entry)

    def _commit(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal.append(entry)
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        if entry.payment is not None:
            self._payments[entry.payment.number] = entry.payment
        if entry.refund is not None:
            refund = entry.refund
            self._refunds[refund.number, refund.refund_number] = refund
            if refund.status is Status.SUCCEEDED:
                of = refund.given_of or self._payments[refund.number].transaction
                self._given[refund.number, of] += refund.amount
        if entry.booking is not None:
            self._bookings.append(entry.booking)
        if entry.closed is not None:
            self._closed.add(entry.closed)

    def identify(self, *parts: str) -> str:
        """Make the id of a transaction or notice: the same seed and parts give the same id."""
        text = ":".join((self._seed, *parts))
        return "sim_" + blake2b(text.encode(), digest_size=12).hexdigest()

    def payment(self, number: str) -> Payment | None:
        """The payment of this number."""
        return self._payments.get(number)

    def refund(self, number: str, refund_number: str) -> Refund | None:
        """The refund of this number of the payment of this number."""
        return self._refunds.get((number, refund_number))

    def taken(self, payment: Payment) -> list[str]:
        """The transactions by which a payment was taken, the first one first."""
        if payment.transaction is None or payment.status is not Status.SUCCEEDED:
            return []
        nth = range(1, payment.again + 1)
        return [payment.transaction, *(self.identify_again(payment.number, each) for each in nth)]

    def identify_again(self, number: str, nth: int) -> str:
        """Make the id of the transaction by which a payment is taken once more."""
        return self.identify(number, "again", str(nth))

    def left(self, payment: Payment, transaction: str | None) -> int:
        """What of a transaction of a payment was not given back yet, in minor units."""
        return payment.booked - self._given[payment.number, transaction]

    def is_closed(self, number: str) -> bool:
        """Tell whether this number was closed before any payment came under it."""
        return number in self._closed

    def due(self) -> list[Payment]:
        """The payments whose script has yet to go on by itself."""
        return [payment for payment in self._payments.values() if payment.due is not None]

    def close_number(self, number: str) -> None:
        """Forbid a number that no payment has."""
        self._commit(Entry(closed=number))

    def record(self, payment: Payment) -> Payment:
        """Record how a payment stands now, and book its money when it was just taken."""
        booking = None
        if payment.status is _SUCCEEDED and not self._is_taken(payment.number):
            assert payment.transaction is not None
            assert payment.booked_at is not None
            booking = Booking(
                sequence=len(self._bookings) + 1,
                kind="payment",
                number=payment.number,
                refund_number=None,
                transaction=payment.transaction,
                amount=payment.booked,
                currency=payment.currency,
                fee=payment.fee,
                booked_at=payment.booked_at,
            )
        self._commit(Entry(payment=payment, booking=booking))
        return payment

    def _is_taken(self, number: str) -> bool:
        payment = self._payments.get(number)
        return payment is not None and payment.status is _SUCCEEDED

    def book_again(self, payment: Payment, transaction: str, now: datetime) -> Payment:
        """Book the money of a payment once more, under another transaction."""
        booking = Booking(
            sequence=len(self._bookings) + 1,
            kind="payment",
            number=payment.number,
            refund_number=None,
            transaction=transaction,
            amount=payment.booked,
            currency=payment.currency,
            fee=payment.fee,
            booked_at=now,
        )
        self._commit(Entry(payment=payment, booking=booking))
        return payment

    def take_back(self, payment: Payment, now: datetime) -> Payment:
        """Close a payment that was taken, and give back what refunds have left of it."""
        left = self.left(payment, payment.transaction)
        booking = Booking(
            sequence=len(self._bookings) + 1,
            kind="reversal",
            number=payment.number,
            refund_number=None,
            transaction=self.identify(payment.number, RETURNED),
            amount=left,
            currency=payment.currency,
            fee=cumulative_share(payment.fee, payment.booked, payment.booked - left, left),
            booked_at=now,
        )
        payment = replace(payment, status=Status.CLOSED, code=RETURNED, due=None)
        self._commit(Entry(payment=payment, booking=booking if left else None))
        return payment

    def give_back(
        self,
        payment: Payment,
        refund_number: str,
        *,
        amount: int,
        now: datetime,
        transaction: str | None = None,
    ) -> Refund:
        """Give money back, and that part of the fee which the cumulative method says."""
        of = transaction or payment.transaction
        before = self._given[payment.number, of]
        refund = Refund(
            number=payment.number,
            refund_number=refund_number,
            amount=amount,
            currency=payment.currency,
            status=Status.SUCCEEDED,
            transaction=self.identify(payment.number, refund_number),
            booked_at=now,
            given_of=of,
        )
        booking = Booking(
            sequence=len(self._bookings) + 1,
            kind="refund",
            number=payment.number,
            refund_number=refund_number,
            transaction=refund.transaction or "",
            amount=amount,
            currency=payment.currency,
            fee=cumulative_share(payment.fee, payment.booked, before, amount),
            booked_at=now,
        )
        self._commit(Entry(refund=refund, booking=booking))
        return refund

    def refuse_refund(
        self,
        payment: Payment,
        refund_number: str,
        *,
        amount: int,
        code: str,
        transaction: str | None = None,
    ) -> Refund:
        """Record a refund that failed, so that its number keeps failing."""
        refund = Refund(
            number=payment.number,
            refund_number=refund_number,
            amount=amount,
            currency=payment.currency,
            status=Status.FAILED,
            code=code,
            given_of=transaction or payment.transaction,
        )
        self._commit(Entry(refund=refund))
        return refund

    def since(self, position: int | datetime) -> Iterator[Booking]:
        """The bookings after a sequence number or a time, in order, up to the last one of now."""
        known = len(self._bookings)
        if isinstance(position, int):
            return islice(self._bookings, min(position, known), known)
        return (
            booking for booking in islice(self._bookings, known) if booking.booked_at > position
        )

    def bill(self, day: date) -> Iterator[BillLine]:
        """The bill of one day in UTC: on it what goes out is negative."""
        for booking in self._bookings:
            if booking.booked_at.date() == day:
                sign = 1 if booking.kind == "payment" else -1
                yield BillLine(
                    kind=booking.kind,
                    number=booking.number,
                    refund_number=booking.refund_number,
                    channel_transaction=booking.transaction,
                    amount=sign * booking.amount,
                    fee=sign * booking.fee,
                    currency=booking.currency,
                    booked_at=booking.booked_at,
                )
