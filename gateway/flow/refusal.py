"""Every error that can end a request, as the refusal that its caller may see."""

import logging
from typing import Final

from gateway.domain.errors import InDoubt, Overloaded, Problem, Unavailable

logger: Final = logging.getLogger(__name__)


def refusal(error: BaseException, request_id: str) -> Problem:
    """Say what went wrong without showing anything internal; what was not foreseen is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Overloaded):
        return Problem("overloaded", "Too much is waiting; nothing was begun.")
    if isinstance(error, Unavailable):
        return Problem("unavailable", "A part we need is away; nothing was begun.")
    if isinstance(error, InDoubt):
        logger.error("%s: a write stayed in doubt", request_id)
        return Problem(
            "internal_error",
            "It is not known whether this was begun; send it again with the same key to learn.",
        )
    logger.error("%s: %s", request_id, type(error).__name__, exc_info=error)
    return Problem("internal_error", "This was not foreseen; it is safe to send it again.")
