"""Why this channel: a decision as support staff and merchants read it, and one for trying out.

What we pay our channels is our own business, so what a candidate would have cost is left out.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from gateway.domain.payment import CreatePayment
from gateway.domain.stages import Answer, Claimed
from gateway.flow.desk import Desk
from gateway.routing.decision import Decision, Seen, Weighed, decode


class ShownCandidate(Struct, frozen=True, kw_only=True):
    """One channel: why it was not taken, and how it was; null where that played no part.

    `success_share` is in basis points of its answers in the last five minutes, `latency` their mean
    in milliseconds.
    """

    channel: str
    reason: str | None
    score: int | None
    health: str | None
    answers: int
    success_share: int | None
    latency: int | None


class ShownDecision(Struct, frozen=True, kw_only=True):
    """Through whom a payment goes, why, and by which version of the configuration.

    Candidates stand in the order in which they would be taken, then those that cannot serve.
    """

    object: Literal["routing_decision"] = "routing_decision"
    version: int
    channel: str | None
    by: str | None
    bank: str | None
    candidates: list[ShownCandidate]


def shown(decision: Decision) -> ShownDecision:
    """Show a decision without what it would have cost us."""
    looks = {one.channel: one for one in decision.seen}
    return ShownDecision(
        version=decision.version,
        channel=decision.chosen,
        by=decision.by,
        bank=decision.bank,
        candidates=[_candidate(one, looks[one.channel]) for one in decision.candidates],
    )


def _candidate(one: Weighed, look: Seen) -> ShownCandidate:
    return ShownCandidate(
        channel=one.channel,
        reason=one.reason,
        score=one.score,
        health=look.health,
        answers=look.answers,
        success_share=look.good * 10_000 // look.answers if look.answers else None,
        latency=look.latency if look.answers else None,
    )


def told(stored: bytes) -> dict[str, object]:
    """Show a stored decision as plain JSON."""
    plain: dict[str, object] = msgspec.to_builtins(shown(decode(stored)))
    return plain


async def simulate(claimed: Claimed, desk: Desk) -> Answer:
    """Say through whom a payment would go now; nothing moves, only the answer is kept."""
    command = claimed.matched.command
    assert isinstance(command, CreatePayment)
    decision = desk.routing.simulate(claimed.merchant, command, claimed.at)
    answer = Answer(200, msgspec.json.encode(shown(decision)))
    return await desk.idempotency.settle(claimed, answer)
