"""The box of raw notices: what a channel told us is durable before anybody reads it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.identity import PLATFORM, merchant_number, uuid_of
from gateway.drivers.batching import Batcher
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres

_KEEP: Final = """
INSERT INTO notice (merchant_id, id, channel, owner, received_at, headers, body)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[],
                     $6::bytea[], $7::bytea[])
ON CONFLICT (merchant_id, id) DO NOTHING
"""
# A refused notice may name an attempt.  That is not believed, and it is worth telling whoever reads
# the payment's history; but only a few times, for anybody can send one.
_DONE: Final = """
WITH result AS (
    SELECT * FROM unnest($2::uuid[], $3::timestamptz[], $4::text[]) AS t (id, at, result)
), done AS (
    UPDATE notice n SET processed_at = r.at, result = r.result
      FROM result r WHERE n.merchant_id = $1 AND n.id = r.id
), named AS (
    SELECT * FROM unnest($5::uuid[], $6::bigint[], $7::uuid[], $8::text[], $9::timestamptz[],
                         $10::text[])
        AS t (id, merchant_id, attempt_id, channel, at, result)
)
INSERT INTO remark (merchant_id, payment_id, at, kind, subject_id, code)
SELECT a.merchant_id, a.payment_id, n.at, 'notice_refused', n.id, n.result
  FROM named n
  JOIN attempt a ON a.merchant_id = n.merchant_id AND a.id = n.attempt_id
                AND a.channel = n.channel
 WHERE a.merchant_id = ANY($6::bigint[])
   AND $11 > (SELECT count(*) FROM (
                SELECT FROM remark f
                 WHERE f.merchant_id = a.merchant_id AND f.payment_id = a.payment_id
                   AND f.kind = 'notice_refused' LIMIT $11) AS told)
ON CONFLICT DO NOTHING
"""
_LEFT: Final = """
SELECT id, channel, owner, received_at, headers, body FROM notice
 WHERE merchant_id = $1 AND processed_at IS NULL AND received_at < $2
 ORDER BY received_at LIMIT $3
"""
# A UUIDv7 in 32 hex digits, as `domain.identity` lays it out.
_OUR_NUMBER: Final = re.compile(
    rb"(?<![0-9a-f])[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}(?![0-9a-f])"
)
# What the result of a notice that is not the channel's begins with.
REFUSED: Final = "refused"
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
    """Keeps notices in batches; it is never closed to a channel because we are busy.

    Whoever finds it full waits, and his connection with him.  What nobody has signed waits by
    itself and comes in at a pace, so that a flood of it holds up no notice that is a channel's.
    """

    def __init__(self, postgres: Postgres, clock: Clock) -> None:
        self._postgres = postgres
        self._clock = clock
        self._keeping: Batcher[tuple[Any, ...], None] = Batcher(
            self._keep_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.NOTICES_WAITING_MAX,
        )
        self._keeping_strays: Batcher[tuple[Any, ...], None] = Batcher(
            self._keep_strays,
            items_max=limits.STRAYS_WAITING_MAX,
            queue_items_max=limits.STRAYS_WAITING_MAX,
        )
        self._filing: Batcher[tuple[KeptNotice, str], None] = Batcher(
            self._file_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.NOTICES_WAITING_MAX,
        )
        self._room = asyncio.Semaphore(limits.NOTICES_WAITING_MAX)
        self._stray_room = asyncio.Semaphore(limits.STRAYS_WAITING_MAX)
        self._filing_room = asyncio.Semaphore(limits.NOTICES_WAITING_MAX)

    def arrived(
        self, channel: str, owner: int, headers: Mapping[str, str], body: bytes
    ) -> KeptNotice:
        """Take a notice as it came, not kept yet; bytes of its headers that are no UTF-8 are spelt.

        Whatever a stranger sends, the notices that share its batch do not feel it.
        """
        words = {_spelt(name): _spelt(value) for name, value in headers.items()}
        return KeptNotice(
            self._clock.mint("ntc", PLATFORM), channel, owner, words, body, self._clock.now()
        )

    async def keep(self, notice: KeptNotice, *, believed: bool) -> None:
        """Make a notice durable; waits while there is no room for it."""
        row = (
            PLATFORM,
            uuid_of(notice.id),
            notice.channel,
            notice.owner,
            notice.received_at,
            _encode(notice.headers),
            notice.body,
        )
        if believed:
            async with self._room:
                await self._keeping.submit(row)
        else:
            async with self._stray_room:
                await self._keeping_strays.submit(row)

    async def _keep_batch(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[None]:
        await self._postgres.write(_KEEP, *zip(*rows, strict=True))
        return [None] * len(rows)

    async def _keep_strays(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[None]:
        await self._keep_batch(rows)
        await asyncio.sleep(len(rows) / limits.STRAYS_PER_SECOND_MAX)
        return [None] * len(rows)

    async def done(self, notice: KeptNotice, result: str) -> None:
        """Note down what became of a notice."""
        async with self._filing_room:
            await self._filing.submit((notice, result))

    async def _file_batch(self, batch: Sequence[tuple[KeptNotice, str]]) -> Sequence[None]:
        now = self._clock.now()
        filed = [(uuid_of(notice.id), now, result) for notice, result in batch]
        named = [
            (uuid_of(each.id), merchant_number(number), number, each.channel, each.received_at, why)
            for each, why in batch
            if why.startswith(REFUSED)
            for number in numbers_in(each.body)
        ]
        told: list[Sequence[Any]] = [*zip(*named, strict=True)] or [()] * 6
        most = limits.REFUSED_NOTICES_TOLD_MAX
        await self._postgres.write(_DONE, PLATFORM, *zip(*filed, strict=True), *told, most)
        return [None] * len(batch)

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


def numbers_in(body: bytes) -> list[str]:
    """Give the first few numbers in a notice that are made like those of our attempts."""
    found = dict.fromkeys(number.decode() for number in _OUR_NUMBER.findall(body))
    return list(found)[: limits.NOTICE_NUMBERS_MAX]


def _spelt(text: str) -> str:
    """Spell out lone surrogates, by which Python stands for bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()
