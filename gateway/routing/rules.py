"""Which channels could serve a payment, and why the others could not."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct


class Candidate(Struct, frozen=True):
    """What routing knows of one channel; `currencies` is None when it takes every currency.

    A channel moves money or plays from a script; the scripted one may serve trade in development.
    `account` is the account at the channel that serves this merchant, where it has accounts.
    """

    name: str
    number: int
    methods: frozenset[str]
    currencies: frozenset[str] | None
    for_trade: bool = True
    for_load_tests: bool = False
    account: str | None = None


class Wish(NamedTuple):
    """What a new payment asks of a channel; for a `load_test` it has to be a scripted one."""

    method: str
    currency: str
    load_test: bool = False


def objection(candidate: Candidate, wish: Wish) -> str | None:
    """Say in one word why this channel cannot serve; None when it can."""
    if not (candidate.for_load_tests if wish.load_test else candidate.for_trade):
        return "purpose"
    if wish.method not in candidate.methods:
        return "method"
    if candidate.currencies is not None and wish.currency not in candidate.currencies:
        return "currency"
    return None


def eligible(candidates: Sequence[Candidate], wish: Wish) -> list[Candidate]:
    """Give the channels that can serve, in the order in which they are configured."""
    return [c for c in candidates if objection(c, wish) is None]
