"""The driver on a real PostgreSQL: what it gets over, and what it says of what it does not."""

import asyncio
import traceback
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from gateway.domain.errors import InDoubt, StatementRefused, Unavailable
from gateway.drivers.postgres import Postgres
from gateway.drivers.readiness import Readiness
from tests.conftest import Database
from tests.fakes.proxy import Proxy

CANARY = "s3cret"
ADD = """
INSERT INTO merchant (id, public_id, name, commission_bps, late_success, created_at)
VALUES ($1, $2, $3, $4, 'review', now())
"""
CANCEL = """
SELECT bool_or(pg_cancel_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
MANY_PAYMENTS = """
INSERT INTO payment (merchant_id, id, reference, amount, currency, amount_authorized,
                     amount_captured, amount_refunded, fee, commission_bps, capture, status,
                     channel, words, version, created_at, updated_at, expires_at)
SELECT 1, gen_random_uuid(), n::text, 100, 'CNY', 0, 0, 0, 0, 60, true, 'processing', 'simulator',
       '', 0, now(), now(), now()
  FROM generate_series(1, 3000) AS n
"""


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    postgres = Postgres(database.app_url, connections=2)
    await postgres.open()
    yield postgres
    await postgres.close()


def shop(number: int, name: str = "Shop", bps: int = 60) -> tuple[Any, ...]:
    return number, uuid.uuid4(), name, bps


async def test_sessions_on_a_server_that_became_read_only_are_left(postgres: Postgres) -> None:
    sessions = [await postgres.raw.acquire() for _ in range(2)]
    for session in sessions:
        await session.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        await postgres.raw.release(session)
    await postgres.write(ADD, *shop(1))
    assert len(await postgres.read("SELECT FROM merchant WHERE id = 1")) == 1


async def test_a_statement_that_was_cut_short_is_no_refusal_of_what_it_says(
    postgres: Postgres,
) -> None:
    """Whatever cancels it, a role's statement_timeout or people: it may go through another time."""
    sessions = [await postgres.raw.acquire() for _ in range(2)]
    for session in sessions:
        await session.execute("SET statement_timeout = 20")
        await postgres.raw.release(session)
    with pytest.raises(InDoubt):
        await postgres.write_batch("SELECT pg_sleep(30)", seconds=0.2)
    with pytest.raises(Unavailable):
        await postgres.read("SELECT pg_sleep(30)", seconds=0.2)


async def test_a_statement_that_was_cancelled_once_is_carried_out(
    postgres: Postgres, database: Database
) -> None:
    owner, other = [await asyncpg.connect(database.owner_url) for _ in range(2)]
    async with other.transaction():
        await other.execute("LOCK TABLE merchant IN SHARE MODE")
        adding = asyncio.create_task(postgres.write(ADD, *shop(6)))
        async with asyncio.timeout(20):
            while True:
                if await owner.fetchval(CANCEL):
                    break
                await asyncio.sleep(0.01)
    await adding
    await owner.close()
    await other.close()
    assert len(await postgres.read("SELECT FROM merchant WHERE id = 6")) == 1


@pytest.mark.parametrize(
    ("row", "state", "constraint"),
    [
        (shop(2, CANARY, bps=-1), "23514", "merchant_commission_bps_check"),
        (shop(3, CANARY), "23505", "merchant_pkey"),
        (shop(4, CANARY + "\0"), "22021", None),
        ((CANARY, *shop(5)[1:]), "22000", None),
    ],
    ids=["check", "unique", "text", "argument"],
)
async def test_a_refusal_names_the_law_and_not_the_row(
    postgres: Postgres, row: tuple[Any, ...], state: str, constraint: str | None
) -> None:
    if state == "23505":
        await postgres.write(ADD, *row)
    with pytest.raises(StatementRefused) as caught:
        await postgres.write(ADD, *row)
    assert (caught.value.state, caught.value.constraint) == (state, constraint)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_plans_do_not_outlive_the_small_tables_they_were_made_for(database: Database) -> None:
    """Generic plans of an empty table look through all rows of the merchant: a look-up ties."""
    postgres = Postgres(database.app_url, connections=1, plan_seconds=0)
    await postgres.open()
    find = "SELECT version FROM payment WHERE merchant_id = $1 AND id = $2"
    for _ in range(10):
        await postgres.read(find, 1, uuid.uuid4())
    await postgres.write(MANY_PAYMENTS)
    await postgres.read(find, 1, uuid.uuid4())
    async with postgres.raw.acquire() as session:
        (name,) = await session.fetchrow(
            "SELECT name FROM pg_prepared_statements WHERE statement = $1", find
        )
        plan = await session.fetch(f"EXPLAIN EXECUTE {name} (1, NULL)")
    await postgres.close()
    assert any("(id = $2)" in line for (line,) in plan if "Index Cond" in line)


async def test_batches_have_sessions_of_their_own_and_plans_for_any_number_of_items(
    database: Database,
) -> None:
    """For few items PostgreSQL planned each time, and in a new shop read all of its payments."""
    postgres = Postgres(database.app_url, connections=3)
    await postgres.open()
    add = "INSERT INTO feed SELECT * FROM unnest($1::bigint[], $2::bigint[])"
    for merchant in range(10):
        await postgres.write_batch(add, [merchant], [0])
    plans = "SELECT custom_plans FROM pg_prepared_statements WHERE statement = $1"
    assert [row[0] for row in await postgres.write_batch(plans, add)] == [0]
    assert not await postgres.read(plans, add), "nobody else is at a session that is kept"
    await postgres.close()


async def test_a_session_that_is_kept_for_batches_may_end(database: Database) -> None:
    postgres = Postgres(database.app_url, connections=3)
    await postgres.open()
    who = "SELECT pg_backend_pid()"
    (first,), (again,) = [(await postgres.write_batch(who))[0] for _ in range(2)]
    assert first == again
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("SELECT pg_terminate_backend($1)", first)
    await owner.close()
    ended, *rest = [(await postgres.write_batch(who))[0][0] for _ in range(4)]
    assert first not in {ended, *rest}
    assert {ended} == set(rest)
    with pytest.raises(InDoubt):
        await postgres.write_batch("SELECT pg_sleep(30)", seconds=0.05)
    assert (await postgres.write_batch(who))[0][0] != ended
    assert len(await asyncio.gather(*(postgres.read(who) for _ in range(5)))) == 5
    await postgres.close()


async def test_readiness_answers_while_postgresql_is_silent(database: Database) -> None:
    place = parse_qs(urlsplit(database.app_url).query)
    async with Proxy(f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}") as wire:
        login = f"{urlsplit(database.app_url).username}@127.0.0.1:{wire.port}"
        name = urlsplit(database.app_url).path
        postgres = Postgres(f"postgresql://{login}{name}?sslmode=disable", connections=1)
        await postgres.open()
        readiness = Readiness(postgres)
        assert await readiness.missing() == {}
        wire.hang()
        assert await readiness.missing() == {}
        missing = await seen(readiness, is_missing=True)
        many = await asyncio.gather(*(readiness.missing() for _ in range(9)))
        assert [missing, *many] == [{"postgresql": "unreachable"}] * 10
        wire.flow()
        await seen(readiness, is_missing=False)
        await postgres.close()


async def seen(readiness: Readiness, *, is_missing: bool) -> Mapping[str, str]:
    """Wait until something is missing, or nothing is any more."""
    async with asyncio.timeout(30):
        # Nobody tells: what was seen holds for a second, and then somebody has to ask.
        while bool(missing := await readiness.missing()) is not is_missing:  # noqa: ASYNC110 - it asks
            await asyncio.sleep(0.05)
    return missing


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("boolean", [True, None, False]),
        ("bytea", [b"", None, bytes(range(256))]),
        ("smallint", [-(1 << 15), None, (1 << 15) - 1]),
        ("integer", [-(1 << 31), None, (1 << 31) - 1]),
        ("bigint", [-(1 << 63), None, (1 << 63) - 1]),
        ("text", ["", None, "NULL", "ä\N{SNOWMAN}", '{"a,b\\c"}']),
        ("uuid", [uuid.uuid4(), None, uuid.UUID(int=0)]),
        (
            "timestamptz",
            [datetime(2, 1, 1, tzinfo=UTC), None, datetime(1999, 12, 31, 23, 59, 59, 1, UTC)],
        ),
    ],
)
async def test_arrays_come_back_as_they_went(
    postgres: Postgres, database: Database, kind: str, values: list[Any]
) -> None:
    """They are written by our own code; what each item is, PostgreSQL says itself."""
    sql = f"SELECT $1::{kind}[] AS whole, ARRAY(SELECT unnest($1::{kind}[])::text) AS texts"
    for given in (values, tuple(values), values[:1], []):
        (row,) = await postgres.read(sql, given)
        assert row["whole"] == list(given)
        plain = await asyncpg.connect(database.app_url)
        assert await plain.fetchrow(sql, list(given)) == row
        await plain.close()
