"""Unknown until known: ask the channel again, close at the deadline, never guess.

Unknown never becomes failed by time alone.  At the deadline the attempt is queried, then closed at
the channel; only the channel's word that it can no longer succeed ends the payment.
"""

import asyncio
import logging
import random
from datetime import datetime
from typing import Final

from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.outcome import Verdict
from gateway.domain.payment import OPEN
from gateway.domain.recovery import next_query_at
from gateway.domain.stages import Answer, Answered, Claimed, Opened
from gateway.flow import query
from gateway.flow.desk import Desk
from gateway.ledger.codec import encode_payment
from gateway.ledger.recovery import Due

logger: Final = logging.getLogger(__name__)

# What a channel may say without the matter being settled.
_NOT_YET: Final = frozenset(
    {Verdict.PENDING, Verdict.REQUIRES_ACTION, Verdict.NOT_FOUND, Verdict.UNKNOWN}
)
_IDLE_SECONDS: Final = 0.25


async def sync(claimed: Claimed, desk: Desk) -> Answer:
    """Ask the channel about a payment now, because its merchant wants to know."""
    standing = await query.standing_of(claimed.matched, desk)
    merchant, payment_id = standing.merchant, standing.payment.id
    if standing.payment.status in OPEN:
        attempt = await desk.ledger.attempt_of(merchant, payment_id)
        assert attempt is not None, "a payment is opened together with its attempt"
        await ask_again(Opened(standing, attempt), desk, queries=0, source="sync")
        standing = await query.standing_of(claimed.matched, desk)
    answer = Answer(200, encode_payment(standing.payment))
    return await desk.idempotency.settle(claimed, answer)


async def ask_again(opened: Opened, desk: Desk, *, queries: int, source: str) -> None:
    """Query an open attempt, close it when its time is over, and post what the channel said."""
    answered = await desk.channels.query(opened)
    over = answered.at >= opened.attempt.expires_at
    if over and answered.outcome.verdict in _NOT_YET:
        answered = await _close(opened, desk)
    posted = await desk.ledger.post(answered)
    due_at = None
    if posted.standing.payment.status in OPEN:
        due_at = _due(answered.at, opened.attempt.expires_at, queries)
    await desk.recovery.saw(answered, source, due_at)


async def _close(opened: Opened, desk: Desk) -> Answered:
    """Close at the channel; the payer may have paid in between, so ask once more if it refused."""
    closed = await desk.channels.close(opened)
    if closed.outcome.verdict is Verdict.CLOSED:
        return closed
    return await desk.channels.query(opened)


def _due(now: datetime, expires_at: datetime, queries: int) -> datetime:
    """Say when to ask next: never long after the deadline, at which the attempt is closed."""
    due_at = next_query_at(now, queries, random.uniform(-1, 1))  # noqa: S311 - jitter
    return expires_at if now < expires_at < due_at else due_at


async def keep_resuming(desk: Desk) -> None:
    """Serve the recovery queue for ever; whatever fails is due again when its lease ends."""
    while True:
        try:
            taken = await desk.recovery.take(desk.clock.now(), limits.QUERY_BATCH_ITEMS_MAX)
        except FloodgateError as error:
            logger.warning("the recovery queue cannot be read: %s", error)
            taken = []
        if taken:
            await asyncio.gather(*(_resume(due, desk) for due in taken))
        else:
            await asyncio.sleep(_IDLE_SECONDS)


async def _resume(due: Due, desk: Desk) -> None:
    attempt = due.attempt
    try:
        standing = await desk.ledger.standing(attempt.merchant, attempt.payment_id)
        assert standing is not None, "a payment is opened together with its attempt"
        await ask_again(Opened(standing, attempt), desk, queries=due.queries, source="query")
    except FloodgateError as error:
        logger.warning("attempt %s could not be resumed yet: %s", attempt.id, error)
