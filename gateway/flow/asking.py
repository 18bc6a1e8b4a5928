"""Unknown until known: query an attempt, close it at its deadline, post what the channel said.

Unknown never becomes failed by time alone: only the channel's word that it can no longer succeed
ends the payment.  Whoever asks holds the attempt's lease and stops asking before that ends, so an
attempt has one question under way, whoever wants to know.
"""

import asyncio
import logging
import random
from typing import Final

from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.outcome import Verdict
from gateway.domain.stages import Answered, Opened
from gateway.flow import late
from gateway.flow.capture import ask_for_capture
from gateway.flow.close import close_at_channel
from gateway.flow.desk import Desk
from gateway.ledger import recovery_rules
from gateway.ledger.recovery import Due
from gateway.ledger.recovery_rules import holds_in_vain, is_over

logger: Final = logging.getLogger(__name__)


async def ask_again(opened: Opened, desk: Desk, source: str, *, due: Due | None = None) -> None:
    """Ask about an attempt that is leased to us, and give the lease back.

    Late money is done with first; perhaps more has come since.  What cannot be asked or posted in
    time is due again when the lease ends.
    """
    assert opened.lease is not None, "the channel is asked by whoever holds the lease"
    if late.is_late(opened.standing) and not opened.attempt.replaced:
        settled = await late.settle(opened, desk)
        if settled is None:
            return
        opened = settled
    assert opened.lease is not None, "it is still ours"
    left = (opened.lease - desk.clock.now()).total_seconds()
    try:
        async with asyncio.timeout(left - limits.QUERY_LEASE_REST_SECONDS):
            answered = await desk.channels.query(opened)
            if holds_in_vain(opened.standing, opened.attempt, answered.outcome):
                await _note_hold(answered, desk, source)
                source = "void"
            answered = await _carried_on(answered, desk)
    except TimeoutError:
        logger.warning("attempt %s could not be asked about in time", opened.attempt.id)
        return
    posted = await desk.ledger.post(answered)
    desk.routing.learn_end(answered)
    again = None
    if due is not None:
        jitter = random.uniform(-1, 1)  # noqa: S311 - nothing secret hangs on it
        again = recovery_rules.again(
            answered, posted, queries=due.queries, was_check=due.is_check, jitter=jitter
        )
    await desk.recovery.saw(answered, source, due=due, again=again)


async def _carried_on(answered: Answered, desk: Desk) -> Answered:
    """Do what a query's answer asks for: capture again, close what is over, or nothing."""
    opened = answered.opened
    if is_over(answered):
        return await _closed_if_over(answered, desk)
    if answered.outcome.verdict is Verdict.AUTHORIZED and opened.attempt.is_capturing:
        return await ask_for_capture(opened, desk)
    return answered


async def _closed_if_over(answered: Answered, desk: Desk) -> Answered:
    """Close what is over still: a notice may have told of its money while the channel was asked."""
    attempt = answered.opened.attempt
    again = await desk.ledger.by_attempt(attempt.merchant, attempt.id)
    assert again is not None, "an attempt that was opened does not vanish"
    answered = replace(answered, opened=replace(again, lease=answered.opened.lease))
    return await close_at_channel(answered.opened, desk) if is_over(answered) else answered


async def _note_hold(answered: Answered, desk: Desk, source: str) -> None:
    """Note down a hold that came in vain, before the channel hears that it is unwanted."""
    await desk.ledger.post(answered)
    await desk.recovery.saw(replace(answered, opened=replace(answered.opened, lease=None)), source)
