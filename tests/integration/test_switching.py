"""A payment that goes on through another channel, on a real PostgreSQL: races and late money."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answered, Claimed, Heard, Merchant, Opened, Rerouted
from gateway.drivers.postgres import Postgres
from gateway.ledger.chart import account_of
from gateway.ledger.proofs import prove
from gateway.ledger.service import Ledger
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.integration.books_kit import CLOCK, Stammering, books_of, connected, routed
from tests.unit.nouns import MATCHED, NOON

AWAY = Failure("channel_unavailable", "Away.", Advice.RETRY_LATER)
NEVER_LEFT = Outcome(Verdict.FAILED, code="never_sent", failure=AWAY, sent=False)


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    async with connected(database) as postgres:
        yield postgres
        assert [proof for proof in await prove(postgres) if not proof.holds] == []


@pytest.fixture
async def merchant(postgres: Postgres) -> Merchant:
    return await PostgresKeyStore(postgres, vault=None).add_merchant("Shop", Terms(), NOON)


async def opened(ledger: Ledger, merchant: Merchant) -> Opened:
    made = await ledger.open(routed(merchant))
    assert isinstance(made, Opened)
    return made


def elsewhere(first: Opened, outcome: Outcome = NEVER_LEFT) -> Rerouted:
    """The next attempt of a payment, at another channel."""
    number = first.attempt.merchant
    attempt = replace(first.attempt, id=CLOCK.mint("att", number), channel="simulator_b")
    return Rerouted(Answered(first, outcome, NOON), attempt, b"{}", NOON)


def paid() -> Outcome:
    """A success; every transaction of a channel has its own number."""
    return Outcome(Verdict.SUCCEEDED, uuid.uuid4().hex, amount=1000, currency="CNY")


async def rows(postgres: Postgres, payment: Opened) -> list[tuple[Any, ...]]:
    """Channel, status, whether replaced, and whether due, of each attempt."""
    found = await postgres.read(
        "SELECT channel, status, replaced, due_at IS NOT NULL AS due FROM attempt"
        " WHERE merchant_id = $1 AND payment_id = $2 ORDER BY id",
        payment.attempt.merchant,
        uuid_of(payment.attempt.payment_id),
    )
    return [tuple(row) for row in found]


async def owed(postgres: Postgres, merchant: Merchant) -> dict[str, int]:
    """The merchant's accounts, debits less credits."""
    found = await postgres.read("SELECT * FROM account WHERE merchant_id = $1", merchant.number)
    return {account_of(r["account"]).id: r["debits_posted"] - r["credits_posted"] for r in found}


async def test_one_attempt_stands_for_a_payment(postgres: Postgres, merchant: Merchant) -> None:
    ledger = Ledger(books_of(postgres))
    first = await opened(ledger, merchant)
    next_one = await ledger.switch(elsewhere(first))
    assert next_one is not None
    payment = next_one.standing.payment
    assert (payment.status, payment.channel) == (Status.PROCESSING, "simulator_b")
    assert await rows(postgres, first) == [
        ("simulator", "failed", True, False),
        ("simulator_b", "sent", False, True),
    ]
    read = await ledger.opened(merchant.number, payment.id)
    assert (read.attempt.id, read.standing) == (next_one.attempt.id, next_one.standing)
    posted = await ledger.post(Answered(next_one, paid(), NOON))
    assert (posted.standing.version, posted.standing.payment.status) == (2, Status.SUCCEEDED)
    assert (await owed(postgres, merchant))["1121.simulator_b.CNY"] == 1000


async def test_an_unanswered_switch_happens_once(
    database: Database, postgres: Postgres, merchant: Merchant
) -> None:
    async with connected(database, Stammering) as stammering:
        ledger = Ledger(books_of(stammering))
        first = await opened(ledger, merchant)
        assert await ledger.switch(elsewhere(first)) is not None
        assert await ledger.switch(elsewhere(first)) is None, "it has gone on already"
    assert len(await rows(postgres, first)) == 2


async def test_what_changed_meanwhile_goes_before_a_switch(
    postgres: Postgres, merchant: Merchant
) -> None:
    """A notice was quicker: whatever we believed of the first attempt, it was paid."""
    ledger = Ledger(books_of(postgres))
    first = await opened(ledger, merchant)
    await ledger.post(Answered(first, paid(), NOON))
    assert await ledger.switch(elsewhere(first)) is None
    assert await rows(postgres, first) == [("simulator", "succeeded", False, False)]


async def test_a_wish_to_cancel_goes_over_to_the_next_attempt(
    postgres: Postgres, merchant: Merchant
) -> None:
    ledger = Ledger(books_of(postgres))
    first = await opened(ledger, merchant)
    matched = replace(
        MATCHED,
        verified=replace(MATCHED.verified, merchant=merchant),
        parameters=(first.standing.payment.id,),
    )
    wish = await ledger.begin_cancel(Claimed(matched, "cancel", b"c" * 32, None))
    assert not isinstance(wish, Heard)
    next_one = await ledger.switch(elsewhere(first))
    assert next_one is not None
    assert next_one.attempt.cancel_wished, "so the next channel is not asked for money"
    read = await ledger.opened(merchant.number, first.standing.payment.id)
    assert read.attempt == next_one.attempt


@pytest.mark.parametrize("then", [None, paid(), NEVER_LEFT])
async def test_money_through_a_replaced_attempt_waits_in_suspense(
    postgres: Postgres, merchant: Merchant, then: Outcome | None
) -> None:
    """Whether the payment is still open, was paid by the other attempt, or failed."""
    ledger = Ledger(books_of(postgres))
    first = await opened(ledger, merchant)
    next_one = await ledger.switch(elsewhere(first))
    assert next_one is not None
    if then is not None:
        await ledger.post(Answered(next_one, then, NOON))
    before = (await ledger.opened(merchant.number, first.standing.payment.id)).standing
    read = await ledger.by_attempt(merchant.number, first.attempt.id)
    assert read is not None
    assert read.attempt.replaced
    booked = paid()
    for opened_ in (first, read):
        posted = await ledger.post(Answered(opened_, booked, NOON))
    after = replace(posted.standing.payment, updated_at=before.payment.updated_at)
    assert after == before.payment, "the payment stays as it is"
    assert posted.standing.version == before.version + 1, "and is told of once"
    accounts = await owed(postgres, merchant)
    assert (accounts["1121.simulator.CNY"], accounts["2221.CNY"]) == (1000, -1000)
    if then is None:
        last = await ledger.post(Answered(next_one, paid(), NOON))
        assert last.standing.payment.status is Status.SUCCEEDED


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.CLOSED, Verdict.UNKNOWN])
async def test_other_words_about_a_replaced_attempt_are_no_news(
    postgres: Postgres, merchant: Merchant, verdict: Verdict
) -> None:
    ledger = Ledger(books_of(postgres))
    first = await opened(ledger, merchant)
    next_one = await ledger.switch(elsewhere(first))
    assert next_one is not None
    posted = await ledger.post(Answered(first, Outcome(verdict, failure=AWAY), NOON))
    assert posted.standing == next_one.standing
