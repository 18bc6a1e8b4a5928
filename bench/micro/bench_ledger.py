"""Times the ledger's batches: CPU of the worker, and the clock against a bare COPY of the rows.

The ceiling is what the same PostgreSQL takes when it is only given the rows of the journal, in
binary, into the same table with the same index, with one commit: no balances, no change of state,
no event, nothing looked up.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import asyncpg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.stage import Urls, count, fresh_database
from gateway.domain.stages import Merchant, Routed
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.ledger.store import PostgresBooks
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore
from tests.integration.books_kit import books_of, change, routed

ITEMS = 1000


class Bench(NamedTuple):
    """Books to write into, for a merchant whose every payment meets the same hot accounts."""

    url: str
    postgres: Postgres
    books: PostgresBooks
    merchant: Merchant

    def batch(self) -> list[Routed]:
        return [routed(self.merchant) for _ in range(ITEMS)]


@pytest.fixture(scope="module")
def bench(urls: Urls, runner: asyncio.Runner) -> Iterator[Bench]:
    async def opened() -> Bench:
        owner, app = await fresh_database(urls)
        postgres = Postgres(app, connections=2)
        await postgres.open()
        merchant = await PostgresKeyStore(postgres, None).add_merchant(
            "Hot", Terms(), Clock().now()
        )
        return Bench(owner, postgres, books_of(postgres), merchant)

    bench = runner.run(opened())
    yield bench
    runner.run(bench.postgres.close())


class Writer:
    """Prepares a batch outside of the time that is measured, then writes it."""

    def __init__(self, bench: Bench, runner: asyncio.Runner, verb: str) -> None:
        self._bench, self._runner, self._verb = bench, runner, verb
        self.items = 0

    def prepare(self) -> tuple[tuple[Sequence[Any]], dict[str, object]]:
        batch: Sequence[Any] = self._bench.batch()
        if self._verb == "post":
            self._runner.run(self._bench.books.open_batch(batch))
            batch = [change(new) for new in batch]
        return (batch,), {}

    def write(self, batch: Sequence[Any]) -> None:
        books = self._bench.books
        write = books.open_batch if self._verb == "open" else books.post_batch
        done = self._runner.run(write(batch))
        assert len(done) == len(batch)
        assert all(done)
        self.items += len(batch)


@pytest.mark.parametrize("verb", ["open", "post"])
@pytest.mark.benchmark(timer=time.process_time)
def test_the_workers_part(
    bench: Bench, runner: asyncio.Runner, benchmark: BenchmarkFixture, verb: str
) -> None:
    _time(benchmark, Writer(bench, runner, verb), step=verb)


@pytest.mark.parametrize("verb", ["open", "post"])
def test_by_the_clock(
    bench: Bench, runner: asyncio.Runner, benchmark: BenchmarkFixture, verb: str
) -> None:
    writer = Writer(bench, runner, verb)
    before = runner.run(count(bench.url, _rows(verb)))
    _time(benchmark, writer)
    assert runner.run(count(bench.url, _rows(verb))) - before == writer.items * _each(verb)


def test_ceiling_of_a_bare_copy(
    bench: Bench, runner: asyncio.Runner, benchmark: BenchmarkFixture
) -> None:
    """As many rows of `transfer` as a batch of captures writes."""

    async def prepared() -> tuple[asyncpg.Connection, list[tuple[object, ...]]]:
        connection = await asyncpg.connect(bench.url)
        await connection.execute("CREATE TABLE bare (LIKE transfer INCLUDING ALL)")
        sql = f"SELECT * FROM transfer ORDER BY journal_id LIMIT {ITEMS * _each('post')}"
        return connection, [tuple(row) for row in await connection.fetch(sql)]

    writer = Writer(bench, runner, "post")
    (batch,), _ = writer.prepare()
    writer.write(batch)
    connection, rows = runner.run(prepared())
    assert len(rows) == ITEMS * _each("post")

    def empty() -> None:
        runner.run(connection.execute("TRUNCATE bare"))

    def copy() -> None:
        runner.run(connection.copy_records_to_table("bare", records=rows))

    benchmark.extra_info["items"] = ITEMS
    benchmark.pedantic(copy, setup=empty, rounds=15, warmup_rounds=2)  # type: ignore[no-untyped-call]
    assert runner.run(connection.fetchval("SELECT count(*) FROM bare")) == len(rows)
    runner.run(connection.close())


def _time(benchmark: BenchmarkFixture, writer: Writer, step: str | None = None) -> None:
    benchmark.extra_info |= {"items": ITEMS} | ({"step": step} if step else {})
    timed: Any = benchmark.pedantic  # it has no types
    timed(writer.write, setup=writer.prepare, rounds=10, warmup_rounds=2)


def _rows(verb: str) -> str:
    table = "payment" if verb == "open" else "transfer"
    return f"SELECT count(*) FROM {table}"


def _each(verb: str) -> int:
    """A capture moves the merchant's part, our commission and the channel's fee."""
    return 1 if verb == "open" else 3
