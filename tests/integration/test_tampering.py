"""Whoever changes one amount or currency of the books by hand is found by the proofs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.stages import Answered, Opened, RefundOpened
from gateway.drivers.postgres import Postgres
from gateway.ledger.codec import read_due_further
from gateway.ledger.proofs import prove
from gateway.ledger.refund_rules import planned_further
from gateway.ledger.rules import begin_capture
from tests.conftest import Database
from tests.integration.ledger_desk import Desk, desk_on, new_merchant

Made = TypeVar("Made")
FURTHER = """
SELECT f.*, m.public_id AS merchant_public_id
  FROM further_transaction f JOIN merchant m ON m.id = f.merchant_id WHERE f.merchant_id = $1
"""


async def captured(desk: Desk, amount: int) -> Opened:
    """A payment of 19.99 that was held, and of which this much was captured."""
    opened = await desk.opened()
    held = await desk.said(opened, Verdict.AUTHORIZED)
    change = begin_capture(held.standing, opened.attempt, amount, desk.clock.now())
    assert change is not None
    await desk.books.post_batch([change])
    attempt = replace(opened.attempt, capture_amount=amount)
    said = Outcome(Verdict.SUCCEEDED, "tx_1", amount=amount, currency="CNY")
    posted = await desk.ledger.post(
        Answered(Opened(change.standing, attempt), said, desk.clock.now())
    )
    return Opened(posted.standing, attempt)


async def lives(desk: Desk) -> dict[str, str]:
    """One payment and refund of each kind: their ids by what became of them."""
    paid = await desk.paid(10_000)
    part = await captured(desk, 1500)
    back = {
        "back": (await desk.reserve(part, 700), Verdict.SUCCEEDED),
        "failed": (await desk.reserve(part, 300), Verdict.FAILED),
        "coming": (await desk.reserve(part, 200), Verdict.PENDING),
    }
    for refund, verdict in back.values():
        assert isinstance(refund, RefundOpened)
        await desk.answered(refund, verdict)
    late, adopted, pending, held, ended, reversed_ = [await desk.opened() for _ in range(6)]
    await desk.said(late, Verdict.CLOSED, Verdict.SUCCEEDED)
    posted = await desk.said(adopted, Verdict.CLOSED, Verdict.SUCCEEDED)
    await desk.ledger.adopt(Opened(posted.standing, adopted.attempt), desk.clock.now())
    await desk.said(pending, Verdict.PENDING)
    await desk.said(held, Verdict.AUTHORIZED)
    await desk.said(ended, Verdict.CLOSED)
    await desk.said(reversed_, Verdict.SUCCEEDED)
    gave_back = Outcome(Verdict.CLOSED, returned=True)
    await desk.ledger.post(Answered(reversed_, gave_back, desk.clock.now()))
    payments = {
        "paid": paid,
        "part": part,
        "late": late,
        "adopted": adopted,
        "pending": pending,
        "held": held,
        "ended": ended,
        "reversed": reversed_,
    }
    ids = {name: uuid_of(opened.standing.payment.id) for name, opened in payments.items()}
    ids |= {name: uuid_of(r.standing.refund.id) for name, (r, _) in back.items()}
    return ids | await paid_again(desk)


async def paid_again(desk: Desk) -> dict[str, str]:
    """Two payments that were paid twice: what is beside them waits, or goes back."""
    ids = {}
    for name in ("waiting", "going"):
        opened = await desk.opened()
        for number in range(2):
            said = Outcome(Verdict.SUCCEEDED, f"{opened.attempt.id} {number}")
            posted = await desk.ledger.post(Answered(opened, said, desk.clock.now()))
            opened = Opened(posted.standing, replace(opened.attempt, channel_transaction="first"))
        ids[name] = uuid_of(opened.standing.payment.id)
    (due,) = [
        each
        for each in map(read_due_further, await desk.postgres.read(FURTHER, desk.merchant.number))
        if uuid_of(each.payment) == ids["going"]
    ]
    refund_id = desk.clock.mint("re", desk.merchant.number)
    await desk.refunds.give_back([planned_further(due, refund_id, desk.clock.now())])
    return ids | {"beside": uuid_of(refund_id)}


def on_a_desk(database: Database, work: Callable[[Desk], Awaitable[Made]]) -> Made:
    async def run() -> Made:
        async with desk_on(database, await new_merchant(database)) as desk:
            return await work(desk)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def ids(database: Database) -> dict[str, str]:
    return on_a_desk(database, lives)


async def failing(database: Database) -> str:
    postgres = Postgres(database.app_url, connections=1)
    await postgres.open()
    proofs = await prove(postgres)
    await postgres.close()
    return "".join(proof.id for proof in proofs if not proof.holds)


# What is changed, to what, by which proofs that is found, and whose it is.
CHANGES = """
payment  | amount               | amount + 1                 | d  | paid part late held ended
payment  | amount_captured      | amount_captured - 1        | d  | paid part late adopted
payment  | amount_captured      | 1                          | d  | pending held ended reversed
payment  | status               | 'succeeded'                | d  | reversed
payment  | amount_authorized    | amount - amount_authorized | d  | paid part held ended pending
payment  | amount_authorized    | amount - 1                 | d  | paid part held ended pending
payment  | amount_refunded      | amount_refunded + 1        | f  | paid part adopted
payment  | amount_refunded      | amount_refunded - 1        | f  | part
payment  | fee                  | fee + 1                    | d  | paid part late adopted pending
payment  | fee                  | fee - 1                    | d  | paid part adopted
payment  | channel_fee          | channel_fee + 1            | d  | paid part late adopted pending
payment  | channel_fee          | channel_fee + 1            | d  | reversed
payment  | fee_refunded         | fee_refunded - 1           | f  | part
payment  | fee_refunded         | fee_refunded + 1           | f  | paid adopted
payment  | channel_fee_refunded | channel_fee_refunded - 1   | f  | part
payment  | channel_fee_refunded | channel_fee_refunded + 1   | f  | paid late
payment  | currency             | 'EUR'                      | d  | paid part late held ended
payment  | commission_bps       | commission_bps + 100       | d  | paid part adopted
payment  | commission_bps       | 0                          | d  | paid part adopted
attempt  | amount               | amount + 1                 | d  | paid part late held ended
attempt  | currency             | 'EUR'                      | d  | paid part pending
attempt  | capture_amount       | capture_amount - 1         | d  | part
attempt  | capture_amount       | 1                          | d  | paid pending late
attempt  | capture_amount       | 0                          | d  | held
refund   | amount               | amount + 1                 | df | back coming
refund   | amount               | amount - 1                 | d  | failed
refund   | currency             | 'EUR'                      | d  | back failed coming
refund   | commission_back      | commission_back + 1        | df | back coming
refund   | commission_back      | commission_back + 1        | d  | failed
refund   | channel_fee_back     | channel_fee_back + 1       | df | back
refund   | channel_fee_back     | channel_fee_back + 1       | f  | coming
refund   | amount               | amount - 1                 | df | beside
refund   | further_id           | NULL                       | f  | beside
further_transaction | amount    | amount + 1                 | d  | waiting going
further_transaction | amount    | amount - 1                 | d  | waiting
further_transaction | currency  | 'EUR'                      | d  | waiting
further_transaction | amount_refunded | amount_refunded + 1  | df | waiting
further_transaction | amount_refunded | amount_refunded - 1  | df | going
transfer | amount               | amount + 1                 | bd | paid part late reversed
transfer | currency             | 'EUR'                      | d  | paid part late
account  | debits_posted        | debits_posted + 1          | bc | everybody
account  | credits_posted       | credits_posted + 1         | bc | everybody
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in CHANGES.strip().splitlines()]
CASES = [
    pytest.param(*row[:4], who, id=f"{row[0]} {who}: {row[1]} = {row[2]}")
    for row in ROWS
    for who in row[4].split()
]
# By which column a row is found; accounts are all changed at once.
KEYS = {"payment": "id", "attempt": "payment_id", "refund": "id", "transfer": "payment_id"}
KEYS["further_transaction"] = "payment_id"


def test_nothing_stands_against_books_that_nobody_touched(
    database: Database, ids: dict[str, str]
) -> None:
    assert asyncio.run(failing(database)) == ""


@pytest.mark.parametrize(("table", "column", "value", "proofs", "who"), CASES)
def test_a_changed_column_is_found(
    database: Database,
    ids: dict[str, str],
    table: str,
    column: str,
    value: str,
    proofs: str,
    who: str,
) -> None:
    async def change_and_prove() -> str:
        owner = await asyncpg.connect(database.owner_url)
        kept = await owner.fetch(f"SELECT * FROM {table}")
        where = f"WHERE {KEYS[table]} = '{ids[who]}'" if who in ids else ""
        changed = await owner.execute(f"UPDATE {table} SET {column} = {value} {where}")
        assert changed != "UPDATE 0"
        found = await failing(database)
        await owner.execute(f"TRUNCATE {table}")
        await owner.copy_records_to_table(table, records=kept)
        await owner.close()
        return found

    assert asyncio.run(change_and_prove()) == proofs
