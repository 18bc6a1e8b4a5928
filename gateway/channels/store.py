"""Credentials in PostgreSQL: sealed there, and opened only here."""

import hashlib
from datetime import datetime
from typing import Final

import msgspec

from gateway.channels.credential import Credential
from gateway.channels.ports import AcquirerKeys, StoredCredential
from gateway.domain import identity
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import uuid_of
from gateway.drivers import sealing
from gateway.drivers.postgres import Postgres, Row
from gateway.drivers.reloading import tell_changed
from gateway.drivers.strongbox import Strongbox

_LIVE: Final = """
SELECT c.merchant_id, c.id, c.channel, c.account, c.label, c.not_after, c.created_at, c.sealed,
       m.public_id
  FROM channel_credential c LEFT JOIN merchant m ON m.id = c.merchant_id
 WHERE c.revoked_at IS NULL ORDER BY c.id DESC
"""
_OWNERS: Final = """
SELECT DISTINCT merchant_id FROM channel_credential WHERE channel = $1 AND account = $2
"""
_ADD: Final = """
INSERT INTO channel_credential (merchant_id, id, channel, account, label, sealed, not_after,
                                created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""
_REVOKE: Final = """
UPDATE channel_credential SET revoked_at = coalesce(revoked_at, $3)
 WHERE merchant_id = $1 AND id = $2
RETURNING id
"""
_KEYS: Final = "SELECT merchant_id, channel, account, sealed, told_at FROM acquirer_keys"
_KEEP_KEYS: Final = """
INSERT INTO acquirer_keys (merchant_id, channel, account, sealed, told_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (merchant_id, channel, account)
DO UPDATE SET sealed = excluded.sealed, told_at = excluded.told_at
"""
_encode: Final = msgspec.json.Encoder().encode
_decode_keys: Final = msgspec.json.Decoder(dict[str, str]).decode


class PostgresCredentials:
    """Reads and writes credentials; without a vault it can add them but not open them."""

    def __init__(self, postgres: Postgres, vault: sealing.Vault | None) -> None:
        self._postgres = postgres
        self._strongbox = Strongbox(postgres, vault)

    async def live(self) -> list[StoredCredential]:
        """Give every credential that is not revoked, opened, newest first."""
        rows = await self._postgres.read(_LIVE)
        return [_stored(row, self._strongbox.open(row["sealed"], _id_of(row))) for row in rows]

    async def listed(self) -> list[StoredCredential]:
        """Give every credential that is not revoked, closed, newest first."""
        return [_stored(row, None) for row in await self._postgres.read(_LIVE)]

    async def add(
        self, channel: str, credential: Credential, *, owner: int, label: str, at: datetime
    ) -> str:
        """Seal and store a credential and tell the workers; gives its id.

        An account has one owner for ever: otherwise one could speak of the other's payments.
        """
        owners = await self._postgres.read(_OWNERS, channel, credential.account)
        if any(row["merchant_id"] != owner for row in owners):
            raise FloodgateError("this account belongs to another owner already")
        made = identity.mint("crd", owner, int(at.timestamp() * 1000))
        await self._postgres.write(
            _ADD,
            owner,
            uuid_of(made),
            channel,
            credential.account,
            label,
            await self._strongbox.seal(_encode(credential), made),
            credential.not_after,
            at,
        )
        await tell_changed(self._postgres)
        return made

    async def revoke(self, credential_id: str, at: datetime) -> bool:
        """Revoke a credential on every worker; False when there is no such credential."""
        owner = identity.merchant_number(credential_id)
        rows = await self._postgres.write(_REVOKE, owner, uuid_of(credential_id), at)
        await tell_changed(self._postgres)
        return bool(rows)

    async def acquirer_keys(self) -> list[AcquirerKeys]:
        """Give what acquirers told of their keys, opened."""
        found = []
        for row in await self._postgres.read(_KEYS):
            whose = (row["merchant_id"], row["channel"], row["account"])
            plain = self._strongbox.open(row["sealed"], _seal_of(*whose))
            keys = _decode_keys(plain) if plain is not None else None
            found.append(AcquirerKeys(*whose, keys, row["told_at"]))
        return found

    async def keep_keys(self, told: AcquirerKeys) -> None:
        """Seal and store what an acquirer told of its keys, and tell the workers."""
        whose = (told.owner, told.channel, told.account)
        sealed = await self._strongbox.seal(_encode(told.keys), _seal_of(*whose))
        await self._postgres.write(_KEEP_KEYS, *whose, sealed, told.told_at)
        await tell_changed(self._postgres)


def _seal_of(owner: int, channel: str, account: str) -> str:
    """Name an account in 32 hex digits: what is sealed for it cannot be opened as another's."""
    words = f"{owner}/{channel}/{account}".encode()
    return hashlib.blake2b(words, digest_size=16).hexdigest()


def _id_of(row: Row) -> str:
    return identity.public("crd", row["id"].hex)


def _stored(row: Row, secret: bytes | None) -> StoredCredential:
    owner_id = row["public_id"]
    return StoredCredential(
        id=_id_of(row),
        owner=row["merchant_id"],
        owner_id=identity.public("mer", owner_id.hex) if owner_id is not None else None,
        channel=row["channel"],
        account=row["account"],
        label=row["label"],
        not_after=row["not_after"],
        created_at=row["created_at"],
        secret=secret,
    )
