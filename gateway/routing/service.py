"""The routing step: a claimed request goes in, a payment with its channel and attempt comes out."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.payment import CardMethod, CreatePayment, Payment, Standing, type_of
from gateway.domain.stages import Attempt, Claimed, Routed
from gateway.drivers.clock import Clock
from gateway.routing.feebook import FeeBook
from gateway.routing.rules import Candidate, Wish, eligible, objection


class Routing:
    """Chooses the channel of a new payment among those that a merchant, by its number, has."""

    def __init__(
        self, candidates: Callable[[int], Sequence[Candidate]], fees: FeeBook, clock: Clock
    ) -> None:
        self._candidates = candidates
        self._fees = fees
        self._clock = clock

    def choose(self, claimed: Claimed) -> Routed:
        """Choose a channel; `Problem` 422 with each candidate's reason when none can serve."""
        command = claimed.matched.command
        assert isinstance(command, CreatePayment)
        candidates = self._candidates(claimed.merchant.number)
        wish = Wish(type_of(command.method), command.currency, claimed.merchant.load_test)
        able = eligible(candidates, wish)
        if not able:
            reasons = ", ".join(f"{c.name}: {objection(c, wish)}" for c in candidates)
            raise Problem("no_channel", f"No channel can serve this payment ({reasons}).")
        merchant, expires_at = claimed.merchant, _expiry(command, claimed.at)
        payment = Payment(
            id=self._clock.mint("pay", merchant.number),
            merchant=merchant.id,
            reference=command.reference,
            amount=command.amount,
            currency=command.currency,
            method=command.method,
            channel=able[0].name,
            metadata=command.metadata,
            description=command.description,
            created_at=claimed.at,
            updated_at=claimed.at,
            expires_at=expires_at,
        )
        standing = Standing(
            payment=payment,
            merchant=merchant.number,
            version=0,
            capture=command.capture == "automatic",
            commission_bps=merchant.commission_bps,
        )
        attempt = Attempt(
            id=self._clock.mint("att", merchant.number),
            payment_id=payment.id,
            merchant=merchant.number,
            channel=able[0].name,
            channel_number=able[0].number,
            amount=payment.amount,
            currency=payment.currency,
            expires_at=expires_at,
            terms=self._fees.terms(merchant, wish.method, payment.currency, able[0].name),
            account=able[0].account,
        )
        return Routed(claimed, standing, attempt, command.payer, command.return_url)


def _expiry(command: CreatePayment, now: datetime) -> datetime:
    """Say until when the payment may be completed."""
    if command.expires_at is not None:
        return command.expires_at.astimezone(UTC)
    card = isinstance(command.method, CardMethod)
    return now + timedelta(seconds=limits.CARD_OPEN_SECONDS if card else limits.QR_OPEN_SECONDS)
