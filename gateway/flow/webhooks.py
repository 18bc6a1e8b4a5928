"""Webhooks as the merchant manages them: endpoints, their secrets, their deliveries, once more."""

from typing import Final

import msgspec

from gateway.domain import identity
from gateway.domain.errors import Problem
from gateway.domain.identity import is_id, uuid_of
from gateway.domain.stages import Answer, Claimed, Heard, Matched
from gateway.events.deliveries import Redelivery
from gateway.events.webhooks import Endpoint
from gateway.flow.desk import Desk
from gateway.flow.query import page
from gateway.match.table import CreateEndpoint, ListDeliveries, Redeliver

_encode: Final = msgspec.json.Encoder().encode

_NEWEST: Final = 2**63 - 1


async def create_endpoint(claimed: Claimed, desk: Desk) -> Answer:
    """Add an endpoint for every event from now on."""
    command = claimed.matched.command
    assert isinstance(command, CreateEndpoint)
    refusal = desk.webhooks.refusal(command.url)
    if refusal is not None:
        raise Problem("field_invalid", refusal, param="url")
    made = await desk.webhooks.create(claimed, command.url, command.events)
    if made is None:
        raise Problem("too_many_endpoints", "Delete one that is no longer needed.")
    return await _shown_once(claimed, made, desk)


async def rotate_secret(claimed: Claimed, desk: Desk) -> Answer:
    """Give an endpoint a new secret; for a day its webhooks are signed with the old one, too."""
    made = await desk.webhooks.rotate(claimed, _endpoint_id(claimed.matched))
    if made is None:
        raise _no_endpoint()
    return await _shown_once(claimed, made, desk)


async def _shown_once(claimed: Claimed, made: Endpoint | Heard, desk: Desk) -> Answer:
    """Answer with the secret, and keep an answer without it for whoever asks again."""
    status = claimed.matched.operation.success
    if isinstance(made, Heard):
        desk.idempotency.recall(claimed, made)
        endpoint = await desk.webhooks.find(claimed.merchant.number, made.resource)
        if endpoint is None:
            raise _no_endpoint()
        await desk.idempotency.release(claimed)
        return Answer(status, _encode(endpoint), replayed=True)
    await desk.idempotency.settle(claimed, Answer(status, _encode(made.without_secret())))
    return Answer(status, _encode(made))


async def enable_endpoint(claimed: Claimed, desk: Desk) -> Answer:
    """Serve an endpoint again that said it was gone, or that is spared because it failed."""
    await desk.webhooks.enable(claimed.merchant.number, _endpoint_id(claimed.matched))
    endpoint = await _find(claimed.matched, desk)
    return await desk.idempotency.settle(claimed, Answer(200, _encode(endpoint)))


async def list_endpoints(matched: Matched, desk: Desk) -> Answer:
    """List the endpoints, oldest first; there are never more than fit on one page."""
    return page(await desk.webhooks.all_of(matched.verified.merchant.number), None)


async def get_endpoint(matched: Matched, desk: Desk) -> Answer:
    """Show one endpoint with its health."""
    return Answer(200, _encode(await _find(matched, desk)))


async def delete_endpoint(matched: Matched, desk: Desk) -> Answer:
    """Delete an endpoint; what is under way may still arrive."""
    endpoint = _endpoint_id(matched)
    if not await desk.webhooks.delete(matched.verified.merchant.number, endpoint):
        raise _no_endpoint()
    public_id = identity.public("we", endpoint)
    gone = {"object": "webhook_endpoint", "id": public_id, "deleted": True}
    return Answer(200, _encode(gone))


async def list_deliveries(matched: Matched, desk: Desk) -> Answer:
    """List what became of the deliveries to one endpoint, newest event first."""
    command = matched.command
    assert isinstance(command, ListDeliveries)
    await _find(matched, desk)
    found = await desk.deliveries.of_endpoint(
        matched.verified.merchant.number,
        _endpoint_id(matched),
        status=command.status,
        below=command.cursor or _NEWEST,
        limit=command.limit + 1,
    )
    shown = found[: command.limit]
    return page(shown, str(shown[-1].sequence) if len(found) > len(shown) else None)


async def redeliver_event(claimed: Claimed, desk: Desk) -> Answer:
    """Send one event again to every endpoint that asks for its type."""
    (event_id,) = claimed.matched.parameters
    redelivery = None
    if is_id(event_id, "evt"):
        redelivery = await desk.deliveries.again(claimed.merchant.number, event_id, claimed.at)
    if redelivery is None:
        raise Problem("event_not_found", "This merchant has no event with this id.")
    return await _queued(claimed, redelivery, desk)


async def redeliver_span(claimed: Claimed, desk: Desk) -> Answer:
    """Send every event of a span of time again to one endpoint."""
    command = claimed.matched.command
    assert isinstance(command, Redeliver)
    before = command.created_before or claimed.at
    if before <= command.created_after:
        param = "created_before" if command.created_before else "created_after"
        raise Problem("field_invalid", "The span ends before it begins.", param=param)
    await _find(claimed.matched, desk)
    redelivery = await desk.deliveries.again_between(
        claimed.merchant.number,
        _endpoint_id(claimed.matched),
        after=command.created_after,
        before=before,
        now=claimed.at,
    )
    return await _queued(claimed, redelivery, desk)


async def _queued(claimed: Claimed, redelivery: Redelivery, desk: Desk) -> Answer:
    return await desk.idempotency.settle(claimed, Answer(200, _encode(redelivery)))


async def _find(matched: Matched, desk: Desk) -> Endpoint:
    merchant = matched.verified.merchant.number
    endpoint = await desk.webhooks.find(merchant, _endpoint_id(matched))
    if endpoint is None:
        raise _no_endpoint()
    return endpoint


def _endpoint_id(matched: Matched) -> str:
    """Read the endpoint's 32 hex digits out of the path; Problem 404 when it is no id."""
    (endpoint_id,) = matched.parameters
    if not is_id(endpoint_id, "we"):
        raise _no_endpoint()
    return uuid_of(endpoint_id)


def _no_endpoint() -> Problem:
    return Problem("endpoint_not_found", "This merchant has no webhook endpoint with this id.")
