"""The books of the simulated acquirer: the truth, whatever its scripts tell the callers."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from gateway.channels.port import BillLine
from gateway.channels.simulator.entries import Booking, Entry, Payment, Refund, Status
from gateway.channels.simulator.journal import Journal
from gateway.channels.simulator.messages import RETURNED
from gateway.domain.money import cumulative_share

_SUCCEEDED: Final = Status.SUCCEEDED  # without the way through its class, for every payment


# Takes a call and what to call it with.
WhenKept = Callable[[Callable[[Any], object], Any], None]


def _at_once(tell: Callable[[Any], object], what: Any) -> None:
    tell(what)


class Books:
    """Payments by number, refunds by number and refund number, bookings in order.

    An entry counts the same way when it is replayed from the journal.  A payment that is taken is
    its own booking, as it stands then.
    """

    def __init__(self, seed: int, journal: Journal | None = None) -> None:
        self._seeded = blake2b(f"{seed}:".encode(), digest_size=12)
        self._journal = journal
        # Tells as soon as nobody can forget what the books say by then.
        self.when_kept: WhenKept = journal.afterwards if journal is not None else _at_once
        self._payments: dict[str, Payment] = {}
        self._refunds: dict[tuple[str, str], Refund] = {}
        self._bookings: list[Booking | Payment] = []
        self._given: Counter[tuple[str, str | None]] = Counter()
        self._closed: set[str] = set()
        for entry in journal.replay() if journal is not None else ():
            self._count(entry)

    def _commit(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal.append(entry)
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        payment = entry.payment
        if payment is not None:
            if entry.booking is None and payment.status is _SUCCEEDED:
                known = self._payments.get(payment.number)
                if known is None or known.status is not _SUCCEEDED:
                    self._bookings.append(payment)
            self._payments[payment.number] = payment
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
        digest = self._seeded.copy()
        digest.update(":".join(parts).encode())
        return "sim_" + digest.hexdigest()

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
        self._commit(Entry(payment))
        return payment

    def book_again(self, payment: Payment, transaction: str, now: datetime) -> Payment:
        """Book the money of a payment once more, under another transaction."""
        again = replace(payment, transaction=transaction, booked_at=now)
        self._commit(Entry(payment=payment, booking=again.booking(len(self._bookings) + 1)))
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
        first = min(position, known) if isinstance(position, int) else 0
        bookings = self._lines(first, known)
        if isinstance(position, int):
            return bookings
        return (booking for booking in bookings if booking.booked_at > position)

    def _lines(self, first: int, last: int) -> Iterator[Booking]:
        for sequence, line in enumerate(islice(self._bookings, first, last), first + 1):
            yield line.booking(sequence) if isinstance(line, Payment) else line

    def bill(self, day: date) -> Iterator[BillLine]:
        """The bill of one day in UTC: on it what goes out is negative."""
        for booking in self._lines(0, len(self._bookings)):
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
