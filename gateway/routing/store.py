"""Operators' decisions in PostgreSQL: fee plans, each one version, never changed again."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from gateway.domain import channel as channels
from gateway.domain.money import CURRENCY_OF_NUMERIC
from gateway.drivers.postgres import Postgres
from gateway.drivers.reloading import tell_changed
from gateway.routing.plans import FeePlan, StoredPlan

_PLANS: Final = """
SELECT version, merchant_id, document, effective_at FROM fee_plan ORDER BY version
"""
# Whoever lost the answer of a first run finds what that had added.
_ADD_PLAN: Final = """
WITH added AS (
    INSERT INTO fee_plan (version, merchant_id, document, effective_at, created_at)
    SELECT coalesce(max(version), 0) + 1, $1, $2, $3, $4 FROM fee_plan
    HAVING count(*) FILTER (WHERE merchant_id = $1 AND document = $2 AND created_at = $4) = 0
    ON CONFLICT DO NOTHING RETURNING version
)
SELECT version FROM added
UNION ALL
SELECT version FROM fee_plan WHERE merchant_id = $1 AND document = $2 AND created_at = $4
"""
_MERCHANTS: Final = "SELECT id FROM merchant"
# The channels' gross receivables (1121, sub-account 0): their debits are what came through them.
_VOLUMES: Final = """
WITH summed AS (
    SELECT account, sum(debits_posted)::bigint AS debits FROM account
     WHERE merchant_id = ANY($1::bigint[]) AND account / 1000000 = 11210 GROUP BY account
), marked AS (
    INSERT INTO volume_mark (account, month, debits)
    SELECT account, $2::date, debits FROM summed ON CONFLICT DO NOTHING
)
SELECT s.account, s.debits - m.debits AS volume
  FROM summed s JOIN volume_mark m ON m.account = s.account AND m.month = $2::date
"""

_encode: Final = msgspec.json.Encoder().encode
_decode_plan: Final = msgspec.json.Decoder(FeePlan).decode


class PostgresPlans:
    """Reads and adds fee plans; whoever adds one tells every worker."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def plans(self) -> Sequence[StoredPlan]:
        """Give every fee plan, oldest first."""
        return [
            StoredPlan(
                row["version"],
                row["merchant_id"],
                _decode_plan(row["document"]),
                row["effective_at"],
            )
            for row in await self._postgres.read(_PLANS)
        ]

    async def add_plan(
        self, merchant: int, plan: FeePlan, *, effective_at: datetime, at: datetime
    ) -> int:
        """Add a plan; gives its version."""
        while True:
            rows = await self._postgres.write(_ADD_PLAN, merchant, _encode(plan), effective_at, at)
            if rows:
                await tell_changed(self._postgres)
                version: int = rows[0]["version"]
                return version

    async def volumes(self, month: date) -> Mapping[tuple[str, str], int]:
        """Give what came through each channel since the month began, by channel and currency.

        What came before the month was first looked at is left out.
        """
        merchants = [row["id"] for row in await self._postgres.read(_MERCHANTS)]
        rows = await self._postgres.write(_VOLUMES, merchants, month)
        return {
            (
                channels.NAMES[row["account"] // 1000 % 1000],
                CURRENCY_OF_NUMERIC[row["account"] % 1000],
            ): row["volume"]
            for row in rows
        }
