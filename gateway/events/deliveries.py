"""Deliveries as the merchant sees them, and sending again what was sent or missed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.identity import milliseconds_of, uuid_of
from gateway.drivers.postgres import Postgres, Row

# Both find events by a span of time, for which there is an index; ids are made in time order.
_FIND_EVENT: Final = """
SELECT sequence FROM event
 WHERE merchant_id = $1 AND id = $2 AND created_at BETWEEN $3 AND $4
"""
_REDELIVER_SPAN: Final = """
WITH chosen AS (
    SELECT w.merchant_id, w.id AS endpoint_id, e.sequence, e.created_at
      FROM webhook_endpoint w JOIN event e ON e.merchant_id = w.merchant_id
     WHERE w.merchant_id = $1 AND w.id = $2 AND w.status <> 'deleted'
       AND (e.type = ANY(w.events) OR '*' = ANY(w.events))
       AND e.merchant_id = $1 AND e.created_at >= $3 AND e.created_at < $4
     ORDER BY e.created_at, e.sequence LIMIT $6
), queued AS (
    INSERT INTO webhook_delivery (merchant_id, endpoint_id, sequence, status, tries, due_at)
    SELECT merchant_id, endpoint_id, sequence, 'pending', 0, $5 FROM chosen ORDER BY sequence
    ON CONFLICT (merchant_id, endpoint_id, sequence) DO UPDATE
       SET status = 'pending', tries = 0, due_at = EXCLUDED.due_at
)
SELECT count(*) AS queued, max(created_at) AS last_at FROM chosen
"""
_REDELIVER_EVENT: Final = """
INSERT INTO webhook_delivery (merchant_id, endpoint_id, sequence, status, tries, due_at)
SELECT w.merchant_id, w.id, e.sequence, 'pending', 0, $3
  FROM webhook_endpoint w JOIN event e ON e.merchant_id = w.merchant_id
 WHERE w.merchant_id = $1 AND w.status = 'enabled' AND e.merchant_id = $1 AND e.sequence = $2
   AND (e.type = ANY(w.events) OR '*' = ANY(w.events))
ON CONFLICT (merchant_id, endpoint_id, sequence) DO UPDATE
   SET status = 'pending', tries = 0, due_at = EXCLUDED.due_at
RETURNING endpoint_id
"""
_LIST: Final = """
SELECT d.*, e.id AS event_id, e.type
  FROM webhook_delivery d
  JOIN event e ON e.merchant_id = d.merchant_id AND e.sequence = d.sequence
 WHERE d.merchant_id = $1 AND d.endpoint_id = $2 AND d.sequence < $3"""
# Written out and not given as a parameter: an index serves the dead ones, another what is due.
_OF_STATUS: Final[Mapping[str | None, str]] = {
    None: "",
    "pending": " AND d.due_at IS NOT NULL",
    "delivered": " AND d.status = 'delivered'",
    "dead": " AND d.status = 'dead'",
}
_MINTED_WITHIN: Final = timedelta(seconds=limits.MINTED_WITHIN_SECONDS)


class Delivery(Struct, frozen=True, kw_only=True):
    """What became of one event at one endpoint.

    Of the receiver's last answer only its HTTP status is kept; when there was none, `last_error` is
    `address_refused`, `not_connected`, `no_answer` or `secret_unreadable` (nothing was sent).
    """

    object: Literal["webhook_delivery"] = "webhook_delivery"
    event: str
    sequence: int
    type: str
    status: Literal["pending", "delivered", "dead"]
    tries: int
    last_tried_at: datetime | None
    last_status: int | None
    last_error: str | None
    next_try_at: datetime | None


class Redelivery(Struct, frozen=True, kw_only=True):
    """How many deliveries were queued; when not all fitted, go on from `resume_after`."""

    object: Literal["webhook_redelivery"] = "webhook_redelivery"
    queued: int
    resume_after: datetime | None = None


class Deliveries:
    """The deliveries of one merchant's endpoints, which are named by their 32 hex digits."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def of_endpoint(
        self, merchant: int, endpoint: str, *, status: str | None, below: int, limit: int
    ) -> list[Delivery]:
        """Give up to `limit` deliveries with a sequence lower than `below`, newest event first."""
        rows = await self._postgres.read(list_of(status), merchant, endpoint, below, limit)
        return [_delivery(row) for row in rows]

    async def again(self, merchant: int, event_id: str, now: datetime) -> Redelivery | None:
        """Send one event again to every endpoint that asks for its type; None: no such event."""
        seconds = milliseconds_of(event_id) / 1000
        if seconds > (now + _MINTED_WITHIN).timestamp():
            return None  # an id from the future is none of ours, and no date may hold it
        minted = datetime.fromtimestamp(seconds, UTC)
        span = (minted - _MINTED_WITHIN, minted + _MINTED_WITHIN)
        found = await self._postgres.read(_FIND_EVENT, merchant, uuid_of(event_id), *span)
        if not found:
            return None
        sequence = found[0]["sequence"]
        rows = await self._postgres.write(_REDELIVER_EVENT, merchant, sequence, now)
        return Redelivery(queued=len(rows))

    async def again_between(
        self, merchant: int, endpoint: str, *, after: datetime, before: datetime, now: datetime
    ) -> Redelivery:
        """Send again what happened from `after` on and before `before`, the oldest first."""
        most = limits.WEBHOOK_REDELIVERY_ITEMS_MAX
        rows = await self._postgres.write(
            _REDELIVER_SPAN, merchant, endpoint, after, before, now, most
        )
        queued = rows[0]["queued"]
        return Redelivery(
            queued=queued, resume_after=rows[0]["last_at"] if queued == most else None
        )


def list_of(status: str | None) -> str:
    """Write the list of deliveries that have this status, or of all of them."""
    return f"{_LIST}{_OF_STATUS[status]} ORDER BY d.sequence DESC LIMIT $4"


def _delivery(row: Row) -> Delivery:
    return Delivery(
        event=identity.public("evt", row["event_id"].hex),
        sequence=row["sequence"],
        type=row["type"],
        status=row["status"],
        tries=row["tries"],
        last_tried_at=row["last_tried_at"],
        last_status=row["last_status"],
        last_error=row["last_error"],
        next_try_at=row["due_at"],
    )
