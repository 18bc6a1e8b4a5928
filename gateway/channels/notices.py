"""The box of raw notices: what a channel told us is durable before anybody reads it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.identity import PLATFORM, uuid_of
from gateway.drivers.batching import Batcher
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres

_KEEP: Final = """
INSERT INTO notice (merchant_id, id, channel, owner, received_at, headers, body)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[],
                     $6::bytea[], $7::bytea[])
ON CONFLICT (merchant_id, id) DO NOTHING
"""
_DONE: Final = """
UPDATE notice SET processed_at = $3, result = $4 WHERE merchant_id = $1 AND id = $2
"""
_LEFT: Final = """
SELECT id, channel, owner, received_at, headers, body FROM notice
 WHERE merchant_id = $1 AND processed_at IS NULL AND received_at < $2
 ORDER BY received_at LIMIT $3
"""
_encode: Final = msgspec.json.Encoder().encode
_headers: Final = msgspec.json.Decoder(dict[str, str])


class KeptNotice(Struct, frozen=True):
    """A notice as it came; header names in lower case.

    `owner` is whose account its address stands for: a merchant's own, or 0, the platform's.
    """

    id: str
    channel: str
    owner: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


class NoticeBox:
    """Keeps notices in batches; it is never closed to a channel because we are busy."""

    def __init__(self, postgres: Postgres, clock: Clock) -> None:
        self._postgres = postgres
        self._clock = clock
        self._keeping: Batcher[tuple[Any, ...], None] = Batcher(
            self._keep_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
        )

    async def keep(
        self, channel: str, owner: int, headers: Mapping[str, str], body: bytes
    ) -> KeptNotice:
        """Make a notice durable as it came; bytes of its headers that are no UTF-8 are spelt out.

        It becomes a row before it is queued: whatever a stranger sends, the notices that share its
        batch do not feel it.
        """
        words = {_spelt(name): _spelt(value) for name, value in headers.items()}
        notice = KeptNotice(
            self._clock.mint("ntc", PLATFORM), channel, owner, words, body, self._clock.now()
        )
        row = (
            PLATFORM,
            uuid_of(notice.id),
            channel,
            owner,
            notice.received_at,
            _encode(words),
            body,
        )
        await self._keeping.submit(row)
        return notice

    async def _keep_batch(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[None]:
        await self._postgres.write(_KEEP, *zip(*rows, strict=True))
        return [None] * len(rows)

    async def done(self, notice: KeptNotice, result: str) -> None:
        """Note down what became of a notice."""
        await self._postgres.write(_DONE, PLATFORM, uuid_of(notice.id), self._clock.now(), result)

    async def left(self, limit: int) -> list[KeptNotice]:
        """Give notices that were kept a while ago and that nobody finished."""
        before = self._clock.now() - timedelta(seconds=limits.NOTICE_LEFT_SECONDS)
        rows = await self._postgres.read(_LEFT, PLATFORM, before, limit)
        return [
            KeptNotice(
                identity.public("ntc", row["id"].hex),
                row["channel"],
                row["owner"],
                _headers.decode(row["headers"]),
                bytes(row["body"]),
                row["received_at"],
            )
            for row in rows
        ]


def _spelt(text: str) -> str:
    """Spell out lone surrogates, by which Python stands for bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()
