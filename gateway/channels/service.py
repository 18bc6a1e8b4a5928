"""The channel step: ask the acquirer about an attempt that is durable already."""

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, Verb
from gateway.channels.registry import Registry
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Outcome
from gateway.domain.payment import CardMethod, Method
from gateway.domain.stages import Answered, Attempt, Opened
from gateway.drivers.clock import Clock


class Channels:
    """All channels behind the verbs of the flow; whatever cannot be learnt is UNKNOWN."""

    def __init__(self, registry: Registry, courier: Courier, clock: Clock) -> None:
        self._registry = registry
        self._courier = courier
        self._clock = clock

    async def ask(self, opened: Opened) -> Answered:
        """Ask for the money of a new attempt."""
        return await self._answer(opened, Verb.CREATE)

    async def query(self, opened: Opened) -> Answered:
        """Ask what became of an attempt; this moves nothing."""
        return await self._answer(opened, Verb.QUERY)

    async def close(self, opened: Opened) -> Answered:
        """Ask that an attempt can never succeed any more."""
        return await self._answer(opened, Verb.CLOSE)

    async def _answer(self, opened: Opened, verb: Verb) -> Answered:
        standing, attempt = opened.standing, opened.attempt
        ask = Ask(
            verb=verb,
            number=uuid_of(attempt.id),
            amount=attempt.amount,
            currency=attempt.currency,
            method=_words_of(standing.payment.method),
            capture=standing.capture,
            expires_at=attempt.expires_at,
        )
        outcome = await self._carry(attempt, ask)
        return Answered(opened, outcome, self._clock.now())

    async def _carry(self, attempt: Attempt, ask: Ask) -> Outcome:
        return await self._courier.ask(self._registry.named(attempt.channel), ask)


def _words_of(method: Method) -> dict[str, str]:
    if isinstance(method, CardMethod):
        return {"type": "card", "token": method.token}
    return {"type": "qr"}
