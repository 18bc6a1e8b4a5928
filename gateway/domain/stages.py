"""What the steps hand on: each step takes the noun of the step before, so none can be left out.

Received → Verified → Matched → Claimed → Routed → Opened → Answered → Posted → Answer
                                              → Drawn → Posted, where nobody has to be asked

What is made for every payment is hidden from the garbage collector: it holds only what was there
before it and cannot be changed, so it is in no cycle.
"""

import math
from datetime import datetime
from typing import Literal

from msgspec import Struct

from gateway.domain.fees import Terms
from gateway.domain.outcome import Outcome
from gateway.domain.payment import Payer, Standing
from gateway.domain.refund import RefundStanding


class Received(Struct, frozen=True, gc=False):
    """An HTTP request as it came: raw target, raw headers, the body's exact bytes.

    After `answer_by`, in seconds of the monotonic clock, nobody waits for its answer any more.
    `kept_for` is the key for whose request room is kept since it was looked at from outside.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    at: datetime
    request_id: str
    answer_by: float = math.inf
    kept_for: str | None = None

    def is_late(self, now: float) -> bool:
        """Tell whether it waited for so long that it must not be begun any more."""
        return now > self.answer_by

    @property
    def path(self) -> str:
        """The target before its query, still percent-encoded, as the signature covers it."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the first question mark; empty when there is none."""
        return self.target.partition("?")[2]


class Quota(Struct, frozen=True):
    """What a merchant may ask of us; None is no bound but what others need.

    `per_second` requests and `in_flight` at once, for writes and, counted apart, for reads.
    `weight` is its part of the room while there is too little for all.
    """

    per_second: int | None = None
    in_flight: int | None = None
    weight: int = 1


class Merchant(Struct, frozen=True):
    """Who calls: the merchant's number (its shard), its public id and its terms.

    One that is there for `load_test` only is served by scripted channels and never paid out.
    """

    number: int
    id: str
    commission_bps: int
    load_test: bool = False
    quota: Quota = Quota()


class Verified(Struct, frozen=True, gc=False):
    """A request of which we know whose words it is; `body_digest` is the SHA-256 of the body."""

    received: Received
    merchant: Merchant
    key_id: str
    body_digest: bytes
    idempotency_key: str | None


class Operation(Struct, frozen=True):
    """One call of the API; `carries` says where its command stands."""

    name: str
    method: str
    path: str
    summary: str
    command: type[Struct]
    carries: Literal["body", "query", "nothing"]
    success: int = 200

    @property
    def writes(self) -> bool:
        """Tell whether the call may move something, and so needs an idempotency key."""
        return self.method == "POST"


class Matched(Struct, frozen=True, gc=False):
    """A request of which we know what it asks: operation, path parameters, decoded command."""

    verified: Verified
    operation: Operation
    parameters: tuple[str, ...]
    command: Struct


class KeyUse(Struct, frozen=True, gc=False):
    """How an idempotency key was used: for which operation, with which fingerprint."""

    key: str
    fingerprint: bytes
    operation: str


class Claimed(Struct, frozen=True, gc=False):
    """A request that nobody else is serving, as far as Redis knows; PostgreSQL decides.

    `token` names our claim in Redis and is None when Redis could not be asked.
    """

    matched: Matched
    key: str
    fingerprint: bytes
    token: bytes | None

    @property
    def merchant(self) -> Merchant:
        """Who asks."""
        return self.matched.verified.merchant

    @property
    def at(self) -> datetime:
        """When the request came."""
        return self.matched.verified.received.at

    @property
    def use(self) -> KeyUse:
        """What PostgreSQL remembers of the key."""
        return KeyUse(self.key, self.fingerprint, self.matched.operation.name)


class Attempt(Struct, frozen=True, kw_only=True, gc=False):
    """One try at one channel; `id` without its prefix is the number that the channel hears.

    `terms` were fixed when the channel was chosen; attempts older than fee plans have none.  One
    that was `replaced` had provably moved no money: another one of its payment took its place.
    `account` is the channel's own name of the account through which it is asked, where it has one.
    `further_transactions` are what the channel booked for it beside `channel_transaction`.  Of one
    that is `returned` the channel gave back by itself what had been paid.
    """

    id: str
    payment_id: str
    merchant: int
    channel: str
    amount: int
    currency: str
    expires_at: datetime
    account: str | None = None
    channel_transaction: str | None = None
    capture_amount: int | None = None
    cancel_wished: bool = False
    terms: Terms | None = None
    further_transactions: tuple[str, ...] = ()
    replaced: bool = False
    returned: bool = False

    @property
    def expected(self) -> int:
        """What the channel should book through this attempt, in minor units."""
        return self.capture_amount if self.capture_amount is not None else self.amount

    @property
    def is_capturing(self) -> bool:
        """Tell whether a capture was asked: then the attempt must not be closed any more."""
        return self.capture_amount is not None


class Routed(Struct, frozen=True, gc=False):
    """A new payment with the channel that was chosen and the attempt that will be made.

    `decision` says in JSON why it was this channel.
    """

    claimed: Claimed
    standing: Standing
    attempt: Attempt
    payer: Payer | None
    return_url: str | None
    decision: bytes | None = None


class Heard(Struct, frozen=True):
    """What PostgreSQL remembers of an idempotency key that was used before.

    `resource` is what the first request made or changed, as 32 hex digits; when that request was
    `refused`, what has its reference.
    """

    fingerprint: bytes
    operation: str
    resource: str
    refused: bool = False


class ReferenceTaken(Struct, frozen=True):
    """The merchant's own number belongs to another payment or refund already (32 hex digits)."""

    resource: str


class Opened(Struct, frozen=True, gc=False):
    """A payment and its attempt that are durable: now the outside world may hear of it.

    `payer` and `return_url` are there only while the request that brought them is served.  Until
    `lease` the channel is ours alone to ask; None when it was not leased to us.
    """

    standing: Standing
    attempt: Attempt
    payer: Payer | None = None
    return_url: str | None = None
    lease: datetime | None = None


class Answered(Struct, frozen=True, gc=False):
    """A payment with what the channel said; UNKNOWN when it said nothing."""

    opened: Opened
    outcome: Outcome
    at: datetime


class Drawn(Struct, frozen=True, gc=False):
    """A new payment with what its channel says of it by itself, because nobody has to be asked.

    `answered` is so only once it is durable together with the payment; nobody hears of it before.
    """

    routed: Routed
    answered: Answered


class Rerouted(Struct, frozen=True):
    """An attempt that provably moved no money, and the one that is to take its place."""

    answered: Answered
    attempt: Attempt
    decision: bytes
    at: datetime


class Posted(Struct, frozen=True, gc=False):
    """A payment of which state, journal and event are durable together.

    `body` is the payment as JSON, encoded once for the answer and the event.
    """

    standing: Standing
    body: bytes


class DueFurther(Struct, frozen=True, kw_only=True):
    """What was paid beside a payment and is to go back; `amount` in minor units.

    `number` is the merchant's number, `merchant` the public id.  Where the channel had no number
    for it, `channel_transaction` is ours of the attempt.
    """

    id: str
    number: int
    merchant: str
    payment: str
    attempt_id: str
    channel: str
    channel_transaction: str
    amount: int
    currency: str


class RefundWish(Struct, frozen=True):
    """A refund that may be made durable, planned for what the payment had refunded at that time."""

    use: KeyUse
    before: Standing
    standing: RefundStanding
    at: datetime


class RefundOpened(Struct, frozen=True):
    """A refund that is durable, its amount reserved: now the channel may hear of it."""

    standing: RefundStanding


class RefundAnswered(Struct, frozen=True):
    """A refund with what the channel said of it."""

    opened: RefundOpened
    outcome: Outcome
    at: datetime


class RefundPosted(Struct, frozen=True):
    """A refund of which state, journal and event are durable together; `body` is its JSON."""

    standing: RefundStanding
    body: bytes


class Answer(Struct, frozen=True, gc=False):
    """What the caller gets: HTTP status, the body's exact bytes, and whether it was said before.

    It is `passing` when the next try may hear more: what became of it could not be posted yet.
    """

    status: int
    body: bytes
    replayed: bool = False
    passing: bool = False
