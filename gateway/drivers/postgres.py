"""PostgreSQL behind two verbs: `read`, and `write` for statements that may safely run twice.

Every foreign error is mapped here.  A write that may have been sent and was not answered is tried
again, because all our writes are keyed by ids made by us and a second run changes nothing; when
trying again does not help, the caller gets `InDoubt` and must not answer that nothing happened.
"""

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from gateway.domain.errors import InDoubt, StatementRefused, Unavailable
from gateway.domain.limits import (
    DATABASE_READ_SECONDS,
    DATABASE_RELEASE_SECONDS,
    DATABASE_WRITE_SECONDS,
    PLAN_KEEP_SECONDS,
)
from gateway.drivers.arrays import write_natively

# A session of no more use: its server became a read-only one, it was idle for too long, or it does
# not know itself what became of the statement.
_SPENT_STATES: Final = frozenset({"25006", "57P05", "40003"})
# Serialisation, deadlock, lock not available, connection and shutdown classes, I/O error, and
# XX000, under which a distributed engine reports any of them.
_TRANSIENT_STATES: Final = _SPENT_STATES | {
    *("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "58030", "XX000")
}
# How a PostgreSQL that refuses or does not answer looks from here.  An internal error is what
# asyncpg raises when its connection breaks between two of its own steps.
FOREIGN: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

Row = asyncpg.Record
logger: Final = logging.getLogger(__name__)


def _is_transient(error: BaseException, connection: Any) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        state = str(error.sqlstate)
        return state in _TRANSIENT_STATES or state.startswith(("08", "53"))
    if isinstance(error, asyncpg.InterfaceError):
        # On a living connection it is about what we asked, such as a value that is none of its
        # type, and would be so again.
        return bool(connection.is_closed())
    return True


def _refused(error: Exception) -> StatementRefused:
    """Leave an error's words behind: its message and details may show the row, or the argument."""
    state = getattr(error, "sqlstate", None) or type(error).__name__
    return StatementRefused(state, getattr(error, "constraint_name", None))


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


class Postgres:
    """A pool of connections to one PostgreSQL.

    `statement_cache` is 0 behind a pooler that does not track prepared statements.  No plan is used
    longer than `plan_seconds`.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        statement_cache: int = 200,
        plan_seconds: float = PLAN_KEEP_SECONDS,
    ) -> None:
        self._url = url
        self._connections = connections
        self._statement_cache = statement_cache
        self._plan_seconds = plan_seconds if statement_cache else math.inf
        self._pool: asyncpg.Pool[Row] | None = None

    async def open(self) -> None:
        """Connect all connections at once, so that the first payments do not pay for it."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=self._connections,
                max_size=self._connections,
                statement_cache_size=self._statement_cache,
                command_timeout=DATABASE_WRITE_SECONDS,
                init=write_natively,
                reset=_nothing,
                connection_class=_Session,
                server_settings={"application_name": "floodgate", "jit": "off"},
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("PostgreSQL cannot be reached") from error

    async def close(self) -> None:
        """Close every connection; what still runs is waited for, but not for ever."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), timeout=5)
            except TimeoutError:
                self._pool.terminate()

    async def read(
        self, sql: str, *arguments: Any, seconds: float = DATABASE_READ_SECONDS
    ) -> Sequence[Row]:
        """Run a statement that changes nothing; `Unavailable` when it cannot be answered.

        Like `write` it raises `StatementRefused` when trying again cannot help.
        """
        return await self._run(sql, arguments, seconds, Unavailable("PostgreSQL does not answer"))

    async def write(
        self, sql: str, *arguments: Any, seconds: float = DATABASE_WRITE_SECONDS
    ) -> Sequence[Row]:
        """Run a statement that may run twice; `InDoubt` when its fate stays unknown."""
        return await self._run(sql, arguments, seconds, InDoubt("a write was not answered"))

    async def learn(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """Read what became of a write; `InDoubt` when that is not answered, for it may be done."""
        try:
            return await self.read(sql, *arguments)
        except Unavailable as error:
            raise InDoubt("what became of a write is not known") from error

    async def _run(
        self, sql: str, arguments: Sequence[Any], seconds: float, lost: Exception
    ) -> Sequence[Row]:
        assert self._pool is not None, "open() comes first"
        deadline = asyncio.get_running_loop().time() + seconds
        failure: Exception = Unavailable("PostgreSQL cannot be reached")
        was_raced, wait = False, 0.005
        while True:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise failure
            try:
                connection: Any = await self._pool.acquire(timeout=left)
            except FOREIGN:
                await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                wait = min(wait * 2, 0.25)
                continue
            try:
                rows: Sequence[Row] = await self._fetch(connection, sql, arguments, left)
            except asyncpg.UniqueViolationError as error:
                # Somebody took the same key while this ran: a second run sees it and minds it.
                if was_raced:
                    raise _refused(error) from None
                was_raced = True
                continue
            except FOREIGN as error:
                if not _is_transient(error, connection):
                    raise _refused(error) from None
                if getattr(error, "sqlstate", None) in _SPENT_STATES:
                    connection.terminate()
                failure = lost
                failure.__cause__ = error
                logger.warning("PostgreSQL failed (%s); trying again", type(error).__name__)
            else:
                return rows
            finally:
                await self._give_back(connection)
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            wait = min(wait * 2, 0.25)

    async def _fetch(
        self, connection: Any, sql: str, arguments: Sequence[Any], seconds: float
    ) -> Sequence[Row]:
        now = asyncio.get_running_loop().time()
        if now - connection.planned_at > self._plan_seconds:
            await connection.plan_anew(now)
        rows: Sequence[Row] = await connection.fetch(sql, *arguments, timeout=seconds)
        return rows

    async def _give_back(self, connection: Any) -> None:
        assert self._pool is not None
        # The pool ends a connection that fails at this, and makes a new one when it is needed.
        with contextlib.suppress(*FOREIGN):
            await self._pool.release(connection, timeout=DATABASE_RELEASE_SECONDS)

    @property
    def raw(self) -> "asyncpg.Pool[Row]":
        """The pool itself, for the few places that listen or stream."""
        assert self._pool is not None, "open() comes first"
        return self._pool
