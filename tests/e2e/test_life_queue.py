"""The queue of what is not known, on a real database: leased, shared, served in order of time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from gateway.domain import limits
from gateway.domain.identity import mint, uuid_of
from gateway.drivers.postgres import Postgres
from gateway.ledger.recovery import RecoveryQueue

NOW = datetime(2026, 5, 1, 20, tzinfo=UTC)
LEASE = timedelta(seconds=limits.QUERY_LEASE_SECONDS)
MERCHANT = 7

_DUE = """
INSERT INTO attempt (merchant_id, id, payment_id, channel, amount, currency, status, sent_at,
                     expires_at, due_at)
SELECT $1, id, id, 'simulator', 1, 'CNY', 'unknown', $3, $3, due_at
  FROM unnest($2::uuid[], $4::timestamptz[]) AS t (id, due_at)
"""


async def opened(url: str) -> Postgres:
    postgres = Postgres(url, connections=4)
    await postgres.open()
    return postgres


@pytest.fixture
async def queues(database: Any) -> AsyncIterator[Sequence[RecoveryQueue]]:
    """Four workers of one database."""
    owner = await opened(database.owner_url)
    await owner.write("DELETE FROM attempt")
    await owner.write(
        "INSERT INTO merchant (id, public_id, name, commission_bps, created_at)"
        " VALUES ($1, $2, 'Shop', 60, $3) ON CONFLICT DO NOTHING",
        MERCHANT,
        f"{MERCHANT:032x}",
        NOW,
    )
    workers = [await opened(database.app_url) for _ in range(4)]
    yield [RecoveryQueue(worker) for worker in workers]
    for postgres in (owner, *workers):
        await postgres.close()


async def due(database: Any, ages: Sequence[float]) -> list[str]:
    """Make attempts that are due since so many seconds."""
    ids = [mint("att", MERCHANT, number) for number in range(len(ages))]
    owner = await opened(database.owner_url)
    times = [NOW - timedelta(seconds=age) for age in ages]
    await owner.write(_DUE, MERCHANT, [uuid_of(each) for each in ids], NOW, times)
    await owner.close()
    return ids


async def emptied(queue: RecoveryQueue, now: datetime, limit: int) -> list[str]:
    taken: list[str] = []
    while batch := await queue.take(now, limit):
        taken += [each.attempt.id for each in batch]
    return taken


async def test_many_workers_take_each_attempt_once(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    ids = await due(database, range(200))
    taken = await asyncio.gather(*(emptied(queue, NOW, 10) for queue in queues))
    assert Counter(each for batch in taken for each in batch) == Counter(ids)


async def test_whoever_waits_longest_is_first_and_what_is_not_due_waits(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    ids = await due(database, [10, 30, -1, 20, 0])
    assert {each.attempt.id for each in await queues[0].take(NOW, 2)} == {ids[1], ids[3]}
    assert {each.attempt.id for each in await queues[1].take(NOW, 9)} == {ids[0], ids[4]}
    assert await queues[2].take(NOW, 9) == []


async def test_what_a_dead_worker_held_is_due_again_when_its_lease_ends(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    (attempt_id,) = await due(database, [0])
    (first,) = await queues[0].take(NOW, 9)
    assert await queues[1].take(NOW + LEASE - timedelta(milliseconds=1), 9) == []
    (second,) = await queues[1].take(NOW + LEASE, 9)
    assert (first.attempt.id, first.queries) == (attempt_id, 1)
    assert (second.attempt.id, second.queries) == (attempt_id, 2)


async def test_what_is_settled_does_not_come_back(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    await due(database, [0])
    (taken,) = await queues[0].take(NOW, 9)
    await queues[0].settled(taken.attempt)
    assert await queues[1].take(NOW + timedelta(days=1), 9) == []


def test_the_waits_grow() -> None:
    assert all(before < after for before, after in pairwise(limits.QUERY_WAIT_SECONDS))
