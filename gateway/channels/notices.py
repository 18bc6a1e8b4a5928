"""The box of raw notices: what a channel told us is durable before anybody reads it."""

import asyncio
import math
import re
import sys
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.errors import FloodgateError, Unavailable
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


class _Waiting(NamedTuple):
    """A notice that waits to be kept, since a time of the loop's clock."""

    since: float
    notice: KeptNotice


class NoticeBox:
    """Keeps notices as they come, in batches; it is never closed to a channel because we are busy.

    Nobody reads a notice before it is kept, so a stranger's cost as much as a channel's until then.
    Therefore a flush carries few, whatever their size, and each peer has only so many on their way:
    whoever sends more waits for himself, and his connections with him.  Once they are kept, strays
    are answered at a pace, so that whoever floods us with them comes back no quicker.
    """

    def __init__(self, postgres: Postgres, clock: Clock) -> None:
        self._postgres = postgres
        self._clock = clock
        self._keeping: Batcher[_Waiting, None] = Batcher(
            self._keep_batch,
            items_max=limits.NOTICES_BATCH_ITEMS_MAX,
            queue_items_max=sys.maxsize,
        )
        self._filing: Batcher[tuple[KeptNotice, str], None] = Batcher(
            self._file_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=sys.maxsize,
        )
        self._rooms: weakref.WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )
        self._lost_at = -math.inf
        self._next_stray_at = -math.inf

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

    async def keep(self, notice: KeptNotice, peer: str) -> None:
        """Make a notice durable; waits while there is no room for more of this peer's.

        Only when PostgreSQL does not answer it raises: `Unavailable`, or `InDoubt`.
        """
        waiting = _Waiting(asyncio.get_running_loop().time(), notice)
        whose = (peer, notice.channel)
        room = self._rooms.setdefault(whose, asyncio.Semaphore(limits.NOTICES_OF_PEER_MAX))
        async with room:
            await self._keeping.submit(waiting)

    async def _keep_batch(self, batch: Sequence[_Waiting]) -> Sequence[Exception | None]:
        """Keep those who have not waited already for a database that is away: it is told them."""
        rows = [_row(waiting.notice) for waiting in batch if waiting.since > self._lost_at]
        if rows:
            try:
                columns = zip(*rows, strict=True)
                await self._postgres.write(_KEEP, *columns, seconds=limits.NOTICE_KEEP_SECONDS)
            except FloodgateError:
                self._lost_at = asyncio.get_running_loop().time()
                raise
        away = Unavailable("PostgreSQL does not answer")
        return [None if waiting.since > self._lost_at else away for waiting in batch]

    async def hold_up(self) -> None:
        """Let whoever sent a stray wait until its turn among strays comes, but not for ever."""
        now = asyncio.get_running_loop().time()
        pace, most = 1 / limits.STRAYS_PER_SECOND_MAX, limits.STRAY_SECONDS_MAX
        self._next_stray_at = min(max(self._next_stray_at, now - 1.0) + pace, now + most)
        await asyncio.sleep(self._next_stray_at - now)

    async def done(self, notice: KeptNotice, result: str) -> None:
        """Note down what became of a notice."""
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


def _row(notice: KeptNotice) -> tuple[Any, ...]:
    return (
        PLATFORM,
        uuid_of(notice.id),
        notice.channel,
        notice.owner,
        notice.received_at,
        _encode(notice.headers),
        notice.body,
    )


def _spelt(text: str) -> str:
    """Spell out lone surrogates, by which Python stands for bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()
