"""The registry: whose accounts serve whom, which credentials speak for them, and what is wrong."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from gateway.channels.notices import KeptNotice
from gateway.channels.port import NoticeRefused
from gateway.channels.ports import AcquirerKeys, StoredCredential
from gateway.channels.registry import Account, Registry
from gateway.channels.service import Channels
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.domain.identity import mint
from gateway.drivers import telemetry
from gateway.drivers.clock import Clock
from tests.fakes.teller import KIND, TellerChannel

SIMULATOR = SimulatorChannel("http://127.0.0.1:1", b"s", notify_base="http://127.0.0.1:2")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SHOP, OTHER = 7, 8


class Noon(Clock):
    def now(self) -> datetime:
        return NOON


class Shelf:
    """A store whose credentials stand in a list."""

    def __init__(self) -> None:
        self.stored: list[StoredCredential] = []

    def put(
        self, account: str, secret: str | None, *, owner: int = 0, ends_at: datetime | None = None
    ) -> str:
        words = {"account": account, "secret": secret}
        number = len(self.stored)
        made = StoredCredential(
            id=mint("crd", owner, number),
            owner=owner,
            owner_id=f"mer_{owner:032x}" if owner else None,
            channel="teller",
            account=account,
            label="",
            not_after=ends_at,
            created_at=NOON,
            secret=json.dumps(words).encode() if secret is not None else None,
        )
        self.stored.insert(0, made)
        return made.id

    async def live(self) -> Sequence[StoredCredential]:
        return list(self.stored)

    async def acquirer_keys(self) -> Sequence[AcquirerKeys]:
        return []


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def registry_of(shelf: Shelf, *fixed: SimulatorChannel) -> Registry:
    registry = Registry(
        fixed, shelf, Noon(), notify_base="https://pay.example", kinds={"teller": KIND}
    )
    await registry.refresh()
    return registry


def teller(account: Account | None) -> TellerChannel:
    assert account is not None
    assert isinstance(account.channel, TellerChannel)
    return account.channel


def names(accounts: Sequence[Account]) -> list[str | None]:
    return [account.name for account in accounts]


async def test_a_channel_of_the_settings_has_no_account_and_serves_everybody(shelf: Shelf) -> None:
    registry = await registry_of(shelf, SIMULATOR)
    assert registry.account("simulator", None) == Account(SIMULATOR)
    assert registry.account("simulator", "x") is None
    assert registry.offers(SHOP) == (Account(SIMULATOR),)
    assert registry.listening("simulator", 0) == [Account(SIMULATOR)]
    assert registry.listening("simulator", SHOP) == []


async def test_two_alike_are_refused(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="share"):
        await registry_of(shelf, SIMULATOR, SIMULATOR)
    with pytest.raises(ValueError, match="share"):
        Registry([SIMULATOR], shelf, Clock(), notify_base="", kinds={"simulator": KIND})


async def test_a_merchants_own_account_comes_before_the_platforms(shelf: Shelf) -> None:
    shelf.put("platform", "p")
    shelf.put("own", "o", owner=SHOP)
    registry = await registry_of(shelf, SIMULATOR)
    assert names(registry.offers(SHOP)) == ["own", None]
    assert names(registry.offers(OTHER)) == ["platform", None]
    assert teller(registry.account("teller", "own")).notify_url == (
        f"https://pay.example/notices/teller/mer_{SHOP:032x}"
    )
    assert teller(registry.account("teller", "platform")).notify_url == (
        "https://pay.example/notices/teller"
    )
    assert names(registry.listening("teller", SHOP)) == ["own"]
    assert names(registry.listening("teller", 0)) == ["platform"]
    assert registry.listening("teller", OTHER) == []


async def test_of_one_account_the_newest_credential_signs_and_all_verify(shelf: Shelf) -> None:
    shelf.put("a", "old")
    registry = await registry_of(shelf)
    before = registry.account("teller", "a")
    await registry.refresh()
    assert registry.account("teller", "a") is before
    shelf.put("a", "new")
    await registry.refresh()
    assert teller(registry.account("teller", "a")).secrets == ["new", "old"]
    shelf.stored.pop()
    await registry.refresh()
    assert teller(registry.account("teller", "a")).secrets == ["new"]


async def test_another_account_takes_the_new_payments_and_the_old_one_stays_known(
    shelf: Shelf,
) -> None:
    shelf.put("a", "1", owner=SHOP)
    shelf.put("b", "2", owner=SHOP)
    registry = await registry_of(shelf)
    assert names(registry.offers(SHOP)) == ["b"]
    assert teller(registry.account("teller", "a")).secrets == ["1"]
    shelf.put("a", "3", owner=SHOP)
    await registry.refresh()
    assert names(registry.offers(SHOP)) == ["a"]


async def test_all_accounts_of_a_channel_share_what_the_channel_allows(shelf: Shelf) -> None:
    registry = await registry_of(shelf, SIMULATOR)
    assert registry.queries_per_second() == {"simulator": 1000}
    shelf.put("a", "1")
    shelf.put("b", "2", owner=SHOP)
    await registry.refresh()
    assert registry.queries_per_second() == {"simulator": 1000, "teller": 50}


async def test_what_is_wrong_is_told_and_serves_nobody(shelf: Shelf) -> None:
    ended = shelf.put("ended", "e", ends_at=NOON)
    closed = shelf.put("closed", None)
    useless = shelf.put("useless", "no key")
    registry = await registry_of(shelf)
    assert registry.offers(SHOP) == ()
    # What ended still asks what became of payments; the others cannot.
    assert registry.account("teller", "ended") is not None
    assert registry.account("teller", "closed") is None
    assert registry.account("teller", "useless") is None
    told = {each.credential: each.trouble for each in registry.troubles()}
    assert told == {ended: "expired", closed: "unreadable", useless: "unusable"}
    assert "no key" not in repr(registry.troubles())
    counted = {
        tuple(sample.labels.values()): sample.value
        for metric in telemetry.CREDENTIALS.collect()
        for sample in metric.samples
    }
    assert counted["teller", "live"] == 3
    assert counted["teller", "expired"] == counted["teller", "unusable"] == 1
    shelf.stored.clear()
    await registry.refresh()
    assert registry.troubles() == []
    (metric,) = telemetry.CREDENTIALS.collect()
    ours = [sample for sample in metric.samples if sample.labels["channel"] == "teller"]
    assert {sample.value for sample in ours} == {0}


async def test_a_useless_one_leaves_its_siblings_in_service(shelf: Shelf) -> None:
    shelf.put("a", "good", ends_at=NOON + timedelta(seconds=1))
    bad = shelf.put("a", "no key")
    registry = await registry_of(shelf)
    assert teller(registry.account("teller", "a")).secrets == ["good"]
    assert names(registry.offers(SHOP)) == ["a"]
    assert [each.credential for each in registry.troubles()] == [bad]


async def test_credentials_that_do_not_fit_together_leave_the_newest_in_service(
    shelf: Shelf,
) -> None:
    shelf.put("a", "odd")
    shelf.put("a", "even")
    registry = await registry_of(shelf)
    assert teller(registry.account("teller", "a")).secrets == ["even"]


async def test_an_account_has_one_owner(shelf: Shelf) -> None:
    shelf.put("a", "theirs")
    stolen = shelf.put("a", "mine", owner=SHOP)
    registry = await registry_of(shelf)
    assert teller(registry.account("teller", "a")).secrets == ["theirs"]
    assert [(each.credential, each.trouble) for each in registry.troubles()] == [
        (stolen, "unusable")
    ]


async def test_a_credential_of_another_account_than_its_row_says_is_of_no_use(shelf: Shelf) -> None:
    shelf.put("a", "1")
    shelf.stored[0] = replace(shelf.stored[0], account="b")
    registry = await registry_of(shelf)
    assert registry.account("teller", "b") is None
    assert [each.trouble for each in registry.troubles()] == ["unreadable"]


async def test_a_refusal_by_the_acquirer_is_told_until_it_accepts_again(shelf: Shelf) -> None:
    shelf.put("a", "1")
    registry = await registry_of(shelf)
    account = registry.account("teller", "a")
    assert account is not None
    registry.heard(account, refused=True)
    assert [each.trouble for each in registry.troubles()] == ["refused"]
    await registry.refresh()
    assert [each.trouble for each in registry.troubles()] == ["refused"]
    registry.heard(account, refused=False)
    assert registry.troubles() == []


def kept(owner: int, **words: str) -> KeptNotice:
    body = json.dumps({"number": "1"} | words).encode()
    return KeptNotice("ntc_1", "teller", owner, {}, body, NOON)


async def test_a_notice_is_believed_by_whichever_account_of_its_address_can(shelf: Shelf) -> None:
    shelf.put("a", "1")
    shelf.put("b", "2")
    shelf.put("own", "3", owner=SHOP)
    channels = Channels(await registry_of(shelf), None, Noon(), None)  # type: ignore[arg-type]
    for secret, account in (("1", "a"), ("2", "b")):
        assert channels.read_notice(kept(0, secret=secret))[1].name == account
    assert channels.read_notice(kept(SHOP, secret="3"))[1].name == "own"
    for owner, secret in ((0, "3"), (SHOP, "1"), (OTHER, "3")):
        with pytest.raises(NoticeRefused, match="forged"):
            channels.read_notice(kept(owner, secret=secret))
    with pytest.raises(NoticeRefused, match="stale"):
        channels.read_notice(kept(0, secret="2", stale="yes"))
