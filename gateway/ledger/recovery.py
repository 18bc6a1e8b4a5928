"""The queue of attempts whose outcome is not known, kept in PostgreSQL and served by due time.

An attempt is leased: until the lease ends its holder alone asks the channel, be it a worker or a
merchant who wants to know; when the holder dies the attempt is due again by itself.  What workers
take together is paced by channel, and what is open goes before what is only looked at.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.domain import identity, limits
from gateway.domain.identity import PLATFORM, uuid_of
from gateway.domain.recovery import Pace
from gateway.domain.refund import RefundStanding
from gateway.domain.stages import Answered, Attempt, DueFurther, Opened
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger import further_statements
from gateway.ledger import recovery_statements as sql
from gateway.ledger.codec import read_due_further
from gateway.ledger.recovery_rules import Again


class _Lane(Struct, frozen=True):
    """What is paced by itself: its name, and the statement that counts what waits in it."""

    name: str
    waiting: str


_QUERIES: Final = _Lane("query", sql.WAITING)
_REFUNDS: Final = _Lane("refund", sql.WAITING_REFUNDS)


class DueRefund(Struct, frozen=True):
    """A refund that somebody must ask about, and how often that was tried, this time included."""

    merchant: int
    refund_id: str
    channel: str
    queries: int


class Due(Struct, frozen=True):
    """An attempt that is leased to us, and how often it was asked about, this time included.

    `is_check` when its payment has ended, or is paid, and it is only looked at.
    """

    merchant: int
    attempt_id: str
    channel: str
    queries: int
    is_check: bool
    lease_ends: datetime


class RecoveryQueue:
    """Hands out due attempts, one holder each, at the pace of each channel.

    `paces` gives the pace of each channel that there is just now; others are not asked.
    """

    def __init__(self, postgres: Postgres, paces: Callable[[], Mapping[str, Pace]]) -> None:
        self._postgres = postgres
        self._paces = paces
        self._named: list[int] = []
        self._named_until = -math.inf

    async def take(self, now: datetime, busy: Mapping[str, int]) -> list[Due]:
        """Lease attempts that are due, as many as each channel has room for beside what is busy.

        `busy` counts by channel what is under way with the caller.
        """
        merchants = await self._merchants()
        room = await self._room(_QUERIES, merchants, now, busy)
        taken: list[Row] = []
        for taking in (sql.TAKE_OPEN, sql.TAKE_LOOKS):
            rows = await self._take(taking, merchants, now, room)
            taken += rows
            for row in rows:
                room[row["channel"]] -= 1
        return [
            Due(
                row["merchant_id"],
                identity.public("att", row["id"].hex),
                row["channel"],
                row["queries"],
                row["is_check"],
                _lease_from(now),
            )
            for row in taken
        ]

    async def take_refunds(self, now: datetime, busy: Mapping[str, int]) -> list[DueRefund]:
        """Lease refunds that are due, in the same way."""
        merchants = await self._merchants()
        room = await self._room(_REFUNDS, merchants, now, busy)
        return [
            DueRefund(
                row["merchant_id"],
                identity.public("re", row["id"].hex),
                row["channel"],
                row["queries"],
            )
            for row in await self._take(sql.TAKE_REFUNDS, merchants, now, room)
        ]

    async def take_further(self, now: datetime) -> list[DueFurther]:
        """Lease what was paid beside payments, where its merchants do not leave it to people."""
        rows = await self._postgres.write(
            further_statements.TAKE,
            await self._merchants(),
            now,
            limits.DUE_FURTHER_ITEMS_MAX,
            _lease_from(now),
        )
        return [read_due_further(row) for row in rows if row["due_at"] is not None]

    async def _merchants(self) -> list[int]:
        """Name all merchants; who came since they were read waits for the next time."""
        at = asyncio.get_running_loop().time()
        if at >= self._named_until:
            self._named = [row["id"] for row in await self._postgres.read(sql.MERCHANTS)]
            self._named_until = at + limits.RELOAD_SECONDS
        return self._named

    async def _room(
        self, lane: _Lane, merchants: list[int], now: datetime, busy: Mapping[str, int]
    ) -> dict[str, int]:
        """Say how many of what waits in each channel may be asked about now."""
        paces = self._paces()
        free = {
            channel: limits.QUERY_CHANNEL_FLIGHTS_MAX - busy.get(channel, 0) for channel in paces
        }
        rows = await self._postgres.read(lane.waiting, merchants, now, *_columns(free))
        wanted = {row["channel"]: min(row["waiting"], free[row["channel"]]) for row in rows}
        return {
            channel: await self._granted(channel, paces[channel], lane, now, wanted=count)
            for channel, count in wanted.items()
            if count > 0
        }

    async def _granted(
        self, channel: str, pace: Pace, lane: _Lane, now: datetime, *, wanted: int
    ) -> int:
        """Take from what a channel's pace has left, for all workers together."""
        begins_at = now - timedelta(microseconds=pace.burst_us)
        first = min(wanted, pace.burst_us // pace.slot_us)
        rows = await self._postgres.write(
            sql.PACE,
            *(PLATFORM, channel, lane.name),
            *(now, begins_at, pace.slot_us, wanted),
            *(begins_at + first * timedelta(microseconds=pace.slot_us), first),
            now + timedelta(seconds=limits.PACE_AHEAD_SECONDS_MAX),
        )
        granted: int = rows[0]["granted"]
        return granted

    async def _take(
        self, taking: str, merchants: list[int], now: datetime, room: dict[str, int]
    ) -> Sequence[Row]:
        if not any(room.values()):
            return []
        return await self._postgres.write(taking, merchants, now, *_columns(room), _lease_from(now))

    async def lease(self, attempt: Attempt, now: datetime) -> datetime | None:
        """Lease an attempt to whoever wants to know just now, and say until when.

        None when somebody asks already, or when its channel allows no more questions: then it is
        due as soon as it does.
        """
        pace, lease_ends = self._paces().get(attempt.channel), _lease_from(now)
        key = (attempt.merchant, uuid_of(attempt.id))
        if pace is None or not await self._postgres.write(sql.LEASE, *key, lease_ends, now):
            return None
        if not await self._granted(attempt.channel, pace, _QUERIES, now, wanted=1):
            await self._postgres.write(sql.HURRY, *key, lease_ends, now)
            return None
        return lease_ends

    async def is_leased(self, attempt: Attempt, now: datetime) -> bool:
        """Tell whether somebody is asking the channel about an attempt."""
        return bool(
            await self._postgres.read(sql.LEASED, attempt.merchant, uuid_of(attempt.id), now)
        )

    async def release(self, opened: Opened) -> None:
        """Give a lease back: we have asked, or will not ask."""
        attempt = opened.attempt
        await self._postgres.write(sql.RELEASE, attempt.merchant, uuid_of(attempt.id), opened.lease)

    async def ask_soon(self, attempt: Attempt, now: datetime) -> None:
        """Make an attempt due at once, because what was told of it must be asked."""
        await self._postgres.write(sql.SOONER, attempt.merchant, uuid_of(attempt.id), now)

    async def refund_later(self, standing: RefundStanding, due_at: datetime) -> None:
        """Say when to ask about a refund again; one that is settled meanwhile stays so."""
        await self._postgres.write(
            sql.REFUND_LATER, standing.merchant, uuid_of(standing.refund.id), due_at
        )

    async def saw(
        self,
        answered: Answered,
        source: str,
        *,
        due: Due | None = None,
        again: Again | None = None,
    ) -> None:
        """Keep what the channel said, and give back the lease under which it was asked.

        Who took the attempt as due also says when to ask again.
        """
        attempt, outcome = answered.opened.attempt, answered.outcome
        await self._postgres.write(
            sql.SAW,
            *(attempt.merchant, uuid_of(attempt.id)),
            *(answered.at, source, outcome.verdict.value, outcome.code),
            answered.opened.lease,
            due.lease_ends if due is not None else None,
            again.at if again is not None else None,
            again.is_check if again is not None else False,
        )


def _columns(room: Mapping[str, int]) -> tuple[list[str], list[int]]:
    return list(room), [max(0, free) for free in room.values()]


def _lease_from(now: datetime) -> datetime:
    return now + timedelta(seconds=limits.QUERY_LEASE_SECONDS)
