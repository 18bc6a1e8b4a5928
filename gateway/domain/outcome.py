"""What an acquirer said about money, as one of three values: success, final failure, unknown.

Everything that is not provably one of the first two is UNKNOWN, which is therefore the default.
PENDING, REQUIRES_ACTION and NOT_FOUND are kinds of "not yet": they never end a payment.
"""

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from gateway.domain import limits
from gateway.domain.words import Word

_CHARS_MAX: Final = limits.CHANNEL_WORD_CHARS_MAX


class Verdict(Word):
    """The channel's word on one attempt or refund, in our vocabulary."""

    SUCCEEDED = "succeeded"
    AUTHORIZED = "authorized"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    FAILED = "failed"
    CLOSED = "closed"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"


class Advice(enum.Enum):
    """What the merchant may do after a decline."""

    OTHER_METHOD = "other_method"
    RETRY_LATER = "retry_later"
    NEVER = "never"


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a payment failed: our code, words for the merchant, advice, the channel's own code."""

    code: str
    message: str
    advice: Advice
    channel_code: str | None = None


class NextAction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the payer has to do, by `type`.

    `qr`: scan the code `qr`.  `redirect`: follow the link `url`.  `form`: post `fields` to `url`.
    `invoke`: hand `fields` to the wallet's own client.  `transfer`: send as `fields` say.
    """

    type: str
    qr: str | None = None
    url: str | None = None
    fields: Mapping[str, str] | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """One answer of a channel; amounts are minor units, `None` where the channel did not say.

    `channel_transaction` is the channel's number of the money, the same in every answer and notice:
    another one means that the attempt was paid again.
    `code` is the channel's raw word, kept for support staff.  `number` is our number of the attempt
    or refund as the channel repeats it; another one than we asked about is a conflict.  `sent` is
    False only when the request provably never left (the connection was refused).  `conflict` is
    True when what it says cannot be so beside what is booked already.  `news_in_seconds` is how
    soon the channel may know more, where nobody will tell us.  `tells_more` goes with money that a
    payer may send once more by himself: a later query tells of that as well.  `returned` goes with
    CLOSED: the attempt had been paid, and the channel gave all of that back.
    """

    verdict: Verdict = Verdict.UNKNOWN
    channel_transaction: str | None = None
    amount: int | None = None
    currency: str | None = None
    code: str | None = None
    failure: Failure | None = None
    next_action: NextAction | None = None
    paid_at: datetime | None = None
    sent: bool = True
    conflict: bool = False
    number: str | None = None
    news_in_seconds: int | None = None
    tells_more: bool = False
    returned: bool = False

    @property
    def is_money(self) -> bool:
        """Tell whether it says that money came, be it another sum than was asked for."""
        return self.verdict is Verdict.SUCCEEDED or (self.conflict and bool(self.amount))

    @property
    def is_clean(self) -> bool:
        """Tell whether the channel's own words can be kept: short and printable."""
        for word in (self.channel_transaction, self.code):
            if word is not None and not (len(word) <= _CHARS_MAX and word.isprintable()):
                return False
        return True


# A channel's word about another number than we asked about: none of it is kept.
ANOTHER_NUMBER: Final = Outcome(code="number_mismatch", conflict=True)


def checked(outcome: Outcome, *, amount: int, currency: str) -> Outcome:
    """The outcome itself when its money is what we asked for; else UNKNOWN, `amount_mismatch`.

    A right signature under a wrong amount proves nothing: such a payment is frozen for people.
    """
    told, of = outcome.amount, outcome.currency
    if (told is None or told == amount) and (of is None or of == currency):
        return outcome
    return Outcome(
        channel_transaction=outcome.channel_transaction,
        amount=outcome.amount,
        currency=outcome.currency,
        code="amount_mismatch",
        conflict=True,
        paid_at=outcome.paid_at,
    )
