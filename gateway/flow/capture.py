"""Taking money that was only held: note it down, ask the channel, post what it said."""

from typing import Final

from msgspec.structs import replace

from gateway.domain.errors import Problem
from gateway.domain.outcome import Verdict
from gateway.domain.payment import CapturePayment, Status
from gateway.domain.stages import Answer, Answered, Claimed, Heard, Opened, Posted
from gateway.flow import query
from gateway.flow.away import not_posted_yet, unless_away
from gateway.flow.desk import Desk

_ASKED_OR_TAKEN: Final = frozenset({Status.PROCESSING, Status.SUCCEEDED, Status.REQUIRES_REVIEW})


async def capture(claimed: Claimed, desk: Desk) -> Answer:
    """Capture an authorized payment, all of it or a part; the rest of the hold is let go."""
    command = claimed.matched.command
    assert isinstance(command, CapturePayment)
    query.payment_id_of(claimed.matched)
    begun = await desk.ledger.begin_capture(claimed, command.amount)
    if isinstance(begun, Heard):
        return await query.recall(claimed, begun, desk)
    posted = await unless_away(_take(begun, desk))
    if posted is None:
        await desk.idempotency.release(claimed)
        return Answer(200, not_posted_yet(begun))
    status = posted.standing.payment.status
    if status not in _ASKED_OR_TAKEN:
        raise Problem("state_conflict", f"Nothing was captured: this payment is {status.value}.")
    return await desk.idempotency.settle(claimed, Answer(200, posted.body))


async def _take(begun: Opened, desk: Desk) -> Posted:
    posted = await desk.ledger.post(await ask_for_capture(begun, desk))
    await desk.recovery.release(begun)
    return posted


async def ask_for_capture(begun: Opened, desk: Desk) -> Answered:
    """Ask the channel; when it refuses, ask how the attempt stands, for a refusal ends nothing."""
    answered = await desk.channels.capture(begun)
    if answered.outcome.verdict is not Verdict.FAILED:
        return answered
    answered = await desk.channels.query_refused(begun)
    if answered.outcome.verdict is Verdict.AUTHORIZED:
        # It is as if it had never been asked: the hold may be captured otherwise, or canceled.
        begun = replace(begun, attempt=replace(begun.attempt, capture_amount=None))
    return replace(answered, opened=begun)
