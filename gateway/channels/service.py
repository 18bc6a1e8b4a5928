"""The channel step: ask the acquirer about an attempt that is durable already."""

from gateway.channels.courier import Courier
from gateway.channels.notices import KeptNotice
from gateway.channels.port import Ask, Notice, Verb
from gateway.channels.registry import Registry
from gateway.domain.identity import uuid_of
from gateway.domain.payment import words_of
from gateway.domain.stages import Answered, Opened, RefundAnswered, RefundOpened
from gateway.drivers.clock import Clock


class Channels:
    """All channels behind the verbs of the flow; whatever cannot be learnt is UNKNOWN."""

    def __init__(self, registry: Registry, courier: Courier, clock: Clock) -> None:
        self._registry = registry
        self._courier = courier
        self._clock = clock

    def has(self, name: str) -> bool:
        """Tell whether there is a channel of this name."""
        return any(channel.name == name for channel in self._registry)

    def read_notice(self, kept: KeptNotice) -> Notice:
        """Verify and read a notice as of when it came; raises `NoticeRefused`."""
        channel = self._registry.named(kept.channel)
        return channel.read_notice(kept.headers, kept.body, kept.received_at)

    async def ask(self, opened: Opened) -> Answered:
        """Ask for the money of a new attempt."""
        return await self._answer(opened, Verb.CREATE)

    async def query(self, opened: Opened) -> Answered:
        """Ask what became of an attempt; this moves nothing."""
        return await self._answer(opened, Verb.QUERY)

    async def close(self, opened: Opened) -> Answered:
        """Ask that an attempt can never succeed any more."""
        return await self._answer(opened, Verb.CLOSE)

    async def capture(self, opened: Opened) -> Answered:
        """Ask for the money of an authorization: the attempt says how much."""
        return await self._answer(opened, Verb.CAPTURE)

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
        )
        outcome = await self._courier.ask(self._registry.named(standing.channel), ask)
        return RefundAnswered(opened, outcome, self._clock.now())

    async def _answer(self, opened: Opened, verb: Verb) -> Answered:
        standing, attempt = opened.standing, opened.attempt
        ask = Ask(
            verb=verb,
            number=uuid_of(attempt.id),
            amount=attempt.expected,
            currency=attempt.currency,
            method=words_of(standing.payment.method),
            capture=standing.capture,
            expires_at=attempt.expires_at,
            channel_transaction=attempt.channel_transaction,
            captured=standing.payment.amount_captured,
            description=standing.payment.description,
            return_url=opened.return_url,
            payer_ip=opened.payer.ip if opened.payer is not None else None,
            asked_at=self._clock.now(),
        )
        outcome = await self._courier.ask(self._registry.named(attempt.channel), ask)
        return Answered(opened, outcome, self._clock.now())
