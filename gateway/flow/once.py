"""What moves something is done once: claim its key, do it, and keep the answer or give it back."""

from collections.abc import Awaitable, Callable

from gateway.domain import limits
from gateway.domain.errors import FloodgateError, InDoubt, Problem
from gateway.domain.problem import answer_of
from gateway.domain.stages import Answer, Claimed, Matched
from gateway.drivers.deadlines import within
from gateway.drivers.stopwatch import lap
from gateway.flow import steps
from gateway.flow.desk import Desk


async def once(
    matched: Matched,
    desk: Desk,
    serve: Callable[[Claimed, Desk], Awaitable[Answer]],
    *,
    seconds: float = limits.REQUEST_SECONDS_MAX,
) -> Answer:
    """Serve a request unless it was heard before; then give the answer that it had.

    It is served no longer than this, and so never beyond its claim: whatever was begun by then is
    durable and found out by recovery, and the next try with the key hears what became of it.
    """
    try:
        claimed = await desk.idempotency.claim(matched)
    except Problem as problem:
        claimed = await used_by_nobody_else(matched, desk, problem)
    lap(steps.CLAIM)
    if isinstance(claimed, Answer):
        return claimed
    return await served(claimed, desk, serve, seconds=seconds)


async def served(
    claimed: Claimed,
    desk: Desk,
    serve: Callable[[Claimed, Desk], Awaitable[Answer]],
    *,
    seconds: float,
) -> Answer:
    """Serve a request whose key is claimed; what goes wrong ends the claim as it should."""
    try:
        with within(seconds):
            return await serve(claimed, desk)
    except FloodgateError as error:
        await let_go(claimed, desk, error)
        raise
    except TimeoutError:
        await desk.idempotency.release(claimed)
        raise InDoubt("a request took too long") from None


async def let_go(claimed: Claimed, desk: Desk, error: FloodgateError) -> None:
    """End the claim of a request that ended with an error.

    A refusal is an answer too: whoever asks again with this key hears the same no, except where
    nothing was begun and the request may be mended, or the key is another request's.
    """
    request_id = claimed.matched.verified.received.request_id
    if (
        isinstance(error, Problem)
        and error.code != "idempotency_key_reused"
        and desk.idempotency.keeps(error.kind.status)
    ):
        await desk.idempotency.refuse(claimed, answer_of(error, request_id))
    else:
        await desk.idempotency.release(claimed)


async def used_by_nobody_else(matched: Matched, desk: Desk, problem: Problem) -> Claimed:
    """Go on with a key that Redis has for another request; the problem when it is really its own.

    Redis may hold a claim of another request with this key that was misused, and whose worker died;
    so before the key is refused PostgreSQL, which decides, is asked whose it is.
    """
    if problem.code != "idempotency_key_reused":
        raise problem
    unclaimed = desk.idempotency.unclaimed(matched)
    heard = await desk.ledger.heard(unclaimed)
    if heard is None or heard.fingerprint != unclaimed.fingerprint:
        raise problem
    return unclaimed
