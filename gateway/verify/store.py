"""Merchants and keys in PostgreSQL; secrets are sealed there and opened only here."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from gateway.domain import identity
from gateway.domain.errors import FloodgateError
from gateway.domain.stages import Merchant, Quota
from gateway.drivers import sealing
from gateway.drivers.postgres import Postgres, Row
from gateway.drivers.reloading import tell_changed
from gateway.drivers.strongbox import Strongbox
from gateway.verify.ports import StoredKey, Terms

_LIVE: Final = """
SELECT k.id, k.merchant_id, k.algorithm, k.secret_sealed, k.public_key,
       m.public_id, m.commission_bps, m.load_test,
       m.quota_per_second, m.quota_in_flight, m.quota_weight
  FROM api_key k JOIN merchant m ON m.id = k.merchant_id
 WHERE k.revoked_at IS NULL
"""
_ADD_MERCHANT: Final = """
INSERT INTO merchant (id, public_id, name, commission_bps, late_success, load_test, created_at,
                      quota_per_second, quota_in_flight, quota_weight)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id
"""
_FIND_MERCHANT: Final = """
SELECT m.id AS merchant_id, m.public_id, m.commission_bps, m.load_test,
       m.quota_per_second, m.quota_in_flight, m.quota_weight
  FROM merchant m WHERE m.public_id = $1
"""
_GRANT: Final = """
UPDATE merchant SET quota_per_second = $2, quota_in_flight = $3, quota_weight = $4 WHERE id = $1
"""
_CHOOSE: Final = "UPDATE merchant SET late_success = $2 WHERE id = $1"
_MERCHANTS: Final = "SELECT * FROM merchant ORDER BY id"
_ADD_KEY: Final = """
INSERT INTO api_key (merchant_id, id, algorithm, secret_sealed, public_key, created_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
_REVOKE: Final = """
UPDATE api_key SET revoked_at = coalesce(revoked_at, $3) WHERE merchant_id = $1 AND id = $2
RETURNING id
"""


class PostgresKeyStore:
    """Reads and writes keys; without a vault it can add keys but not read their secrets."""

    def __init__(self, postgres: Postgres, vault: sealing.Vault | None) -> None:
        self._postgres = postgres
        self._strongbox = Strongbox(postgres, vault)

    async def live_keys(self) -> Sequence[StoredKey]:
        """Give every key that is not revoked, its secret opened; unreadable ones are left out."""
        keys = []
        for row in await self._postgres.read(_LIVE):
            secret = self._open(row)
            if secret is not None or row["secret_sealed"] is None:
                keys.append(_stored(row, secret))
        return keys

    def _open(self, row: Row) -> bytes | None:
        """Open the secret of a key; None when it has none, or one that this vault cannot open."""
        sealed = row["secret_sealed"]
        if sealed is None:
            return None
        return self._strongbox.open(sealed, identity.public("key", row["id"].hex))

    async def keep_public_key(self, public_key: bytes, at: datetime) -> None:
        """Store the public half of our vault's master key, with which new secrets are sealed.

        A master key that opens none of the stored secrets is not theirs: it is refused, because
        whatever were sealed for it no other gateway could open.
        """
        sealed = [row for row in await self._postgres.read(_LIVE) if row["secret_sealed"]]
        if sealed and all(self._open(row) is None for row in sealed):
            raise FloodgateError("the master key opens none of the secrets that are stored")
        await self._postgres.write(
            "INSERT INTO platform_key (public_key, created_at) VALUES ($1, $2)"
            " ON CONFLICT DO NOTHING",
            public_key,
            at,
        )

    async def add_merchant(self, name: str, terms: Terms, at: datetime) -> Merchant:
        """Add a merchant with its terms under the next free number."""
        quota = terms.quota
        while True:
            rows = await self._postgres.read("SELECT coalesce(max(id), 0) + 1 AS n FROM merchant")
            number = rows[0]["n"]
            public_id = identity.mint("mer", number, int(at.timestamp() * 1000))
            added = await self._postgres.write(
                _ADD_MERCHANT,
                number,
                identity.uuid_of(public_id),
                name,
                terms.commission_bps,
                terms.late_success,
                terms.load_test,
                at,
                quota.per_second,
                quota.in_flight,
                quota.weight,
            )
            if added:
                return Merchant(number, public_id, terms.commission_bps, terms.load_test, quota)

    async def find_merchant(self, public_id: str) -> Merchant | None:
        """Look a merchant up by its public id."""
        rows = await self._postgres.read(_FIND_MERCHANT, identity.uuid_of(public_id))
        return _merchant(rows[0]) if rows else None

    async def choose_late_success(self, merchant: Merchant, policy: str) -> None:
        """Choose what becomes of money that comes late to this merchant."""
        await self._postgres.write(_CHOOSE, merchant.number, policy)

    async def merchants(self) -> list[dict[str, Any]]:
        """Tell of every merchant, oldest first, with its live keys and none of their secrets."""
        keys = defaultdict(list)
        for row in await self._postgres.read(_LIVE):
            keys[row["merchant_id"]].append(
                {"key_id": identity.public("key", row["id"].hex), "algorithm": row["algorithm"]}
            )
        return [
            {
                "merchant": identity.public("mer", row["public_id"].hex),
                "number": row["id"],
                "name": row["name"],
                "commission_bps": row["commission_bps"],
                "late_success": row["late_success"],
                "load_test": row["load_test"],
                "quota": {
                    name: row[f"quota_{name}"] for name in ("per_second", "in_flight", "weight")
                },
                "created_at": row["created_at"].isoformat(),
                "keys": keys[row["id"]],
            }
            for row in await self._postgres.read(_MERCHANTS)
        ]

    async def merchant_numbers(self) -> list[int]:
        """Give the number of every merchant."""
        return [row["id"] for row in await self._postgres.read("SELECT id FROM merchant")]

    async def grant(self, merchant: Merchant, quota: Quota) -> None:
        """Give a merchant another quota on every worker."""
        await self._postgres.write(
            _GRANT, merchant.number, quota.per_second, quota.in_flight, quota.weight
        )
        await tell_changed(self._postgres)

    async def add_key(
        self,
        merchant: Merchant,
        *,
        algorithm: str,
        secret: bytes | None,
        public_key: str | None,
        at: datetime,
    ) -> str:
        """Store a key of this merchant and tell the workers; gives the key's id."""
        key_id = identity.mint("key", merchant.number, int(at.timestamp() * 1000))
        sealed = None
        if secret is not None:
            sealed = await self._strongbox.seal(secret, key_id)
        await self._postgres.write(
            _ADD_KEY,
            merchant.number,
            identity.uuid_of(key_id),
            algorithm,
            sealed,
            public_key,
            at,
        )
        await tell_changed(self._postgres)
        return key_id

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        """Revoke a key on every worker; False when there is no such key."""
        rows = await self._postgres.write(
            _REVOKE, identity.merchant_number(key_id), identity.uuid_of(key_id), at
        )
        await tell_changed(self._postgres)
        return bool(rows)


def _merchant(row: Row) -> Merchant:
    return Merchant(
        row["merchant_id"],
        identity.public("mer", row["public_id"].hex),
        row["commission_bps"],
        row["load_test"],
        Quota(row["quota_per_second"], row["quota_in_flight"], row["quota_weight"]),
    )


def _stored(row: Row, secret: bytes | None) -> StoredKey:
    return StoredKey(
        id=identity.public("key", row["id"].hex),
        merchant=_merchant(row),
        algorithm=row["algorithm"],
        secret=secret,
        public_key=row["public_key"],
    )
