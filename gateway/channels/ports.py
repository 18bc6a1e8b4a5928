"""What the channels need from outside: where credentials are stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct


class StoredCredential(Struct, frozen=True):
    """A live credential as it is stored; `secret` is its JSON, None when it cannot be opened.

    `owner` is the merchant whose own it is, or 0, the platform; `owner_id` its public id.
    """

    id: str
    owner: int
    owner_id: str | None
    channel: str
    account: str
    label: str
    not_after: datetime | None
    created_at: datetime
    secret: bytes | None = None

    def __repr__(self) -> str:
        return f"StoredCredential({self.id})"


class CredentialStore(Protocol):
    """Gives every credential that is not revoked, newest first."""

    async def live(self) -> Sequence[StoredCredential]: ...
