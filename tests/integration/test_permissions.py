"""The application's own role may change the columns that change, and no other column of theirs."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.conftest import Database

# What is written once.  Whoever adds a column to one of these tables either names it here, or
# grants the application's role to change it in his migration.
FIXED = {
    "payment": "merchant_id id reference amount currency commission_bps capture words payer"
    " created_at expires_at",
    "attempt": "merchant_id id payment_id channel account amount currency sent_at expires_at"
    " decision terms",
    "refund": "merchant_id id payment_id attempt_id reference amount currency reason channel"
    " from_suspense commission_back channel_fee_back created_at further_id",
    "further_transaction": "merchant_id payment_id attempt_id channel_transaction channel id amount"
    " currency booked_at",
    "account": "merchant_id account",
    "feed": "merchant_id",
    "webhook_endpoint": "merchant_id id url events created_at",
    "webhook_delivery": "merchant_id endpoint_id sequence",
    "merchant": "id public_id load_test created_at",
    "api_key": "merchant_id id algorithm secret_sealed public_key created_at",
    "platform_key": "public_key created_at",
    "acquirer_keys": "merchant_id channel account",
    "notice": "merchant_id id channel owner received_at headers body",
}


@pytest.fixture
async def application(database: Database) -> AsyncIterator[Any]:
    application = await asyncpg.connect(database.app_url)
    yield application
    await application.close()


@pytest.mark.parametrize("table", FIXED)
async def test_every_column_is_written_once_or_may_change(application: Any, table: str) -> None:
    rows = await application.fetch(
        "SELECT column_name, has_column_privilege($1::text, column_name::text, 'UPDATE') AS changes"
        "  FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1",
        table,
    )
    fixed = {row["column_name"] for row in rows if not row["changes"]}
    assert fixed == set(FIXED[table].split())


@pytest.mark.parametrize("table", FIXED)
async def test_what_is_written_once_is_refused(application: Any, table: str) -> None:
    for column in FIXED[table].split():
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute(f"UPDATE {table} SET {column} = {column}")


@pytest.mark.parametrize("table", ["transfer", "event", "sighting", "remark", "idempotency_key"])
async def test_facts_are_not_changed_at_all(application: Any, table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(f"UPDATE {table} SET merchant_id = merchant_id")
