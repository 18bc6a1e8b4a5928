"""The books on a real PostgreSQL: whole batches in, each item's own result out, nothing twice."""

import asyncio
import itertools
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.domain.errors import InDoubt, StatementRefused, Unavailable
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answered, Heard, Merchant, Opened, Posted, ReferenceTaken, Routed
from gateway.drivers.batching import Batcher
from gateway.drivers.postgres import Postgres
from gateway.ledger.proofs import prove
from gateway.ledger.rules import Change
from gateway.ledger.service import Ledger
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.integration.books_kit import (
    PAID,
    Stammering,
    balances,
    books_of,
    change,
    connected,
    count,
    durable,
    routed,
    sequences,
)
from tests.unit.nouns import NOON

UNIQUE_VIOLATION = "23505"  # PostgreSQL, appendix A
DECLINED = Outcome(
    Verdict.FAILED, failure=Failure("card_declined", "Declined.", Advice.OTHER_METHOD)
)


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    async with connected(database) as postgres:
        yield postgres


@pytest.fixture
async def merchant(postgres: Postgres) -> Merchant:
    store = PostgresKeyStore(postgres, vault=None)
    return await store.add_merchant("Shop", Terms(), NOON)


async def test_every_item_of_a_batch_has_its_own_answer(
    postgres: Postgres, merchant: Merchant
) -> None:
    first = routed(merchant, key="k1", reference="order 1", said=b"first")
    books = books_of(postgres)
    assert await books.open_batch([first]) == [durable(first)]
    fresh = routed(merchant, key="k2", reference="order 2")
    same_key = routed(merchant, key="k1", reference="order 3", said=b"other")
    same_reference = routed(merchant, key="k4", reference="order 1")
    same_key_in_batch = routed(merchant, key="k2", reference="order 5", said=b"five")
    same_reference_in_batch = routed(merchant, key="k6", reference="order 2")
    batch = [fresh, same_key, same_reference, same_key_in_batch, same_reference_in_batch]
    operation = "create_payment"
    assert await books.open_batch(batch) == [
        durable(fresh),
        Heard(b"first".rjust(32), operation, uuid_of(first.standing.payment.id)),
        ReferenceTaken(uuid_of(first.standing.payment.id)),
        Heard(b"".rjust(32), operation, uuid_of(fresh.standing.payment.id)),
        ReferenceTaken(uuid_of(fresh.standing.payment.id)),
    ]
    assert await count(postgres, "payment", merchant) == 2
    assert await count(postgres, "attempt", merchant) == 2


async def test_what_becomes_of_a_payment_lies_beside_it_and_no_index_hears_of_it(
    postgres: Postgres, merchant: Merchant
) -> None:
    books = books_of(postgres)
    batch = [routed(merchant, key=f"k{n}", reference=f"order {n}") for n in range(200)]
    await books.open_batch(batch)
    before = await pages(postgres, merchant)
    assert all(await books.post_batch([change(each) for each in batch]))
    assert await pages(postgres, merchant) == before


async def pages(postgres: Postgres, merchant: Merchant) -> dict[uuid.UUID, str]:
    rows = await postgres.read(
        "SELECT id, split_part(ctid::text, ',', 1) AS page FROM payment WHERE merchant_id = $1",
        merchant.number,
    )
    return {row["id"]: row["page"] for row in rows}


async def test_a_refused_key_stays_its_requests_own(postgres: Postgres, merchant: Merchant) -> None:
    taken = routed(merchant, reference="order 1")
    refused = routed(merchant, key="k", reference="order 1", said=b"late")
    again = routed(merchant, key="k", reference="order 1", said=b"late")
    elsewhere = routed(merchant, key="k", reference="nobody's", said=b"other")
    books = books_of(postgres)
    await books.open_batch([taken])
    assert await books.open_batch([refused]) == [ReferenceTaken(uuid_of(taken.standing.payment.id))]
    heard, other = await books.open_batch([again, elsewhere])
    owner = uuid_of(taken.standing.payment.id)
    assert heard == Heard(b"late".rjust(32), "create_payment", owner, refused=True)
    assert isinstance(other, Heard)
    assert (other.fingerprint, other.refused) == (b"late".rjust(32), True)


async def test_what_became_of_a_batch_is_in_doubt_when_it_cannot_be_read(
    postgres: Postgres, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of it is durable: nobody may hear that nothing was begun."""

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("PostgreSQL does not answer")

    books = books_of(postgres)
    first, second = routed(merchant, reference="order 1"), routed(merchant, reference="order 2")
    await books.open_batch([first])
    await books.post_batch([change(first)])
    with monkeypatch.context() as patch:
        patch.setattr(postgres, "read", away)
        with pytest.raises(InDoubt):
            await books.open_batch([routed(merchant, reference="order 1"), second])
        with pytest.raises(InDoubt):
            await books.post_batch([change(first), change(second)])
    assert await count(postgres, "payment", merchant) == 2
    assert await sequences(postgres, merchant) == [1, 2]


async def test_two_merchants_share_nothing_in_a_batch(postgres: Postgres) -> None:
    store = PostgresKeyStore(postgres, vault=None)
    terms = Terms(commission_bps=0)
    merchants = [await store.add_merchant(name, terms, NOON) for name in ("East", "West")]
    batch = [routed(merchant, key="k", reference="order 1") for merchant in merchants]
    results = await books_of(postgres).open_batch(batch)
    assert results == [durable(item) for item in batch]


POISON = {
    "an amount of nothing": {"amount": 0},
    "a text that PostgreSQL cannot hold": {"reference": "a\0b"},
    "a number that is too big": {"amount": 1 << 63},
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
async def test_a_poisoned_item_fails_alone(
    postgres: Postgres, merchant: Merchant, poison: dict[str, Any]
) -> None:
    batcher = Batcher[Routed, Any](
        books_of(postgres).open_batch, items_max=100, queue_items_max=100
    )
    items = [routed(merchant) for _ in range(9)]
    items[4] = routed(merchant, **poison)
    results = await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)
    assert isinstance(results[4], StatementRefused | ValueError)
    assert [isinstance(result, Opened) for result in results].count(True) == 8
    assert await count(postgres, "payment", merchant) == 8
    assert await count(postgres, "idempotency_key", merchant) == 8


async def test_a_poisoned_change_fails_alone_and_leaves_no_gap(
    postgres: Postgres, merchant: Merchant
) -> None:
    books = books_of(postgres)
    items = [routed(merchant) for _ in range(9)]
    await books.open_batch(items)
    changes = [change(item) for item in items]
    # The channel names one transaction for two attempts: the second cannot be true.
    twice = replace(changes[4].outcome, channel_transaction="tx_" + items[0].attempt.id)
    changes[4] = change(items[4], twice)
    batcher = Batcher[Change, Any](books.post_batch, items_max=100, queue_items_max=100)
    results = await asyncio.gather(*map(batcher.submit, changes), return_exceptions=True)
    failed = [index for index, result in enumerate(results) if not isinstance(result, Posted)]
    assert failed in ([0], [4])
    refusal = results[failed[0]]
    assert isinstance(refusal, StatementRefused)
    assert refusal.state == UNIQUE_VIOLATION
    assert await sequences(postgres, merchant) == list(range(1, 9))
    standing = await books.standing(merchant.number, items[failed[0]].standing.payment.id)
    assert standing == items[failed[0]].standing


async def test_a_payment_comes_back_as_it_was_written(
    postgres: Postgres, merchant: Merchant
) -> None:
    books = books_of(postgres)
    item = routed(merchant)
    await books.open_batch([item])
    standing = await books.standing(merchant.number, item.standing.payment.id)
    assert standing == item.standing
    assert await books.attempt_of(merchant.number, item.standing.payment.id) == item.attempt
    (posted,) = await books.post_batch([change(item)])
    assert posted is not None
    assert await books.standing(merchant.number, item.standing.payment.id) == posted.standing
    assert posted.standing.payment.status is Status.SUCCEEDED


async def test_one_change_of_each_kind(postgres: Postgres, merchant: Merchant) -> None:
    books = books_of(postgres)
    paid, declined, unknown, small = items = [
        routed(merchant, amount=amount) for amount in (1000, 1000, 1000, 10)
    ]
    await books.open_batch(items)
    outcomes = (PAID, DECLINED, Outcome(), PAID)
    results = await books.post_batch(
        [change(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]
    )
    statuses = [result.standing.payment.status for result in results if result is not None]
    assert statuses == [Status.SUCCEEDED, Status.FAILED, Status.PROCESSING, Status.SUCCEEDED]
    assert await sequences(postgres, merchant) == [1, 2, 3, 4]
    # 1000 with 6 of commission and 3 for the channel; 10 is too little for either.
    assert await count(postgres, "transfer", merchant) == 3 + 1
    assert await balances(postgres, merchant) == {
        11210: (1010, 0),
        11219: (0, 3),
        22010: (0, 994 + 10),
        40010: (0, 6),
        50010: (3, 0),
    }
    due = await postgres.read(
        "SELECT id FROM attempt WHERE merchant_id = $1 AND due_at IS NOT NULL", merchant.number
    )
    assert [row["id"].hex for row in due] == [uuid_of(unknown.attempt.id)]
    assert {paid.attempt.id, declined.attempt.id, small.attempt.id}.isdisjoint({unknown.attempt.id})


async def test_of_two_changes_of_one_payment_the_first_is_posted(
    postgres: Postgres, merchant: Merchant
) -> None:
    books = books_of(postgres)
    item, other = routed(merchant), routed(merchant)
    await books.open_batch([item, other])
    results = await books.post_batch([change(item), change(other), change(item, DECLINED)])
    assert [result is not None for result in results] == [True, True, False]
    assert await books.post_batch([change(item, DECLINED)]) == [None]
    assert await sequences(postgres, merchant) == [1, 2]


async def test_a_statement_that_runs_twice_writes_once(
    database: Database, postgres: Postgres, merchant: Merchant
) -> None:
    items = [routed(merchant, amount=1000) for _ in range(5)]
    clash = routed(merchant, reference=items[0].standing.payment.reference)
    async with connected(database, Stammering) as stammering:
        books = books_of(stammering)
        opened = await books.open_batch([*items, clash])
        posted = await books.post_batch([change(item) for item in items])
    assert opened[:5] == [durable(item) for item in items]
    assert isinstance(opened[5], ReferenceTaken | Heard)
    assert [result is not None for result in posted] == [True] * 5
    assert await sequences(postgres, merchant) == [1, 2, 3, 4, 5]
    assert (await balances(postgres, merchant))[11210] == (5000, 0)
    assert await count(postgres, "payment", merchant) == 5


async def test_two_pools_posting_at_once_leave_no_gap_and_agree(
    database: Database, postgres: Postgres
) -> None:
    store = PostgresKeyStore(postgres, vault=None)
    merchants = [await store.add_merchant(name, Terms(), NOON) for name in ("East", "West")]
    async with connected(database) as other:
        books = itertools.cycle([books_of(postgres), books_of(other)])
        items = [routed(merchant, amount=1000) for merchant in merchants for _ in range(150)]
        random.Random(4711).shuffle(items)
        batches = [items[at : at + 10] for at in range(0, len(items), 10)]
        await asyncio.gather(*(next(books).open_batch(batch) for batch in batches))
        results = await asyncio.gather(
            *(next(books).post_batch([change(item) for item in batch]) for batch in batches)
        )
    assert all(posted is not None for result in results for posted in result)
    for merchant in merchants:
        assert await sequences(postgres, merchant) == list(range(1, 151))
        assert (await balances(postgres, merchant))[22010] == (0, 150 * 994)
    assert [proof.id for proof in await prove(postgres) if not proof.holds] == []


async def test_batches_in_opposite_orders_do_not_stop_each_other(
    database: Database, postgres: Postgres, merchant: Merchant
) -> None:
    items = [routed(merchant) for _ in range(40)]
    backwards = [
        routed(merchant, key=item.claimed.key, reference=item.standing.payment.reference)
        for item in reversed(items)
    ]
    async with connected(database) as other:
        one, two = books_of(postgres), books_of(other)
        opened = await asyncio.gather(one.open_batch(items), two.open_batch(backwards))
        made = [item for result in opened for item in result if isinstance(item, Opened)]
        assert len(made) == len(items)
        for outcome in (Outcome(Verdict.PENDING), PAID):
            standings = [await one.standing(merchant.number, o.standing.payment.id) for o in made]
            now = [
                change(Opened(standing, opened.attempt), outcome)
                for standing, opened in zip(standings, made, strict=True)
                if standing is not None
            ]
            results = await asyncio.gather(one.post_batch(now), two.post_batch(now[::-1]))
            won = [posted is not None for posted in results[0]]
            assert [posted is not None for posted in results[1]][::-1] == [not w for w in won]
    assert await sequences(postgres, merchant) == list(range(1, 81))
    assert [proof.id for proof in await prove(postgres) if not proof.holds] == []


@pytest.mark.parametrize("table", ["transfer", "event"])
@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE {} SET merchant_id = 1",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} ADD COLUMN x integer",
        "DROP TABLE {}",
    ],
)
async def test_what_was_written_stands(
    database: Database, postgres: Postgres, merchant: Merchant, table: str, forbidden: str
) -> None:
    item = routed(merchant)
    books = books_of(postgres)
    await books.open_batch([item])
    await books.post_batch([change(item)])
    application = await asyncpg.connect(database.app_url)
    before = await application.fetch(f"SELECT * FROM {table}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(forbidden.format(table))
    assert await application.fetch(f"SELECT * FROM {table}") == before
    await application.close()


async def test_the_payers_data_is_not_readable_in_the_database(
    postgres: Postgres, merchant: Merchant
) -> None:
    item = routed(merchant)
    await books_of(postgres).open_batch([item])
    sql = "SELECT payer, payment::text AS row FROM payment WHERE merchant_id = $1"
    (row,) = await postgres.read(sql, merchant.number)
    assert len(row["payer"]) > len("Zhang Wei")
    assert b"Zhang" not in row["payer"]
    assert "Zhang" not in row["row"]


async def test_a_transaction_that_belongs_to_another_attempt_is_for_people(
    postgres: Postgres, merchant: Merchant
) -> None:
    ledger = Ledger(books_of(postgres))
    one, other = routed(merchant), routed(merchant)
    for item in (one, other):
        assert isinstance(await ledger.open(item), Opened)
    said = Outcome(Verdict.SUCCEEDED, "tx_same", amount=one.attempt.amount, currency="CNY")
    first = await ledger.post(Answered(Opened(one.standing, one.attempt), said, NOON))
    second = await ledger.post(Answered(Opened(other.standing, other.attempt), said, NOON))
    assert first.standing.payment.status is Status.SUCCEEDED
    assert second.standing.payment.status is Status.REQUIRES_REVIEW
    assert second.standing.payment.amount_captured == 0


async def test_what_has_ended_since_it_was_read_is_not_canceled(
    postgres: Postgres, merchant: Merchant
) -> None:
    """The worker closes a payment while its merchant's wish to cancel is on its way."""
    books = books_of(postgres)
    ended, alive = routed(merchant), routed(merchant)
    await books.open_batch([ended, alive])
    await books.post_batch([change(ended, Outcome(Verdict.CLOSED))])
    wishes = [
        await books.begin_cancel(replace(item.claimed, key=uuid.uuid4().hex), item.attempt)
        for item in (ended, alive, alive)
    ]
    assert wishes == [False, True, False]
    again = await books.opened(merchant.number, ended.attempt.id)
    assert again is not None
    assert not again.attempt.cancel_wished


async def test_a_wish_to_cancel_that_may_be_noted_is_in_doubt(
    database: Database, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(database, Stammering) as stammering:
        item, ledger = routed(merchant), Ledger(books_of(stammering))
        await ledger.open(item)
        matched = replace(item.claimed.matched, parameters=(item.standing.payment.id,))
        asked = replace(item.claimed, matched=matched, key="to cancel")
        monkeypatch.setattr(stammering, "learn", AsyncMock(side_effect=InDoubt("not answered")))
        with pytest.raises(InDoubt):
            await ledger.begin_cancel(asked)
