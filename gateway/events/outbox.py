"""The outbox: which event is due at which endpoint, leased to one relay at a time.

The event table itself is the outbox, written with the change of state it tells of, and a merchant's
sequence is its commit order: so an endpoint can walk along it without ever missing one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import astuple

from gateway.domain import identity, limits
from gateway.drivers.postgres import Postgres, Row
from gateway.events.rules import body_of, with_sequence

_MERCHANTS: Final = "SELECT id FROM merchant"
_LISTENING: Final = """
SELECT DISTINCT merchant_id FROM webhook_endpoint
 WHERE merchant_id = ANY($1::bigint[]) AND status = 'enabled'
"""

# Deliveries whose next try is due, or whose relay died: the oldest first, and of each endpoint only
# as many as it has room for.  An endpoint that keeps failing has room for one.
_TAKE_DUE: Final = """
WITH ready AS (
    SELECT w.merchant_id, w.id, greatest(0,
           CASE WHEN w.failures >= $5 THEN 1 ELSE $6 END - coalesce(b.flights, 0)) AS room
      FROM webhook_endpoint w
      LEFT JOIN unnest($3::uuid[], $4::integer[]) AS b (id, flights) ON b.id = w.id
     WHERE w.merchant_id = ANY($1::bigint[]) AND w.status = 'enabled'
       AND (w.paused_until IS NULL OR w.paused_until <= $2)
), due AS (
    SELECT d.merchant_id, d.endpoint_id, d.sequence
      FROM ready r CROSS JOIN LATERAL (
           SELECT merchant_id, endpoint_id, sequence, due_at FROM webhook_delivery
            WHERE merchant_id = r.merchant_id AND endpoint_id = r.id AND due_at <= $2
            ORDER BY due_at LIMIT r.room FOR UPDATE SKIP LOCKED) AS d
     ORDER BY d.due_at LIMIT $8
), taken AS (
    UPDATE webhook_delivery d SET tries = d.tries + 1, due_at = $7
      FROM due
     WHERE d.merchant_id = due.merchant_id AND d.endpoint_id = due.endpoint_id
       AND d.sequence = due.sequence AND d.merchant_id = ANY($1::bigint[])
    RETURNING d.merchant_id, d.endpoint_id, d.sequence, d.tries
)
SELECT t.*, w.url, w.secret_hidden, w.previous_hidden, w.previous_secret_until, w.failures,
       w.failing_since, e.id AS event_id, e.type, e.created_at, e.data
  FROM taken t
  JOIN webhook_endpoint w ON w.merchant_id = t.merchant_id AND w.id = t.endpoint_id
  JOIN event e ON e.merchant_id = t.merchant_id AND e.sequence = t.sequence
 ORDER BY t.sequence
"""

# Events that no try was made of yet: the endpoints that waited longest for their turn walk on, each
# as far as it has room, and past what it did not ask for.
_TAKE_NEW: Final = """
WITH ready AS (
    SELECT w.merchant_id, w.id, w.events, w.next_sequence,
           least(f.last_sequence, w.next_sequence + $9 - 1) AS last_sequence,
           CASE WHEN w.failures >= $5 THEN 1 ELSE $6 END - coalesce(b.flights, 0) AS room
      FROM webhook_endpoint w
      JOIN feed f ON f.merchant_id = w.merchant_id AND f.last_sequence >= w.next_sequence
      LEFT JOIN unnest($3::uuid[], $4::integer[]) AS b (id, flights) ON b.id = w.id
     WHERE w.merchant_id = ANY($1::bigint[]) AND w.status = 'enabled'
       AND (w.paused_until IS NULL OR w.paused_until <= $2)
       AND CASE WHEN w.failures >= $5 THEN 1 ELSE $6 END > coalesce(b.flights, 0)
     ORDER BY greatest(w.last_success_at, w.last_failure_at) NULLS FIRST
     LIMIT $8 FOR UPDATE OF w SKIP LOCKED
), chosen AS (
    SELECT r.merchant_id, r.id AS endpoint_id, e.sequence
      FROM ready r CROSS JOIN LATERAL (
           SELECT sequence FROM event
            WHERE merchant_id = r.merchant_id
              AND sequence BETWEEN r.next_sequence AND r.last_sequence
              AND (type = ANY(r.events) OR '*' = ANY(r.events))
            ORDER BY sequence LIMIT r.room) AS e
), walked AS (
    UPDATE webhook_endpoint w
       SET next_sequence = 1 + CASE WHEN c.events = r.room THEN c.last ELSE r.last_sequence END
      FROM ready r LEFT JOIN (
           SELECT merchant_id, endpoint_id, count(*) AS events, max(sequence) AS last
             FROM chosen GROUP BY merchant_id, endpoint_id
           ) AS c ON c.merchant_id = r.merchant_id AND c.endpoint_id = r.id
     WHERE w.merchant_id = r.merchant_id AND w.id = r.id AND w.merchant_id = ANY($1::bigint[])
), taken AS (
    INSERT INTO webhook_delivery (merchant_id, endpoint_id, sequence, status, tries, due_at)
    SELECT merchant_id, endpoint_id, sequence, 'pending', 1, $7
      FROM chosen ORDER BY merchant_id, endpoint_id, sequence
    ON CONFLICT (merchant_id, endpoint_id, sequence) DO NOTHING
    RETURNING merchant_id, endpoint_id, sequence, tries
)
SELECT t.*, w.url, w.secret_hidden, w.previous_hidden, w.previous_secret_until, w.failures,
       w.failing_since, e.id AS event_id, e.type, e.created_at, e.data
  FROM taken t
  JOIN webhook_endpoint w ON w.merchant_id = t.merchant_id AND w.id = t.endpoint_id
  JOIN event e ON e.merchant_id = t.merchant_id AND e.sequence = t.sequence
 ORDER BY t.sequence
"""

# What became of deliveries, and thereby of their endpoints.  A result whose lease was lost to
# somebody else, or that is told twice, touches neither: the endpoint may have been mended since.
_SAW: Final = """
WITH result AS (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::integer[], $5::text[],
                         $6::timestamptz[], $7::timestamptz[], $8::integer[], $9::text[],
                         $10::boolean[], $11::timestamptz[])
        AS t (merchant_id, endpoint_id, sequence, tries, status, due_at, at, http_status, error,
              gone, paused_until)
), kept AS (
    UPDATE webhook_delivery d
       SET status = r.status, due_at = r.due_at, last_tried_at = r.at,
           last_status = r.http_status, last_error = r.error
      FROM result r
     WHERE d.merchant_id = r.merchant_id AND d.endpoint_id = r.endpoint_id
       AND d.sequence = r.sequence AND d.tries = r.tries AND d.status = 'pending'
       AND d.merchant_id = ANY($12::bigint[])
       AND (d.last_tried_at, d.due_at) IS DISTINCT FROM (r.at, r.due_at)
    RETURNING r.*
), health AS (
    SELECT merchant_id, endpoint_id, bool_or(status = 'delivered') AS well,
           count(*) FILTER (WHERE status <> 'delivered') AS failures,
           max(at) FILTER (WHERE status = 'delivered') AS success_at,
           max(at) FILTER (WHERE status <> 'delivered') AS failure_at,
           bool_or(gone) AS gone, max(paused_until) AS paused_until
      FROM kept GROUP BY merchant_id, endpoint_id
)
UPDATE webhook_endpoint w
   SET failures = CASE WHEN h.well THEN 0 ELSE w.failures + h.failures END,
       failing_since = CASE WHEN NOT h.well THEN coalesce(w.failing_since, h.failure_at) END,
       last_success_at = coalesce(h.success_at, w.last_success_at),
       last_failure_at = coalesce(h.failure_at, w.last_failure_at),
       paused_until = CASE WHEN NOT h.well THEN greatest(w.paused_until, h.paused_until) END,
       status = CASE WHEN h.gone AND w.status = 'enabled' THEN 'disabled' ELSE w.status END
  FROM health h
 WHERE w.merchant_id = h.merchant_id AND w.id = h.endpoint_id
   AND w.merchant_id = ANY($12::bigint[])
"""


class Due(Struct, frozen=True, kw_only=True):
    """One event that is to be sent to one endpoint now; `tries` counts this one.

    `hidden_keys` are the keys to sign with, as they lie in the database; `failures` and
    `failing_since` tell how the endpoint stood when this was taken.
    """

    merchant: int
    endpoint: str
    sequence: int
    tries: int
    url: str
    hidden_keys: tuple[bytes, ...]
    event_id: str
    body: bytes
    failures: int
    failing_since: datetime | None


class Result(Struct, frozen=True, kw_only=True):
    """What became of one try, in the order of the columns that keep it.

    `status` is what the delivery is now; `http_status` is None when there was no answer and `error`
    says why; `gone` disables the endpoint, `paused_until` spares it.
    """

    merchant: int
    endpoint: str
    sequence: int
    tries: int
    status: str
    due_at: datetime | None
    at: datetime
    http_status: int | None
    error: str | None
    gone: bool
    paused_until: datetime | None


class Outbox:
    """Hands out deliveries, one taker each, and keeps what became of them."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def listening(self) -> list[int]:
        """Give the merchants that have an endpoint."""
        merchants = [row["id"] for row in await self._postgres.read(_MERCHANTS)]
        rows = await self._postgres.read(_LISTENING, merchants)
        return [row["merchant_id"] for row in rows]

    async def take_due(
        self, merchants: Sequence[int], now: datetime, busy: Mapping[str, int], room: int
    ) -> list[Due]:
        """Lease up to `room` deliveries that are due; `busy` counts those under way by endpoint."""
        arguments = (*_leasing(merchants, now, busy), room)
        return [_due(row, now) for row in await self._postgres.write(_TAKE_DUE, *arguments)]

    async def take_new(
        self, merchants: Sequence[int], now: datetime, busy: Mapping[str, int], room: int
    ) -> list[Due]:
        """Lease the first delivery of up to `room` events in the order of their sequence."""
        endpoints = room // limits.WEBHOOK_ENDPOINT_FLIGHTS_MAX
        ahead = limits.WEBHOOK_LOOK_AHEAD_ITEMS_MAX
        arguments = (*_leasing(merchants, now, busy), endpoints, ahead)
        return [_due(row, now) for row in await self._postgres.write(_TAKE_NEW, *arguments)]

    async def saw(self, results: Sequence[Result]) -> Sequence[None]:
        """Keep what became of these tries, and how their endpoints are."""
        columns = zip(*map(astuple, results), strict=True)
        merchants = sorted({result.merchant for result in results})
        await self._postgres.write(_SAW, *map(list, columns), merchants)
        return [None] * len(results)


def _leasing(merchants: Sequence[int], now: datetime, busy: Mapping[str, int]) -> tuple[Any, ...]:
    return (
        merchants,
        now,
        list(busy),
        list(busy.values()),
        limits.WEBHOOK_BREAKER_FAILURES,
        limits.WEBHOOK_ENDPOINT_FLIGHTS_MAX,
        now + timedelta(seconds=limits.WEBHOOK_LEASE_SECONDS),
    )


def _due(row: Row, now: datetime) -> Due:
    previous_until = row["previous_secret_until"]
    rotating = previous_until is not None and now < previous_until
    keys = (row["secret_hidden"], row["previous_hidden"]) if rotating else (row["secret_hidden"],)
    data = with_sequence(row["data"], row["sequence"])
    return Due(
        merchant=row["merchant_id"],
        endpoint=row["endpoint_id"].hex,
        sequence=row["sequence"],
        tries=row["tries"],
        url=row["url"],
        hidden_keys=keys,
        event_id=identity.public("evt", row["event_id"].hex),
        body=body_of(row["type"], row["created_at"], data),
        failures=row["failures"],
        failing_since=row["failing_since"],
    )
