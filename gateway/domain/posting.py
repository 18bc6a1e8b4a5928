"""Debit and credit lines: a transfer has both sides, so a journal that does not balance cannot be.

A journal is the set of transfers that one cause (the capture of an attempt, a refund) writes
together or not at all.  Its id is the cause's id with the kind in the last hex digit.
"""

import enum

from msgspec import Struct

from gateway.domain import identity


class JournalKind(enum.IntEnum):
    """Why money moved in the books; the number is the last hex digit of the journal's id."""

    CAPTURE = 1
    REFUND_ACCEPTED = 2
    REFUND_DONE = 3
    REFUND_FAILED = 4
    LATE_SUCCESS = 5
    REFUND_RETURNED = 6
    ADOPTION = 7
    REFUND_LATE = 8
    PAID_AGAIN = 9
    REVERSAL = 10


class Transfer(Struct, frozen=True, gc=False):
    """One movement of `amount` minor units: one account is debited, another is credited.

    The account numbers are those of the ledger's chart.
    """

    debit: int
    credit: int
    amount: int

    def __post_init__(self) -> None:
        if self.amount <= 0 or self.debit == self.credit:
            raise ValueError("a transfer moves a positive amount between two accounts")


class Journal(Struct, frozen=True):
    """The transfers of one cause, in one currency."""

    kind: JournalKind
    cause: str
    currency: str
    transfers: tuple[Transfer, ...]

    @property
    def uuid(self) -> str:
        """The journal's id as 32 hex digits."""
        return identity.journal_uuid(self.cause, self.kind)
