"""The keys in memory, read again every second, so that verifying needs no I/O.

A key that is added is served, and one that is revoked refused, on every worker within the five
seconds of the contract.
"""

import logging
from typing import ClassVar, Final

from msgspec import Struct

from gateway.domain.stages import Merchant
from gateway.drivers.reloading import Reloading
from gateway.verify.ports import KeyStore, StoredKey
from gateway.verify.schemes import Verifier, verifier

logger: Final = logging.getLogger(__name__)


class Key(Struct, frozen=True):
    """A live key, ready to verify."""

    merchant: Merchant
    algorithm: str
    verifier: Verifier


class Keyring(Reloading):
    """All live keys by their id."""

    what: ClassVar[str] = "keys"

    def __init__(self, store: KeyStore) -> None:
        super().__init__()
        self._store = store
        self._keys: dict[str, Key] = {}
        self._stored: dict[str, StoredKey] = {}

    def find(self, key_id: str) -> Key | None:
        """Look up a live key."""
        return self._keys.get(key_id)

    async def refresh(self) -> None:
        """Read every live key; keys that did not change keep their prepared verifier.

        A key of which no verifier can be made is left out: it is its merchant's trouble alone.
        """
        stored = {key.id: key for key in await self._store.live_keys()}
        keys = {}
        for key_id, key in stored.items():
            is_known = self._stored.get(key_id) == key
            made = self._keys.get(key_id) if is_known else _prepared(key)
            if made is not None:
                keys[key_id] = made
        self._stored, self._keys = stored, keys


def _prepared(key: StoredKey) -> Key | None:
    try:
        made = verifier(key.algorithm, secret=key.secret, public_key=key.public_key)
    except Exception as error:  # noqa: BLE001 - it was made by strangers, and read by OpenSSL
        logger.warning("%s cannot be used: %s", key.id, type(error).__name__)
        return None
    return Key(key.merchant, key.algorithm, made)
