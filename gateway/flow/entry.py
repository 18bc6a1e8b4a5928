"""The door: every signed request comes in here and leaves with an answer."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.domain.errors import FloodgateError, Problem
from gateway.domain.problem import answer_of
from gateway.domain.stages import Answer, Claimed, Matched, Received
from gateway.flow import capture, close, pay, query, refund, resume, webhooks
from gateway.flow.desk import Desk

_READS: Final[Mapping[str, Callable[[Matched, Desk], Awaitable[Answer]]]] = {
    "get_payment": query.get_payment,
    "list_payments": query.list_payments,
    "get_refund": refund.get_refund,
    "list_refunds": refund.list_refunds,
    "show_timeline": query.show_timeline,
    "list_accounts": query.list_accounts,
    "list_entries": query.list_entries,
    "list_events": query.list_events,
    "list_endpoints": webhooks.list_endpoints,
    "get_endpoint": webhooks.get_endpoint,
    "list_deliveries": webhooks.list_deliveries,
    # Asked twice it says that there is nothing left, so it needs no key.
    "delete_endpoint": webhooks.delete_endpoint,
}
_WRITES: Final[Mapping[str, Callable[[Claimed, Desk], Awaitable[Answer]]]] = {
    "create_payment": pay.pay,
    "capture_payment": capture.capture,
    "cancel_payment": close.cancel,
    "refund_payment": refund.refund,
    "sync_payment": resume.sync,
    "create_endpoint": webhooks.create_endpoint,
    "enable_endpoint": webhooks.enable_endpoint,
    "rotate_endpoint_secret": webhooks.rotate_secret,
    "redeliver_event": webhooks.redeliver_event,
    "redeliver_to_endpoint": webhooks.redeliver_span,
}


async def enter(received: Received, desk: Desk) -> Answer:
    """Serve one request: whose is it, what does it ask, was it heard before, then the operation."""
    verified = desk.verify(received)
    matched = desk.match(verified)
    name = matched.operation.name
    if not matched.operation.writes:
        return await _READS[name](matched, desk)
    claimed = await desk.idempotency.claim(matched)
    if isinstance(claimed, Answer):
        return claimed
    try:
        return await _WRITES[name](claimed, desk)
    except Problem as problem:
        # A refusal is an answer too: whoever asks again with this key hears the same no, except
        # where nothing was begun and the request may be mended, or the key is another request's.
        reused = problem.code == "idempotency_key_reused"
        if not reused and desk.idempotency.keeps(problem.kind.status):
            await desk.idempotency.refuse(claimed, answer_of(problem, received.request_id))
        else:
            await desk.idempotency.release(claimed)
        raise
    except FloodgateError:
        await desk.idempotency.release(claimed)
        raise
