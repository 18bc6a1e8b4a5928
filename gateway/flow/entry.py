"""The door: every signed request comes in here and leaves with an answer."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.domain.stages import Answer, Claimed, Matched, Received
from gateway.drivers.stopwatch import lap
from gateway.flow import batch, capture, close, pay, query, refund, route, steps, webhooks
from gateway.flow.desk import Desk
from gateway.flow.once import once
from gateway.flow.sync import sync

_READS: Final[Mapping[str, Callable[[Matched, Desk], Awaitable[Answer]]]] = {
    "get_payment": query.get_payment,
    "list_payments": query.list_payments,
    "get_refund": refund.get_refund,
    "list_refunds": refund.list_refunds,
    "list_further_transactions": refund.list_further,
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
    "create_payments": batch.pay_all,
    "simulate_routing": route.simulate,
    "capture_payment": capture.capture,
    "cancel_payment": close.cancel,
    "refund_payment": refund.refund,
    "sync_payment": sync,
    "create_endpoint": webhooks.create_endpoint,
    "enable_endpoint": webhooks.enable_endpoint,
    "rotate_endpoint_secret": webhooks.rotate_secret,
    "redeliver_event": webhooks.redeliver_event,
    "redeliver_to_endpoint": webhooks.redeliver_span,
}


async def enter(received: Received, desk: Desk) -> Answer:
    """Serve one request: whose is it, is there room, what does it ask, then the operation."""
    verified = desk.verify(received)
    lap(steps.VERIFY)
    with desk.admission.admit(verified):
        lap(steps.ADMIT)
        matched = desk.match(verified)
        lap(steps.MATCH)
        operation = matched.operation
        if operation.writes:
            return await once(matched, desk, _WRITES[operation.name])
        return await _READS[operation.name](matched, desk)
