"""One worker's ledgers on a real PostgreSQL, with nobody but the books to decide."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import CardMethod, CreatePayment, Payment, Standing
from gateway.domain.refund import Refund
from gateway.domain.stages import (
    Answered,
    Attempt,
    Claimed,
    KeyUse,
    Matched,
    Merchant,
    Opened,
    Posted,
    Received,
    RefundAnswered,
    RefundOpened,
    RefundPosted,
    Routed,
    Verified,
)
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.ledger.chart import account_of
from gateway.ledger.proofs import prove
from gateway.ledger.refund_store import PostgresRefundBooks
from gateway.ledger.refunds import RefundLedger
from gateway.ledger.service import Ledger
from gateway.ledger.store import PostgresBooks
from gateway.match.table import OPERATIONS
from tests.conftest import Database

DECLINED = Failure("card_declined", "The card was declined.", Advice.OTHER_METHOD)
CREATE = next(operation for operation in OPERATIONS if operation.name == "create_payment")
_merchants = itertools.count(1)


@dataclass
class Desk:
    """One worker's ledgers on a pool of its own, for one merchant."""

    postgres: Postgres
    merchant: Merchant
    clock: Clock

    def __post_init__(self) -> None:
        vault = sealing.Vault(sealing.new_master_key())
        self.books = PostgresBooks(self.postgres, vault, self.clock)
        self.refund_books = PostgresRefundBooks(self.postgres, self.clock)
        self.ledger = Ledger(self.books)
        self.refunds = RefundLedger(self.books, self.refund_books)

    def use(self) -> KeyUse:
        """A key of its own."""
        return KeyUse(self.clock.mint("re", self.merchant.number), b"f" * 32, "refund_payment")

    async def opened(self, amount: int = 1999) -> Opened:
        """A payment that is durable and of which nobody has heard."""
        now = self.clock.now()
        number = self.merchant.number
        payment_id, attempt_id = (self.clock.mint(prefix, number) for prefix in ("pay", "att"))
        expires_at = now + timedelta(minutes=1)
        method = CardMethod("tok_ok")
        command = CreatePayment(amount=amount, currency="CNY", reference=payment_id, method=method)
        received = Received("POST", "/v1/payments", (), b"", now, "req_1")
        verified = Verified(received, self.merchant, "key_1", b"", payment_id)
        claimed = Claimed(Matched(verified, CREATE, (), command), payment_id, b"f" * 32, None)
        payment = Payment(
            id=payment_id,
            merchant=self.merchant.id,
            reference=payment_id,
            amount=amount,
            currency="CNY",
            method=method,
            channel="simulator",
            created_at=now,
            updated_at=now,
            expires_at=expires_at,
        )
        standing = Standing(
            payment=payment,
            merchant=number,
            version=0,
            capture=True,
            commission_bps=self.merchant.commission_bps,
        )
        attempt = Attempt(
            id=attempt_id,
            payment_id=payment_id,
            merchant=number,
            channel="simulator",
            amount=amount,
            currency="CNY",
            expires_at=expires_at,
        )
        opened = await self.ledger.open(Routed(claimed, standing, attempt, None, None))
        assert isinstance(opened, Opened)
        return opened

    async def said(self, opened: Opened, *verdicts: Verdict) -> Posted:
        """Post what a channel says, one word after the other; each with the first one's reading."""
        for verdict in verdicts:
            failure = DECLINED if verdict is Verdict.FAILED else None
            outcome = Outcome(verdict, failure=failure)
            posted = await self.ledger.post(Answered(opened, outcome, self.clock.now()))
        return posted

    async def paid(self, amount: int = 1999) -> Opened:
        """A payment of which all was captured."""
        opened = await self.opened(amount)
        posted = await self.said(opened, Verdict.SUCCEEDED)
        return Opened(posted.standing, opened.attempt)

    def asked(self, opened: Opened, amount: int, reference: str = "") -> Refund:
        """A refund that somebody wants."""
        refund_id, now = self.clock.mint("re", self.merchant.number), self.clock.now()
        payment = opened.standing.payment
        return Refund(
            id=refund_id,
            payment=payment.id,
            merchant=payment.merchant,
            reference=reference or refund_id,
            amount=amount,
            currency="CNY",
            created_at=now,
            updated_at=now,
        )

    async def reserve(self, opened: Opened, amount: int, reference: str = "") -> Any:
        """Reserve an amount under a key of its own."""
        asked = self.asked(opened, amount, reference)
        return await self.refunds.open(self.use(), asked, opened.attempt)

    async def answered(self, refund: RefundOpened, verdict: Verdict) -> RefundPosted:
        """Post what the channel says of a refund."""
        answered = RefundAnswered(refund, Outcome(verdict), self.clock.now())
        posted = await self.refunds.post(answered)
        assert posted is not None
        return posted

    async def standing(self, opened: Opened) -> Standing:
        """The payment as it now stands."""
        found = await self.books.standing(self.merchant.number, opened.standing.payment.id)
        assert found is not None
        return found

    async def balances(self) -> dict[str, int]:
        """The accounts that hold anything, by the API's name of them; debits are positive."""
        found = await self.postgres.read(
            "SELECT account, debits_posted - credits_posted AS net FROM account"
            " WHERE merchant_id = $1 AND debits_posted <> credits_posted",
            self.merchant.number,
        )
        return {account_of(row["account"]).id: row["net"] for row in found}


@asynccontextmanager
async def desk_on(database: Database, merchant: Merchant) -> AsyncIterator[Desk]:
    postgres = Postgres(database.app_url, connections=3)
    await postgres.open()
    try:
        yield Desk(postgres, merchant, Clock())
    finally:
        await postgres.close()


@asynccontextmanager
async def proven_desk(database: Database) -> AsyncIterator[Desk]:
    """One worker for a new merchant; when it is left every proof of the books holds."""
    async with desk_on(database, await new_merchant(database)) as desk:
        yield desk
        for proof in await prove(desk.postgres):
            assert proof.holds, proof


async def new_merchant(database: Database) -> Merchant:
    """Add a merchant whose commission is 60 basis points."""
    number, clock = next(_merchants), Clock()
    merchant = Merchant(number, clock.mint("mer", number), 60)
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(
        "INSERT INTO merchant (id, public_id, name, commission_bps, created_at)"
        " VALUES ($1, $2, 'Shop', 60, $3)",
        number,
        uuid_of(merchant.id),
        datetime(2026, 5, 1, tzinfo=UTC),
    )
    await owner.close()
    return merchant
