"""Merchants and keys on a real PostgreSQL: secrets sealed at rest, changes heard by the workers."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import is_id, merchant_number
from gateway.domain.stages import Merchant, Quota
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.drivers.reloading import CHANGES
from gateway.verify.keyring import Keyring
from gateway.verify.ports import StoredKey, Terms
from gateway.verify.schemes import ED25519, HMAC
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database

CLOCK = Clock()
MASTER = sealing.new_master_key()
PEM = (
    ed25519.Ed25519PrivateKey.generate()
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    postgres = Postgres(database.app_url, connections=3)
    await postgres.open()
    yield postgres
    await postgres.close()


@pytest.fixture
async def store(postgres: Postgres) -> PostgresKeyStore:
    """The store as a worker has it: it has shown its public key, and it can open secrets."""
    store = PostgresKeyStore(postgres, sealing.Vault(MASTER))
    await store.keep_public_key(sealing.public_part(MASTER), CLOCK.now())
    return store


async def added(store: PostgresKeyStore, name: str = "Shop") -> Merchant:
    return await store.add_merchant(name, Terms(), CLOCK.now())


async def key_of(store: PostgresKeyStore, merchant: Merchant, secret: bytes | None) -> str:
    algorithm, pem = (HMAC, None) if secret is not None else (ED25519, PEM)
    return await store.add_key(
        merchant, algorithm=algorithm, secret=secret, public_key=pem, at=CLOCK.now()
    )


async def test_merchants_added_at_once_have_numbers_of_their_own(store: PostgresKeyStore) -> None:
    merchants = await asyncio.gather(*(added(store, f"Shop {n}") for n in range(20)))
    assert len({merchant.number for merchant in merchants}) == 20
    for merchant in merchants:
        assert is_id(merchant.id, "mer")
        assert merchant_number(merchant.id) == merchant.number
        assert await store.find_merchant(merchant.id) == merchant
    assert await store.find_merchant("mer_" + "0" * 32) is None


async def test_a_rehearsal_has_a_quota_until_it_is_granted_another(store: PostgresKeyStore) -> None:
    tester = await store.add_merchant("Rehearsal", Terms(load_test=True), CLOCK.now())
    first = Quota(limits.LOAD_TEST_REQUESTS_PER_SECOND, limits.LOAD_TEST_IN_FLIGHT_MAX)
    await key_of(store, tester, None)
    assert await store.find_merchant(tester.id) == tester
    assert (tester.quota, (await added(store)).quota) == (first, Quota())
    for quota in (Quota(7, None, 3), Quota()):
        await store.grant(tester, quota)
        assert [key.merchant.quota for key in await store.live_keys()] == [quota]


async def test_a_key_is_read_back_as_it_was_made(store: PostgresKeyStore) -> None:
    merchant, secret = await added(store), os.urandom(32)
    shared, public = await key_of(store, merchant, secret), await key_of(store, merchant, None)
    keys = {key.id: key for key in await store.live_keys()}
    assert (keys[shared].secret, keys[shared].algorithm) == (secret, HMAC)
    assert (keys[public].secret, keys[public].public_key) == (None, PEM)
    assert keys[shared].merchant == keys[public].merchant == merchant
    assert repr(secret) not in repr(keys[shared])


async def test_a_command_without_the_master_key_adds_and_cannot_read(
    store: PostgresKeyStore, postgres: Postgres
) -> None:
    command, secret = PostgresKeyStore(postgres, vault=None), os.urandom(32)
    key_id = await key_of(command, await added(command), secret)
    with pytest.raises(AssertionError):
        await command.live_keys()
    assert {key.id: key.secret for key in await store.live_keys()}[key_id] == secret


async def test_the_database_holds_no_secret(store: PostgresKeyStore, postgres: Postgres) -> None:
    secret = os.urandom(32)
    await key_of(store, await added(store), secret)
    rows = await postgres.read("SELECT secret_sealed FROM api_key WHERE public_key IS NULL")
    assert all(secret not in row["secret_sealed"] for row in rows)


async def test_a_sealed_secret_fits_its_own_key_alone(
    store: PostgresKeyStore, postgres: Postgres, database: Database
) -> None:
    merchant = await added(store)
    mine, theirs = [await key_of(store, merchant, os.urandom(32)) for _ in range(2)]
    owner = await asyncpg.connect(database.owner_url)
    swap = "UPDATE api_key SET secret_sealed = $2 WHERE id = $1::uuid"
    sealed = "SELECT secret_sealed FROM api_key WHERE id = $1::uuid"
    before = await owner.fetchval(sealed, mine[4:])
    await owner.execute(swap, mine[4:], await owner.fetchval(sealed, theirs[4:]))
    fresh = PostgresKeyStore(postgres, sealing.Vault(MASTER))
    keys = {key.id for key in await fresh.live_keys()}
    assert mine not in keys
    assert theirs in keys
    await owner.execute(swap, mine[4:], before)
    await owner.close()
    assert {mine, theirs} <= {key.id for key in await fresh.live_keys()}


async def test_another_master_key_opens_nothing_and_seals_nothing(
    store: PostgresKeyStore, postgres: Postgres
) -> None:
    merchant, secret = await added(store), os.urandom(32)
    public = await key_of(store, merchant, None)
    sealed = await key_of(store, merchant, secret)
    wrong = sealing.new_master_key()
    stranger = PostgresKeyStore(postgres, sealing.Vault(wrong))
    keys = {key.id for key in await stranger.live_keys()}
    assert public in keys
    assert sealed not in keys
    with pytest.raises(FloodgateError, match="none of the secrets"):
        await stranger.keep_public_key(sealing.public_part(wrong), CLOCK.now())
    later = await key_of(PostgresKeyStore(postgres, vault=None), merchant, secret)
    assert {key.id: key.secret for key in await store.live_keys()}[later] == secret


async def test_a_key_that_cannot_be_used_fails_alone(
    store: PostgresKeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    merchant, now = await added(store), CLOCK.now()
    keyring = Keyring(store)
    bad = await store.add_key(merchant, algorithm=ED25519, secret=None, public_key="?", at=now)
    good = await key_of(store, merchant, None)
    for _ in range(2):
        await keyring.refresh()
        assert keyring.find(bad) is None
        assert keyring.find(good) is not None
    assert [bad in message for message in caplog.messages].count(True) == 1


class StumblingStore:
    """A store that fails in a way that nobody foresaw, and then gives one key."""

    def __init__(self, key: StoredKey) -> None:
        self._answers: list[list[StoredKey] | Exception] = [ValueError("?"), [key]]

    async def live_keys(self) -> Sequence[StoredKey]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_nothing_ends_the_refreshing() -> None:
    key = StoredKey("key_1", Merchant(1, "mer_1", 60), HMAC, os.urandom(32), None)
    keyring = Keyring(StumblingStore(key))
    task = asyncio.create_task(keyring.keep_fresh())
    async with asyncio.timeout(20):
        while keyring.find(key.id) is None:
            keyring.wake()
            await asyncio.sleep(0)
    task.cancel()


async def test_a_revoked_key_is_gone_and_its_sibling_stays(store: PostgresKeyStore) -> None:
    merchant = await added(store)
    old, new = [await key_of(store, merchant, os.urandom(32)) for _ in range(2)]
    assert await store.revoke_key(old, CLOCK.now())
    assert await store.revoke_key(old, CLOCK.now())
    assert not await store.revoke_key("key_" + "0" * 32, CLOCK.now())
    live = {key.id for key in await store.live_keys()}
    assert new in live
    assert old not in live


async def test_workers_are_told_of_every_change(
    store: PostgresKeyStore, database: Database
) -> None:
    heard = asyncio.Queue[str]()
    listener = await asyncpg.connect(database.app_url)
    await listener.add_listener(CHANGES, lambda *words: heard.put_nowait(words[2]))
    key_id = await key_of(store, await added(store), os.urandom(32))
    await asyncio.wait_for(heard.get(), 20)
    await store.revoke_key(key_id, CLOCK.now())
    await asyncio.wait_for(heard.get(), 20)
    await listener.close()


async def test_the_keyring_follows_the_store_and_keeps_what_did_not_change(
    store: PostgresKeyStore,
) -> None:
    merchant = await added(store)
    keyring = Keyring(store)
    old = await key_of(store, merchant, os.urandom(32))
    await keyring.refresh()
    before = keyring.find(old)
    assert before is not None
    new = await key_of(store, merchant, None)
    await keyring.refresh()
    assert keyring.find(old) is before
    found = keyring.find(new)
    assert found is not None
    assert (found.merchant, found.algorithm) == (merchant, ED25519)
    await store.revoke_key(old, CLOCK.now())
    await keyring.refresh()
    assert keyring.find(old) is None
    assert keyring.find(new) is not None


async def test_nothing_is_sealed_before_a_gateway_has_shown_its_key(
    postgres: Postgres, database: Database
) -> None:
    owner = await asyncpg.connect(database.owner_url)
    async with owner.transaction():
        await owner.execute("CREATE TABLE kept AS TABLE platform_key; DELETE FROM platform_key")
    command = PostgresKeyStore(postgres, vault=None)
    with pytest.raises(FloodgateError, match="no gateway has run"):
        await key_of(command, await added(command), os.urandom(32))
    async with owner.transaction():
        await owner.execute("INSERT INTO platform_key TABLE kept; DROP TABLE kept")
    await owner.close()
