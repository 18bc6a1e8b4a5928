"""A merchant wants to know now: ask the channel, or wait for whoever is asking it already."""

import asyncio

from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.payment import ASKABLE
from gateway.domain.stages import Answer, Attempt, Claimed
from gateway.flow import query
from gateway.flow.asking import ask_again
from gateway.flow.away import unless_away
from gateway.flow.desk import Desk
from gateway.ledger.codec import encode


async def sync(claimed: Claimed, desk: Desk) -> Answer:
    """Show a payment as it stands after the channel was asked.

    Somebody else's question is as good as ours; where the channel allows no more of them, or the
    answer does not come soon, the payment is shown as it stands.  So it is, too, where PostgreSQL
    alone remembers the key.
    """
    payment_id = query.payment_id_of(claimed.matched)
    heard = await desk.ledger.heard(claimed)
    if heard is not None:
        return await query.recall(claimed, heard, desk)
    opened = await desk.ledger.opened(claimed.merchant.number, payment_id)
    if opened.standing.payment.status in ASKABLE:
        await _ask_or_wait(opened.attempt, desk)
    standing = await query.standing_of(claimed.matched, desk)
    await unless_away(desk.ledger.note_use(claimed, payment_id))
    return await desk.idempotency.settle(claimed, Answer(200, encode(standing.payment)))


async def _ask_or_wait(attempt: Attempt, desk: Desk) -> None:
    """Ask if nobody does; what is asked about is read once it is ours, as others have left it."""
    lease = await desk.recovery.lease(attempt, desk.clock.now())
    if lease is None:
        await _answer_comes(attempt, desk)
        return
    opened = await desk.ledger.by_attempt(attempt.merchant, attempt.id)
    assert opened is not None, "an attempt that was opened does not vanish"
    await ask_again(replace(opened, lease=lease), desk, "sync")


async def _answer_comes(attempt: Attempt, desk: Desk) -> None:
    """Wait until nobody is asking about an attempt any more, but not long."""
    for wait in limits.SYNC_LOOK_SECONDS:
        if not await desk.recovery.is_leased(attempt, desk.clock.now()):
            return
        await asyncio.sleep(wait)
