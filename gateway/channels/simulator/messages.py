"""What the simulated acquirer and its channel say to each other: JSON bodies and their signature.

    POST /v1/payments                              Order         -> Report
    GET  /v1/payments/{number}                                   -> Report
    POST /v1/payments/{number}/close                             -> Report
    POST /v1/payments/{number}/capture             CaptureOrder  -> Report
    POST /v1/payments/{number}/refunds             RefundOrder   -> Report
    GET  /v1/payments/{number}/refunds/{refund}                  -> Report
    POST {notify_url}                              Message       (from the acquirer to us)

Anything but 200 is a `Refusal`.  Every request and notice carries `simulator-timestamp` (seconds
since 1970) and `simulator-signature`: HMAC-SHA256 in hex over three parts joined by newlines: the
subject (`POST /v1/payments`; a notice's is `NOTICE`), the timestamp and the body.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta, Struct

from gateway.domain.limits import AMOUNT_MINOR_MAX, SIGNATURE_AGE_SECONDS_MAX
from native import times
from native.signature import HmacKey

TIMESTAMP: Final = "simulator-timestamp"
SIGNATURE: Final = "simulator-signature"

# The code of a payment that is closed, had been paid, and of which all was given back by the close.
RETURNED: Final = "returned"

_NUMBER: Final = "[0-9A-Za-z_-]{6,64}"
_CURRENCY: Final = "[A-Z]{3}"
_are_words: Final = re.compile(f"{_NUMBER} {_CURRENCY}").fullmatch

Number = Annotated[str, Meta(pattern=rf"^{_NUMBER}\Z")]
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MINOR_MAX)]
Currency = Annotated[str, Meta(pattern=rf"^{_CURRENCY}\Z")]
Moment = Annotated[datetime, Meta(tz=True)]


class Order(Struct, frozen=True, gc=False):
    """Take this money, or only authorize it (`capture` false); `number` makes it happen once.

    Whether it `is_well_formed` is looked at beside its types.
    """

    number: str
    amount: Amount
    currency: str
    method: Mapping[str, str]
    notify_url: str
    capture: bool = True
    expires_at: Moment | None = None


def is_well_formed(order: Order) -> bool:
    """Tell whether its number and currency are ones; msgspec's patterns take four times as long."""
    return _are_words(f"{order.number} {order.currency}") is not None


class CaptureOrder(Struct, frozen=True):
    """Take at most what was authorized; it happens once."""

    amount: Amount
    currency: Currency


class RefundOrder(Struct, frozen=True, omit_defaults=True):
    """Give this much back; `refund_number` makes it happen once.

    `transaction` says of which booking, where the payment was taken more than once; without it that
    is the first.
    """

    refund_number: Number
    amount: Amount
    currency: Currency
    transaction: str | None = None


class Report(Struct, frozen=True, gc=False, omit_defaults=True):
    """How a payment stands, or one refund of it when `refund_number` is there.

    `again` are the transactions by which it was taken once more; it is not there where that never
    happens, which is nearly always.
    """

    number: str
    status: str
    refund_number: str | None = None
    amount: int | None = None
    currency: str | None = None
    transaction: str | None = None
    code: str | None = None
    qr: str | None = None
    booked_at: Moment | None = None
    again: tuple[str, ...] | None = None


class Refusal(Struct, frozen=True):
    """Why a request was refused, in one word."""

    error: str


class Message(Struct, frozen=True):
    """A notice: the same id is the same message, however often it comes."""

    id: str
    report: Report


def sign(secret: bytes, subject: str, *, timestamp: str, body: bytes) -> str:
    """Sign one request or notice."""
    base = f"{subject}\n{timestamp}\n".encode("utf-8", "surrogateescape") + body
    return _key_of(secret).sign(base).hex()


def is_signed(secret: bytes, subject: str, *, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell, in constant time, whether the signature in the headers fits; `is_fresh` goes first."""
    expected = sign(secret, subject, timestamp=headers[TIMESTAMP], body=body)
    given = headers.get(SIGNATURE, "")
    return given.isascii() and hmac.compare_digest(expected, given)


@lru_cache(maxsize=64)
def _key_of(secret: bytes) -> HmacKey:
    return HmacKey(secret)


def is_fresh(timestamp: str, now: datetime) -> bool:
    """Tell whether a timestamp is a number of seconds within five minutes of now."""
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    return abs(times.milliseconds(now) // 1000 - int(timestamp[:20])) <= SIGNATURE_AGE_SECONDS_MAX
