"""PostgreSQL behind two verbs: `read`, and `write` for statements that may safely run twice.

Every foreign error is mapped here.  A write that may have been sent and was not answered is tried
again, because all our writes are keyed by ids made by us and a second run changes nothing; when
trying again does not help, the caller gets `InDoubt` and must not answer that nothing happened.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from gateway.domain.errors import InDoubt, StatementRefused, Unavailable
from gateway.domain.limits import (
    DATABASE_READ_SECONDS,
    DATABASE_WRITE_SECONDS,
    PLAN_KEEP_SECONDS,
)
from gateway.drivers.sessions import FOREIGN, Row, Sessions

__all__ = ["FOREIGN", "Postgres", "Row"]

# A session of no more use: its server became a read-only one, it was idle for too long, or it does
# not know itself what became of the statement.
_SPENT_STATES: Final = frozenset({"25006", "57P05", "40003"})
# Serialisation, deadlock, lock not available, connection and shutdown classes, I/O error, and
# XX000, under which a distributed engine reports any of them.
_TRANSIENT_STATES: Final = _SPENT_STATES | {
    *("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "58030", "XX000")
}
# Cut short by a statement_timeout or by people, and nothing of it is done: what is soon done
# otherwise waited for somebody, and what may take minutes was meant.
_CANCELED_STATE: Final = "57014"
logger: Final = logging.getLogger(__name__)


def _is_transient(error: BaseException, session: Any, seconds: float) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        state = str(error.sqlstate)
        if state == _CANCELED_STATE:
            return seconds <= DATABASE_WRITE_SECONDS
        return state in _TRANSIENT_STATES or state.startswith(("08", "53"))
    if isinstance(error, asyncpg.InterfaceError):
        # On a living connection it is about what we asked, such as a value that is none of its
        # type, and would be so again.
        return bool(session.is_closed())
    return True


def _refused(error: Exception) -> StatementRefused:
    """Leave an error's words behind: its message and details may show the row, or the argument."""
    state = getattr(error, "sqlstate", None) or type(error).__name__
    return StatementRefused(state, getattr(error, "constraint_name", None))


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
        self._sessions = Sessions(
            url, count=connections, statement_cache=statement_cache, plan_seconds=plan_seconds
        )

    async def open(self) -> None:
        """Connect all connections at once, so that the first payments do not pay for it."""
        await self._sessions.open()

    async def close(self) -> None:
        """Close every connection; what still runs is waited for, but not for ever."""
        await self._sessions.close()

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

    async def write_batch(
        self, sql: str, *arguments: Any, seconds: float = DATABASE_WRITE_SECONDS
    ) -> Sequence[Row]:
        """Do as `write` does for a statement over a batch, whose columns are arrays."""
        lost = InDoubt("a batch was not answered")
        return await self._run(sql, arguments, seconds, lost, for_batch=True)

    async def learn(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """Read what became of a write; `InDoubt` when that is not answered, for it may be done."""
        try:
            return await self.read(sql, *arguments)
        except Unavailable as error:
            raise InDoubt("what became of a write is not known") from error

    async def _run(
        self,
        sql: str,
        arguments: Sequence[Any],
        seconds: float,
        lost: Exception,
        *,
        for_batch: bool = False,
    ) -> Sequence[Row]:
        deadline = asyncio.get_running_loop().time() + seconds
        failure: Exception = Unavailable("PostgreSQL cannot be reached")
        was_raced, wait = False, 0.005
        while True:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise failure
            try:
                session = await self._sessions.take(left, for_batch=for_batch)
            except FOREIGN:
                await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                wait = min(wait * 2, 0.25)
                continue
            is_at_rest = False
            try:
                await self._sessions.prepare(session, for_batch=for_batch)
                rows: Sequence[Row] = await session.fetch(sql, *arguments, timeout=left)
            except asyncpg.UniqueViolationError as error:
                # Somebody took the same key while this ran: a second run sees it and minds it.
                is_at_rest = True
                if was_raced:
                    raise _refused(error) from None
                was_raced = True
                continue
            except FOREIGN as error:
                if not _is_transient(error, session, seconds):
                    is_at_rest = True
                    raise _refused(error) from None
                if getattr(error, "sqlstate", None) in _SPENT_STATES:
                    session.terminate()
                failure = lost
                failure.__cause__ = error
                logger.warning("PostgreSQL failed (%s); trying again", type(error).__name__)
            else:
                is_at_rest = True
                return rows
            finally:
                await self._sessions.give_back(session, is_at_rest=is_at_rest)
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            wait = min(wait * 2, 0.25)

    @property
    def raw(self) -> "asyncpg.Pool[Row]":
        """The pool itself, for the few places that listen or stream."""
        return self._sessions.pool
