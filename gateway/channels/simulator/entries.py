"""What the simulated acquirer knows to be true: payments, refunds, and the bookings of both."""

import enum
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from gateway.domain.money import share

FEE_BASIS_POINTS = 30


class Status(enum.StrEnum):
    """How a payment or refund stands; the values are the words of the wire."""

    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    AUTHORIZED = "authorized"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    CLOSED = "closed"
    FAILED = "failed"


OPEN = frozenset({Status.REQUIRES_ACTION, Status.PENDING, Status.AUTHORIZED})


_SUCCEEDED = Status.SUCCEEDED  # without the way through its class, for every payment


class Booking(Struct, frozen=True, kw_only=True, gc=False):
    """One line of the books: money taken (`payment`) or given back (`refund`), both positive.

    What a close gave back by itself is a `reversal`.  `fee` is what the acquirer kept of a payment,
    or gives back of it.
    """

    sequence: int
    kind: str
    number: str
    refund_number: str | None
    transaction: str
    amount: int
    currency: str
    fee: int
    booked_at: datetime


class Payment(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One payment; amounts are minor units, `booked` is what was taken of the `amount`.

    Until `expires_at` it can be paid.  `due` is when the script goes on by itself: it books, or it
    only notifies.  `again` is how often it was booked once more.
    """

    number: str
    amount: int
    currency: str
    script: str
    capture: bool
    notify_url: str
    status: Status
    expires_at: datetime | None = None
    due: datetime | None = None
    code: str | None = None
    transaction: str | None = None
    booked: int = 0
    booked_at: datetime | None = None
    fee: int = 0
    again: int = 0

    def approved(self, transaction: str, now: datetime) -> "Payment":
        """The payment with its money authorized, and taken at once when nobody will capture it."""
        if not self.capture:
            return replace(
                self, status=Status.AUTHORIZED, transaction=transaction, due=None, code=None
            )
        return replace(
            self,
            status=_SUCCEEDED,
            expires_at=None,
            due=None,
            code=None,
            transaction=transaction,
            booked=self.amount,
            booked_at=now,
            fee=share(self.amount, FEE_BASIS_POINTS),
        )

    def captured(self, amount: int, now: datetime) -> "Payment":
        """The payment with this much of its money taken; the rest of it is let go."""
        return replace(
            self,
            status=Status.SUCCEEDED,
            booked=amount,
            booked_at=now,
            fee=share(amount, FEE_BASIS_POINTS),
        )

    def booking(self, sequence: int) -> Booking:
        """The line of the books that says how this payment was taken."""
        assert self.transaction is not None
        assert self.booked_at is not None
        return Booking(
            sequence=sequence,
            kind="payment",
            number=self.number,
            refund_number=None,
            transaction=self.transaction,
            amount=self.booked,
            currency=self.currency,
            fee=self.fee,
            booked_at=self.booked_at,
        )


class Refund(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One refund, done or refused; `given_of` is the transaction that it is of, else the first."""

    number: str
    refund_number: str
    amount: int
    currency: str
    status: Status
    given_of: str | None = None
    code: str | None = None
    transaction: str | None = None
    booked_at: datetime | None = None


class Entry(Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of the journal: everything that changed at once.

    There is no `booking` of a payment that was taken just now: the payment says it all.
    `closed` is the number of a payment that never was and that nobody may open any more.
    """

    payment: Payment | None = None
    refund: Refund | None = None
    booking: Booking | None = None
    closed: str | None = None
