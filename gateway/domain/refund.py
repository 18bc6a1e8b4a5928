"""The refund: what is asked, what it is, and the table of what may happen to it."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.domain import limits
from gateway.domain.outcome import Failure, Verdict
from gateway.domain.payment import PRINTABLE, Certainty, Reference


class CreateRefund(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/payments/{id}/refunds`; without `amount` all that is left goes back."""

    reference: Reference
    amount: Annotated[int, Meta(ge=1, le=limits.AMOUNT_MINOR_MAX)] | None = None
    reason: (
        Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS_MAX, pattern=PRINTABLE)] | None
    ) = None


class RefundStatus(Enum):
    """What became of the money that goes back."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REQUIRES_REVIEW = "requires_review"


class Refund(Struct, frozen=True, kw_only=True):
    """The refund as the API shows it; events carry the same object.

    `further_transaction` is there when it gives back what was paid beside the payment: then it is
    no part of the payment's amounts.
    """

    object: Literal["refund"] = "refund"
    id: str
    payment: str
    merchant: str
    reference: str
    amount: int
    currency: str
    status: RefundStatus = RefundStatus.PROCESSING
    certainty: Certainty | None = Certainty.PENDING
    reason: str | None = None
    failure: Failure | None = None
    created_at: datetime
    updated_at: datetime
    further_transaction: str | UnsetType = UNSET

    @property
    def is_further(self) -> bool:
        """Tell whether it gives back what was paid beside the payment."""
        return self.further_transaction is not UNSET


class FurtherTransaction(Struct, frozen=True, kw_only=True):
    """What a channel booked beside a payment's own money, as the API shows it; in minor units.

    What is not refunded waits in suspense for people, or for the merchant's policy.
    """

    object: Literal["further_transaction"] = "further_transaction"
    id: str
    payment: str
    merchant: str
    channel: str
    channel_transaction: str
    amount: int
    amount_refunded: int
    currency: str
    refunds: tuple[Refund, ...]
    created_at: datetime


class RefundStanding(Struct, frozen=True, kw_only=True):
    """A refund with what only we know of it.

    `version` counts the changes since creation, one event each.  `commission_back` and
    `channel_fee_back` were fixed when the amount was reserved.  `from_suspense`: the money was a
    late success that nobody adopted, or was paid beside the payment.
    `account` is the channel's account through which the payment was made.
    `captured` (minor units) and `payment_transaction` are what the channel booked of the payment,
    or beside it, and how it called that; `channel_transaction` is its number of the refund.
    """

    refund: Refund
    merchant: int
    version: int
    attempt_id: str
    channel: str
    from_suspense: bool
    commission_back: int
    channel_fee_back: int
    captured: int
    account: str | None = None
    payment_transaction: str | None = None
    channel_transaction: str | None = None


TRANSITIONS: Final[Mapping[RefundStatus, Mapping[Verdict, RefundStatus]]] = MappingProxyType(
    {
        RefundStatus.PROCESSING: {
            Verdict.SUCCEEDED: RefundStatus.SUCCEEDED,
            Verdict.FAILED: RefundStatus.FAILED,
            Verdict.CLOSED: RefundStatus.FAILED,
            Verdict.PENDING: RefundStatus.PROCESSING,
            Verdict.NOT_FOUND: RefundStatus.PROCESSING,
            Verdict.UNKNOWN: RefundStatus.PROCESSING,
        },
        # A refund may come back after it was done: the card was closed, the bank returned it.
        RefundStatus.SUCCEEDED: {Verdict.FAILED: RefundStatus.FAILED},
        # One that had failed and was done all the same took money that nobody gave up.
        RefundStatus.FAILED: {Verdict.SUCCEEDED: RefundStatus.REQUIRES_REVIEW},
        # From here on people decide.
        RefundStatus.REQUIRES_REVIEW: {},
    }
)
