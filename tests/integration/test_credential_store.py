"""Credentials on a real PostgreSQL: sealed at rest, of one owner, heard of by the workers."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.channels.ports import StoredCredential
from gateway.channels.registry import Registry
from gateway.channels.store import PostgresCredentials
from gateway.domain.errors import FloodgateError
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.drivers.reloading import kept_fresh
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.fakes.teller import KIND, TellerCredential

CLOCK = Clock()
MASTER = sealing.new_master_key()
PLATFORM = 0


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    postgres = Postgres(database.app_url, connections=2)
    await postgres.open()
    keys = PostgresKeyStore(postgres, sealing.Vault(MASTER))
    await keys.keep_public_key(sealing.public_part(MASTER), CLOCK.now())
    yield postgres
    await postgres.close()


@pytest.fixture
def command(postgres: Postgres) -> PostgresCredentials:
    """The store as a command has it: without the master key."""
    return PostgresCredentials(postgres, vault=None)


@pytest.fixture
def store(postgres: Postgres) -> PostgresCredentials:
    return PostgresCredentials(postgres, sealing.Vault(MASTER))


async def added(
    command: PostgresCredentials, account: str, secret: str = "hunter2", owner: int = PLATFORM
) -> str:
    credential = TellerCredential(account=account, secret=secret)
    return await command.add("teller", credential, owner=owner, label="a label", at=CLOCK.now())


async def find(store: PostgresCredentials, made: str) -> StoredCredential | None:
    return next((one for one in await store.live() if one.id == made), None)


async def test_it_is_read_back_by_a_gateway_and_by_nobody_else(
    command: PostgresCredentials, store: PostgresCredentials, postgres: Postgres
) -> None:
    made = await added(command, "read-back")
    stored = await find(store, made)
    assert stored is not None
    assert stored.secret is not None
    assert b"hunter2" in stored.secret
    assert "hunter2" not in repr(stored)
    listed = {one.id: one.secret for one in await command.listed()}
    assert listed[made] is None
    rows = await postgres.read("SELECT * FROM channel_credential")
    assert all(b"hunter2" not in row["sealed"] for row in rows)
    stranger = PostgresCredentials(postgres, sealing.Vault(sealing.new_master_key()))
    closed = await find(stranger, made)
    assert closed is not None
    assert closed.secret is None


async def test_it_is_sealed_for_its_own_row(
    command: PostgresCredentials, postgres: Postgres, database: Database
) -> None:
    mine, theirs = await added(command, "sealed-1"), await added(command, "sealed-2")
    owner = await asyncpg.connect(database.owner_url)
    move = (
        "UPDATE channel_credential c SET sealed = o.sealed FROM channel_credential o"
        " WHERE c.id = $1::uuid AND o.id = $2::uuid"
    )
    await owner.execute(move, mine[4:], theirs[4:])
    await owner.close()
    moved = await find(PostgresCredentials(postgres, sealing.Vault(MASTER)), mine)
    assert moved is not None
    assert moved.secret is None


async def test_an_account_keeps_its_owner(command: PostgresCredentials) -> None:
    made = await added(command, "owned")
    await added(command, "owned")
    with pytest.raises(FloodgateError, match="another owner"):
        await added(command, "owned", owner=7)
    await command.revoke(made, CLOCK.now())
    with pytest.raises(FloodgateError, match="another owner"):
        await added(command, "owned", owner=7)


async def test_the_application_may_revoke_and_change_nothing_else(
    command: PostgresCredentials, database: Database
) -> None:
    made = await added(command, "guarded")
    application = await asyncpg.connect(database.app_url)
    for change in ("sealed = ''", "account = 'x'", "merchant_id = 1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute(f"UPDATE channel_credential SET {change}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute("DELETE FROM channel_credential")
    await application.close()
    assert await command.revoke(made, CLOCK.now())
    assert not await command.revoke("crd_" + "0" * 32, CLOCK.now())


async def test_workers_hear_of_what_is_added_and_revoked(
    command: PostgresCredentials, store: PostgresCredentials, database: Database
) -> None:
    registry = Registry([], store, CLOCK, notify_base="", kinds={"teller": KIND})

    async def knows(account: str, *, is_known: bool) -> None:
        async with asyncio.timeout(5):
            while (registry.account("teller", account) is not None) is not is_known:  # noqa: ASYNC110 - other tasks set no Event
                await asyncio.sleep(0.01)

    async with kept_fresh(database.app_url, [registry]):
        made = await added(command, "heard", owner=7)
        await knows("heard", is_known=True)
        assert [account.name for account in registry.offers(7)] == ["heard"]
        await command.revoke(made, CLOCK.now())
        await knows("heard", is_known=False)
