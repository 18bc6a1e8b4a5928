"""The gap-free feed of events: what a merchant missed can always be read again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from gateway.domain import identity
from gateway.domain.identity import uuid_of
from gateway.drivers.postgres import Postgres, Row
from gateway.events.rules import with_sequence

_AFTER: Final = """
SELECT sequence, id, type, created_at, data FROM event
 WHERE merchant_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""
_OF_PAYMENT: Final = """
SELECT sequence, id, type, created_at, data FROM event
 WHERE merchant_id = $1 AND payment_id = $2 ORDER BY sequence
"""


class Event(Struct, frozen=True, kw_only=True):
    """One event as the API shows it.

    `data` is the object as it stood, with its sequence: byte for byte what a webhook delivers.
    """

    object: Literal["event"] = "event"
    id: str
    sequence: int
    type: str
    created_at: datetime
    data: msgspec.Raw


class Feed:
    """Reads one merchant's events in the order of their sequence, which is commit order."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def after(self, merchant: int, sequence: int, limit: int) -> list[Event]:
        """Give up to `limit` events that came after this sequence."""
        return _events(await self._postgres.read(_AFTER, merchant, sequence, limit))

    async def of_payment(self, merchant: int, payment_id: str) -> list[Event]:
        """Give every event of one payment."""
        return _events(await self._postgres.read(_OF_PAYMENT, merchant, uuid_of(payment_id)))


def _events(rows: Sequence[Row]) -> list[Event]:
    return [
        Event(
            id=identity.public("evt", row["id"].hex),
            sequence=row["sequence"],
            type=row["type"],
            created_at=row["created_at"],
            data=msgspec.Raw(with_sequence(row["data"], row["sequence"])),
        )
        for row in rows
    ]
