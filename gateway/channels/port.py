"""The interface of every channel: build a request, read an answer, read a notice, read a bill.

A channel is pure: it does no I/O and reads no clock.  The courier sends what `build` made, keeps
the deadline and turns silence into UNKNOWN; unknown words of a provider are UNKNOWN as well.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, runtime_checkable

import msgspec

from gateway.domain.identity import milliseconds_of
from gateway.domain.limits import CLOCKS_APART_SECONDS_MAX
from gateway.domain.outcome import Outcome
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.domain.words import Word

# The code of an outcome by which an acquirer says that it does not know us: our credential is wrong
# or has ended, which is for our operators to mend and nothing that a merchant hears of.
CREDENTIAL_REFUSED: Final = "credential_refused"


class Verb(Word):
    """What can be asked of an acquirer."""

    CREATE = "create"
    QUERY = "query"
    CLOSE = "close"
    CAPTURE = "capture"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One question to a channel.

    `number` is our number of the attempt (32 hex digits) and the channel's idempotency key;
    `refund_number` likewise for refunds.  `amount` is in minor units of `currency`: of the payment
    for CREATE, of the capture or refund for those verbs, and for CLOSE and the queries what we
    believe the channel to have booked, because an answer with another amount is frozen.  `method`
    is the merchant's own object (`{"type": "card", "token": …}`); `capture` is False when the money
    is only to be authorized.  `channel_transaction` is the channel's own number, once it has told
    us one (`refund_transaction` that of the refund), and `captured` what it booked in all, of which
    refunds give back a part; `further_transactions` are booked beside it.  A refund that
    `is_further` gives back one of those: then these two are that one's, and our number alone does
    not tell the channel which is meant.  `description`, `return_url` and `payer_ip` are what some
    channels want to hear with CREATE; `asked_at` is now.
    """

    verb: Verb
    number: str
    amount: int
    currency: str
    method: Mapping[str, str] = {}
    capture: bool = True
    refund_number: str | None = None
    expires_at: datetime | None = None
    channel_transaction: str | None = None
    refund_transaction: str | None = None
    captured: int | None = None
    further_transactions: tuple[str, ...] = ()
    is_further: bool = False
    description: str | None = None
    return_url: str | None = None
    payer_ip: str | None = None
    asked_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the payment's time had passed, by some margin, when this was asked."""
        if self.asked_at is None or self.expires_at is None:
            return False
        return self.asked_at > self.expires_at + timedelta(seconds=CLOCKS_APART_SECONDS_MAX)

    @property
    def asked_first_at(self) -> datetime:
        """When the attempt was made (aware UTC, milliseconds): its number carries it."""
        return datetime.fromtimestamp(milliseconds_of(self.number) / 1000, UTC)

    def __repr__(self) -> str:
        return f"Ask({self.verb.value} {self.number} {self.amount} {self.currency})"


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


class KeysRefused(Exception):
    """What an acquirer told of its keys cannot be believed or read; the word says why."""


class BillRefused(Exception):
    """The bill is cut short, altered or unreadable; nothing of it may be used."""


class BillLine(msgspec.Struct, frozen=True):
    """One line of an acquirer's daily bill, in minor units; what goes back is negative."""

    kind: str
    number: str
    refund_number: str | None
    channel_transaction: str
    amount: int
    fee: int
    currency: str
    booked_at: datetime


class Capabilities(msgspec.Struct, frozen=True):
    """What a channel declares that it can do.

    `methods` are the types of payment methods it serves, `currencies` None when it takes every one.
    `authorize`: money can be held and captured later.  `sync_result`: the answer to CREATE can be
    final; otherwise it is told by a notice or a query.  `queries_per_second`: how many queries the
    acquirer allows, of payments and of refunds each; all workers together stay below it.  `draws`
    are the flows (of a method that has none, its type) for which `build` itself says what the payer
    has to do, so that such a payment becomes durable together with that.
    """

    methods: frozenset[str]
    currencies: frozenset[str] | None
    partial_refund: bool
    close: bool
    notify: bool
    bill: bool
    authorize: bool = True
    sync_result: bool = True
    queries_per_second: int = 50
    draws: frozenset[str] = frozenset()


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

    @property
    def taken(self) -> bytes:
        """The body by which the acquirer knows that its notice was taken."""
        ...

    def build(self, ask: Ask, now: datetime) -> WireRequest | Outcome:
        """Put a question into the acquirer's words, signed.

        An `Outcome` where nobody has to be asked: a signed form for the payer, an address of ours.
        It is shown to nobody before it is durable, and perhaps never.
        """
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


@runtime_checkable
class TellsKeys(Protocol):
    """A channel whose acquirer tells by which keys it signs, and changes them by itself."""

    def ask_for_keys(self, now: datetime) -> WireRequest | None:
        """Ask for the acquirer's keys; None where they were agreed upon and are not told."""
        ...

    def read_keys(self, answer: WireAnswer, now: datetime) -> Mapping[str, str]:
        """Verify and read them: PEM by the name that signatures carry; raises `KeysRefused`."""
        ...
