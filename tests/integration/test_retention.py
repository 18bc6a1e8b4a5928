"""What is old is forgotten, what is not stays, and no fact about money ever goes."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from gateway.domain import identity, limits
from gateway.domain.identity import PLATFORM, uuid_of
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.flow.retention import WALKS, Retention
from tests.conftest import Database
from tests.integration.books_kit import connected

MERCHANTS = (7, 8)
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
_numbers = itertools.count()


class Calendar(Clock):
    """A clock that somebody sets."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Any]:
    owner = await asyncpg.connect(database.owner_url)
    for table in (*(walk.table for walk in WALKS), "merchant"):
        await owner.execute(f"TRUNCATE {table}")
    for number in MERCHANTS:
        await owner.execute(
            "INSERT INTO merchant (id, public_id, name, commission_bps, created_at)"
            " VALUES ($1, $2, 'Shop', 60, $3)",
            number,
            uuid_of(identity.mint("mer", number, 0)),
            NOW,
        )
    yield owner
    await owner.close()


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    async with connected(database) as postgres:
        yield postgres


def born(at: datetime, merchant: int) -> str:
    return uuid_of(identity.mint("pay", merchant, int(at.timestamp() * 1000)))


async def add(owner: Any, table: str, merchant: int, at: datetime, state: str = "") -> None:
    """Add a row of this age."""
    number, some = next(_numbers), born(at, merchant)
    columns: dict[str, Any]
    match table:
        case "idempotency_key":
            columns = {"key": f"key {number * 7919 % 1000}", "fingerprint": b"", "operation": "x"}
            columns |= {"resource_id": some, "created_at": at}
        case "sighting":
            columns = {"attempt_id": some, "seen_at": at, "source": "query", "verdict": "pending"}
        case "remark":
            columns = {"payment_id": some, "at": at, "kind": "close", "subject_id": some}
        case "notice":
            merchant = PLATFORM
            columns = {"id": some, "channel": "simulator", "received_at": at, "headers": b"{}"}
            columns |= {"body": b"", "processed_at": at if state else None}
            columns |= {"result": state or None}
        case _:
            columns = {"endpoint_id": born(NOW, merchant), "sequence": number, "tries": 1}
            columns |= {"status": state or "delivered", "last_tried_at": at}
            columns |= {"due_at": at if state == "pending" else None}
    columns["merchant_id"] = merchant
    places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    await owner.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", *columns.values()
    )


async def forget(postgres: Postgres, clock: Clock) -> int:
    """Let the duty walk until it rests everywhere."""
    retention, gone = Retention(postgres, clock), 0
    for _ in range(30):
        gone += await retention.turn()
    return gone


KEPT = {
    "idempotency_key": limits.KEY_KEEP_DAYS,
    "sighting": limits.HISTORY_KEEP_DAYS,
    "remark": limits.HISTORY_KEEP_DAYS,
    "notice": limits.NOTICE_KEEP_DAYS,
    "webhook_delivery": limits.DELIVERY_KEEP_DAYS,
}


@pytest.mark.parametrize("table", KEPT)
async def test_a_row_is_kept_for_its_time_and_not_for_longer(
    postgres: Postgres, owner: Any, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    assert {walk.table for walk in WALKS} == KEPT.keys()
    monkeypatch.setattr(limits, "RETENTION_BATCH_ITEMS_MAX", 4)
    days, second = timedelta(days=KEPT[table]), timedelta(seconds=1)
    for merchant, age in itertools.product(MERCHANTS, (days + second, days - second) * 6):
        state = "posted" if table == "notice" else ""
        await add(owner, table, merchant, NOW - age, state)
    assert await forget(postgres, Calendar()) == 12
    assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 12
    clock = Calendar()
    clock.at += 2 * second
    assert await forget(postgres, clock) == 12
    assert await forget(postgres, clock) == 0


async def test_what_is_not_done_with_is_kept(postgres: Postgres, owner: Any) -> None:
    await add(owner, "webhook_delivery", 7, NOW - timedelta(days=400), "pending")
    await add(owner, "webhook_delivery", 7, NOW - timedelta(days=400), "dead")
    await add(owner, "notice", 0, NOW - timedelta(days=400))
    await add(owner, "notice", 0, NOW - timedelta(days=400), "unmatched")
    assert await forget(postgres, Calendar()) == 2
    assert await owner.fetchval("SELECT status FROM webhook_delivery") == "pending"
    assert await owner.fetchval("SELECT processed_at FROM notice") is None


async def test_what_nobody_signed_goes_soon(postgres: Postgres, owner: Any) -> None:
    week = timedelta(days=limits.REFUSED_NOTICE_KEEP_DAYS)
    for state in ("refused: forged", "posted"):
        await add(owner, "notice", 0, NOW - week - timedelta(seconds=1), state)
        await add(owner, "notice", 0, NOW - week + timedelta(seconds=1), state)
    assert await forget(postgres, Calendar()) == 1
    left = await owner.fetch("SELECT result FROM notice ORDER BY id, result")
    assert sorted(row["result"] for row in left) == ["posted", "posted", "refused: forged"]


async def test_what_nobody_signed_is_never_too_much(
    postgres: Postgres, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest stay; a flood is deleted in batches, and real notices are no part of it."""
    monkeypatch.setattr(limits, "REFUSED_NOTICES_MAX", 3)
    monkeypatch.setattr(limits, "RETENTION_BATCH_ITEMS_MAX", 4)
    for age in range(10):
        at = NOW - timedelta(minutes=age)
        await add(owner, "notice", 0, at, "refused: forged")
        await add(owner, "notice", 0, at, "posted")
    retention = Retention(postgres, Calendar())
    assert [await retention.turn() for _ in range(2)] == [7, 0]
    left = await owner.fetch("SELECT received_at FROM notice WHERE result LIKE 'refused%'")
    assert {row["received_at"] for row in left} == {NOW - timedelta(minutes=n) for n in range(3)}
    assert await owner.fetchval("SELECT count(*) FROM notice WHERE result = 'posted'") == 10


async def test_two_workers_may_forget_at_once(
    postgres: Postgres, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETENTION_BATCH_ITEMS_MAX", 3)
    for number in range(20):
        await add(owner, "idempotency_key", 7, NOW - timedelta(days=31 if number % 2 else 29))
    one, two = Retention(postgres, Calendar()), Retention(postgres, Calendar())
    gone = 0
    for _ in range(10):
        gone += await one.turn()
        gone += await two.turn()
    assert gone == 10
    assert await owner.fetchval("SELECT count(*) FROM idempotency_key") == 10


@pytest.mark.parametrize(
    "table", ["payment", "attempt", "refund", "transfer", "account", "event", "feed", "merchant"]
)
async def test_money_is_never_forgotten(database: Database, table: str) -> None:
    application = await asyncpg.connect(database.app_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(f"DELETE FROM {table}")
    await application.close()
