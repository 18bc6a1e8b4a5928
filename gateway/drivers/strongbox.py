"""Sealed secrets in PostgreSQL: who has the database may seal one, only a gateway can open it."""

import logging
from typing import Final

from cryptography.exceptions import InvalidTag

from gateway.domain.errors import FloodgateError
from gateway.domain.identity import uuid_of
from gateway.drivers import sealing
from gateway.drivers.postgres import Postgres

logger: Final = logging.getLogger(__name__)


class Strongbox:
    """Seals for the platform's public key; opens with the vault, and each secret only once."""

    def __init__(self, postgres: Postgres, vault: sealing.Vault | None) -> None:
        self._postgres = postgres
        self._vault = vault
        self._opened: dict[tuple[str, bytes], bytes | None] = {}

    async def seal(self, plain: bytes, name: str) -> bytes:
        """Seal a secret for the row with this public id, and for no other."""
        rows = await self._postgres.read(
            "SELECT public_key FROM platform_key ORDER BY created_at DESC LIMIT 1"
        )
        if not rows:
            raise FloodgateError("no gateway has run on this database yet: nothing to seal with")
        return sealing.seal(rows[0]["public_key"], plain, uuid_of(name).encode())

    def open(self, sealed: bytes, name: str) -> bytes | None:
        """Open the secret of the row with this public id; None when this vault cannot."""
        key = (name, sealed)  # a secret sealed for one row is not to be opened for another
        if key not in self._opened:
            assert self._vault is not None, "reading secrets needs the master key"
            self._opened[key] = None
            try:
                self._opened[key] = self._vault.open(sealed, uuid_of(name).encode())
            except (InvalidTag, ValueError):
                logger.warning("the secret of %s does not fit the master key", name)
        return self._opened[key]

    def __repr__(self) -> str:
        return "Strongbox(…)"
