"""The scripts of the simulated acquirer: per payment method, what is true and what is told of it.

The table is section 6 of the public contract, and more: money after the close whose notice is lost,
the same that is taken three times, money that a close gives back, and money that is taken twice,
the refunds of which are done, are unknown, or fail.
"""

import enum
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from gateway.domain.words import Word

LATENCY_MS_MAX: Final = 60_000


class Truth(Word):
    """When the acquirer takes the money."""

    AT_ONCE = enum.auto()
    LATER = enum.auto()
    WHEN_PAID = enum.auto()
    WHEN_CLOSED = enum.auto()
    NEVER = enum.auto()
    DECLINED = enum.auto()
    LOST = enum.auto()


class Told(Word):
    """What the caller hears: the truth, the truth once it has come about, nothing, or a 500."""

    TRUTH = enum.auto()
    PATIENTLY = enum.auto()
    SILENCE = enum.auto()
    ERROR = enum.auto()


class Letter(enum.Enum):
    """How a notice is written."""

    TRUE = enum.auto()
    WRONG_AMOUNT = enum.auto()
    FORGED = enum.auto()


class Script(Struct, frozen=True, kw_only=True):
    """One script; `delay_ms` is None for the acquirer's usual delay before it books or notifies.

    `notices` go out when the money is taken, or after the delay when it never is.  `again` is how
    often it is then taken once more, under another transaction, each after the delay.  One that
    `returns` gives back what was paid when it is closed, and says so.
    """

    truth: Truth = Truth.AT_ONCE
    told: Told = Told.TRUTH
    delay_ms: int | None = None
    notices: tuple[Letter, ...] = ()
    decline: str | None = None
    refund_told: Told = Told.TRUTH
    refund_failure: str | None = None
    again: int = 0
    returns: bool = False


_CARDS: Final[Mapping[str, Script]] = MappingProxyType(
    {
        "tok_ok": Script(),
        "tok_declined": Script(truth=Truth.DECLINED, decline="card_declined"),
        "tok_insufficient_funds": Script(truth=Truth.DECLINED, decline="insufficient_funds"),
        "tok_expired_card": Script(truth=Truth.DECLINED, decline="expired_card"),
        "tok_timeout_booked": Script(told=Told.SILENCE),
        "tok_timeout_lost": Script(truth=Truth.LOST, told=Told.SILENCE),
        "tok_error_booked": Script(told=Told.ERROR),
        "tok_pending": Script(truth=Truth.LATER, notices=(Letter.TRUE,)),
        "tok_pending_lost_notice": Script(truth=Truth.LATER),
        "tok_duplicate_notice": Script(notices=(Letter.TRUE,) * 3),
        "tok_wrong_amount_notice": Script(truth=Truth.NEVER, notices=(Letter.WRONG_AMOUNT,)),
        "tok_forged_notice": Script(truth=Truth.NEVER, notices=(Letter.FORGED,)),
        "tok_late_success": Script(truth=Truth.WHEN_CLOSED, notices=(Letter.TRUE,)),
        "tok_late_lost_notice": Script(truth=Truth.WHEN_CLOSED),
        "tok_late_thrice": Script(truth=Truth.WHEN_CLOSED, notices=(Letter.TRUE,), again=2),
        "tok_close_returns": Script(
            truth=Truth.LATER, delay_ms=50, notices=(Letter.TRUE,), returns=True
        ),
        "tok_paid_twice": Script(notices=(Letter.TRUE,), again=1),
        "tok_twice_refund_unknown": Script(
            notices=(Letter.TRUE,), again=1, refund_told=Told.SILENCE
        ),
        "tok_twice_refund_fails": Script(
            notices=(Letter.TRUE,), again=1, refund_failure="refund_rejected"
        ),
        "tok_refund_unknown": Script(refund_told=Told.SILENCE),
        "tok_refund_fails": Script(refund_failure="refund_rejected"),
    }
)
QR: Final = "qr"
_QR: Final = Script(truth=Truth.WHEN_PAID, notices=(Letter.TRUE,))
# What may be taken more than once: whoever asks about it is told of every time.
TAKEN_AGAIN: Final = frozenset({QR, *(name for name, script in _CARDS.items() if script.again)})
_UNKNOWN: Final = Script(truth=Truth.DECLINED, decline="unknown_token")
_LATENCY: Final = re.compile(r"tok_latency_([0-9]{1,5})")


def name_of(method: Mapping[str, str]) -> str:
    """Name the script that a payment method asks for: `qr`, or the card's token."""
    return QR if method.get("type") == QR else method.get("token", "")


@lru_cache(maxsize=1024)
def named(name: str) -> Script:
    """Look a script up; a name that is in no table is a card that the acquirer declines."""
    if name == QR:
        return _QR
    latency = _LATENCY.fullmatch(name)
    if latency is not None:
        delay_ms = min(int(latency[1]), LATENCY_MS_MAX)
        return Script(truth=Truth.LATER, told=Told.PATIENTLY, delay_ms=delay_ms)
    return _CARDS.get(name, _UNKNOWN)
