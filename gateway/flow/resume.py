"""The worker's round: whatever is due is asked about, many at a time, each channel by itself.

A slow channel fills its own flights and nobody else's, and what comes due meanwhile is begun while
the slow ones are still under way.
"""

import asyncio
import logging
import random
from typing import Final

from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.recovery import next_query_at
from gateway.domain.refund import RefundStatus
from gateway.domain.stages import RefundOpened
from gateway.drivers.flights import Flights
from gateway.flow.asking import ask_again
from gateway.flow.desk import Desk
from gateway.flow.late import settle_further
from gateway.flow.notice import serve_left_notices
from gateway.flow.refund import ask_about_refund, post_refund
from gateway.ledger.recovery import Due, DueRefund

logger: Final = logging.getLogger(__name__)

_PACE_SECONDS: Final = 0.02
_IDLE_SECONDS: Final = 0.25
_LEAVE_SECONDS: Final = 5
_NOTICES: Final = "notices"
_FURTHER: Final = "further"


async def keep_resuming(desk: Desk) -> None:
    """Serve the recovery queues for ever; whatever fails is due again when its lease ends."""
    landing = asyncio.Event()
    attempts, refunds, aside = Flights(landing), Flights(landing), Flights()
    try:
        while True:
            try:
                await resume_due(desk, attempts, refunds, aside)
            except Exception as error:  # noqa: BLE001 - no error may end the worker
                logger.warning("the recovery queue cannot be read: %r", error)
            await attempts.rest(_PACE_SECONDS, _IDLE_SECONDS)
    finally:
        await asyncio.gather(*(each.leave(_LEAVE_SECONDS) for each in (attempts, refunds, aside)))


async def resume_due(desk: Desk, attempts: Flights, refunds: Flights, aside: Flights) -> None:
    """Begin what is due now, without waiting for the answers.

    Attempts and refunds make room for more when they land, and so end the rest that follows.  What
    is looked at each time, `aside`, would let nobody rest.
    """
    now = desk.clock.now()
    for due in await desk.recovery.take(now, attempts.busy):
        attempts.start(due.channel, _resume(due, desk), due.attempt_id)
    for lost in await desk.recovery.take_refunds(now, refunds.busy):
        refunds.start(lost.channel, _resume_refund(lost, desk), lost.refund_id)
    if not aside.busy[_NOTICES]:
        left = serve_left_notices(desk, limits.LEFT_NOTICES_ITEMS_MAX)
        aside.start(_NOTICES, left, "what was left of the notices")
    if not aside.busy[_FURTHER]:
        aside.start(_FURTHER, _settle_further(desk), "what was paid beside payments")


async def _resume(due: Due, desk: Desk) -> None:
    try:
        opened = await desk.ledger.by_attempt(due.merchant, due.attempt_id)
        assert opened is not None, "an attempt that was opened does not vanish"
        await ask_again(replace(opened, lease=due.lease_ends), desk, "query", due=due)
    except FloodgateError as error:
        logger.warning("attempt %s could not be resumed yet: %s", due.attempt_id, error)
    except Exception:
        # What nobody foresaw is tried again when its lease ends; it must not stop the others.
        logger.exception("attempt %s cannot be resumed", due.attempt_id)


async def _settle_further(desk: Desk) -> None:
    """Carry out what merchants want done with it; it is rare, so that is looked for less often."""
    await settle_further(desk)
    await asyncio.sleep(_IDLE_SECONDS)


async def _resume_refund(due: DueRefund, desk: Desk) -> None:
    try:
        standing = await desk.refunds.standing(due.merchant, due.refund_id)
        assert standing is not None, "a refund that was opened does not vanish"
        posted = await post_refund(await ask_about_refund(RefundOpened(standing), desk), desk)
        if posted.standing.refund.status is RefundStatus.PROCESSING:
            jitter = random.uniform(-1, 1)  # noqa: S311 - nothing secret hangs on it
            due_at = next_query_at(desk.clock.now(), due.queries, jitter)
            await desk.recovery.refund_later(posted.standing, due_at)
    except FloodgateError as error:
        logger.warning("refund %s could not be resumed yet: %s", due.refund_id, error)
    except Exception:
        logger.exception("refund %s cannot be resumed", due.refund_id)
