"""What moves something is done once: claim its key, do it, and keep the answer or give it back."""

from collections.abc import Awaitable, Callable

from gateway.domain.errors import FloodgateError, Problem
from gateway.domain.problem import answer_of
from gateway.domain.stages import Answer, Claimed, Matched
from gateway.drivers.stopwatch import lap
from gateway.flow import steps
from gateway.flow.desk import Desk


async def once(
    matched: Matched, desk: Desk, serve: Callable[[Claimed, Desk], Awaitable[Answer]]
) -> Answer:
    """Serve a request unless it was heard before; then give the answer that it had."""
    claimed = await desk.idempotency.claim(matched)
    lap(steps.CLAIM)
    if isinstance(claimed, Answer):
        return claimed
    try:
        return await serve(claimed, desk)
    except Problem as problem:
        # A refusal is an answer too: whoever asks again with this key hears the same no, except
        # where nothing was begun and the request may be mended, or the key is another request's.
        reused = problem.code == "idempotency_key_reused"
        if not reused and desk.idempotency.keeps(problem.kind.status):
            request_id = matched.verified.received.request_id
            await desk.idempotency.refuse(claimed, answer_of(problem, request_id))
        else:
            await desk.idempotency.release(claimed)
        raise
    except FloodgateError:
        await desk.idempotency.release(claimed)
        raise
