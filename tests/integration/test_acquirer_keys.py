"""Keys that an acquirer changes by itself: fetched, sealed at rest, read again by every worker."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.keys import KeyFetcher
from gateway.channels.kinds import KINDS
from gateway.channels.port import Ask, Verb
from gateway.channels.registry import Account, Registry
from gateway.channels.store import PostgresCredentials
from gateway.domain import limits
from gateway.domain.outcome import Outcome, Verdict
from gateway.drivers import sealing
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from gateway.drivers.postgres import Postgres
from gateway.verify.store import PostgresKeyStore
from tests.conftest import Database
from tests.fakes import wechat_pay as fake
from tests.fakes.wechat_pay import WechatPay

MASTER = sealing.new_master_key()
QUERY = Ask(Verb.QUERY, "01a206b0c7ff7d22800000015e1f0a80", 1999, "CNY")


class Wound(Clock):
    """The clock of the fetcher and the registry: it stands, until the test winds it."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at


class Stage:
    """The background worker's fetcher, a gateway's registry, and WeChat Pay."""

    def __init__(self, postgres: Postgres, platform: WechatPay, outbound: Outbound) -> None:
        self.store = PostgresCredentials(postgres, sealing.Vault(MASTER))
        self.platform, self.postgres, self.clock = platform, postgres, Wound()
        self.registry = Registry([], self.store, self.clock, notify_base="", kinds=KINDS)
        self.courier = Courier(outbound, Clock(), seconds=5)
        self.fetcher = KeyFetcher(self.registry, self.courier, self.store, clock=self.clock)

    async def add(self, keys: dict[str, str], **changes: str) -> str:
        plain = fake.credential(self.platform.base_url)
        credential = replace(plain, platform_keys=keys, **changes)
        made = await self.store.add("wechat", credential, owner=0, label="", at=self.clock.at)
        await self.registry.refresh()
        return made

    async def looked(self) -> None:
        await self.fetcher.look()
        await self.registry.refresh()

    async def half_a_day_later(self) -> None:
        """Another worker looks at what was told half a day ago."""
        for told in await self.store.acquirer_keys():
            at = told.told_at - timedelta(seconds=limits.ACQUIRER_KEYS_SECONDS)
            await self.store.keep_keys(replace(told, told_at=at))
        await self.registry.refresh()
        other = KeyFetcher(self.registry, self.courier, self.store, clock=self.clock)
        await other.look()
        await self.registry.refresh()

    async def kept(self) -> list[Any]:
        return [each.keys for each in await self.store.acquirer_keys()]

    @property
    def troubles(self) -> list[tuple[str, str]]:
        return [(each.credential, each.trouble) for each in self.registry.troubles()]

    @property
    def account(self) -> Account:
        account = self.registry.account("wechat", fake.MCHID)
        assert account is not None
        return account

    async def asked(self) -> Outcome:
        return await self.courier.ask(self.account.channel, QUERY)


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    postgres = Postgres(database.app_url, connections=2)
    await postgres.open()
    keys = PostgresKeyStore(postgres, sealing.Vault(MASTER))
    await keys.keep_public_key(sealing.public_part(MASTER), Clock().now())
    first = fake.certificate(0xA1, begins=datetime.now(UTC) - timedelta(days=1))
    async with WechatPay(first).running() as platform, Outbound() as outbound:
        yield Stage(postgres, platform, outbound)
    await postgres.close()
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("TRUNCATE acquirer_keys, channel_credential")
    await owner.close()


async def test_an_account_serves_once_its_keys_are_known_and_through_a_rotation(
    stage: Stage,
) -> None:
    made = await stage.add({})
    assert stage.troubles == [(made, "keyless")]
    assert stage.registry.offers(7) == ()
    assert (await stage.asked()).code == "unsigned"
    await stage.looked()
    assert stage.troubles == []
    assert [account.name for account in stage.registry.offers(7)] == [fake.MCHID]
    assert (await stage.asked()).verdict is Verdict.NOT_FOUND
    (first,) = stage.platform.certificates
    second = fake.certificate(0xB2, begins=stage.clock.at, key=fake.OURS)
    stage.platform.certificates = [first, second]
    await stage.looked()
    assert await stage.kept() == [{"A1": first.pem}], "half a day has not passed"
    await stage.half_a_day_later()
    assert await stage.kept() == [{"A1": first.pem, "B2": second.pem}]
    stage.platform.certificates = [second, first]
    assert (await stage.asked()).verdict is Verdict.NOT_FOUND, "the new one signs"
    stage.clock.at += timedelta(days=5 * 365)
    assert stage.troubles == [(made, "keyless")]
    await stage.registry.refresh()
    assert stage.registry.offers(7) == (), "nothing that it says could be believed"
    assert stage.platform.wrongly_signed == 0


async def test_an_acquirer_that_does_not_tell_is_asked_again_after_a_pause(stage: Stage) -> None:
    made = await stage.add({}, serial_no="0123456789ABCDEF")
    for at, asked in ((0, 1), (limits.ACQUIRER_KEYS_RETRY_SECONDS - 1, 1), (1, 2)):
        stage.clock.at += timedelta(seconds=at)
        await stage.looked()
        assert stage.platform.wrongly_signed == asked
    assert stage.troubles == [(made, "keyless")]
    assert await stage.kept() == []


async def test_an_account_with_the_public_key_asks_for_no_certificates(stage: Stage) -> None:
    await stage.add({fake.PLATFORM_NAME: fake.pem_of_theirs()})
    await stage.looked()
    assert (stage.troubles, await stage.kept()) == ([], [])
    assert len(stage.registry.offers(7)) == 1


async def test_keys_are_sealed_at_rest_for_their_own_account(stage: Stage) -> None:
    await stage.add({})
    await stage.looked()
    (row,) = await stage.postgres.read("SELECT sealed, told_at FROM acquirer_keys")
    assert b"CERTIFICATE" not in row["sealed"]
    await stage.postgres.write(
        "INSERT INTO acquirer_keys VALUES (0, 'wechat', '1', $1, $2)", row["sealed"], row["told_at"]
    )
    told = {each.account: each.keys for each in await stage.store.acquirer_keys()}
    assert (told["1"], told[fake.MCHID] is not None) == (None, True)
