"""The payment: what is asked, what it is, and the table of what may happen to it.

`TRANSITIONS` is the one place that knows which fact may follow which status; code, documentation
and tests are driven from it.  A fact that is not in the table is refused and changes nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from gateway.domain import limits
from gateway.domain.outcome import Failure, NextAction
from gateway.domain.words import Word

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*\Z"
# A token is a word of a provider's, never a card number: a run of as many digits is refused.
_TOKEN: Final = r"^(?!.*[0-9]{12})(tok|pm)_[A-Za-z0-9_]{1,60}\Z"
_URL: Final = r"^https?://[^\x00-\x20\x7f]+\Z"

Reference = Annotated[
    str, Meta(min_length=1, max_length=limits.REFERENCE_CHARS_MAX, pattern=PRINTABLE)
]


class CardMethod(
    Struct,
    frozen=True,
    tag="card",
    tag_field="type",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A card behind a channel's token; at the simulator the token is the script.

    `bin` are its first six to eight digits, which tell the bank and are not the card's number.
    """

    token: Annotated[str, Meta(pattern=_TOKEN)]
    bin: Annotated[str, Meta(pattern=r"^[0-9]{6,8}\Z")] | None = None


class QrMethod(Struct, frozen=True, tag="qr", tag_field="type", forbid_unknown_fields=True):
    """A QR code that the payer scans."""


class WechatMethod(Struct, frozen=True, tag="wechat", tag_field="type", forbid_unknown_fields=True):
    """WeChat Pay: a QR code (`native`), inside the wallet (`jsapi`), or a mobile page (`h5`).

    `openid` is how the merchant's app knows the payer; `jsapi` needs it, the others have none.
    """

    flow: Literal["native", "jsapi", "h5"] = "native"
    openid: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,128}\Z")] | None = None

    def __post_init__(self) -> None:
        if (self.flow == "jsapi") != (self.openid is not None):
            raise ValueError("Exactly jsapi goes with the payer's openid")

    def __repr__(self) -> str:
        return f"WechatMethod({self.flow})"


class AlipayMethod(Struct, frozen=True, tag="alipay", tag_field="type", forbid_unknown_fields=True):
    """Alipay: a QR code (`qr`), a web page (`page`), a mobile page (`wap`), or the payer's barcode.

    `auth_code` is what the cashier scanned off the payer's screen; `barcode` needs it.
    """

    flow: Literal["qr", "page", "wap", "barcode"] = "qr"
    auth_code: Annotated[str, Meta(pattern=r"^[0-9]{16,24}\Z")] | None = None

    def __post_init__(self) -> None:
        if (self.flow == "barcode") != (self.auth_code is not None):
            raise ValueError("Exactly barcode goes with the payer's auth_code")

    def __repr__(self) -> str:
        return f"AlipayMethod({self.flow})"


class UnionpayMethod(
    Struct, frozen=True, tag="unionpay", tag_field="type", forbid_unknown_fields=True
):
    """UnionPay: its own page in the payer's browser (`front`), or its client in an `app`."""

    flow: Literal["front", "app"] = "front"


class CryptoMethod(Struct, frozen=True, tag="crypto", tag_field="type", forbid_unknown_fields=True):
    """A stablecoin, sent on its chain to an address that is the payment's own."""


Method = CardMethod | QrMethod | WechatMethod | AlipayMethod | UnionpayMethod | CryptoMethod


_TYPES: Final = {kind: str(kind.__struct_config__.tag) for kind in get_args(Method)}


def type_of(method: Method) -> str:
    """Name the type of a payment method, as the API spells it."""
    return _TYPES[type(method)]


def words_of(method: Method) -> dict[str, str]:
    """Write a payment method as the words that channels hear: its type and what the merchant said.

    What was not said is left out.
    """
    said: dict[str, str] = msgspec.to_builtins(method)
    if None not in said.values():
        return said
    return {name: value for name, value in said.items() if value is not None}


class Payer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Personal data of the payer, for risk checks; it is never shown, logged or answered."""

    id: Annotated[str, Meta(max_length=64, pattern=PRINTABLE)] | None = None
    ip: Annotated[str, Meta(max_length=45, pattern=PRINTABLE)] | None = None
    device: Annotated[str, Meta(max_length=128, pattern=PRINTABLE)] | None = None
    name: Annotated[str, Meta(max_length=128, pattern=PRINTABLE)] | None = None

    def __repr__(self) -> str:
        return "Payer(…)"


MetadataKey = Annotated[
    str, Meta(min_length=1, max_length=limits.METADATA_KEY_CHARS_MAX, pattern=PRINTABLE)
]
MetadataValue = Annotated[str, Meta(max_length=limits.METADATA_VALUE_CHARS_MAX, pattern=PRINTABLE)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=limits.METADATA_PAIRS_MAX)]


class CreatePayment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/payments`; `amount` is in minor units of `currency` (ISO 4217)."""

    amount: Annotated[int, Meta(ge=1, le=limits.AMOUNT_MINOR_MAX)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    reference: Reference
    method: Method
    capture: Literal["automatic", "manual"] = "automatic"
    description: (
        Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS_MAX, pattern=PRINTABLE)] | None
    ) = None
    payer: Payer | None = None
    metadata: Metadata | None = {}
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    return_url: Annotated[str, Meta(max_length=limits.URL_CHARS_MAX, pattern=_URL)] | None = None


class KeyedPayment(CreatePayment, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item of a batch: a payment with the idempotency key that it has as a request alone."""

    idempotency_key: Annotated[str, Meta(min_length=1)]


class CreatePayments(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/payments/batch`; each item is read on its own, as `KeyedPayment`."""

    payments: Annotated[
        tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=limits.BATCH_PAYMENTS_MAX)
    ]


class CapturePayment(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/payments/{id}/capture`; without `amount` all of it is taken."""

    amount: Annotated[int, Meta(ge=1, le=limits.AMOUNT_MINOR_MAX)] | None = None


class Status(Word):
    """What became of the money, as the merchant sees it."""

    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REQUIRES_REVIEW = "requires_review"


class Certainty(Word):
    """How sure we are of an open payment: the channel is at work, or it did not answer."""

    PENDING = "pending"
    UNKNOWN = "unknown"


class Payment(Struct, frozen=True, kw_only=True, gc=False):
    """The payment as the API shows it; events carry the same object."""

    object: Literal["payment"] = "payment"
    id: str
    merchant: str
    reference: str
    amount: int
    currency: str
    amount_authorized: int = 0
    amount_captured: int = 0
    amount_refunded: int = 0
    fee: int = 0
    status: Status = Status.PROCESSING
    certainty: Certainty | None = Certainty.PENDING
    method: Method
    channel: str | None = None
    next_action: NextAction | None = None
    failure: Failure | None = None
    metadata: Mapping[str, str] = {}
    description: str | None = None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime


class Standing(Struct, frozen=True, kw_only=True, gc=False):
    """A payment with what only we know of it.

    `version` counts the changes since creation, one event each; `capture` is False when the money
    is only to be authorized; `commission_bps` was fixed when the payment was made.
    """

    payment: Payment
    merchant: int
    version: int
    capture: bool
    commission_bps: int
    channel_fee: int = 0
    fee_refunded: int = 0
    channel_fee_refunded: int = 0


class Fact(Word):
    """What can happen to a payment, said by a channel, proved by a close, or decided by us."""

    CAPTURE_STARTED = "capture_started"
    CAPTURED = "captured"
    AUTHORIZED = "authorized"
    ACTION_REQUIRED = "action_required"
    PENDING = "pending"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    CANCELED = "canceled"
    EXPIRED = "expired"
    CONFLICTED = "conflicted"
    ADOPTED = "adopted"
    PAID_AGAIN = "paid_again"
    REVERSED = "reversed"


_OPEN_FACTS: Final = {
    Fact.CAPTURED: Status.SUCCEEDED,
    Fact.AUTHORIZED: Status.REQUIRES_CAPTURE,
    Fact.DECLINED: Status.FAILED,
    Fact.CANCELED: Status.CANCELED,
    Fact.EXPIRED: Status.EXPIRED,
    Fact.CONFLICTED: Status.REQUIRES_REVIEW,
}

# Success that comes after the end is recorded all the same: money moved.
_ENDED_FACTS: Final = {
    Fact.CAPTURED: Status.REQUIRES_REVIEW,
    Fact.CONFLICTED: Status.REQUIRES_REVIEW,
}

_MOVES: Final = MappingProxyType(
    {
        Status.PROCESSING: _OPEN_FACTS
        | {
            Fact.ACTION_REQUIRED: Status.REQUIRES_ACTION,
            Fact.PENDING: Status.PROCESSING,
            Fact.UNKNOWN: Status.PROCESSING,
        },
        Status.REQUIRES_ACTION: _OPEN_FACTS,
        Status.REQUIRES_CAPTURE: {
            Fact.CAPTURE_STARTED: Status.PROCESSING,
            Fact.CAPTURED: Status.SUCCEEDED,
            Fact.DECLINED: Status.FAILED,
            Fact.CANCELED: Status.CANCELED,
            Fact.EXPIRED: Status.EXPIRED,
            Fact.CONFLICTED: Status.REQUIRES_REVIEW,
        },
        Status.REQUIRES_REVIEW: {
            Fact.CAPTURED: Status.SUCCEEDED,
            Fact.AUTHORIZED: Status.REQUIRES_CAPTURE,
            Fact.DECLINED: Status.FAILED,
            Fact.CANCELED: Status.CANCELED,
            Fact.EXPIRED: Status.EXPIRED,
            Fact.ADOPTED: Status.SUCCEEDED,
            Fact.REVERSED: Status.CANCELED,
        },
        # Money came, and the channel gave it back by itself.
        Status.SUCCEEDED: {Fact.REVERSED: Status.CANCELED},
        Status.FAILED: _ENDED_FACTS,
        Status.CANCELED: _ENDED_FACTS,
        Status.EXPIRED: _ENDED_FACTS,
    }
)

# Money beside the payment's own, by a second transaction or through an attempt that another one had
# replaced: it waits apart, and the payment stays as it is.
TRANSITIONS: Final[Mapping[Status, Mapping[Fact, Status]]] = MappingProxyType(
    {status: facts | {Fact.PAID_AGAIN: status} for status, facts in _MOVES.items()}
)

OPEN: Final = frozenset({Status.PROCESSING, Status.REQUIRES_ACTION})
ENDED: Final = frozenset({Status.FAILED, Status.CANCELED, Status.EXPIRED})
CANCELABLE: Final = OPEN | {Status.REQUIRES_CAPTURE}
# Of these the channel may still have something to say: even an ended one may have been paid late.
ASKABLE: Final = frozenset(status for status, facts in TRANSITIONS.items() if facts)


def after(status: Status, fact: Fact) -> Status | None:
    """Look up what a payment of this status becomes by this fact; None: the table refuses it."""
    return TRANSITIONS[status].get(fact)


class Words(Struct, frozen=True, omit_defaults=True):
    """What the merchant said of a payment and nothing searches: stored as one JSON value."""

    method: Method
    metadata: Mapping[str, str] = {}
    description: str | None = None
    return_url: str | None = None


class Reply(Struct, frozen=True, omit_defaults=True):
    """What the channel said for the merchant's eyes: stored as one JSON value."""

    next_action: NextAction | None = None
    failure: Failure | None = None
