"""Fee plans on a real PostgreSQL: versions that are never changed, by date, merchant and volume."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from gateway import policies
from gateway.domain.errors import FloodgateError, StatementRefused
from gateway.domain.fees import Rate, Terms
from gateway.domain.identity import uuid_of
from gateway.domain.payment import Status
from gateway.domain.stages import Answered, Merchant, Opened
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.ledger.proofs import prove
from gateway.ledger.service import Ledger
from gateway.routing.feebook import FeeBook
from gateway.routing.plans import FeePlan
from gateway.routing.store import PostgresPlans
from gateway.settings import Settings
from gateway.verify import ports
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.integration.books_kit import PAID, Stammering, books_of, connected, routed
from tests.unit.nouns import NOON

encode = msgspec.json.Encoder().encode
DAY = timedelta(days=1)


class Wound(Clock):
    """A clock that the test winds."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 11, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    async with connected(database) as postgres:
        yield postgres


@pytest.fixture
async def merchant(postgres: Postgres) -> Merchant:
    store = PostgresKeyStore(postgres, vault=None)
    return await store.add_merchant("Shop", ports.Terms(), NOON)


def plan(kind: str = "commission", **words: Any) -> FeePlan:
    return msgspec.convert({"kind": kind} | words, FeePlan)


async def test_a_plan_holds_from_its_time_on_and_never_before(
    postgres: Postgres, merchant: Merchant
) -> None:
    clock, plans = Wound(), PostgresPlans(postgres)
    book = FeeBook(plans, clock)

    async def add(owner: int, new: FeePlan, days: int) -> int:
        at = clock.now()
        return await plans.add_plan(owner, new, effective_at=at + days * DAY, at=at)

    def terms() -> Terms:
        return book.terms(merchant, "card", "CNY", "simulator")

    await book.refresh()
    assert terms() == Terms(Rate(60), Rate(30)), "what everybody has without a plan"
    everybodys = await add(0, plan(rates=[{"bps": 90}]), 0)
    theirs = await add(merchant.number, plan(rates=[{"method": "card", "bps": 50}]), 2)
    kept = {"currency": "CNY", "bps": 25, "fixed": 3}
    channels = await add(0, plan("channel", channel="simulator", returned=False, rates=[kept]), 0)
    await book.refresh()
    channel = Rate(25, fixed=3, plan=channels)
    assert terms() == Terms(Rate(90, plan=everybodys), channel, returned=False)
    assert book.terms(merchant, "card", "USD", "simulator").channel == Rate(30)
    clock.at += 2 * DAY
    assert terms().commission == Rate(50, plan=theirs), (
        "nobody has to tell the book what time it is"
    )
    assert book.terms(merchant, "qr", "CNY", "simulator").commission == Rate(90, plan=everybodys)
    other = replace(merchant, number=merchant.number + 1)
    assert book.terms(other, "card", "CNY", "simulator").commission == Rate(90, plan=everybodys)
    with pytest.raises(StatementRefused):
        await postgres.write("UPDATE fee_plan SET effective_at = $1", NOON)
    with pytest.raises(StatementRefused):
        await postgres.write("DELETE FROM fee_plan")


async def test_an_unanswered_plan_is_added_once(database: Database, postgres: Postgres) -> None:
    before = len(await PostgresPlans(postgres).plans())
    async with connected(database, Stammering) as stammering:
        at = Clock().now()
        one = plan(rates=[{"method": "once", "bps": 1}])
        version = await PostgresPlans(stammering).add_plan(0, one, effective_at=at, at=at)
    after = await PostgresPlans(postgres).plans()
    assert (len(after), after[-1].version, after[-1].plan) == (before + 1, version, one)


async def test_what_is_booked_are_the_terms_of_the_attempt(
    postgres: Postgres, merchant: Merchant, database: Database
) -> None:
    """Whatever plans come later, and whoever posts it."""
    ledger = Ledger(books_of(postgres))
    item = routed(merchant, amount=10_000)
    terms = Terms(Rate(60, fixed=30, plan=5), Rate(30, cap=20, plan=6), returned=False)
    item = replace(item, attempt=replace(item.attempt, terms=terms))
    assert isinstance(await ledger.open(item), Opened)
    opened = await ledger.opened(merchant.number, item.standing.payment.id)
    assert opened.attempt.terms == terms
    posted = await ledger.post(Answered(opened, PAID, NOON))
    assert posted.standing.payment.status is Status.SUCCEEDED
    assert (posted.standing.payment.fee, posted.standing.channel_fee) == (90, 20)
    assert [proof for proof in await prove(postgres) if not proof.holds] == []
    cheaper = encode(Terms(Rate(60, plan=5), Rate(30, cap=20, plan=6)))
    sql = "UPDATE attempt SET terms = $3 WHERE merchant_id = $1 AND id = $2"
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(sql, merchant.number, uuid_of(item.attempt.id), cheaper)
    found = [proof.id for proof in await prove(postgres) if not proof.holds]
    assert found == ["d"], "other terms than were booked are found"
    await owner.execute(sql, merchant.number, uuid_of(item.attempt.id), encode(terms))
    await owner.close()


async def test_a_tier_begins_with_the_volume_of_the_month(
    postgres: Postgres, merchant: Merchant
) -> None:
    clock, plans = Wound(), PostgresPlans(postgres)
    clock.at += 30 * DAY
    tiers = [{"volume": 15_000, "bps": 10}]
    new = plan(
        "channel", channel="simulator", rates=[{"currency": "CNY", "bps": 40, "tiers": tiers}]
    )
    await plans.add_plan(merchant.number, new, effective_at=clock.now(), at=clock.now())
    ledger = Ledger(books_of(postgres))
    book = FeeBook(plans, clock)

    async def rate() -> int:
        clock.at += timedelta(minutes=1)
        await book.refresh()
        return book.terms(merchant, "card", "CNY", "simulator").channel.bps

    async def pay() -> None:
        item = routed(merchant, amount=10_000)
        await ledger.open(item)
        await ledger.post(Answered(Opened(item.standing, item.attempt), PAID, NOON))

    await pay()
    assert await rate() == 40, "what came before the first look does not count"
    await pay()
    assert await rate() == 40
    await pay()
    assert await rate() == 10
    clock.at += 31 * DAY
    assert await rate() == 40, "the next month begins with nothing"


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("kind = 'commission'\nrates = [{ bps = 60, fixed = 30 }]", {}, "needs the currency"),
        ("kind = 'commission'\nrates = [{ bps = 0.6 }]", {}, "int"),
        ("kind = 'commission'", {}, "rates"),
        ("kind = [", {}, "plan.toml"),
        ("kind = 'commission'\nrates = [{}]", {"merchant": "mer_1"}, "no such merchant"),
        ("kind = 'commission'\nrates = [{}]", {"effective_at": "2020-01-01T00:00:00Z"}, "the past"),
        ("kind = 'commission'\nrates = [{}]", {"effective_at": "2999-01-01T00:00:00"}, "offset"),
        ("kind = 'commission'\nrates = [{}]", {"effective_at": "soon"}, "RFC 3339"),
    ],
)
def test_what_is_refused_changes_nothing(
    database: Database, tmp_path: Path, text: str, words: dict[str, str], said: str
) -> None:
    settings = Settings(database_url=database.app_url)
    before = policies.fees(settings)
    file = tmp_path / "plan.toml"
    file.write_text(text)
    given = {"merchant": None, "effective_at": None} | words
    with pytest.raises(FloodgateError, match=said):
        policies.put_fees(
            settings, file, merchant=given["merchant"], effective_at=given["effective_at"]
        )
    assert policies.fees(settings) == before


def test_a_plan_is_put_and_shown(database: Database, tmp_path: Path) -> None:
    settings = Settings(database_url=database.app_url)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"kind": "commission", "rates": [{"method": "odd", "bps": 55}]}))
    put = policies.put_fees(settings, file, merchant=None, effective_at="2999-01-01T08:00:00+08:00")
    shown = policies.fees(settings)[-1]
    assert put == {"version": shown["version"], "effective_at": "2999-01-01T00:00:00+00:00"}
    assert list(shown["plan"]["rates"]) == [{"method": "odd", "bps": 55}]
