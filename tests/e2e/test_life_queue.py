"""The queue of what is not known, on a real database: leased, shared, paced, in order of time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.identity import mint, uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.recovery import Pace, pace_of
from gateway.domain.stages import Answered, Opened
from gateway.drivers.postgres import Postgres
from gateway.ledger.recovery import RecoveryQueue
from gateway.ledger.recovery_rules import Again
from tests.unit.nouns import ATTEMPT, STANDING

NOW = datetime(2026, 5, 1, 20, tzinfo=UTC)
LEASE = timedelta(seconds=limits.QUERY_LEASE_SECONDS)
SECOND = timedelta(seconds=1)
MERCHANT = 7
# The first is never in the way of a test, the second allows ten askings a second.
FAST, PACED = Pace(1, 1_000_000), pace_of(25)

_DUE = """
INSERT INTO attempt (merchant_id, id, payment_id, channel, amount, currency, status, sent_at,
                     expires_at, due_at, is_check)
SELECT $1, id, id, $5, 1, 'CNY', 'unknown', $3, $3, due_at, $6
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
    await owner.write("DELETE FROM channel_pace")
    await owner.write(
        "INSERT INTO merchant (id, public_id, name, commission_bps, created_at)"
        " VALUES ($1, $2, 'Shop', 60, $3) ON CONFLICT DO NOTHING",
        MERCHANT,
        f"{MERCHANT:032x}",
        NOW,
    )
    workers = [await opened(database.app_url) for _ in range(4)]
    paces = {"simulator": FAST, "stripe": FAST, "wechat": PACED}
    yield [RecoveryQueue(worker, lambda: paces) for worker in workers]
    for postgres in (owner, *workers):
        await postgres.close()


async def due(
    database: Any, ages: Sequence[float], channel: str = "simulator", *, is_check: bool = False
) -> list[str]:
    """Make attempts that are due since so many seconds."""
    ids = [mint("att", MERCHANT, number) for number in range(len(ages))]
    owner = await opened(database.owner_url)
    times = [NOW - timedelta(seconds=age) for age in ages]
    await owner.write(
        _DUE, MERCHANT, [uuid_of(each) for each in ids], NOW, times, channel, is_check
    )
    await owner.close()
    return ids


async def taken(
    queue: RecoveryQueue, now: datetime = NOW, busy: dict[str, int] | None = None
) -> list[str]:
    return [each.attempt_id for each in await queue.take(now, busy or {})]


def room(free: int, channel: str = "simulator") -> dict[str, int]:
    """Be so busy that there is room for no more than this."""
    return {channel: limits.QUERY_CHANNEL_FLIGHTS_MAX - free}


def leased(attempt_id: str, lease: datetime | None = None, channel: str = "simulator") -> Opened:
    attempt = replace(ATTEMPT, id=attempt_id, merchant=MERCHANT, channel=channel)
    return Opened(STANDING, attempt, lease=lease)


async def emptied(queue: RecoveryQueue) -> list[str]:
    held: list[str] = []
    while batch := await taken(queue, NOW, room(10)):
        held += batch
    return held


async def test_many_workers_take_each_attempt_once(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    ids = await due(database, range(200))
    held = await asyncio.gather(*(emptied(queue) for queue in queues))
    assert Counter(each for batch in held for each in batch) == Counter(ids)


async def test_whoever_waits_longest_is_first_and_what_is_not_due_waits(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    ids = await due(database, [10, 30, -1, 20, 0])
    assert set(await taken(queues[0], NOW, room(2))) == {ids[1], ids[3]}
    assert set(await taken(queues[1])) == {ids[0], ids[4]}
    assert await taken(queues[2]) == []


async def test_what_a_dead_worker_held_is_due_again_when_its_lease_ends(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    (attempt_id,) = await due(database, [0])
    (first,) = await queues[0].take(NOW, {})
    assert await taken(queues[1], NOW + LEASE - timedelta(milliseconds=1)) == []
    (second,) = await queues[1].take(NOW + LEASE, {})
    assert (first.attempt_id, first.queries) == (attempt_id, 1)
    assert (second.attempt_id, second.queries) == (attempt_id, 2)


async def test_what_is_settled_does_not_come_back(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    (attempt_id,) = await due(database, [0])
    (due_now,) = await queues[0].take(NOW, {})
    told = Answered(leased(attempt_id, due_now.lease_ends), Outcome(Verdict.SUCCEEDED), NOW)
    await queues[0].saw(told, "query", due=due_now, again=None)
    assert await taken(queues[1], NOW + timedelta(days=1)) == []


async def test_what_is_open_goes_before_what_is_only_looked_at(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    looks = await due(database, [50, 60], is_check=True)
    ids = await due(database, [1, 2])
    assert set(await taken(queues[0], NOW, room(2))) == set(ids)
    assert await taken(queues[1], NOW, room(1)) == [looks[1]]
    (last,) = await queues[2].take(NOW, {})
    assert (last.attempt_id, last.is_check) == (looks[0], True)


async def test_a_full_channel_leaves_the_others_their_room(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    await due(database, range(100), "stripe")
    ids = await due(database, [0])
    assert await taken(queues[0], NOW, room(0, "stripe")) == ids
    assert len(await taken(queues[1])) == limits.QUERY_CHANNEL_FLIGHTS_MAX


async def test_one_holder_at_a_time_whoever_wants_to_know(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    """A merchant who asks keeps the workers away, and the other way round."""
    (attempt_id,) = await due(database, [0])
    asking = leased(attempt_id).attempt
    lease = await queues[0].lease(asking, NOW)
    assert lease == NOW + LEASE
    mine = leased(attempt_id, lease)
    assert await queues[1].lease(asking, NOW) is None
    assert await queues[1].is_leased(asking, NOW)
    assert await taken(queues[1]) == []
    await queues[0].release(mine)
    assert not await queues[1].is_leased(asking, NOW)
    later = NOW + SECOND
    assert await taken(queues[1], later) == [attempt_id]
    assert await queues[0].lease(asking, later) is None
    await queues[0].release(mine)  # what is not ours any more stays with its holder
    assert await queues[0].lease(asking, later) is None
    assert await queues[0].lease(asking, later + LEASE) is not None


async def test_only_the_holder_says_when_to_ask_again(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    (attempt_id,) = await due(database, [0])
    (first,) = await queues[0].take(NOW, {})
    told = Outcome(Verdict.PENDING)
    stale = Answered(leased(attempt_id, first.lease_ends), told, NOW)
    (second,) = await queues[1].take(NOW + LEASE, {})
    await queues[0].saw(stale, "query", due=first, again=Again(NOW))
    assert await taken(queues[0], NOW + LEASE) == []
    mine = Answered(leased(attempt_id, second.lease_ends), told, NOW + LEASE)
    again = Again(NOW + LEASE + SECOND, is_check=True)
    await queues[1].saw(mine, "query", due=second, again=again)
    assert await taken(queues[0], NOW + LEASE) == []
    (third,) = await queues[0].take(NOW + LEASE + SECOND, {})
    assert (third.queries, third.is_check) == (3, True)


async def test_workers_together_stay_below_the_pace_of_a_channel(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    """Four workers that look all the time, for three seconds of the clock: never more in any."""
    await due(database, range(100), "wechat")
    per_look: list[int] = []
    for look in range(61):
        now = NOW + look * SECOND / 20
        held = await asyncio.gather(*(taken(queue, now) for queue in queues))
        per_look.append(sum(map(len, held)))
    allowed = 25 // limits.ASKING_QUERIES_MAX
    assert max(sum(per_look[start : start + 20]) for start in range(41)) <= allowed
    assert sum(per_look) >= 30, "and it is used"


async def test_who_wants_to_know_is_paced_too_and_asked_for_soon(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    (attempt_id, *_) = await due(database, [-99, *range(50)], "wechat")
    while await taken(queues[0]):
        pass
    asking = leased(attempt_id, channel="wechat").attempt
    assert await queues[1].lease(asking, NOW) is None
    assert not await queues[1].is_leased(asking, NOW)
    asked: set[str] = set()
    for step in range(1, 40):
        asked.update(await taken(queues[0], NOW + step * SECOND / 4))
    assert attempt_id in asked, "long before it was due"
    assert await queues[1].lease(asking, NOW + 100 * SECOND) is not None


async def test_what_was_over_is_only_looked_at_when_somebody_wants_to_know(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    """Found by a fault run: a payment that had failed was asked about again and again."""
    ids = await due(database, range(50), "wechat")
    owner = await opened(database.owner_url)
    await owner.write("UPDATE attempt SET due_at = NULL WHERE id = $1", uuid_of(ids[0]))
    await owner.close()
    while await taken(queues[0]):
        pass
    assert await queues[1].lease(leased(ids[0], channel="wechat").attempt, NOW) is None
    looks: list[bool] = []
    for step in range(1, 40):
        due_now = await queues[0].take(NOW + step * SECOND / 4, {})
        looks += [each.is_check for each in due_now if each.attempt_id == ids[0]]
    assert looks == [True]


async def test_a_worker_whose_clock_was_wrong_stops_nobody_for_long(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    await due(database, range(9), "wechat")
    tomorrow = NOW + timedelta(days=1)
    assert await taken(queues[0], tomorrow)
    assert await taken(queues[1]), "it is as if that had never been"


async def test_an_unknown_channel_is_never_asked(
    database: Any, queues: Sequence[RecoveryQueue]
) -> None:
    (attempt_id,) = await due(database, [0], "alipay")
    assert await taken(queues[0]) == []
    assert await queues[0].lease(leased(attempt_id, channel="alipay").attempt, NOW) is None


def test_the_waits_grow() -> None:
    assert all(before < after for before, after in pairwise(limits.QUERY_WAIT_SECONDS))
