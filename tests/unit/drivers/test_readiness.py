"""Readiness: whatever becomes of PostgreSQL, it is told and never an error."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.drivers.readiness import Readiness


class BrokenPool:
    """A pool whose connections break at the first question."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @property
    def raw(self) -> "BrokenPool":
        return self

    @contextlib.asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator["BrokenPool"]:  # noqa: ARG002, ASYNC109 - asyncpg's
        yield self

    async def fetchval(self, sql: str) -> None:
        assert "schema_version" in sql
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.InterfaceError("the connection is closed"),
        asyncpg.InternalClientError("another operation is in progress"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_connection_that_breaks_is_a_postgresql_that_is_away(error: Exception) -> None:
    pool = BrokenPool(error)
    readiness = Readiness(pool)  # type: ignore[arg-type]  # a fake
    assert await readiness.missing() == {"postgresql": "unreachable"}
