"""Merchants and keys in PostgreSQL; secrets are sealed there and opened only here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidTag

from gateway.domain import identity
from gateway.domain.errors import FloodgateError, Unavailable
from gateway.domain.stages import Merchant
from gateway.drivers import sealing
from gateway.drivers.postgres import Postgres
from gateway.verify.ports import StoredKey

KEYS_CHANNEL: Final = "floodgate_keys"

_LIVE: Final = """
SELECT k.id, k.merchant_id, k.algorithm, k.secret_sealed, k.public_key,
       m.public_id, m.commission_bps
  FROM api_key k JOIN merchant m ON m.id = k.merchant_id
 WHERE k.revoked_at IS NULL
"""
_ADD_MERCHANT: Final = """
INSERT INTO merchant (id, public_id, name, commission_bps, late_success, created_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id
"""
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
        self._vault = vault
        self._opened: dict[tuple[str, bytes], bytes] = {}

    async def live_keys(self) -> Sequence[StoredKey]:
        """Give every key that is not revoked, its secret opened."""
        return [
            StoredKey(
                id=identity.public("key", row["id"].hex),
                merchant=Merchant(
                    row["merchant_id"],
                    identity.public("mer", row["public_id"].hex),
                    row["commission_bps"],
                ),
                algorithm=row["algorithm"],
                secret=self._open(row["secret_sealed"], row["id"].hex),
                public_key=row["public_key"],
            )
            for row in await self._postgres.read(_LIVE)
        ]

    def _open(self, sealed: bytes | None, key_hex: str) -> bytes | None:
        if sealed is None:
            return None
        name = (key_hex, sealed)  # a secret sealed for one key is not to be opened for another
        if name not in self._opened:
            assert self._vault is not None, "reading secrets needs the master key"
            try:
                self._opened[name] = self._vault.open(sealed, key_hex.encode())
            except InvalidTag:
                raise Unavailable("a stored secret does not fit the master key") from None
        return self._opened[name]

    async def keep_public_key(self, public_key: bytes, at: datetime) -> None:
        """Store the public half of the master key, with which new secrets are sealed."""
        await self._postgres.write(
            "INSERT INTO platform_key (public_key, created_at) VALUES ($1, $2)"
            " ON CONFLICT DO NOTHING",
            public_key,
            at,
        )

    async def add_merchant(
        self, *, name: str, commission_bps: int, late_success: str, at: datetime
    ) -> Merchant:
        """Add a merchant with its terms under the next free number."""
        while True:
            rows = await self._postgres.read("SELECT coalesce(max(id), 0) + 1 AS n FROM merchant")
            number = rows[0]["n"]
            public_id = identity.mint("mer", number, int(at.timestamp() * 1000))
            added = await self._postgres.write(
                _ADD_MERCHANT,
                number,
                identity.uuid_of(public_id),
                name,
                commission_bps,
                late_success,
                at,
            )
            if added:
                return Merchant(number, public_id, commission_bps)

    async def find_merchant(self, public_id: str) -> Merchant | None:
        """Look a merchant up by its public id."""
        rows = await self._postgres.read(
            "SELECT id, commission_bps FROM merchant WHERE public_id = $1",
            identity.uuid_of(public_id),
        )
        return Merchant(rows[0]["id"], public_id, rows[0]["commission_bps"]) if rows else None

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
            sealed = sealing.seal(
                await self._sealing_key(), secret, identity.uuid_of(key_id).encode()
            )
        await self._postgres.write(
            _ADD_KEY,
            merchant.number,
            identity.uuid_of(key_id),
            algorithm,
            sealed,
            public_key,
            at,
        )
        await self._tell()
        return key_id

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        """Revoke a key on every worker; False when there is no such key."""
        rows = await self._postgres.write(
            _REVOKE, identity.merchant_number(key_id), identity.uuid_of(key_id), at
        )
        await self._tell()
        return bool(rows)

    async def _sealing_key(self) -> bytes:
        rows = await self._postgres.read(
            "SELECT public_key FROM platform_key ORDER BY created_at DESC LIMIT 1"
        )
        if not rows:
            raise FloodgateError("no gateway has run on this database yet: nothing to seal with")
        key: bytes = rows[0]["public_key"]
        return key

    async def _tell(self) -> None:
        await self._postgres.write(f"NOTIFY {KEYS_CHANNEL}")
