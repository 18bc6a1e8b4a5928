"""The channel step: ask the acquirer about an attempt that is durable already."""

from collections.abc import Awaitable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.notices import KeptNotice
from gateway.channels.port import CREDENTIAL_REFUSED, Ask, Notice, NoticeRefused, Verb
from gateway.channels.registry import Account, Registry
from gateway.channels.remarks import Remarks, said
from gateway.domain.identity import uuid_of
from gateway.domain.limits import REQUEST_SECONDS_MAX
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import words_of
from gateway.domain.stages import Answered, Drawn, Opened, RefundAnswered, RefundOpened, Routed
from gateway.drivers.clock import Clock

# All that a merchant hears of a credential that is missing or wrong.
_UNAVAILABLE: Final = "channel_unavailable"
_CANNOT_NOW: Final = Failure(
    _UNAVAILABLE, "The acquirer cannot take money now.", Advice.RETRY_LATER
)
# No request is served for longer than that.
_DURABLE_BY: Final = timedelta(seconds=REQUEST_SECONDS_MAX)
# There is no such account any more: whatever is asked of it was asked of nobody.
_NO_ACCOUNT: Final = Outcome(code=_UNAVAILABLE, sent=False)
_UNKNOWN: Final = Verdict.UNKNOWN  # without the way through its class, for every call


class Channels:
    """All channels behind the verbs of the flow; whatever cannot be learnt is UNKNOWN.

    The answers to captures, closes and refunds are noted down.  The first answer of an attempt
    stands with it, and whoever queries keeps what he saw.
    """

    def __init__(
        self, registry: Registry, courier: Courier, clock: Clock, remarks: Remarks
    ) -> None:
        self._registry = registry
        self._courier = courier
        self._clock = clock
        self._remarks = remarks

    def has(self, channel: str, owner: int) -> bool:
        """Tell whether this owner has an account at a channel of this name."""
        return bool(self._registry.listening(channel, owner))

    def read_notice(self, kept: KeptNotice) -> tuple[Notice, Account]:
        """Verify and read a notice as of when it came, and say through which account it came.

        Raises `NoticeRefused` when it is no notice of any account that its address stands for.
        """
        refusal = NoticeRefused("forged")
        for account in self._registry.listening(kept.channel, kept.owner):
            try:
                notice = account.channel.read_notice(kept.headers, kept.body, kept.received_at)
            except NoticeRefused as refused:
                # Who signed it with the right key says more than those to whom it looks forged.
                refusal = refusal if refused.reason == "forged" else refused
            else:
                return notice, account
        raise refusal

    def place(self, routed: Routed) -> AbstractContextManager[None]:
        """Keep a place at the channel for a new payment; `Problem` 503 when there is none."""
        return self._courier.place(routed)

    def draw(self, routed: Routed) -> Drawn | None:
        """Say what the payer of a new payment has to do, where its channel knows that by itself.

        None where the acquirer is to be asked, the payment's time may end before it is durable, or
        the channel says anything else: all that is for `ask`, once the payment is durable.
        """
        attempt = routed.attempt
        account = self._registry.account(attempt.channel, attempt.account)
        if account is None or not account.channel.capabilities.draws:
            return None
        now = self._clock.now()
        if attempt.expires_at <= now + _DURABLE_BY:
            return None
        opened = Opened(routed.standing, attempt, routed.payer, routed.return_url)
        ask = _ask(opened, Verb.CREATE, now)
        if ask.method.get("flow", ask.method["type"]) not in account.channel.capabilities.draws:
            return None
        drawn = account.channel.build(ask, now)
        if not isinstance(drawn, Outcome) or not _is_the_payers(drawn):
            return None
        return Drawn(routed, Answered(opened, drawn, now))

    def ask(self, opened: Opened) -> Awaitable[Answered]:
        """Ask for the money of a new attempt."""
        return self._answer(opened, Verb.CREATE)

    def query(self, opened: Opened) -> Awaitable[Answered]:
        """Ask what became of an attempt; this moves nothing."""
        return self._answer(opened, Verb.QUERY)

    async def query_refused(self, opened: Opened) -> Answered:
        """Ask how an attempt stands that would not be captured or closed, and note it down."""
        answered = await self._answer(opened, Verb.QUERY)
        await self._note(answered, Verb.QUERY)
        return answered

    async def close(self, opened: Opened) -> Answered:
        """Ask that an attempt can never succeed any more."""
        answered = await self._answer(opened, Verb.CLOSE)
        await self._note(answered, Verb.CLOSE)
        return answered

    async def capture(self, opened: Opened) -> Answered:
        """Ask for the money of an authorization: the attempt says how much."""
        answered = await self._answer(opened, Verb.CAPTURE)
        await self._note(answered, Verb.CAPTURE)
        return answered

    async def refund(self, opened: RefundOpened) -> RefundAnswered:
        """Ask that money goes back; asked again under the same number it goes back once."""
        return await self._answer_refund(opened, Verb.REFUND)

    async def query_refund(self, opened: RefundOpened) -> RefundAnswered:
        """Ask what became of a refund; this moves nothing."""
        return await self._answer_refund(opened, Verb.QUERY_REFUND)

    async def _answer_refund(self, opened: RefundOpened, verb: Verb) -> RefundAnswered:
        standing = opened.standing
        ask = Ask(
            verb=verb,
            number=uuid_of(standing.attempt_id),
            amount=standing.refund.amount,
            currency=standing.refund.currency,
            refund_number=uuid_of(standing.refund.id),
            channel_transaction=standing.payment_transaction,
            refund_transaction=standing.channel_transaction,
            captured=standing.captured,
            is_further=standing.refund.is_further,
        )
        outcome = _NO_ACCOUNT
        account = self._registry.account(standing.channel, standing.account)
        if account is not None:
            outcome = self._heard(account, await self._courier.ask(account.channel, ask))
        answered = RefundAnswered(opened, outcome, self._clock.now())
        remark = said(verb.value, standing.refund.id, outcome, answered.at)
        await self._remarks.note(standing.merchant, standing.refund.payment, remark)
        return answered

    async def _note(self, answered: Answered, verb: Verb) -> None:
        attempt = answered.opened.attempt
        remark = said(verb.value, attempt.id, answered.outcome, answered.at)
        await self._remarks.note(attempt.merchant, attempt.payment_id, remark)

    async def _answer(self, opened: Opened, verb: Verb) -> Answered:
        attempt = opened.attempt
        account = self._registry.account(attempt.channel, attempt.account)
        if account is None:
            return Answered(opened, _NO_ACCOUNT, self._clock.now())
        ask = _ask(opened, verb, self._clock.now())
        outcome = self._heard(account, await self._courier.ask(account.channel, ask))
        return Answered(opened, outcome, self._clock.now())

    def _heard(self, account: Account, outcome: Outcome) -> Outcome:
        """Note down whether the account's credential was refused; merchants hear nothing of it."""
        refused = outcome.code == CREDENTIAL_REFUSED
        if refused or outcome.verdict is not _UNKNOWN:
            self._registry.heard(account, refused=refused)
        if not refused:
            return outcome
        failure = _CANNOT_NOW if outcome.failure is not None else None
        return replace(outcome, code=_UNAVAILABLE, failure=failure)


def _is_the_payers(outcome: Outcome) -> bool:
    """Tell whether the payer alone has something to do, and no number of the channel is taken."""
    return outcome.verdict is Verdict.REQUIRES_ACTION and outcome.channel_transaction is None


def _ask(opened: Opened, verb: Verb, now: datetime) -> Ask:
    """Put together all that a channel may want to know of an attempt."""
    standing, attempt, payer = opened.standing, opened.attempt, opened.payer
    payment = standing.payment
    return Ask(
        verb=verb,
        number=uuid_of(attempt.id),
        amount=attempt.expected,
        currency=attempt.currency,
        method=words_of(payment.method),
        capture=standing.capture,
        expires_at=attempt.expires_at,
        channel_transaction=attempt.channel_transaction,
        captured=payment.amount_captured,
        further_transactions=attempt.further_transactions,
        description=payment.description,
        return_url=opened.return_url,
        payer_ip=payer.ip if payer is not None else None,
        asked_at=now,
    )
