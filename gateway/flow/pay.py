"""A new payment: through whom, make it durable, ask the channel, post what it said."""

import logging
from typing import Final

import msgspec

from gateway.domain.errors import InDoubt, Problem, Unavailable
from gateway.domain.identity import public
from gateway.domain.payment import Certainty
from gateway.domain.stages import Answer, Answered, Claimed, Heard, Opened, Posted, ReferenceTaken
from gateway.flow import query
from gateway.flow.desk import Desk
from gateway.ledger.codec import encode

logger: Final = logging.getLogger(__name__)

CREATED: Final = 201


async def pay(claimed: Claimed, desk: Desk) -> Answer:
    """Take a payment; what is not known at the end is `processing` and never an error."""
    routed = desk.routing.choose(claimed)
    opened = await desk.ledger.open(routed)
    if isinstance(opened, Heard) and not opened.refused:
        return await query.recall(claimed, opened, desk)
    if isinstance(opened, Heard):
        desk.idempotency.recall(claimed, opened)
    if isinstance(opened, Heard | ReferenceTaken):
        raise _reference_exists(public("pay", opened.resource))
    answered = await desk.channels.ask(opened)
    posted = await _post(answered, desk)
    if posted is None:
        await desk.idempotency.release(claimed)
        return Answer(CREATED, _not_posted_yet(opened))
    return await desk.idempotency.settle(claimed, Answer(CREATED, posted.body))


async def _post(answered: Answered, desk: Desk) -> Posted | None:
    """Post an outcome; None when the database is away: the worker will ask the channel again."""
    try:
        return await desk.ledger.post(answered)
    except (Unavailable, InDoubt) as error:
        logger.warning("an outcome could not be posted yet: %s", error)
        return None


def _not_posted_yet(opened: Opened) -> bytes:
    """Show the payment as it durably is: opened, and of an outcome that nobody can prove."""
    payment = opened.standing.payment
    return encode(msgspec.structs.replace(payment, certainty=Certainty.UNKNOWN))


def _reference_exists(payment_id: str) -> Problem:
    return Problem(
        "reference_exists",
        "Another payment has this reference.",
        param="reference",
        extra={"payment": payment_id},
    )
