"""A past decision once more: from what was seen then, by the configuration of then."""

from datetime import datetime

from msgspec import Struct

from gateway.domain.payment import CardMethod, Words, type_of
from gateway.routing.config import StoredConfig
from gateway.routing.decision import Asked, Decision, encode
from gateway.routing.policy import bins_of
from gateway.routing.rules import decide, draw_of


class Past(Struct, frozen=True, kw_only=True):
    """An attempt of a payment as it stands in the books; `told` are the decision's stored bytes."""

    attempt: str
    payment: str
    merchant: str
    amount: int
    currency: str
    words: Words
    at: datetime
    told: bytes


class Replayed(Struct, frozen=True, kw_only=True):
    """What came out this time; `identical` when it is what was stored, byte by byte."""

    attempt: str
    version: int
    channel: str | None
    identical: bool
    decision: Decision


def replay(past: Past, tries: int, before: Decision, stored: StoredConfig) -> Replayed:
    """Decide the nth try of a payment again; `before` is the decision that was stored."""
    method = past.words.method
    asked = Asked(
        merchant=past.merchant,
        method=type_of(method),
        currency=past.currency,
        amount=past.amount,
        at=past.at,
        draw=draw_of(past.payment, tries),
        bin=method.bin if isinstance(method, CardMethod) else None,
    )
    decision = decide(stored, bins_of(stored.config), asked, before.seen)
    return Replayed(
        attempt=past.attempt,
        version=decision.version,
        channel=decision.chosen,
        identical=encode(decision) == past.told,
        decision=decision,
    )
