"""Unknown until known: ask the channel again, close at the deadline, never guess.

Unknown never becomes failed by time alone.  At the deadline the attempt is queried, then closed at
the channel; only the channel's word that it can no longer succeed ends the payment.
"""

import asyncio
import logging
import random
from datetime import datetime, timedelta
from typing import Final

from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.outcome import Verdict
from gateway.domain.payment import ASKABLE, OPEN, Payment, Status
from gateway.domain.recovery import next_query_at
from gateway.domain.refund import RefundStatus
from gateway.domain.stages import Answer, Answered, Claimed, Opened, Posted, RefundOpened
from gateway.flow import late, query
from gateway.flow.capture import ask_for_capture
from gateway.flow.close import close_at_channel
from gateway.flow.desk import Desk
from gateway.flow.notice import serve_left_notices
from gateway.flow.refund import ask_about_refund
from gateway.ledger.codec import encode
from gateway.ledger.recovery import Due, DueRefund

logger: Final = logging.getLogger(__name__)

# What a channel may say without the matter being settled.
_NOT_YET: Final = frozenset(
    {Verdict.PENDING, Verdict.REQUIRES_ACTION, Verdict.NOT_FOUND, Verdict.UNKNOWN}
)
_IDLE_SECONDS: Final = 0.25


async def sync(claimed: Claimed, desk: Desk) -> Answer:
    """Ask the channel about a payment now, because its merchant wants to know."""
    payment_id = query.payment_id_of(claimed.matched)
    opened = await desk.ledger.opened(claimed.merchant.number, payment_id)
    if opened.standing.payment.status in ASKABLE:
        await ask_again(opened, desk, "sync")
    standing = await query.standing_of(claimed.matched, desk)
    return await desk.idempotency.settle(claimed, Answer(200, encode(standing.payment)))


async def ask_again(opened: Opened, desk: Desk, source: str, *, due: Due | None = None) -> None:
    """Query an attempt, close it when its time is over, and post what the channel said."""
    if late.is_late(opened.standing):
        await late.settle(opened, desk)
        return
    answered = await desk.channels.query(opened)
    if answered.outcome.verdict is Verdict.AUTHORIZED and opened.attempt.is_capturing:
        answered = await ask_for_capture(opened, desk)
    elif _is_over(answered):
        answered = await close_at_channel(opened, desk)
    posted = await desk.ledger.post(answered)
    again = _again_at(answered, posted, due.queries) if due is not None else None
    await desk.recovery.saw(answered, source, due=due, again=again)


def _is_over(answered: Answered) -> bool:
    """Tell whether an attempt must be closed now: still open, and its time has passed.

    A hold has its own time, which a channel that is silent just now does not shorten.
    """
    attempt, verdict = answered.opened.attempt, answered.outcome.verdict
    payment = answered.opened.standing.payment
    if attempt.is_capturing or verdict not in _NOT_YET | {Verdict.AUTHORIZED}:
        return False
    if attempt.cancel_wished:
        return True
    if verdict is Verdict.AUTHORIZED or payment.status is Status.REQUIRES_CAPTURE:
        return answered.at >= _hold_ends_at(payment)
    return answered.at >= attempt.expires_at


def _hold_ends_at(payment: Payment) -> datetime:
    return payment.created_at + timedelta(seconds=limits.AUTHORIZATION_SECONDS)


def _again_at(answered: Answered, posted: Posted, queries: int) -> datetime | None:
    """Say when to ask next: never long after the deadline, at which the attempt is closed.

    A hold that should have been let go, and was not, is asked about like an open payment.
    """
    payment, attempt = posted.standing.payment, answered.opened.attempt
    is_held = payment.status is Status.REQUIRES_CAPTURE
    if not is_held and payment.status not in OPEN:
        return None
    ends_at = _hold_ends_at(payment) if is_held else attempt.expires_at
    if is_held and answered.at < ends_at and not attempt.cancel_wished:
        return ends_at
    again = next_query_at(answered.at, queries, random.uniform(-1, 1))  # noqa: S311 - jitter
    return ends_at if answered.at < ends_at < again else again


async def keep_resuming(desk: Desk) -> None:
    """Serve the recovery queues for ever; whatever fails is due again when its lease ends."""
    while True:
        now = desk.clock.now()
        try:
            attempts = await desk.recovery.take(now, limits.QUERY_BATCH_ITEMS_MAX)
            refunds = await desk.recovery.take_refunds(now, limits.QUERY_BATCH_ITEMS_MAX)
            await serve_left_notices(desk, limits.QUERY_BATCH_ITEMS_MAX)
        except Exception as error:  # noqa: BLE001 - no error may end the worker
            logger.warning("the recovery queue cannot be read: %r", error)
            attempts, refunds = [], []
        asked = len(attempts) + len(refunds)
        pace = asyncio.sleep(asked / limits.QUERIES_PER_SECOND_MAX if asked else _IDLE_SECONDS)
        await asyncio.gather(
            pace,
            *(_resume(due, desk) for due in attempts),
            *(_resume_refund(due, desk) for due in refunds),
        )


async def _resume(due: Due, desk: Desk) -> None:
    attempt = due.attempt
    try:
        opened = await desk.ledger.opened(attempt.merchant, attempt.payment_id)
        await ask_again(opened, desk, "query", due=due)
    except FloodgateError as error:
        logger.warning("attempt %s could not be resumed yet: %s", attempt.id, error)
    except Exception:
        # What nobody foresaw is tried again when its lease ends; it must not stop the others.
        logger.exception("attempt %s cannot be resumed", attempt.id)


async def _resume_refund(due: DueRefund, desk: Desk) -> None:
    try:
        standing = await desk.refunds.standing(due.merchant, due.refund_id)
        assert standing is not None, "a refund that was opened does not vanish"
        posted = await desk.refunds.post(await ask_about_refund(RefundOpened(standing), desk))
        if posted.standing.refund.status is RefundStatus.PROCESSING:
            jitter = random.uniform(-1, 1)  # noqa: S311 - nothing secret hangs on it
            due_at = next_query_at(desk.clock.now(), due.queries, jitter)
            await desk.recovery.refund_later(posted.standing, due_at)
    except FloodgateError as error:
        logger.warning("refund %s could not be resumed yet: %s", due.refund_id, error)
    except Exception:
        logger.exception("refund %s cannot be resumed", due.refund_id)
