"""What is answered while the database is away: the truth as it durably is, never a guess."""

import logging
from collections.abc import Awaitable
from typing import Final, TypeVar

from msgspec.structs import replace

from gateway.domain.errors import InDoubt, Unavailable
from gateway.domain.payment import Certainty
from gateway.domain.stages import Opened, Posted
from gateway.ledger.codec import encode

logger: Final = logging.getLogger(__name__)

_Posted = TypeVar("_Posted")


async def unless_away(posting: Awaitable[_Posted]) -> _Posted | None:
    """Await a posting; None when the database is away: the worker will ask the channel again."""
    try:
        return await posting
    except (Unavailable, InDoubt) as error:
        note_away(error)
        return None


def note_away(error: Unavailable | InDoubt) -> None:
    """Note that an outcome could not be posted: the database is away."""
    logger.warning("an outcome could not be posted yet: %s", error)


def not_posted_yet(opened: Opened | Posted) -> bytes:
    """Show the payment as it durably is: opened, and of an outcome that nobody can prove."""
    return encode(replace(opened.standing.payment, certainty=Certainty.UNKNOWN))
