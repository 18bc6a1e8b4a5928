"""Sessions at one PostgreSQL, lent for one statement at a time; what asks it goes through them."""

import asyncio
import contextlib
import logging
import math
from typing import Any, Final

import asyncpg

from gateway.domain.errors import Unavailable
from gateway.domain.limits import (
    DATABASE_RELEASE_SECONDS,
    DATABASE_WRITE_SECONDS,
    PLAN_KEEP_SECONDS,
)
from gateway.drivers.arrays import write_natively

# How a PostgreSQL that refuses or does not answer looks from here.  An internal error is what
# asyncpg raises when its connection breaks between two of its own steps.
FOREIGN: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_KEPT_PART: Final = 3

Row = asyncpg.Record
# What the pool lends is a stand-in for the session, and knows whatever that knows.
Lent = Any


async def _nothing(_connection: object) -> None:
    """Leave a session as it is when it is given back: asyncpg's own reset is one more round trip.

    Each of our statements is its own transaction and changes nothing of its session.
    """


class _Session(asyncpg.Connection):
    """A connection that knows how old its plans are.

    PostgreSQL keeps the plan of a prepared statement while its table grows from nothing to
    millions, and to a planner that sees few rows looking through all of a merchant's rows is as
    good as a look-up: each payment of a new shop's first rush would cost more than the one before.
    """

    planned_at = 0.0

    async def plan_anew(self, now: float) -> None:
        """Let every statement be planned again for the tables as they are now."""
        self.planned_at = now
        await self.execute("DISCARD PLANS", timeout=5)

    async def keep(self) -> None:
        """Serve batches alone from now on, by plans for any number of items.

        For few items PostgreSQL would plan each time, which costs more than they do, and without
        statistics it would longer take reading all of a merchant's rows for as good as a look-up.
        """
        await self.execute("SET plan_cache_mode = force_generic_plan", timeout=5)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Name the error that the pool speaks of, and leave its words and its stack behind."""
    if record.exc_info and record.exc_info[0] is not None:
        record.msg = f"PostgreSQL cannot be reached ({record.exc_info[0].__name__}); trying again"
        record.args, record.exc_info = (), None
    return True


def unreachable(error: Exception) -> Unavailable:
    """Say why nobody answers; of a URL that cannot be read nothing, for its password may be in it.

    A password of whose characters one ends the part that it stands in is the usual reason.
    """
    if isinstance(error, ValueError):
        return Unavailable(
            "the URL of PostgreSQL cannot be read: postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE"
            " is wanted, and of a password / as %2F, # as %23, ? as %3F, @ as %40"
        )
    return Unavailable(f"PostgreSQL cannot be reached: {str(error) or type(error).__name__}")


def _is_open(session: Lent) -> bool:
    """Tell whether a session lives; one that was lost has gone back to the pool by itself."""
    try:
        return not session.is_closed()
    except asyncpg.InterfaceError:
        return False


class Sessions:
    """A pool of sessions; a third of them are kept for batches once there are any.

    What is kept is lent without a task and a timer of the pool.  With `statement_cache` 0 nothing
    is, nor are there plans to become old: behind a pooler a session is not ours alone.
    """

    def __init__(
        self, url: str, *, count: int, statement_cache: int, plan_seconds: float = PLAN_KEEP_SECONDS
    ) -> None:
        logging.getLogger("asyncpg.pool").addFilter(_in_one_line)
        self._url = url
        self._count = count
        self._statement_cache = statement_cache
        self._plan_seconds = plan_seconds if statement_cache else math.inf
        self._keep_max = count // _KEPT_PART if statement_cache else 0
        self._kept: set[Lent] = set()
        self._idle: list[Lent] = []  # of those that are kept
        self._pool: asyncpg.Pool[Row] | None = None

    @property
    def pool(self) -> "asyncpg.Pool[Row]":
        """The pool itself."""
        assert self._pool is not None, "open() comes first"
        return self._pool

    async def open(self) -> None:
        """Connect all of them at once, so that the first payments do not pay for it."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=self._count,
                max_size=self._count,
                statement_cache_size=self._statement_cache,
                command_timeout=DATABASE_WRITE_SECONDS,
                init=write_natively,
                reset=_nothing,
                connection_class=_Session,
                server_settings={"application_name": "floodgate", "jit": "off"},
            )
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise unreachable(error) from error

    async def close(self) -> None:
        """Close every session; what still runs is waited for, but not for ever."""
        if self._pool is None:
            return
        self._keep_max = 0
        while self._idle:
            await self._release(self._idle.pop())
        try:
            await asyncio.wait_for(self._pool.close(), timeout=5)
        except TimeoutError:
            self._pool.terminate()

    async def take(self, seconds: float, *, for_batch: bool) -> Lent:
        """Lend a session; one of `FOREIGN` when none is free or can be made in time."""
        while for_batch and self._idle:
            session = self._idle.pop()
            if _is_open(session):
                return session
            await self._end(session)
        return await self.pool.acquire(timeout=seconds)

    async def prepare(self, session: Lent, *, for_batch: bool) -> None:
        """Make a session ready for a statement; whatever it raises is the session's."""
        if for_batch and len(self._kept) < self._keep_max and session not in self._kept:
            self._kept.add(session)
            await session.keep()
        now = asyncio.get_running_loop().time()
        if now - session.planned_at > self._plan_seconds:
            await session.plan_anew(now)

    async def give_back(self, session: Lent, *, is_at_rest: bool) -> None:
        """Take a session back; one that is not at rest may still be at its statement."""
        if session not in self._kept:
            await self._release(session)
        elif not is_at_rest or not _is_open(session):
            await self._end(session)
        elif len(self._idle) < self._keep_max:
            self._idle.append(session)
        else:
            await self._release(session)

    async def _end(self, session: Lent) -> None:
        """Let one that was kept make room for a new one; its statement is cancelled first."""
        self._kept.discard(session)
        with contextlib.suppress(*FOREIGN):
            await session.close(timeout=DATABASE_RELEASE_SECONDS)
        await self._release(session)

    async def _release(self, session: Lent) -> None:
        # The pool ends a connection that fails at this, and makes a new one when it is needed.
        with contextlib.suppress(*FOREIGN):
            await self.pool.release(session, timeout=DATABASE_RELEASE_SECONDS)
