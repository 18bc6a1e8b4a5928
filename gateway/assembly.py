"""The composition root: every concrete class is chosen here and nowhere else."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from gateway.admission.service import Admission
from gateway.channels.courier import Courier
from gateway.channels.keys import KeyFetcher
from gateway.channels.lanes import Lanes
from gateway.channels.notices import NoticeBox
from gateway.channels.port import Channel
from gateway.channels.registry import Registry
from gateway.channels.remarks import Remarks
from gateway.channels.service import Channels
from gateway.channels.simulator.channel import SecondSimulator, SimulatorChannel
from gateway.channels.store import PostgresCredentials
from gateway.channels.stranded import StrandedWatch
from gateway.domain.errors import FloodgateError
from gateway.domain.recovery import Pace, pace_of
from gateway.domain.wire import WireRequest
from gateway.drivers import sealing, telemetry
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from gateway.drivers.outbound_guard import Guard, GuardedOutbound
from gateway.drivers.postgres import Postgres
from gateway.drivers.pulse import beat
from gateway.drivers.readiness import Readiness
from gateway.drivers.redis import Redis
from gateway.drivers.reloading import Reloading
from gateway.events.deliveries import Deliveries
from gateway.events.feed import Feed
from gateway.events.outbox import Outbox
from gateway.events.relay import Relay
from gateway.events.secret_watch import SecretWatch
from gateway.events.webhooks import Webhooks
from gateway.faces.api.pages import Pages
from gateway.faces.api.server import ApiServer
from gateway.flow.desk import Desk
from gateway.flow.retention import Retention
from gateway.idempotency.fast import FastClaims
from gateway.idempotency.service import Idempotency
from gateway.ledger import proofs
from gateway.ledger.lists import Reader
from gateway.ledger.recovery import RecoveryQueue
from gateway.ledger.refund_store import PostgresRefundBooks
from gateway.ledger.refunds import RefundLedger
from gateway.ledger.service import Ledger
from gateway.ledger.store import PostgresBooks
from gateway.match.service import Match
from gateway.routing.feebook import FeeBook
from gateway.routing.policy import Policy
from gateway.routing.quota import Quotas, RedisDayCounts
from gateway.routing.rules import Candidate
from gateway.routing.service import Outside, Routing
from gateway.routing.store import PostgresConfigs, PostgresPlans
from gateway.routing.tallies import RedisTallies
from gateway.settings import Settings, SettingsWrong
from gateway.verify.keyring import Keyring
from gateway.verify.service import Verify
from gateway.verify.store import PostgresKeyStore

_Told = TypeVar("_Told")

# The channels that play from a script; the second one is there to try the router.
_SCRIPTED: Final = (SimulatorChannel.name, SecondSimulator.name)


class House(Struct, frozen=True):
    """All that a worker needs, connected; `held` is kept fresh, `telling` keeps gauges true."""

    settings: Settings
    postgres: Postgres
    registry: Registry
    keys: KeyFetcher
    desk: Desk
    held: Sequence[Reloading]
    telling: Sequence[Callable[[], None]]
    stranded: StrandedWatch


def public_base(settings: Settings) -> str:
    """Say under which URL we are reached, as configured."""
    return settings.public_url.rstrip("/") or settings.own_url


def authorities(settings: Settings) -> frozenset[str]:
    """Give every public name with its port; loopback names when no public URL is configured."""
    names = {name.strip() for name in settings.public_names.split(",") if name.strip()}
    scheme, _, place = public_base(settings).partition("://")
    names.add(place)
    if not settings.public_url:
        hosts = {"127.0.0.1", "localhost", "[::1]"}
        names |= {f"{host}:{settings.port}" for host in hosts}
    default_port = ":443" if scheme == "https" else ":80"
    return frozenset(name.lower().removesuffix(default_port) for name in names)


def vault_of(settings: Settings) -> sealing.Vault:
    """Open the vault; refused without a usable master key."""
    if not settings.master_key:
        raise SettingsWrong("FLOODGATE_MASTER_KEY is needed to read the merchants' secrets")
    try:
        return sealing.Vault(settings.master_key)
    except ValueError as error:
        raise SettingsWrong(f"FLOODGATE_MASTER_KEY: {error}") from None


def postgres_of(settings: Settings, *, connections: int | None = None) -> Postgres:
    """Make the pool of connections, not yet open."""
    if not settings.database_url:
        raise SettingsWrong(
            "FLOODGATE_DATABASE_URL is needed; that of a running `floodgate dev` stands in its"
            " demo.json"
        )
    return Postgres(
        settings.database_url,
        connections=connections or settings.database_connections,
        statement_cache=settings.statement_cache,
    )


def on_database(settings: Settings, act: Callable[[Postgres], Awaitable[_Told]]) -> _Told:
    """Do what a command does on one connection, and close it."""

    async def acting() -> _Told:
        postgres = postgres_of(settings, connections=1)
        await postgres.open()
        try:
            return await act(postgres)
        finally:
            await postgres.close()

    return asyncio.run(acting())


def registry_of(settings: Settings, store: PostgresCredentials, clock: Clock) -> Registry:
    """Make the registry, with the channel that the settings configure; nothing is read yet."""
    channels: list[Channel] = []
    key, notify_base = settings.simulator_key(), public_base(settings)
    if settings.simulator_url:
        channels.append(SimulatorChannel(settings.simulator_url, key, notify_base=notify_base))
    if settings.simulator_b_url:
        channels.append(SecondSimulator(settings.simulator_b_url, key, notify_base=notify_base))
    return Registry(channels, store, clock, notify_base=notify_base)


def _candidates(registry: Registry, settings: Settings, merchant: int) -> list[Candidate]:
    return [
        Candidate(
            account.channel.name,
            account.channel.capabilities.methods,
            account.channel.capabilities.currencies,
            for_trade=account.channel.name not in _SCRIPTED or settings.simulator_trades,
            for_load_tests=account.channel.name in _SCRIPTED,
            holds=account.channel.capabilities.authorize,
            account=account.name,
        )
        for account in registry.offers(merchant)
    ]


def _paces(registry: Registry) -> dict[str, Pace]:
    return {name: pace_of(allowed) for name, allowed in registry.queries_per_second().items()}


async def offers_of(settings: Settings, postgres: Postgres) -> Callable[[int], list[Candidate]]:
    """Say which channels each merchant has now, for a command that wants to know."""
    store = PostgresCredentials(postgres, vault_of(settings))
    registry = registry_of(settings, store, Clock())
    await registry.refresh()
    return functools.partial(_candidates, registry, settings)


@contextlib.asynccontextmanager
async def house(settings: Settings) -> AsyncIterator[House]:
    """Connect everything, give the house, and leave in order: what was queued becomes durable."""
    if not settings.redis_url:
        raise SettingsWrong("FLOODGATE_REDIS_URL is needed")
    vault, clock = vault_of(settings), Clock()
    postgres = postgres_of(settings)
    await postgres.open()
    async with contextlib.AsyncExitStack() as leaving:
        leaving.push_async_callback(postgres.close)
        redis = await Redis.with_house_limits(settings.redis_url).open()
        leaving.push_async_callback(redis.close)
        outbound = await leaving.enter_async_context(Outbound())
        credentials = PostgresCredentials(postgres, vault)
        registry = registry_of(settings, credentials, clock)
        store = PostgresKeyStore(postgres, vault)
        keyring = Keyring(store)
        await keyring.refresh()
        await registry.refresh()
        await store.keep_public_key(sealing.public_part(settings.master_key), clock.now())
        fees = FeeBook(PostgresPlans(postgres), clock)
        await fees.refresh()
        policy = Policy(PostgresConfigs(postgres))
        await policy.refresh()
        quotas = Quotas(RedisDayCounts(redis), workers=settings.workers)
        offers = functools.partial(_candidates, registry, settings)
        lanes = Lanes(lambda merchant: (a.channel.name for a in registry.offers(merchant)))
        outside = Outside(offers, lanes.shut, RedisTallies(redis))
        routing = Routing(outside, policy, fees, quotas, clock=clock)
        books = PostgresBooks(postgres, vault, clock)
        ledger = Ledger(
            books,
            observe_open=telemetry.batch_items("open"),
            observe_post=telemetry.batch_items("post"),
        )
        leaving.push_async_callback(ledger.drain)
        refunds = RefundLedger(books, PostgresRefundBooks(postgres, clock))
        leaving.push_async_callback(refunds.drain)
        claims = FastClaims(redis, observe=telemetry.batch_items("claims"))
        remarks = Remarks(postgres)
        leaving.push_async_callback(remarks.drain)
        courier = Courier(outbound, clock, lanes=lanes, seconds=settings.channel_seconds)
        desk = Desk(
            verify=Verify(
                keyring,
                scheme=public_base(settings).partition("://")[0],
                authorities=authorities(settings),
            ),
            admission=Admission(workers=settings.workers, no_channel=lanes.objection),
            match=Match(),
            idempotency=Idempotency(claims),
            routing=routing,
            channels=Channels(registry, courier, clock, remarks),
            notices=NoticeBox(postgres, clock),
            remarks=remarks,
            ledger=ledger,
            refunds=refunds,
            recovery=RecoveryQueue(postgres, functools.partial(_paces, registry)),
            reader=Reader(postgres),
            feed=Feed(postgres),
            webhooks=Webhooks(postgres, vault, clock, _guard(settings)),
            deliveries=Deliveries(postgres),
            clock=clock,
        )
        queues = {"claims": claims.waiting, **ledger.queues(), **refunds.queues()}
        leaving.callback(asyncio.create_task(beat(queues)).cancel)
        stranded, secrets = StrandedWatch(postgres, registry), SecretWatch(postgres, vault)
        held = [keyring, registry, fees, policy, routing, stranded, secrets]
        telling = [desk.admission.tell, lanes.tell]
        keys = KeyFetcher(registry, courier, credentials, clock=clock)
        yield House(settings, postgres, registry, keys, desk, held, telling, stranded)


@contextlib.asynccontextmanager
async def relay_of(home: House) -> AsyncIterator[Relay]:
    """Make the relay of webhooks, with its own guarded client."""
    async with GuardedOutbound(_guard(home.settings)) as outbound:
        outbox = Outbox(home.postgres)
        yield Relay(outbox, outbound, vault_of(home.settings), home.desk.clock)


def retention_of(home: House) -> Retention:
    """Make the duty to forget."""
    return Retention(home.postgres, home.desk.clock)


def _guard(settings: Settings) -> Guard:
    return Guard(loopback=settings.webhook_loopback)


def server_of(home: House) -> ApiServer:
    """Make the HTTP server of one worker."""
    settings = home.settings
    pages = Pages(
        version=version("floodgate"),
        server=public_base(settings),
        shared_metrics=Path(settings.metrics_dir) if settings.metrics_dir else None,
        ready=Readiness(home.postgres).missing,
        troubles={"credentials": home.registry.troubles, "stranded": home.stranded.found},
    )
    return ApiServer(home.desk, pages)


async def prove_everything(settings: Settings) -> list[proofs.Proof]:
    """Prove the books, and where a simulator is configured hold its books beside ours."""
    postgres = postgres_of(settings, connections=1)
    await postgres.open()
    try:
        proved = await proofs.prove(postgres)
        if settings.simulator_url:
            before = await _simulator_books(settings)
            ours = await proofs.our_books(postgres, _SCRIPTED)
            proved.append(proofs.compare(before, ours, await _simulator_books(settings)))
    finally:
        await postgres.close()
    return sorted(proved, key=lambda proof: proof.id)


async def _simulator_books(settings: Settings) -> list[proofs.Booking]:
    request = WireRequest("GET", "/books", {}, b"")
    booked = []
    async with Outbound(answer_bytes_max=1 << 31) as outbound:
        for url in filter(None, (settings.simulator_url, settings.simulator_b_url)):
            try:
                answer = await outbound.send(url, request, seconds=600)
            except FloodgateError as error:
                raise FloodgateError(f"the simulator's books cannot be read: {error}") from None
            if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
                raise FloodgateError("the simulator's books cannot be read")
            booked += proofs.read_books(answer.body)
    return booked
