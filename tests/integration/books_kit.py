"""New payments and their changes, put straight into the books of a real PostgreSQL."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from msgspec.structs import replace

from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import CardMethod, Payer, Payment, Standing
from gateway.domain.stages import Attempt, Claimed, Merchant, Opened, Routed
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger.rules import Change, consequence
from gateway.ledger.store import PostgresBooks
from tests.servers_kit import Database
from tests.unit.nouns import EXPIRY, MATCHED, NOON

CLOCK = Clock()
PAID = Outcome(Verdict.SUCCEEDED)


class Stammering(Postgres):
    """Loses the first answer of every write, so that each statement runs twice."""

    async def write(self, sql: str, *arguments: Any, seconds: float = 10.0) -> Sequence[Row]:
        await super().write(sql, *arguments, seconds=seconds)
        return await super().write(sql, *arguments, seconds=seconds)

    async def write_batch(self, sql: str, *arguments: Any, seconds: float = 10.0) -> Sequence[Row]:
        await super().write_batch(sql, *arguments, seconds=seconds)
        return await super().write_batch(sql, *arguments, seconds=seconds)


@contextlib.asynccontextmanager
async def connected(database: Database, kind: type[Postgres] = Postgres) -> AsyncIterator[Postgres]:
    postgres = kind(database.app_url, connections=3)
    await postgres.open()
    yield postgres
    await postgres.close()


def books_of(postgres: Postgres) -> PostgresBooks:
    return PostgresBooks(postgres, sealing.Vault(sealing.new_master_key()), CLOCK)


def routed(
    merchant: Merchant, *, key: str = "", reference: str = "", said: bytes = b"", amount: int = 1000
) -> Routed:
    """A new payment on its way into the books; `said` stands for the bytes of the request."""
    payment = Payment(
        id=CLOCK.mint("pay", merchant.number),
        merchant=merchant.id,
        reference=reference or uuid.uuid4().hex,
        amount=amount,
        currency="CNY",
        method=CardMethod("tok_ok"),
        channel="simulator",
        metadata={"seat": "12A"},
        created_at=NOON,
        updated_at=NOON,
        expires_at=EXPIRY,
    )
    attempt = Attempt(
        id=CLOCK.mint("att", merchant.number),
        payment_id=payment.id,
        merchant=merchant.number,
        channel="simulator",
        amount=amount,
        currency="CNY",
        expires_at=EXPIRY,
    )
    matched = replace(MATCHED, verified=replace(MATCHED.verified, merchant=merchant))
    claimed = Claimed(matched, key or uuid.uuid4().hex, said.rjust(32), None)
    standing = Standing(
        payment=payment, merchant=merchant.number, version=0, capture=True, commission_bps=60
    )
    return Routed(claimed, standing, attempt, Payer(name="Zhang Wei"), None)


def durable(routed: Routed) -> Opened:
    """What the books give back for a new payment that they took."""
    return Opened(routed.standing, routed.attempt, routed.payer, routed.return_url)


def change(opened: Opened | Routed, outcome: Outcome = PAID) -> Change:
    """What an outcome brings; each success has the channel's own transaction."""
    if outcome.verdict is Verdict.SUCCEEDED and outcome.channel_transaction is None:
        outcome = replace(outcome, channel_transaction=f"tx_{opened.attempt.id}")
    found = consequence(opened.standing, opened.attempt, outcome, at=NOON)
    assert found is not None
    return found


async def count(postgres: Postgres, table: str, merchant: Merchant) -> int:
    sql = f"SELECT count(*) AS n FROM {table} WHERE merchant_id = $1"
    rows = await postgres.read(sql, merchant.number)
    number: int = rows[0]["n"]
    return number


async def sequences(postgres: Postgres, merchant: Merchant) -> list[int]:
    sql = "SELECT sequence FROM event WHERE merchant_id = $1 ORDER BY sequence"
    return [row["sequence"] for row in await postgres.read(sql, merchant.number)]


async def balances(postgres: Postgres, merchant: Merchant) -> dict[int, tuple[int, int]]:
    """Give debits and credits of each account, by its four-digit code and sub-account."""
    sql = "SELECT * FROM account WHERE merchant_id = $1"
    return {
        row["account"] // 1_000_000: (row["debits_posted"], row["credits_posted"])
        for row in await postgres.read(sql, merchant.number)
    }
