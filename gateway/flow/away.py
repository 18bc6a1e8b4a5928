"""What is answered while the database is away: the truth as it durably is, never a guess.

So it is when the time for an answer is over before an outcome is posted.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Final, TypeVar

from msgspec.structs import replace

from gateway.domain.errors import InDoubt, Unavailable
from gateway.domain.payment import Certainty
from gateway.domain.stages import Opened, Posted
from gateway.drivers.deadlines import is_over
from gateway.ledger.codec import encode

logger: Final = logging.getLogger(__name__)

# What it ends with when an outcome is not posted: the database is away, or the time is over.
AWAY: Final = (Unavailable, InDoubt, asyncio.CancelledError)

_Posted = TypeVar("_Posted")


async def unless_away(posting: Awaitable[_Posted]) -> _Posted | None:
    """Await a write; None when the database is away: what it is about is found out again.

    None as well when the request's time is over: what was begun is durable and can be shown.
    """
    try:
        return await posting
    except AWAY as error:
        note_away(error)
        return None


def note_away(error: BaseException) -> None:
    """Note that a write was not made in time; who is cancelled otherwise stays cancelled."""
    if isinstance(error, asyncio.CancelledError) and not is_over():
        raise error
    logger.warning("a write was not made in time: %s", str(error) or "the time is over")


def not_posted_yet(opened: Opened | Posted) -> bytes:
    """Show the payment as it durably is: opened, and of an outcome that nobody can prove."""
    return encode(replace(opened.standing.payment, certainty=Certainty.UNKNOWN))
