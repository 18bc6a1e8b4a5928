"""Which channels could serve a payment, and why the others could not."""

from collections.abc import Sequence

from msgspec import Struct


class Candidate(Struct, frozen=True):
    """What routing knows of one channel; `currencies` is None when it takes every currency."""

    name: str
    number: int
    methods: frozenset[str]
    currencies: frozenset[str] | None


def objection(candidate: Candidate, method: str, currency: str) -> str | None:
    """Say in one word why this channel cannot serve; None when it can."""
    if method not in candidate.methods:
        return "method"
    if candidate.currencies is not None and currency not in candidate.currencies:
        return "currency"
    return None


def eligible(candidates: Sequence[Candidate], method: str, currency: str) -> list[Candidate]:
    """Give the channels that can serve, in the order in which they are configured."""
    return [c for c in candidates if objection(c, method, currency) is None]
