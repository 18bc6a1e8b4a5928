"""The interface of every channel: build a request, read an answer, read a notice, read a bill.

A channel is pure: it does no I/O and reads no clock.  The courier sends what `build` made, keeps
the deadline and turns silence into UNKNOWN; unknown words of a provider are UNKNOWN as well.
"""

import enum
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from gateway.domain.outcome import Outcome
from gateway.domain.wire import WireAnswer, WireRequest


class Verb(enum.Enum):
    """What can be asked of an acquirer."""

    CREATE = "create"
    QUERY = "query"
    CLOSE = "close"
    CAPTURE = "capture"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"


class Ask(msgspec.Struct, frozen=True):
    """One question to a channel.

    `number` is our number of the attempt (32 hex digits) and the channel's idempotency key;
    `refund_number` likewise for refunds.  `amount` is in minor units of `currency`: of the payment
    for CREATE, of the capture or refund for those verbs, and for CLOSE and the queries what we
    believe the channel to have booked, because an answer with another amount is frozen.  `method`
    is the merchant's own object (`{"type": "card", "token": …}`); `capture` is False when the money
    is only to be authorized.
    """

    verb: Verb
    number: str
    amount: int
    currency: str
    method: Mapping[str, str] = {}
    capture: bool = True
    refund_number: str | None = None
    expires_at: datetime | None = None


class Notice(msgspec.Struct, frozen=True):
    """A verified message of a channel about one attempt or one refund."""

    notice_id: str
    number: str
    refund_number: str | None
    outcome: Outcome


class NoticeRefused(Exception):
    """The notice is forged, stale or unreadable; `reason` is one of those words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class BillRefused(Exception):
    """The bill is cut short, altered or unreadable; nothing of it may be used."""


class BillLine(msgspec.Struct, frozen=True):
    """One line of an acquirer's daily bill; `amount` and `fee` in minor units, refunds negative."""

    kind: str
    number: str
    refund_number: str | None
    channel_transaction: str
    amount: int
    fee: int
    currency: str
    booked_at: datetime


class Capabilities(msgspec.Struct, frozen=True):
    """What a channel declares that it can do."""

    methods: frozenset[str]
    currencies: frozenset[str] | None
    partial_refund: bool
    close: bool
    notify: bool
    bill: bool


class Channel(Protocol):
    """One acquirer's protocol without its I/O; `number` (1-999) names it in account numbers."""

    @property
    def name(self) -> str:
        """The name in settings, routes and the payment's `channel`."""
        ...

    @property
    def number(self) -> int:
        """The number in account numbers."""
        ...

    @property
    def base_url(self) -> str:
        """Where the acquirer is, without a slash at the end."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this channel can do."""
        ...

    def build(self, ask: Ask, now: datetime) -> WireRequest:
        """Put a question into the acquirer's words, signed."""
        ...

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Put the answer into ours; what is not provably final is UNKNOWN."""
        ...

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Verify and read a notice (header names in lower case); raises `NoticeRefused`."""
        ...

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        """Read a daily bill; raises `BillRefused`, at the latest after the last line."""
        ...
