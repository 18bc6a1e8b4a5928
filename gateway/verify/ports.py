"""What the verify step needs from outside: where keys are stored."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.stages import Merchant, Quota


class StoredKey(Struct, frozen=True):
    """One live key as it is stored; `secret` is open only in the process's memory."""

    id: str
    merchant: Merchant
    algorithm: str
    secret: bytes | None
    public_key: str | None

    def __repr__(self) -> str:
        return f"StoredKey({self.id})"


class Terms(Struct, frozen=True):
    """What is agreed with a merchant when it is added.

    `late_success` says what becomes of money that comes after the end of its payment: people look
    at it (`review`), it is taken after all (`adopt`), or it goes back to the payer (`refund`).  An
    order is paid once: what is paid beside it goes back by either of the last two.
    """

    commission_bps: int = 60
    late_success: str = "review"
    load_test: bool = False

    @property
    def quota(self) -> Quota:
        """What it is granted at first; `floodgate merchant limit` grants something else."""
        if not self.load_test:
            return Quota()
        return Quota(limits.LOAD_TEST_REQUESTS_PER_SECOND, limits.LOAD_TEST_IN_FLIGHT_MAX)


class KeyStore(Protocol):
    """Gives every key that is neither revoked nor unreadable."""

    async def live_keys(self) -> Sequence[StoredKey]: ...
