"""Operators' decisions in PostgreSQL: fee plans and configurations, never changed again."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from gateway.domain import channel as channels
from gateway.domain import identity
from gateway.domain.money import CURRENCY_OF_NUMERIC
from gateway.domain.payment import Words
from gateway.drivers.postgres import Postgres, Row
from gateway.drivers.reloading import tell_changed
from gateway.routing.config import NOTHING, Config, StoredConfig
from gateway.routing.plans import FeePlan, StoredPlan
from gateway.routing.replay import Past

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


_NEWER_CONFIG: Final = """
SELECT version, document FROM routing_config WHERE version > $1 ORDER BY version DESC LIMIT 1
"""
_CONFIG: Final = "SELECT version, document FROM routing_config WHERE version = $1"
_HISTORY: Final = "SELECT version, note, created_at FROM routing_config ORDER BY version"
# As for plans: whoever lost the answer of a first run finds what that had added.
_ADD_CONFIG: Final = """
WITH added AS (
    INSERT INTO routing_config (version, document, note, created_at)
    SELECT coalesce(max(version), 0) + 1, $1, $2, $3 FROM routing_config
    HAVING count(*) FILTER (WHERE document = $1 AND created_at = $3) = 0
    ON CONFLICT DO NOTHING RETURNING version
)
SELECT version FROM added
UNION ALL
SELECT version FROM routing_config WHERE document = $1 AND created_at = $3
"""
_DECISIONS: Final = """
SELECT a.id, a.sent_at, a.decision, p.amount, p.currency, p.words, m.public_id
  FROM attempt a
  JOIN payment p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
  JOIN merchant m ON m.id = a.merchant_id
 WHERE a.merchant_id = $1 AND a.payment_id = $2 AND a.decision IS NOT NULL
 ORDER BY a.sent_at, a.id
"""
_decode_words: Final[Callable[[bytes], Words]] = msgspec.json.Decoder(Words).decode
_decode_config: Final = msgspec.json.Decoder(Config).decode


class PostgresConfigs:
    """Reads and adds routing configurations; whoever adds one tells every worker."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def newer_config(self, version: int) -> StoredConfig | None:
        """Give the newest configuration; None when none is newer than this version."""
        rows = await self._postgres.read(_NEWER_CONFIG, version)
        return _stored(rows[0]) if rows else None

    async def config(self, version: int) -> StoredConfig | None:
        """Give one version; version 0 is the empty one that nobody had to write."""
        if version == 0:
            return NOTHING
        rows = await self._postgres.read(_CONFIG, version)
        return _stored(rows[0]) if rows else None

    async def history(self) -> Sequence[Row]:
        """Give version, note and time of every configuration, oldest first."""
        return await self._postgres.read(_HISTORY)

    async def add_config(self, config: Config, *, note: str, at: datetime) -> int:
        """Put a configuration in force; gives its version."""
        while True:
            rows = await self._postgres.write(_ADD_CONFIG, _encode(config), note, at)
            if rows:
                await tell_changed(self._postgres)
                version: int = rows[0]["version"]
                return version


class PostgresDecisions:
    """Reads why each attempt of a payment went through its channel."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def of_payment(self, merchant: int, payment_id: str) -> Sequence[Past]:
        """Give the attempts of a payment that have a decision, first to last."""
        rows = await self._postgres.read(_DECISIONS, merchant, identity.uuid_of(payment_id))
        return [
            Past(
                attempt=identity.public("att", row["id"].hex),
                payment=payment_id,
                merchant=identity.public("mer", row["public_id"].hex),
                amount=row["amount"],
                currency=row["currency"],
                words=_decode_words(row["words"]),
                at=row["sent_at"],
                told=row["decision"],
            )
            for row in rows
        ]


def _stored(row: Row) -> StoredConfig:
    return StoredConfig(row["version"], _decode_config(row["document"]))


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
