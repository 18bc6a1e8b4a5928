"""Fee plans as operators write them, and which rate of which plan is in force for a payment."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.domain import limits
from gateway.domain.fees import Rate
from gateway.domain.money import EXPONENTS

Bps = Annotated[int, Meta(ge=0, le=10_000)]
Minor = Annotated[int, Meta(ge=0, le=limits.AMOUNT_MINOR_MAX)]
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]


class Tier(Struct, frozen=True, forbid_unknown_fields=True):
    """From this much volume in a month on (minor units), this many basis points."""

    volume: Minor
    bps: Bps


class RateLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a plan: for payments of this method and currency, or of every one."""

    method: Word | None = None
    currency: Currency | None = None
    bps: Bps = 0
    fixed: Minor = 0
    minimum: Minor = 0
    cap: Minor | None = None
    tiers: Annotated[tuple[Tier, ...], Meta(max_length=16)] = ()

    @property
    def fineness(self) -> int:
        """Rank the line: one for a method goes before one for a currency, both before neither."""
        return 2 * (self.method is not None) + (self.currency is not None)

    def serves(self, method: str, currency: str) -> bool:
        """Tell whether the line is for such payments."""
        return self.method in {None, method} and self.currency in {None, currency}


class FeePlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What merchants pay us (`commission`), or what a channel keeps (`channel`).

    `returned`: the channel gives its fee back with refunds.
    """

    kind: Literal["commission", "channel"]
    channel: Word | None = None
    returned: bool = True
    rates: Annotated[tuple[RateLine, ...], Meta(min_length=1, max_length=100)]


class StoredPlan(Struct, frozen=True):
    """A plan as it is stored; `merchant` is 0 when it is everybody's."""

    version: int
    merchant: int
    plan: FeePlan
    effective_at: datetime


def faults(plan: FeePlan) -> list[str]:
    """Say what a well-formed plan cannot mean; an empty list when it can be used."""
    found = []
    if (plan.kind == "channel") != (plan.channel is not None):
        found.append("a channel's plan names its channel, and a commission's names none")
    if plan.kind == "commission" and not plan.returned:
        found.append("only a channel can keep its fee when money goes back")
    places = [(line.method, line.currency) for line in plan.rates]
    if len(set(places)) != len(places):
        found.append("two rates are for the same method and currency")
    for line in plan.rates:
        found += _faults_of(line, plan.kind)
    return found


def _faults_of(line: RateLine, kind: str) -> Iterable[str]:
    if line.currency is not None and line.currency not in EXPONENTS:
        yield f"{line.currency} is no ISO 4217 currency"
    if line.currency is None and (line.fixed or line.minimum or line.cap is not None or line.tiers):
        yield "an amount needs the currency that it is in"
    if line.cap is not None and line.cap < line.minimum:
        yield "a cap lies below its minimum"
    if line.tiers and kind != "channel":
        yield "only a channel's rates have tiers"
    volumes = [tier.volume for tier in line.tiers]
    if volumes != sorted(set(volumes)):
        yield "tiers ascend by volume, each once"


def in_force(
    plans: Sequence[StoredPlan], at: datetime, method: str, currency: str
) -> tuple[StoredPlan, RateLine] | None:
    """Find the plan in force at this time that has a rate for such payments, and that rate.

    The one that came into force last wins; of equals the higher version.  `plans` are of one kind.
    """
    valid = (plan for plan in plans if plan.effective_at <= at)
    for stored in sorted(valid, key=lambda p: (p.effective_at, p.version), reverse=True):
        lines = [line for line in stored.plan.rates if line.serves(method, currency)]
        return (stored, max(lines, key=lambda line: line.fineness)) if lines else None
    return None


def rate_of(stored: StoredPlan, line: RateLine, volume: int) -> Rate:
    """Write a line as the rate that applies at this month's volume."""
    reached = [tier.bps for tier in line.tiers if tier.volume <= volume]
    bps = reached[-1] if reached else line.bps
    return Rate(bps, line.fixed, line.minimum, line.cap, stored.version)
