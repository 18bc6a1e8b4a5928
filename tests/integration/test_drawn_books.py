"""Payments of which nobody is asked, in the books: one commit leaves what two would have left."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from gateway.domain.errors import StatementRefused
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import NextAction, Outcome, Verdict
from gateway.domain.stages import (
    Answered,
    Drawn,
    Heard,
    Merchant,
    Opened,
    Posted,
    ReferenceTaken,
    Routed,
)
from gateway.drivers.postgres import Postgres
from gateway.ledger.drawn_rules import begun
from gateway.ledger.proofs import prove
from gateway.ledger.service import Ledger
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.integration.books_kit import (
    Stammering,
    books_of,
    connected,
    count,
    durable,
    routed,
    sequences,
)
from tests.unit.nouns import NOON

AT = NOON + timedelta(milliseconds=3)
SHOWN = Outcome(
    Verdict.REQUIRES_ACTION,
    code="signed",
    next_action=NextAction("form", url="https://pay.example", fields={"sum": "1000"}),
)
MISMATCHED = replace(SHOWN, amount=1, code="strange")
_TABLES = """
SELECT c.table_name AS name FROM information_schema.columns c
  JOIN information_schema.tables t USING (table_schema, table_name)
 WHERE c.column_name = 'merchant_id' AND c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
"""


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    async with connected(database) as postgres:
        yield postgres
        assert [proof for proof in await prove(postgres) if not proof.holds] == []


async def added(postgres: Postgres) -> Merchant:
    return await PostgresKeyStore(postgres, vault=None).add_merchant("Shop", Terms(), NOON)


@pytest.fixture
async def merchant(postgres: Postgres) -> Merchant:
    return await added(postgres)


def drawn(new: Routed, outcome: Outcome = SHOWN) -> Drawn:
    return Drawn(new, Answered(durable(new), outcome, AT))


async def rows_of(postgres: Postgres, merchant: Merchant) -> dict[str, list[Sequence[Any]]]:
    """Every row that a merchant has in any table, and which transaction wrote it."""
    found = {}
    for table in await postgres.read(_TABLES):
        sql = f"SELECT *, xmin::text AS wrote FROM {table['name']} WHERE merchant_id = $1"
        rows = await postgres.read(sql, merchant.number)
        if rows:
            found[table["name"]] = list(rows)
    return found


async def told(postgres: Postgres, merchant: Merchant, new: Routed) -> dict[str, Any]:
    """The same with names in the place of what no two payments have in common."""
    rows = await rows_of(postgres, merchant)
    (event,) = rows["event"]
    names = {
        merchant.id: "merchant",
        new.standing.payment.id: "payment",
        uuid_of(new.standing.payment.id): "payment",
        uuid_of(new.attempt.id): "attempt",
        event["id"].hex: "event",
    }

    def named(column: str, value: Any) -> Any:
        if column == "payer":
            return value is not None  # no two ciphers are the same
        if isinstance(value, UUID):
            return names[value.hex]
        text = repr(bytes(value) if isinstance(value, memoryview) else value)
        for name, word in names.items():
            text = text.replace(name, word)
        return text

    return {
        table: [
            {c: named(c, v) for c, v in row.items() if c not in {"merchant_id", "wrote"}}
            for row in found
        ]
        for table, found in rows.items()
    }


@pytest.mark.parametrize("outcome", [SHOWN, MISMATCHED], ids=["shown", "frozen"])
async def test_one_commit_leaves_what_two_would_have_left(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    ledger, in_one, in_two = (
        Ledger(books_of(postgres)),
        await added(postgres),
        await added(postgres),
    )
    one, two = (
        routed(merchant, key="k", reference="order 1", said=b"pay") for merchant in (in_one, in_two)
    )
    at_once = await ledger.open(drawn(one, outcome))
    opened = await ledger.open(two)
    assert isinstance(opened, Opened)
    later = await ledger.post(Answered(opened, outcome, AT))
    assert isinstance(at_once, Posted)
    assert await told(postgres, in_one, one) == await told(postgres, in_two, two)
    assert {"payment", "attempt", "event", "feed", "idempotency_key"} == set(
        await rows_of(postgres, in_one)
    )
    body = later.body.decode()
    for theirs, ours in (
        (in_two.id, in_one.id),
        (two.standing.payment.id, at_once.standing.payment.id),
    ):
        body = body.replace(theirs, ours)
    assert at_once.body.decode() == body
    assert await ledger.standing(in_one.number, one.standing.payment.id) == at_once.standing


async def test_one_transaction_writes_all_of_it(postgres: Postgres, merchant: Merchant) -> None:
    batch = [begun(drawn(routed(merchant))) for _ in range(5)]
    await books_of(postgres).begin_batch(batch)
    rows = await rows_of(postgres, merchant)
    assert [len(rows[table]) for table in ("payment", "attempt", "event")] == [5, 5, 5]
    assert len({row["wrote"] for found in rows.values() for row in found}) == 1


async def test_whoever_may_not_begin_leaves_nothing(postgres: Postgres, merchant: Merchant) -> None:
    """Keys and references count for both ways in, and what is refused has no event."""
    ledger = Ledger(books_of(postgres))
    asked = routed(merchant, key="asked", reference="order 1")
    shown = routed(merchant, key="shown", reference="order 2")
    assert isinstance(await ledger.open(asked), Opened)
    assert isinstance(await ledger.open(drawn(shown)), Posted)
    first, *others = await asyncio.gather(
        ledger.open(drawn(routed(merchant, key="new", reference="order 3"))),
        ledger.open(drawn(routed(merchant, key="asked", reference="order 4"))),
        ledger.open(drawn(routed(merchant, key="shown", reference="order 2"))),
        ledger.open(drawn(routed(merchant, key="other", reference="order 1"))),
        ledger.open(drawn(routed(merchant, key="another", reference="order 2"))),
        ledger.open(drawn(routed(merchant, key="late", reference="order 3"))),
    )
    assert isinstance(first, Posted)
    made = [uuid_of(payment.standing.payment.id) for payment in (asked, shown, first)]
    assert others == [
        Heard(asked.claimed.fingerprint, "create_payment", made[0]),
        Heard(shown.claimed.fingerprint, "create_payment", made[1]),
        *(ReferenceTaken(payment_id) for payment_id in (made[0], made[1], made[2])),
    ]
    asked_later = await ledger.open(routed(merchant, key="shown", reference="order 5"))
    assert isinstance(asked_later, Heard)
    assert await count(postgres, "payment", merchant) == 3
    assert await count(postgres, "attempt", merchant) == 3
    assert await sequences(postgres, merchant) == [1, 2]


async def test_a_statement_that_runs_twice_writes_once(
    database: Database, postgres: Postgres, merchant: Merchant
) -> None:
    async with connected(database, Stammering) as stammering:
        batch = [begun(drawn(routed(merchant))) for _ in range(4)]
        results = await books_of(stammering).begin_batch(batch)
    standings = [result.standing for result in results if isinstance(result, Posted)]
    assert standings == [one.change.standing for one in batch]
    assert await sequences(postgres, merchant) == [1, 2, 3, 4]


async def test_a_poisoned_one_fails_alone_and_leaves_no_gap(
    postgres: Postgres, merchant: Merchant
) -> None:
    ledger = Ledger(books_of(postgres))
    items = [drawn(routed(merchant, amount=0 if n == 4 else 1000)) for n in range(9)]
    results = await asyncio.gather(*map(ledger.open, items), return_exceptions=True)
    assert isinstance(results[4], StatementRefused)
    assert [isinstance(result, Posted) for result in results].count(True) == 8
    assert await sequences(postgres, merchant) == list(range(1, 9))


async def test_both_ways_in_at_once_leave_no_gap(database: Database, postgres: Postgres) -> None:
    merchants = [await added(postgres), await added(postgres)]
    async with connected(database) as other:
        ledgers = [Ledger(books_of(postgres)), Ledger(books_of(other))]

        async def pay(number: int) -> None:
            ledger, new = ledgers[number % 2], routed(merchants[number // 2 % 2])
            if number % 3:
                assert isinstance(await ledger.open(drawn(new)), Posted)
                return
            opened = await ledger.open(new)
            assert isinstance(opened, Opened)
            await ledger.post(Answered(opened, SHOWN, AT))

        await asyncio.gather(*map(pay, range(240)))
        for ledger in ledgers:
            await ledger.drain()
    for merchant in merchants:
        assert await sequences(postgres, merchant) == list(range(1, 121))
