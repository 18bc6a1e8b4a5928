"""The queue of attempts whose outcome is not known, kept in PostgreSQL and served by due time.

An attempt is leased by moving its due time on: whoever took it has until then to ask the channel,
and when that worker dies the attempt is due again by itself.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.identity import uuid_of
from gateway.domain.refund import RefundStanding
from gateway.domain.stages import Answered, Attempt
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger.codec import read_attempt

_MERCHANTS: Final = "SELECT id FROM merchant"
# What is due is chosen in a WITH, because a subquery may run once per row, each time for others.
_TAKE: Final = """
WITH due AS MATERIALIZED (
    SELECT merchant_id, id FROM attempt
     WHERE merchant_id = ANY($1::bigint[]) AND due_at <= $2
     ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE attempt a SET due_at = $3, queries = a.queries + 1
  FROM due
 WHERE a.merchant_id = due.merchant_id AND a.id = due.id AND a.merchant_id = ANY($1::bigint[])
RETURNING a.*
"""
# When to ask again is ours to say only while the attempt is still leased to us: whatever was posted
# or wished meanwhile has set another time.
_SAW: Final = """
WITH seen AS (
    INSERT INTO sighting (merchant_id, attempt_id, seen_at, source, verdict, code)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
)
UPDATE attempt SET due_at = $7 WHERE merchant_id = $1 AND id = $2 AND due_at = $8
"""
_SETTLED: Final = "UPDATE attempt SET due_at = NULL WHERE merchant_id = $1 AND id = $2"
_TAKE_REFUNDS: Final = """
WITH due AS MATERIALIZED (
    SELECT merchant_id, id FROM refund
     WHERE merchant_id = ANY($1::bigint[]) AND due_at <= $2
     ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE refund r SET due_at = $3, queries = r.queries + 1
  FROM due
 WHERE r.merchant_id = due.merchant_id AND r.id = due.id AND r.merchant_id = ANY($1::bigint[])
RETURNING r.merchant_id, r.id, r.queries
"""
_REFUND_LATER: Final = """
UPDATE refund SET due_at = $3 WHERE merchant_id = $1 AND id = $2 AND due_at IS NOT NULL
"""


class DueRefund(Struct, frozen=True):
    """A refund that somebody must ask about, and how often that was tried, this time included."""

    merchant: int
    refund_id: str
    queries: int


class Due(Struct, frozen=True):
    """An attempt that is leased to us, and how often it was asked about, this time included."""

    attempt: Attempt
    queries: int
    lease_ends: datetime


class RecoveryQueue:
    """Hands out due attempts, one taker each."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def take(self, now: datetime, limit: int) -> list[Due]:
        """Lease up to `limit` attempts that are due."""
        rows = await self._take(_TAKE, now, limit)
        return [Due(read_attempt(row), row["queries"], row["due_at"]) for row in rows]

    async def take_refunds(self, now: datetime, limit: int) -> list[DueRefund]:
        """Lease up to `limit` refunds that are due."""
        rows = await self._take(_TAKE_REFUNDS, now, limit)
        return [
            DueRefund(row["merchant_id"], identity.public("re", row["id"].hex), row["queries"])
            for row in rows
        ]

    async def _take(self, sql: str, now: datetime, limit: int) -> Sequence[Row]:
        merchants = [row["id"] for row in await self._postgres.read(_MERCHANTS)]
        lease_ends = now + timedelta(seconds=limits.QUERY_LEASE_SECONDS)
        return await self._postgres.write(sql, merchants, now, lease_ends, limit)

    async def settled(self, attempt: Attempt) -> None:
        """Take an attempt out of the queue: nothing more is to be asked about it."""
        await self._postgres.write(_SETTLED, attempt.merchant, uuid_of(attempt.id))

    async def refund_later(self, standing: RefundStanding, due_at: datetime) -> None:
        """Say when to ask about a refund again; one that is settled meanwhile stays so."""
        await self._postgres.write(
            _REFUND_LATER, standing.merchant, uuid_of(standing.refund.id), due_at
        )

    async def saw(
        self,
        answered: Answered,
        source: str,
        *,
        due: Due | None = None,
        again: datetime | None = None,
    ) -> None:
        """Keep what the channel said; who was leased the attempt also says when to ask again."""
        attempt, outcome = answered.opened.attempt, answered.outcome
        await self._postgres.write(
            _SAW,
            attempt.merchant,
            uuid_of(attempt.id),
            answered.at,
            source,
            outcome.verdict.value,
            outcome.code,
            again,
            due.lease_ends if due is not None else None,
        )
