"""What the channels need from outside: where credentials are stored."""

from collections.abc import Mapping, Sequence
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


class AcquirerKeys(Struct, frozen=True):
    """By which keys an acquirer signs what it says to an account, as it told us: PEM by name.

    None when what is stored cannot be opened.
    """

    owner: int
    channel: str
    account: str
    keys: Mapping[str, str] | None
    told_at: datetime


class CredentialStore(Protocol):
    """Gives every credential that is not revoked, newest first, and what acquirers told of keys."""

    async def live(self) -> Sequence[StoredCredential]: ...

    async def acquirer_keys(self) -> Sequence[AcquirerKeys]: ...


class KeyStore(Protocol):
    """Keeps what an acquirer told of its keys, in place of what it told before."""

    async def keep_keys(self, told: AcquirerKeys) -> None: ...
