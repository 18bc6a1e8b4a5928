"""Lists of payments on a real PostgreSQL: filters without an index look so far and no further."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from gateway.domain import identity, limits
from gateway.domain.outcome import Outcome
from gateway.domain.payment import Payment, Status
from gateway.domain.stages import Merchant
from gateway.drivers.postgres import Postgres
from gateway.ledger.lists import PaymentFilter, Reader
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.integration.books_kit import PAID, books_of, change, connected, routed
from tests.unit.nouns import NOON

SLACK = limits.MINTED_WITHIN_SECONDS
# When each payment came, and how long afterwards its id was minted; in the order of the ids.
BORN = ((0, 0), (0, SLACK - 1), (200, 0), (199, 1.5), (400, 0), (600, 0), (601, 0), (602, 0))
PAID_ONES = {0, 2, 6}


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    async with connected(database) as postgres:
        yield postgres


@pytest.fixture
async def merchant(postgres: Postgres) -> Merchant:
    store = PostgresKeyStore(postgres, vault=None)
    return await store.add_merchant("Shop", Terms(), NOON)


@pytest.fixture
async def payments(postgres: Postgres, merchant: Merchant) -> list[Payment]:
    """The merchant's payments, newest first."""
    books, made = books_of(postgres), []
    for number, (seconds, later) in enumerate(BORN):
        item, at = routed(merchant), NOON + timedelta(seconds=seconds)
        born = int((at + timedelta(seconds=later)).timestamp() * 1000)
        payment = replace(
            item.standing.payment,
            id=identity.mint("pay", merchant.number, born),
            created_at=at,
            updated_at=at,
        )
        item = replace(
            item,
            standing=replace(item.standing, payment=payment),
            attempt=replace(item.attempt, payment_id=payment.id),
        )
        await books.open_batch([item])
        outcome = PAID if number in PAID_ONES else Outcome()
        (posted,) = await books.post_batch([change(item, outcome)])
        assert posted is not None
        made.append(posted.standing.payment)
    return sorted(made, key=lambda payment: payment.id, reverse=True)


async def walked(postgres: Postgres, wanted: PaymentFilter, limit: int) -> list[list[Payment]]:
    """Every page of a list."""
    reader, pages = Reader(postgres), []
    while True:
        page = await reader.payments(wanted, limit)
        pages.append(list(page.payments))
        if page.next_id is None:
            return pages
        wanted = replace(wanted, below=identity.uuid_of(page.next_id))


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("walk", [1, 3, 8])
@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
async def test_a_status_is_looked_for_so_far_and_then_from_there(
    postgres: Postgres,
    merchant: Merchant,
    payments: list[Payment],
    monkeypatch: pytest.MonkeyPatch,
    status: Status,
    *,
    walk: int,
    limit: int,
) -> None:
    monkeypatch.setattr(limits, "PAGE_WALK_ITEMS_MAX", walk)
    pages = await walked(postgres, PaymentFilter(merchant.number, status=status), limit)
    assert [payment for page in pages for payment in page] == [
        payment for payment in payments if payment.status is status
    ]
    assert all(len(page) <= limit for page in pages)
    assert len(pages) >= len(payments) // max(walk, limit)


@pytest.mark.parametrize(("after", "before"), [(0, 601), (-1, 1), (199, 201), (198, 601), (0, 0)])
async def test_time_is_a_range_of_ids_that_leaves_nobody_out(
    postgres: Postgres, merchant: Merchant, payments: list[Payment], after: int, before: int
) -> None:
    wanted = PaymentFilter(
        merchant.number,
        created_after=NOON + timedelta(seconds=after),
        created_before=NOON + timedelta(seconds=before),
    )
    (page,) = await walked(postgres, wanted, 100)
    came = [(payment.created_at - NOON).total_seconds() for payment in payments]
    assert page == [p for p, at in zip(payments, came, strict=True) if after < at < before]


async def test_any_time_can_be_asked_for(
    postgres: Postgres, merchant: Merchant, payments: list[Payment]
) -> None:
    first, last = NOON.replace(year=1), NOON.replace(year=9999)
    everything = PaymentFilter(merchant.number, created_after=first, created_before=last)
    assert await walked(postgres, everything, 100) == [payments]
    nothing = PaymentFilter(merchant.number, created_after=last, created_before=first)
    assert await walked(postgres, nothing, 100) == [[]]


async def test_time_and_status_are_asked_of_one_range_of_the_key(
    postgres: Postgres, merchant: Merchant, payments: list[Payment]
) -> None:
    wanted = PaymentFilter(
        merchant.number,
        status=Status.SUCCEEDED,
        created_after=NOON + timedelta(seconds=100),
        created_before=NOON + timedelta(seconds=650),
    )
    (page,) = await walked(postgres, wanted, 100)
    assert [(payment.created_at - NOON).total_seconds() for payment in page] == [601, 200]
    assert await walked(postgres, replace(wanted, reference="nobody's"), 1) == [[]]
