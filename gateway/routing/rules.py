"""Through whom: eligibility, rules, ranking, who is free; pure, so that every decision replays."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gateway.domain.outcome import Advice
from gateway.routing.config import Bin, ChannelTerms, Condition, Config, Rule, Scoring, StoredConfig
from gateway.routing.decision import Asked, Decision, Seen, Weighed

_MILLION = 1_000_000
_UNBOUND = ChannelTerms()


class Candidate(Struct, frozen=True):
    """What routing knows of one channel; `currencies` is None when it takes every currency.

    `holds` says that money can be held there and captured later.  A channel moves money or plays
    from a script; the scripted one may serve trade in development.  `account` is the account at the
    channel that serves this merchant, where it has accounts.
    """

    name: str
    methods: frozenset[str]
    currencies: frozenset[str] | None
    for_trade: bool = True
    for_load_tests: bool = False
    holds: bool = True
    account: str | None = None


class Wish(NamedTuple):
    """What a new payment asks of a channel; for a `load_test` it has to be a scripted one.

    `hold` when its money is to be held, and captured later.
    """

    method: str
    currency: str
    load_test: bool = False
    hold: bool = False


class Card(NamedTuple):
    """What the first digits of a card tell: whose it is, and of which kind."""

    issuer: str | None = None
    kind: str | None = None


def objection(candidate: Candidate, wish: Wish) -> str | None:
    """Say in one word why this channel cannot serve; None when it can."""
    if not (candidate.for_load_tests if wish.load_test else candidate.for_trade):
        return "purpose"
    if wish.method not in candidate.methods:
        return "method"
    if candidate.currencies is not None and wish.currency not in candidate.currencies:
        return "currency"
    return "hold" if wish.hold and not candidate.holds else None


def draw_of(payment_id: str, tries: int) -> int:
    """Draw a number (64 bits) for the nth try of a payment: the same one whenever it is asked."""
    lot = hashlib.blake2b(f"{payment_id}/{tries}".encode(), digest_size=8)
    return int.from_bytes(lot.digest())


def card_of(bins: Mapping[str, Bin], digits: str | None) -> Card:
    """Look a card up by its first digits; the longest prefix knows best."""
    if digits is not None and bins:
        for length in range(len(digits), 3, -1):
            found = bins.get(digits[:length])
            if found is not None:
                return Card(found.issuer, found.kind)
    return Card()


def decide(
    stored: StoredConfig, bins: Mapping[str, Bin], asked: Asked, seen: Sequence[Seen]
) -> Decision:
    """Choose a channel; `chosen` is None when none can serve, or all that can have their fill.

    A channel that is sick, or has no room, or whose breaker is open, is passed over for another,
    but never for nobody: of those that are left the one that is least badly off is asked.
    """
    config, card = stored.config, card_of(bins, asked.bin)
    reasons = {one.channel: _objection(config, one, asked, card) for one in seen}
    speaking = [rule for rule in config.rules if holds(rule.when, asked, card)]
    for rule in speaking:
        _apply(rule, reasons)
    able = [one for one in seen if reasons[one.channel] is None]
    scores: dict[str, int] = {}
    if config.strategy == "score":
        scores = {one.channel: _score(config.scoring, one, asked.amount) for one in able}
    ranked = _ranked(config, able, asked.draw, scores)
    for rule in reversed(speaking):
        if rule.then == "prefer":
            first = [one for one in ranked if one.channel in rule.channels]
            ranked = first + [one for one in ranked if one.channel not in rule.channels]
    chosen = next((one for one in ranked if one.full is None and one.health != "sick"), None)
    if chosen is None:
        unspent = (one for one in ranked if one.full != "quota")
        chosen = min(unspent, key=_how_badly_off, default=None)
    return Decision(
        version=stored.version,
        seen=tuple(seen),
        candidates=(
            *(
                Weighed(one.channel, _passed(one, chosen), scores.get(one.channel))
                for one in ranked
            ),
            *(Weighed(name, reason) for name, reason in reasons.items() if reason is not None),
        ),
        chosen=chosen.channel if chosen is not None else None,
        by=None if chosen is None else config.strategy if len(able) > 1 else "only",
        bank=card.issuer,
    )


def _how_badly_off(one: Seen) -> tuple[bool, bool, bool]:
    """Order what is wrong with channels: waiting is better than silence, silence than no call."""
    return one.full == "breaker", one.health == "sick", one.full == "lane"


def _passed(one: Seen, chosen: Seen | None) -> str | None:
    """Say why one that could have served was not taken, where it was not just less good."""
    return None if one is chosen else one.full or ("sick" if one.health == "sick" else None)


def _objection(config: Config, one: Seen, asked: Asked, card: Card) -> str | None:
    """Say in one word why a channel cannot serve, by itself or by our terms with it."""
    terms = config.channels.get(one.channel)
    if one.objection is not None or terms is None:
        return one.objection
    return _never(terms, asked) or _not_now(terms, asked, card)


def _never(terms: ChannelTerms, asked: Asked) -> str | None:
    """Say why our terms leave out every payment of this merchant, method and currency."""
    if not terms.enabled:
        return "off"
    if not _allows(terms.merchants, asked.merchant):
        return "contract"
    if not _allows(terms.methods, asked.method):
        return "method"
    return None if _allows(terms.currencies, asked.currency) else "currency"


def _not_now(terms: ChannelTerms, asked: Asked, card: Card) -> str | None:
    """Say why our terms leave out this amount or card at this time."""
    span = terms.amounts.get(asked.currency)
    if span is not None and not span.min <= asked.amount <= span.max:
        return "amount"
    closed = (window for window in terms.windows if window.begins <= asked.at < window.ends)
    return "maintenance" if any(not w.banks or card.issuer in w.banks for w in closed) else None


def narrowed(config: Config, asked: Asked) -> Config:
    """Leave out the rules that never speak of payments of this merchant, method and currency.

    By what is left, every such payment is decided like by the whole.
    """
    rules = tuple(rule for rule in config.rules if _may_hold(rule.when, asked))
    return replace(config, rules=rules, bins=())


def _may_hold(when: Condition, asked: Asked) -> bool:
    return (
        _allows(when.methods, asked.method)
        and _allows(when.currencies, asked.currency)
        and _allows(when.merchants, asked.merchant)
    )


def _allows(some: tuple[str, ...] | None, word: str | None) -> bool:
    """Tell whether a list that is not there, or has this word, lets it pass."""
    return some is None or word in some


def is_settled(config: Config, seen: Sequence[Seen]) -> bool:
    """Tell whether amount, card, time and lot cannot matter among well channels like these.

    Then one decision serves every payment of the same merchant, method and currency.
    """
    able = [config.channels.get(one.channel, _UNBOUND) for one in seen if one.objection is None]
    if len(able) > 1 and config.strategy != "order":
        return False
    if config.bins or any(_looks_closer(rule.when) for rule in config.rules):
        return False
    return not any(
        t.amounts or t.windows or t.per_second is not None or t.per_day is not None for t in able
    )


def _looks_closer(when: Condition) -> bool:
    bounded = when.amount_min > 0 or when.amount_max is not None
    return bounded or when.banks is not None or when.kinds is not None


def holds(when: Condition, asked: Asked, card: Card) -> bool:
    """Tell whether a rule speaks of such a payment; an unknown card is of no bank and no kind."""
    return (
        when.amount_min <= asked.amount
        and (when.amount_max is None or asked.amount <= when.amount_max)
        and _allows(when.banks, card.issuer)
        and _allows(when.kinds, card.kind)
        and _may_hold(when, asked)
    )


def _apply(rule: Rule, reasons: dict[str, str | None]) -> None:
    """Rule channels out; whoever is out already keeps the first reason."""
    if rule.then == "prefer":
        return
    for name, reason in reasons.items():
        if reason is None and (name in rule.channels) == (rule.then == "deny"):
            reasons[name] = f"rule {rule.name}"


def _score(scoring: Scoring, one: Seen, amount: int) -> int:
    """Weigh success, shrunk to the prior where little is known, against cost and waiting."""
    answers = one.answers + scoring.prior_answers
    good = one.good * _MILLION + scoring.prior_share * (_MILLION // 10_000) * scoring.prior_answers
    return (
        scoring.success * (good // answers)
        - scoring.fee * (one.fee * _MILLION // amount)
        - scoring.latency * one.latency
    )


def _ranked(
    config: Config, able: Iterable[Seen], draw: int, scores: Mapping[str, int]
) -> list[Seen]:
    """Order those that can serve: as configured, then by lot or by score where that is wished."""
    ordered = list(able)
    if config.order:
        places = {name: place for place, name in enumerate(config.order)}
        ordered.sort(key=lambda one: places.get(one.channel, len(places)))
    if config.strategy == "score":
        ordered.sort(key=lambda one: -scores[one.channel])
    elif config.strategy == "weights":
        return _drawn(config, ordered, draw)
    return ordered


def _drawn(config: Config, left: list[Seen], draw: int) -> list[Seen]:
    """Draw one after the other, each as often as its weight says; those without any come last."""
    drawn = []
    while left:
        weights = [config.channels.get(one.channel, _UNBOUND).weight for one in left]
        total = sum(weights)
        place = 0
        if total:
            draw, ticket = divmod(draw, total)
            while ticket >= weights[place]:
                ticket -= weights[place]
                place += 1
        drawn.append(left.pop(place))
    return drawn


def retries(config: Config, *, sent: bool, code: str, advice: Advice) -> bool:
    """Tell whether another channel may be tried after an attempt that failed.

    It never left, or it was refused for good in a way that says nothing of other channels.
    """
    retry = config.retry
    return not sent or code in retry.codes or advice in retry.advices
