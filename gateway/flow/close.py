"""Ending a payment that nobody wants any more: only the channel's word ends it."""

from msgspec.structs import replace

from gateway.domain.errors import Problem
from gateway.domain.outcome import Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answer, Answered, Claimed, Heard, Opened, Posted
from gateway.flow import query
from gateway.flow.away import unless_away
from gateway.flow.desk import Desk
from gateway.ledger.codec import encode


async def cancel(claimed: Claimed, desk: Desk) -> Answer:
    """Cancel an open or authorized payment, because its merchant asks.

    The wish is durable before the channel hears of it, so recovery goes on where we stop.  A payer
    who was quicker has paid: then the payment succeeded, and the merchant is told so.
    """
    query.payment_id_of(claimed.matched)
    begun = await desk.ledger.begin_cancel(claimed)
    if isinstance(begun, Heard):
        return await query.recall(claimed, begun, desk)
    posted = await unless_away(_close(begun, desk))
    if posted is None:
        await desk.idempotency.release(claimed)
        return Answer(200, encode(begun.standing.payment))
    if posted.standing.payment.status is Status.SUCCEEDED:
        raise Problem("state_conflict", "The payment had succeeded before it could be canceled.")
    return await desk.idempotency.settle(claimed, Answer(200, posted.body))


async def _close(begun: Opened, desk: Desk) -> Posted:
    posted = await desk.ledger.post(await close_at_channel(begun, desk))
    await desk.recovery.release(begun)
    return posted


async def close_at_channel(opened: Opened, desk: Desk) -> Answered:
    """Close an attempt; where it is too late for that, ask how the attempt stands.

    The payer may have paid in between, or the merchant have captured: then the attempt itself now
    says how much is to be expected.  It stays leased to whoever asks.
    """
    closed = await desk.channels.close(opened)
    if closed.outcome.verdict is Verdict.CLOSED:
        return closed
    again = await desk.ledger.by_attempt(opened.attempt.merchant, opened.attempt.id)
    assert again is not None, "an attempt that was opened does not vanish"
    return await desk.channels.query_refused(replace(again, lease=opened.lease))
