"""Migrations: in order, once, under concurrency, and never changed afterwards."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from servers_kit import Database

from gateway.domain.errors import Unavailable
from gateway.domain.identity import journal_uuid
from gateway.domain.posting import JournalKind
from gateway.drivers.migrations import (
    MIGRATIONS,
    MigrationRefused,
    migrate,
    pending,
    read_migrations,
    schema_is_current,
)

FIRST = "CREATE TABLE book (number int PRIMARY KEY); INSERT INTO book VALUES (1);"
SECOND = "INSERT INTO book SELECT 1 + max(number) FROM book; SELECT pg_sleep(0.01);"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_book.sql").write_text(FIRST)
    (tmp_path / "0002_more.sql").write_text(SECOND)
    return tmp_path


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database without any schema of ours."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    yield connection
    await connection.close()


async def books_of(owner: asyncpg.Connection) -> list[int]:
    return [row["number"] for row in await owner.fetch("SELECT number FROM book ORDER BY 1")]


async def test_every_file_is_applied_once_and_in_order(
    database: Database, owner: asyncpg.Connection, folder: Path
) -> None:
    assert await migrate(database.owner_url, folder=folder) == ["0001_book", "0002_more"]
    assert await migrate(database.owner_url, folder=folder) == []
    assert await books_of(owner) == [1, 2]


async def test_several_machines_may_migrate_at_once(
    database: Database, owner: asyncpg.Connection, folder: Path
) -> None:
    everywhere = [migrate(database.owner_url, folder=folder) for _ in range(5)]
    applied = await asyncio.gather(*everywhere)
    assert sorted(name for names in applied for name in names) == ["0001_book", "0002_more"]
    assert await books_of(owner) == [1, 2]


async def test_a_new_file_is_applied_to_an_old_schema(
    database: Database, owner: asyncpg.Connection, folder: Path
) -> None:
    await migrate(database.owner_url, folder=folder)
    (folder / "0003_last.sql").write_text("INSERT INTO book VALUES (9)")
    assert [each.name for each in await pending(owner, read_migrations(folder))] == ["0003_last"]
    assert await migrate(database.owner_url, folder=folder) == ["0003_last"]
    assert await books_of(owner) == [1, 2, 9]


async def test_a_file_that_fails_leaves_no_trace_of_itself(
    database: Database, owner: asyncpg.Connection, folder: Path
) -> None:
    (folder / "0002_more.sql").write_text("INSERT INTO book VALUES (7); SELECT nonsense")
    with pytest.raises(MigrationRefused, match=r"0002_more cannot be applied.*nonsense"):
        await migrate(database.owner_url, folder=folder)
    assert await books_of(owner) == [1]
    (folder / "0002_more.sql").write_text(SECOND)
    assert await migrate(database.owner_url, folder=folder) == ["0002_more"]


async def test_a_file_that_was_applied_must_not_change(
    database: Database, owner: asyncpg.Connection, folder: Path
) -> None:
    await migrate(database.owner_url, folder=folder)
    (folder / "0001_book.sql").write_text(FIRST + "-- a harmless comment")
    with pytest.raises(MigrationRefused, match="0001_book was changed"):
        await migrate(database.owner_url, folder=folder)


async def test_the_application_may_migrate_while_nothing_is_pending(
    database: Database, owner: asyncpg.Connection, folder: Path
) -> None:
    with pytest.raises(MigrationRefused, match="permission denied"):
        await migrate(database.app_url, folder=folder)
    await migrate(database.owner_url, folder=folder)
    assert await migrate(database.app_url, folder=folder) == []


async def test_our_own_schema_is_current_after_migrating(
    database: Database, owner: asyncpg.Connection
) -> None:
    assert not await schema_is_current(owner)
    await migrate(database.owner_url)
    application = await asyncpg.connect(database.app_url)
    assert await schema_is_current(application)
    await application.close()


async def test_a_schema_of_a_later_release_is_current(
    database: Database, owner: asyncpg.Connection
) -> None:
    await migrate(database.owner_url)
    await owner.execute("INSERT INTO schema_version VALUES (9999, '9999_later', '', now())")
    assert await schema_is_current(owner)


async def test_a_schema_whose_history_was_changed_is_not_current(
    database: Database, owner: asyncpg.Connection
) -> None:
    await migrate(database.owner_url)
    await owner.execute("UPDATE schema_version SET sha256 = '' WHERE version = 1")
    assert not await schema_is_current(owner)


@pytest.mark.parametrize("names", [["0001_a.sql", "0001_b.sql"], ["1_a.sql"], []])
def test_each_number_is_there_once(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationRefused):
        read_migrations(tmp_path)


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Unavailable):
        await migrate(f"postgresql://floodgate@/floodgate?host={tmp_path}", folder=folder)


async def test_a_second_transaction_of_old_becomes_a_further_one(
    database: Database, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """What was booked under the attempt itself keeps its journal as its cause."""
    for file in sorted(MIGRATIONS.glob("000[123]_*.sql")):
        (tmp_path / file.name).write_text(file.read_text())
    await migrate(database.owner_url, folder=tmp_path)
    cause, at = "019dd3b9-d200-7000-8000-000700000010", datetime(2026, 5, 1, tzinfo=UTC)
    await owner.execute(
        "INSERT INTO attempt (merchant_id, id, payment_id, channel, amount, currency, status,"
        " sent_at, expires_at, channel_transaction, second_transaction)"
        " VALUES (7, $1, $1, 'simulator', 1999, 'CNY', 'succeeded', $2, $2, 'tx_1', 'tx_2')",
        *(cause, at),
    )
    await owner.execute(
        "INSERT INTO transfer (merchant_id, journal_id, leg, payment_id, kind, debit_account,"
        " credit_account, amount, currency, created_at)"
        " VALUES (7, $1, 0, $2, 9, 11210001156, 22210000156, 1999, 'CNY', $3)",
        *(f"{cause[:-1]}9", cause, at),
    )
    await migrate(database.owner_url)
    (row,) = await owner.fetch("SELECT * FROM further_transaction")
    assert (str(row["id"]), row["channel_transaction"], row["amount"], row["booked_at"]) == (
        *(cause, "tx_2"),
        *(1999, at),
    )
    assert journal_uuid(row["id"].hex, JournalKind.PAID_AGAIN) == f"{cause[:-1]}9".replace("-", "")
