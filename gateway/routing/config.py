"""How channels are chosen, as operators write it: one document, validated before it is in force.

Everything is optional: without a document every channel that can serve is taken in the order in
which it is configured.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateway.domain import limits
from gateway.domain.channel import NUMBERS
from gateway.domain.identity import is_id
from gateway.domain.money import EXPONENTS
from gateway.domain.outcome import Advice

Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Bank = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,31}\Z")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Minor = Annotated[int, Meta(ge=0, le=limits.AMOUNT_MINOR_MAX)]
Share = Annotated[int, Meta(ge=0, le=10_000)]
Words = Annotated[tuple[Word, ...], Meta(max_length=64)]
CardKind = Literal["debit", "credit"]


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A time in which a channel does not serve, all of it or cards of these banks only."""

    begins: Annotated[datetime, Meta(tz=True)]
    ends: Annotated[datetime, Meta(tz=True)]
    banks: tuple[Bank, ...] = ()


class Span(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The amounts that a channel takes in one currency, in minor units."""

    min: Minor = 1
    max: Minor = limits.AMOUNT_MINOR_MAX


class ChannelTerms(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What our contract and our operators say of one channel; what is left out does not bind.

    `per_second` and `per_day` are payments; `weight` counts where the strategy is `weights`.
    """

    enabled: bool = True
    weight: Annotated[int, Meta(ge=0, le=10_000)] = 1
    methods: Words | None = None
    currencies: tuple[Currency, ...] | None = None
    merchants: tuple[str, ...] | None = None
    amounts: dict[Currency, Span] = {}
    windows: Annotated[tuple[Window, ...], Meta(max_length=100)] = ()
    per_second: Annotated[int, Meta(ge=1)] | None = None
    per_day: Annotated[int, Meta(ge=1)] | None = None

    @property
    def named(self) -> tuple[Currency, ...]:
        """The currencies that the contract names."""
        return self.currencies or ()


class Condition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a rule speaks: every part that is given has to hold; amounts need one currency."""

    methods: Words | None = None
    currencies: tuple[Currency, ...] | None = None
    amount_min: Minor = 0
    amount_max: Minor | None = None
    banks: tuple[Bank, ...] | None = None
    kinds: tuple[CardKind, ...] | None = None
    merchants: tuple[str, ...] | None = None


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`deny` these channels, `restrict` to these, or `prefer` these before all others."""

    name: Word
    then: Literal["deny", "restrict", "prefer"]
    channels: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=64)]
    when: Condition = Condition()


class Bin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose cards begin with these digits (ISO/IEC 7812: the issuer's number)."""

    prefix: Annotated[str, Meta(pattern=r"^[0-9]{4,8}\Z")]
    issuer: Bank
    kind: CardKind | None = None


class Scoring(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a score is made, in millionths: what success, cost and waiting are worth.

    A channel of which little is known is taken for one that answered `prior_answers` times and
    succeeded in `prior_share` basis points of them.  `latency` is the worth of one millisecond.
    """

    success: Annotated[int, Meta(ge=0, le=100)] = 1
    fee: Annotated[int, Meta(ge=0, le=100)] = 1
    latency: Annotated[int, Meta(ge=0, le=10_000)] = 10
    prior_share: Share = 9_000
    prior_answers: Annotated[int, Meta(ge=1, le=100_000)] = 50


class Retry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """After which refusals another channel is tried; one that never heard of it always is."""

    attempts_max: Annotated[int, Meta(ge=1, le=5)] = 2
    codes: Words = ()
    advices: tuple[Advice, ...] = ()


class HealthTerms(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a channel counts as sick: basis points of bad answers above its own usual share.

    `short` is for one minute and `long` for five; fewer than `answers_min` prove nothing.  A sick
    channel rests for `rest_seconds`, twice as long each time, then `probe_share` of the payments
    try it until `probes` of them were answered well.
    """

    answers_min: Annotated[int, Meta(ge=1, le=100_000)] = 20
    short: Share = 3_000
    long: Share = 1_500
    rest_seconds: Annotated[int, Meta(ge=1, le=3600)] = 15
    probe_share: Share = 300
    probes: Annotated[int, Meta(ge=1, le=1000)] = 5


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole document."""

    strategy: Literal["order", "weights", "score"] = "order"
    order: Words = ()
    channels: dict[Word, ChannelTerms] = {}
    rules: Annotated[tuple[Rule, ...], Meta(max_length=1000)] = ()
    bins: Annotated[tuple[Bin, ...], Meta(max_length=50_000)] = ()
    scoring: Scoring = Scoring()
    retry: Retry = Retry()
    health: HealthTerms = HealthTerms()


class StoredConfig(Struct, frozen=True):
    """A document with its version; version 0 is the empty one that nobody had to write."""

    version: int
    config: Config


NOTHING: Final = StoredConfig(0, Config())


def faults(config: Config) -> list[str]:
    """Say what a well-formed document cannot mean; an empty list when it may be in force."""
    return [*_unknown_names(config), *_impossible(config)]


def _unknown_names(config: Config) -> Iterator[str]:
    named = [*config.order, *config.channels, *(n for rule in config.rules for n in rule.channels)]
    yield from (f"there is no channel {name}" for name in sorted(set(named) - NUMBERS.keys()))
    whens = [rule.when for rule in config.rules]
    currencies = {
        *(c for when in whens for c in when.currencies or ()),
        *(c for terms in config.channels.values() for c in (*terms.amounts, *terms.named)),
    }
    yield from (f"{code} is no ISO 4217 currency" for code in sorted(currencies - EXPONENTS.keys()))
    merchants = {
        *(m for when in whens for m in when.merchants or ()),
        *(m for terms in config.channels.values() for m in terms.merchants or ()),
    }
    yield from (f"{m} is no merchant's id" for m in sorted(merchants) if not is_id(m, "mer"))


def _impossible(config: Config) -> Iterator[str]:
    for words, what in (
        (config.order, "a channel stands in the order"),
        ([rule.name for rule in config.rules], "a rule's name is used"),
        ([entry.prefix for entry in config.bins], "a prefix stands in the table of cards"),
    ):
        if _repeats(words):
            yield f"{what} more than once"
    for name, terms in config.channels.items():
        if any(span.min > span.max for span in terms.amounts.values()):
            yield f"{name} takes no amount at all"
        if any(window.begins >= window.ends for window in terms.windows):
            yield f"a window of {name} ends before it begins"
    for rule in config.rules:
        when = rule.when
        bounded = when.amount_min > 0 or when.amount_max is not None
        if bounded and len(when.currencies or ()) != 1:
            yield f"the amounts of rule {rule.name} need the one currency that they are in"
        if when.amount_max is not None and when.amount_min > when.amount_max:
            yield f"rule {rule.name} speaks of no amount at all"


def _repeats(words: Sequence[str]) -> bool:
    return len(set(words)) != len(words)
