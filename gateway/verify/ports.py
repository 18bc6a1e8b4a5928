"""What the verify step needs from outside: where keys are stored."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from gateway.domain.stages import Merchant


class StoredKey(Struct, frozen=True):
    """One live key as it is stored; `secret` is open only in the process's memory."""

    id: str
    merchant: Merchant
    algorithm: str
    secret: bytes | None
    public_key: str | None

    def __repr__(self) -> str:
        return f"StoredKey({self.id})"


class KeyStore(Protocol):
    """Gives every key that is neither revoked nor unreadable."""

    async def live_keys(self) -> Sequence[StoredKey]: ...
