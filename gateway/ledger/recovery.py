"""The queue of attempts whose outcome is not known, kept in PostgreSQL and served by due time.

An attempt is leased by moving its due time on: whoever took it has until then to ask the channel,
and when that worker dies the attempt is due again by itself.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.identity import uuid_of
from gateway.domain.stages import Answered, Attempt
from gateway.drivers.postgres import Postgres
from gateway.ledger.codec import read_attempt

_MERCHANTS: Final = "SELECT id FROM merchant"
_TAKE: Final = """
UPDATE attempt SET due_at = $3, queries = queries + 1
 WHERE merchant_id = ANY($1::bigint[])
   AND (merchant_id, id) IN (
       SELECT merchant_id, id FROM attempt
        WHERE merchant_id = ANY($1::bigint[]) AND due_at <= $2
        ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING *
"""
_SAW: Final = """
WITH seen AS (
    INSERT INTO sighting (merchant_id, attempt_id, seen_at, source, verdict, code)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
)
UPDATE attempt SET due_at = $7
 WHERE merchant_id = $1 AND id = $2 AND due_at IS NOT NULL
"""


class Due(Struct, frozen=True):
    """An attempt that somebody must ask about, and how often that was tried, this time included."""

    attempt: Attempt
    queries: int


class RecoveryQueue:
    """Hands out due attempts, one taker each."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def take(self, now: datetime, limit: int) -> list[Due]:
        """Lease up to `limit` attempts that are due."""
        merchants = [row["id"] for row in await self._postgres.read(_MERCHANTS)]
        lease_ends = now + timedelta(seconds=limits.QUERY_LEASE_SECONDS)
        rows = await self._postgres.write(_TAKE, merchants, now, lease_ends, limit)
        return [Due(read_attempt(row), row["queries"]) for row in rows]

    async def saw(self, answered: Answered, source: str, due_at: datetime | None) -> None:
        """Keep what the channel said, and say when to ask again if anything is still open."""
        attempt, outcome = answered.opened.attempt, answered.outcome
        arguments: Sequence[object] = (
            attempt.merchant,
            uuid_of(attempt.id),
            answered.at,
            source,
            outcome.verdict.value,
            outcome.code,
            due_at,
        )
        await self._postgres.write(_SAW, *arguments)
