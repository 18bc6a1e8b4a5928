"""Ending a payment that nobody wants any more: only the channel's word ends it."""

from gateway.domain.errors import Problem
from gateway.domain.outcome import Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answer, Answered, Claimed, Heard, Opened
from gateway.flow import query
from gateway.flow.desk import Desk


async def cancel(claimed: Claimed, desk: Desk) -> Answer:
    """Cancel an open or authorized payment, because its merchant asks.

    The wish is durable before the channel hears of it, so recovery goes on where we stop.  A payer
    who was quicker has paid: then the payment succeeded, and the merchant is told so.
    """
    query.payment_id_of(claimed.matched)
    begun = await desk.ledger.begin_cancel(claimed)
    if isinstance(begun, Heard):
        return await query.recall(claimed, begun, desk)
    posted = await desk.ledger.post(await close_at_channel(begun, desk))
    if posted.standing.payment.status is Status.SUCCEEDED:
        raise Problem("state_conflict", "The payment had succeeded before it could be canceled.")
    return await desk.idempotency.settle(claimed, Answer(200, posted.body))


async def close_at_channel(opened: Opened, desk: Desk) -> Answered:
    """Close an attempt; the payer may have paid in between, so ask once more if that failed."""
    closed = await desk.channels.close(opened)
    if closed.outcome.verdict is Verdict.CLOSED:
        return closed
    return await desk.channels.query(opened)
