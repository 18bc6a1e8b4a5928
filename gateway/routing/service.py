"""The routing step: a claimed request goes in, a payment with its channel and attempt comes out."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final, NamedTuple

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.errors import Problem, Unavailable
from gateway.domain.fees import Terms
from gateway.domain.identity import mint, mint_in_order
from gateway.domain.outcome import Verdict
from gateway.domain.payment import CardMethod, CreatePayment, Method, Payment, Standing, type_of
from gateway.domain.stages import Answered, Attempt, Claimed, Merchant, Rerouted, Routed
from gateway.drivers.clock import Clock
from gateway.drivers.reloading import Reloading
from gateway.routing import gauges, health
from gateway.routing.config import ChannelTerms, StoredConfig
from gateway.routing.decision import Asked, Decision, Full, Seen, encode
from gateway.routing.feebook import FeeBook
from gateway.routing.policy import Policy
from gateway.routing.ports import Tallies
from gateway.routing.quota import Quotas
from gateway.routing.rules import (
    Candidate,
    Wish,
    card_of,
    decide,
    draw_of,
    is_settled,
    narrowed,
    objection,
    retries,
)

_UNBOUND: Final = ChannelTerms()
_CARD_OPEN: Final = timedelta(seconds=limits.CARD_OPEN_SECONDS)
_QR_OPEN: Final = timedelta(seconds=limits.QR_OPEN_SECONDS)


class Outside(NamedTuple):
    """What the router hears of channels: who has which, what shuts them, how they answered all.

    What shuts one to a merchant is an open breaker, when whatever is sent there comes back unsent,
    or a full lane.  Without `tallies` the router knows only what this worker was answered.
    """

    offers: Callable[[int], Sequence[Candidate]]
    shut: Callable[[str, int], Full | None] = lambda *_: None
    tallies: Tallies | None = None


class _Case(Struct, frozen=True, gc=False):
    """Payments that differ in nothing but amount, card and time.

    `hold` when their money is to be held, and captured later.
    """

    merchant: Merchant
    method: str
    currency: str
    hold: bool = False


class _Known(NamedTuple):
    """What is worked out once for a case: who may serve, and by which part of the configuration.

    `terms` are those of the candidates that were taken.  `made` is the decision with its bytes,
    where it is always the same.
    """

    candidates: dict[str, Candidate]
    terms: dict[str, Terms]
    seen: tuple[Seen, ...]
    stored: StoredConfig
    made: tuple[Decision, bytes] | None


class _Try(NamedTuple):
    """The nth try of one payment: what was tried before cannot serve again."""

    payment_id: str
    amount: int
    at: datetime
    bin: str | None = None
    tried: tuple[str, ...] = ()


class Routing(Reloading):
    """Chooses the channel of a new payment, and the next one where the first cannot have served."""

    what: ClassVar[str] = "channels that can serve"

    def __init__(
        self, outside: Outside, policy: Policy, fees: FeeBook, quotas: Quotas, *, clock: Clock
    ) -> None:
        super().__init__()
        self._outside = outside
        self._policy = policy
        self._fees = fees
        self._quotas = quotas
        self._clock = clock
        self._ward = health.Ward()
        self._chooses = False
        self._known: dict[_Case, _Known] = {}
        self._known_by = policy.stored, fees.edition()

    async def refresh(self) -> None:
        """Forget what was worked out, count with all other workers, show the channels' health."""
        self._known = {}
        terms = self._policy.config.channels
        counted = [name for name, each in terms.items() if each.per_day is not None]
        await self._quotas.share(counted, self._clock.now())
        await self._share_health()
        self._show_health()

    async def _share_health(self) -> None:
        """Add what was heard of the channels to what others heard, and take in theirs."""
        if self._outside.tallies is None:
            return
        now = _second(self._clock.now())
        fresh, places = self._ward.fresh(now)
        try:
            told = await self._outside.tallies.add(fresh, places)
        except Unavailable:
            self._ward.keep(fresh, now)
            return
        if self._ward.told(told, now=now, terms=self._policy.config.health):
            self._known = {}

    def choose(self, claimed: Claimed) -> Routed:
        """Choose a channel; `Problem` 422 with each candidate's reason when none can serve."""
        command, merchant = claimed.matched.command, claimed.merchant
        assert isinstance(command, CreatePayment)
        # Lists are in the order of names: the payment's time is the one that its name has, and its
        # channel is chosen as of then, or a replay would not find the same.
        case, (now, born) = _case_of(merchant, command), self._clock.instant()
        payment_id = mint_in_order(
            "pay", merchant.number, milliseconds=born, microsecond=now.microsecond
        )
        known = self._look_up(case)
        made = known.made
        if made is None or self._is_shut(case, made[0]):
            one = _Try(payment_id, command.amount, now, _bin_of(command.method))
            made = self._decided(case, one, known)
        decision, told = made
        channel = decision.chosen
        if channel is None:
            raise self._refusal(decision, now)
        payment = Payment(
            id=payment_id,
            merchant=merchant.id,
            reference=command.reference,
            amount=command.amount,
            currency=command.currency,
            method=command.method,
            channel=channel,
            metadata=command.metadata or {},
            description=command.description,
            created_at=now,
            updated_at=now,
            expires_at=_expiry(command, now),
        )
        standing = Standing(
            payment=payment,
            merchant=merchant.number,
            version=0,
            capture=command.capture == "automatic",
            commission_bps=merchant.commission_bps,
        )
        attempt = _attempt(
            mint("att", merchant.number, born),
            standing,
            candidate=known.candidates[channel],
            terms=known.terms.get(channel) or self._terms(case, known, channel),
        )
        return Routed(claimed, standing, attempt, command.payer, command.return_url, told)

    def choose_next(
        self, claimed: Claimed, answered: Answered, tried: tuple[str, ...]
    ) -> Rerouted | None:
        """Choose another channel where that is safe and wished; None when this was the last word.

        It is safe only when the attempt provably moved no money and never will.
        """
        outcome = answered.outcome
        failure = outcome.failure
        if failure is None or outcome.verdict is not Verdict.FAILED:
            return None
        config = self._policy.config
        standing, now = answered.opened.standing, self._clock.now()
        payment = standing.payment
        again = retries(config, sent=outcome.sent, code=failure.code, advice=failure.advice)
        if not again or len(tried) >= config.retry.attempts_max or payment.expires_at <= now:
            return None
        method = type_of(payment.method)
        case = _Case(claimed.merchant, method, payment.currency, not standing.capture)
        one = _Try(payment.id, payment.amount, now, _bin_of(payment.method), tried)
        known = self._look_up(case)
        decision, made = self._decided(case, one, known)
        if decision.chosen is None:
            return None
        attempt = _attempt(
            self._clock.mint("att", standing.merchant),
            standing,
            candidate=known.candidates[decision.chosen],
            terms=self._terms(case, known, decision.chosen),
        )
        return Rerouted(answered, attempt, made, now)

    def simulate(self, merchant: Merchant, command: CreatePayment, at: datetime) -> Decision:
        """Decide as for a payment that came now, and leave no trace."""
        case = _case_of(merchant, command)
        payment_id = self._clock.mint("pay", merchant.number)
        one = _Try(payment_id, command.amount, at, _bin_of(command.method))
        return self._weigh(case, one, self._look_up(case))

    def learn(self, answered: Answered, milliseconds: int) -> None:
        """Remember how a channel answered when it was asked for money, and how long that took."""
        answer = health.answer_of(answered.outcome)
        if answer is None:
            return
        turned = self._ward.heard(
            self._key(answered),
            answer,
            milliseconds=milliseconds,
            now=_second(answered.at),
            terms=self._policy.stored.config.health,
        )
        if turned:
            self._known = {}
            self._show_health()

    def learn_end(self, answered: Answered) -> None:
        """Remember how a payment ended that the channel had left open, as it said later."""
        end = health.end_of(answered.opened.standing.payment, answered.outcome, answered.at)
        if end is not None:
            self._ward.ended(self._key(answered), end, _second(answered.at))

    def _key(self, answered: Answered) -> health.Key:
        opened, bins = answered.opened, self._policy.bins
        bank = card_of(bins, _bin_of(opened.standing.payment.method)).issuer if bins else None
        return opened.attempt.channel, bank

    def _decided(self, case: _Case, one: _Try, known: _Known) -> tuple[Decision, bytes]:
        """Decide, count it, and give the decision with its bytes."""
        decision = self._weigh(case, one, known)
        if decision.chosen is not None:
            terms = self._policy.config.channels.get(decision.chosen, _UNBOUND)
            self._quotas.took(decision.chosen, terms, one.at)
        return decision, encode(decision)

    def _is_shut(self, case: _Case, decision: Decision) -> bool:
        """Tell whether the chosen channel is shut to this merchant, where there are others."""
        name = decision.chosen
        if name is None or decision.by == "only":
            return False
        return self._outside.shut(name, case.merchant.number) is not None

    def _look_up(self, case: _Case) -> _Known:
        stored, edition = self._known_by
        if stored is not self._policy.stored or edition is not self._fees.edition():
            self._known, self._known_by = {}, (self._policy.stored, self._fees.edition())
        known = self._known.get(case)
        if known is None:
            if len(self._known) > limits.TERMS_KEPT_MAX:
                self._known = {}
            known = self._known[case] = self._work_out(case)
        return known

    def _work_out(self, case: _Case) -> _Known:
        self._chooses = True
        merchant = case.merchant
        candidates = {one.name: one for one in self._outside.offers(merchant.number)}
        wish = Wish(case.method, case.currency, merchant.load_test, case.hold)
        seen = tuple(Seen(name, objection(one, wish)) for name, one in candidates.items())
        asked = _asked(case, _Try("", 1, self._clock.now()), 0)
        stored = self._policy.stored
        stored = StoredConfig(stored.version, narrowed(stored.config, asked))
        made = None
        if self._ward.all_well() and is_settled(self._policy.config, seen):
            decision = decide(stored, self._policy.bins, asked, seen)
            made = decision, encode(decision)
        return _Known(candidates, {}, seen, stored, made)

    def _weigh(self, case: _Case, one: _Try, known: _Known) -> Decision:
        config = known.stored.config
        by_lot = config.strategy == "weights" or not self._ward.all_well()
        asked = _asked(case, one, draw_of(one.payment_id, len(one.tried)) if by_lot else 0)
        bank = card_of(self._policy.bins, one.bin).issuer
        seen = [
            base if base.objection is not None else self._see(base, case, asked, (one.tried, bank))
            for base in known.seen
        ]
        return decide(known.stored, self._policy.bins, asked, seen)

    def _see(
        self, base: Seen, case: _Case, asked: Asked, more: tuple[tuple[str, ...], str | None]
    ) -> Seen:
        """Look at one channel that could serve: how it is, how full, and what it costs."""
        name, (tried, bank) = base.channel, more
        if name in tried:
            return Seen(name, "tried")
        config, key, now = self._policy.config, (name, bank), _second(asked.at)
        how = self._ward.health(key, draw=asked.draw, now=now, terms=config.health)
        terms = config.channels.get(name, _UNBOUND)
        full: Full | None = "quota" if self._quotas.wait_seconds(name, terms, asked.at) else None
        full = full or self._outside.shut(name, case.merchant.number)
        if config.strategy != "score":
            return base if how is None and full is None else Seen(name, health=how, full=full)
        tally = self._ward.tally(key, now)
        fees = self._fees.terms(case.merchant, case.method, case.currency, name)
        return Seen(
            name,
            health=how,
            full=full,
            fee=fees.channel.of(asked.amount),
            good=tally.successes,
            answers=tally.ends,
            latency=tally.milliseconds // max(1, tally.answers),
        )

    def _terms(self, case: _Case, known: _Known, channel: str) -> Terms:
        terms = self._fees.terms(case.merchant, case.method, case.currency, channel)
        known.terms[channel] = terms
        return terms

    def _refusal(self, decision: Decision, now: datetime) -> Problem:
        """Refuse: for good when nobody can serve, for now when those who can have their fill."""
        terms = self._policy.config.channels
        waits = [
            self._quotas.wait_seconds(one.channel, terms[one.channel], now)
            for one in decision.candidates
            if one.reason == "quota"
        ]
        if waits:
            words = "Every channel for this payment has its fill; nothing was begun."
            return Problem("overloaded", words, extra={"retry_after": max(1, min(waits))})
        reasons = ", ".join(f"{one.channel}: {one.reason}" for one in decision.candidates)
        return Problem("no_channel", f"No channel can serve this payment ({reasons}).")

    def _show_health(self) -> None:
        """Show how the channels are to whoever chooses among them.

        The background worker hears of all and asks none, so it never hears a trial's good end.
        """
        if self._chooses:
            gauges.show(self._ward, _second(self._clock.now()))


def _attempt(attempt_id: str, standing: Standing, *, candidate: Candidate, terms: Terms) -> Attempt:
    payment = standing.payment
    return Attempt(
        id=attempt_id,
        payment_id=payment.id,
        merchant=standing.merchant,
        channel=candidate.name,
        amount=payment.amount,
        currency=payment.currency,
        expires_at=payment.expires_at,
        account=candidate.account,
        terms=terms,
    )


def _case_of(merchant: Merchant, command: CreatePayment) -> _Case:
    method, hold = type_of(command.method), command.capture == "manual"
    return _Case(merchant, method, command.currency, hold)


def _asked(case: _Case, one: _Try, draw: int) -> Asked:
    return Asked(
        merchant=case.merchant.id,
        method=case.method,
        currency=case.currency,
        amount=one.amount,
        at=one.at,
        draw=draw,
        bin=one.bin,
    )


def _bin_of(method: Method) -> str | None:
    return method.bin if isinstance(method, CardMethod) else None


def _second(at: datetime) -> int:
    return int(at.timestamp())


def _expiry(command: CreatePayment, now: datetime) -> datetime:
    """Say until when the payment may be completed."""
    if command.expires_at is not None:
        return command.expires_at.astimezone(UTC)
    return now + (_CARD_OPEN if isinstance(command.method, CardMethod) else _QR_OPEN)
