"""Stripe's bill: balance transactions as the API lists them, one page of JSON in each line.

Listed with `expand[]=data.source`, so that each line of money names our number.  The last page must
say that there are no more: a list that is cut short is refused.  Amounts and fees are in the
currency in which Stripe settles with us, which may be another than the payer's.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from gateway.channels.port import BillLine, BillRefused
from gateway.channels.stripe.amounts import from_stripe
from gateway.channels.stripe.outcomes import NUMBER, REFUND_NUMBER

# What our own payments and refunds are called; anything else keeps Stripe's word for it.
_KINDS: Final = MappingProxyType(
    {
        "charge": "payment",
        "payment": "payment",
        "refund": "refund",
        "payment_refund": "refund",
        "refund_failure": "refund_failure",
        "payment_failure_refund": "refund_failure",
    }
)


class _Source(Struct, frozen=True):
    """The charge or the refund that moved the money."""

    id: str
    payment_intent: str | None = None
    metadata: Mapping[str, str] = {}


class _Booking(Struct, frozen=True, kw_only=True):
    """One balance transaction; `amount` - `fee` = `net`."""

    id: str
    type: str
    amount: int
    fee: int
    net: int
    currency: str
    created: int
    source: _Source | str | None = None


class _Page(Struct, frozen=True):
    """One answer to the list."""

    data: tuple[_Booking, ...]
    has_more: bool


_read_page: Final = msgspec.json.Decoder(_Page).decode


def read(body: bytes) -> Iterator[BillLine]:
    """Read the pages; raises `BillRefused`, for a missing page only after the last line."""
    has_more = True
    for line in body.splitlines():
        try:
            page = _read_page(line)
            yield from map(_line, page.data)
        except ValueError as error:  # msgspec's are ValueErrors as well
            raise BillRefused(type(error).__name__) from error
        has_more = page.has_more
    if has_more:
        raise BillRefused("the list is cut short")


def _line(booking: _Booking) -> BillLine:
    if booking.amount - booking.fee != booking.net:
        raise ValueError("amount, fee and net do not fit")
    kind, source = _KINDS.get(booking.type, booking.type), booking.source
    metadata: Mapping[str, str] = {}
    transaction = booking.id
    if isinstance(source, _Source):
        metadata = source.metadata
        transaction = (source.payment_intent or source.id) if kind == "payment" else source.id
    elif kind in _KINDS.values():
        raise ValueError("money without its source")
    currency = booking.currency.upper()
    return BillLine(
        kind=kind,
        number=metadata.get(NUMBER, ""),
        refund_number=metadata.get(REFUND_NUMBER),
        channel_transaction=transaction,
        amount=from_stripe(booking.amount, currency),
        fee=from_stripe(booking.fee, currency),
        currency=currency,
        booked_at=datetime.fromtimestamp(booking.created, UTC),
    )
