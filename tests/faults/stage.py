"""The stage of a fault run: every process of a Floodgate, killable, behind wires of its own."""

import asyncio
import contextlib
import dataclasses
import functools
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import asyncpg
from msgspec.structs import replace

from gateway.drivers import sealing
from gateway.drivers.embedded import Servers
from gateway.drivers.migrations import migrate
from gateway.drivers.processes import Child, spawn
from gateway.settings import Settings
from tests.e2e.harness import READY_SECONDS, Shop, System, free_port, until
from tests.fakes.proxy import Proxy
from tests.faults.plan import POLICIES
from tests.faults.postman import Postman

_LOOK_SECONDS: Final = 0.05


class Actor:
    """A process that may be killed at any time and rises again while it is tended."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] = spawn(child)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that just died does not hear it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def tend(self) -> None:
        """Start it again if it is dead."""
        if self.process.poll() is not None:
            self.process = spawn(self.child)

    async def ready(self) -> None:
        """Wait until it serves."""

        async def serves() -> bool:
            return self.process.poll() is None and self.child.ready(self.process.pid)

        await until(serves, READY_SECONDS)

    async def stop(self) -> None:
        """Let it end in order; its wires are ours and must go on meanwhile."""
        self.send(self.child.stop_signal)
        await asyncio.to_thread(self.process.wait)


@dataclass
class Wires:
    """The wires of one process of ours: each can be stopped, hung, cut or shut.

    Two channels lead to the acquirer, by doors of their own.
    """

    postgres: Proxy
    redis: Proxy
    acquirer: Proxy
    second_door: Proxy

    async def cut(self) -> None:
        """End every connection of the process."""
        for wire in (self.postgres, self.redis, self.acquirer, self.second_door):
            await wire.cut()

    async def shut(self, seconds: float) -> None:
        """Let the acquirer refuse connections at its first door for so long."""
        await self.acquirer.refuse()
        await asyncio.sleep(seconds)
        await self.acquirer.accept()

    def settings(self, direct: Settings) -> Settings:
        """The settings by which a process uses these wires."""
        user = urlsplit(direct.database_url).username
        database = urlsplit(direct.database_url).path
        return replace(
            direct,
            database_url=f"postgresql://{user}@127.0.0.1:{self.postgres.port}{database}"
            "?sslmode=disable",
            redis_url=f"redis://127.0.0.1:{self.redis.port}/0",
            simulator_url=f"http://127.0.0.1:{self.acquirer.port}",
            simulator_b_url=f"http://127.0.0.1:{self.second_door.port}",
        )


@dataclass
class Player:
    """One process of ours with its wires; a gateway worker has an address, too."""

    actor: Actor
    wires: Wires
    base_url: str = ""


@dataclass
class Stage:
    """Everything that runs, and the merchants, one for each policy about late money."""

    settings: Settings
    owner_url: str
    folder: Path
    postman: Postman
    postgres: Actor
    redis: Actor
    acquirer: Actor
    gateways: list[Player]
    worker: Player
    shops: list[Shop]

    @property
    def actors(self) -> list[Actor]:
        """Every process, in the order in which they may start."""
        ours = [player.actor for player in (*self.gateways, self.worker)]
        return [self.postgres, self.redis, self.acquirer, *ours]

    async def tend(self) -> None:
        """Start whoever died again, for ever."""
        while True:
            for actor in self.actors:
                actor.tend()
            await asyncio.sleep(_LOOK_SECONDS)

    async def ready(self) -> None:
        """Wait until every process serves, and every gateway every merchant."""
        for actor in self.actors:
            await actor.ready()
        for shop in self.shops:
            for gateway in self.gateways:
                here = dataclasses.replace(shop, base_url=gateway.base_url)
                await until(functools.partial(_is_served, here), READY_SECONDS)


async def _is_served(shop: Shop) -> bool:
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(2):
            return (await shop.call("GET", "/v1/events")).status == 200
    return False


@contextlib.asynccontextmanager
async def set_up(folder: Path, seed: int) -> AsyncIterator[Stage]:
    """Start everything on this folder; it is stopped in order.

    The servers keep what they acknowledged when they are killed.  PostgreSQL does without fsync:
    nobody pulls the machine's plug, and after each crash it would take seconds to sync its folder.
    """
    async with contextlib.AsyncExitStack() as held:
        servers = held.enter_context(Servers(folder / "data"))
        database = servers.postgres()
        postgres = Actor(replace(database, argv=[*database.argv, "--fsync=off"]))
        redis = Actor(servers.redis())
        held.push_async_callback(redis.stop)
        held.push_async_callback(postgres.stop)
        await postgres.ready()
        await redis.ready()
        await migrate(servers.owner_url)
        ports = [free_port(), free_port()]
        postman = Postman(
            [f"http://127.0.0.1:{port}" for port in ports], random.Random(f"{seed} postman")
        )
        await held.enter_async_context(postman)
        settings = Settings(
            database_url=servers.app_url,
            redis_url=servers.redis_url,
            port=ports[0],
            simulator_url=f"http://127.0.0.1:{free_port()}",
            public_url=postman.base_url,
            master_key=sealing.new_master_key(),
            database_connections=4,
            channel_seconds=1.0,
        )
        acquirer = _acquirer(settings, folder)
        held.push_async_callback(acquirer.stop)
        gateways = [await _gateway(settings, folder, port, held) for port in ports]
        wires = await _wires(settings, held)
        worker = Player(Actor(_child("work", wires.settings(settings), folder, "work")), wires)
        held.push_async_callback(worker.actor.stop)
        shops = [await _shop(settings, folder, policy, held) for policy in POLICIES]
        stage = Stage(
            settings,
            servers.owner_url,
            folder,
            postman,
            postgres,
            redis,
            acquirer,
            gateways,
            worker,
            shops,
        )
        await stage.ready()
        tending = asyncio.create_task(stage.tend())
        try:
            yield stage
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending


def _child(name: str, settings: Settings, folder: Path, *words: str) -> Child:
    return Child(
        name=name,
        argv=[sys.executable, "-m", "gateway", *words],
        environment=settings.environment(),
        log=folder / f"{name}.log",
    )


def _acquirer(settings: Settings, folder: Path) -> Actor:
    port = str(urlsplit(settings.simulator_url).port)
    words = ("simulator", "--port", port, "--data", str(folder / "acquirer"))
    return Actor(_child("acquirer", settings, folder, *words))


async def _gateway(
    settings: Settings, folder: Path, port: int, held: contextlib.AsyncExitStack
) -> Player:
    wires = await _wires(settings, held)
    child = _child(
        f"gateway-{port}",
        replace(wires.settings(settings), port=port),
        folder,
        "serve",
        "--one",
    )
    actor = Actor(child)
    held.push_async_callback(actor.stop)
    return Player(actor, wires, f"http://127.0.0.1:{port}")


async def _wires(settings: Settings, held: contextlib.AsyncExitStack) -> Wires:
    database, memory = urlsplit(settings.database_url), urlsplit(settings.redis_url)
    place = {name: values[0] for name, values in parse_qs(database.query).items()}
    acquirer = ("127.0.0.1", urlsplit(settings.simulator_url).port or 0)
    targets = (
        f"{place['host']}/.s.PGSQL.{place['port']}",
        unquote(memory.path),
        acquirer,
        acquirer,
    )
    return Wires(*[await held.enter_async_context(Proxy(target)) for target in targets])


async def _shop(
    settings: Settings, folder: Path, policy: str, held: contextlib.AsyncExitStack
) -> Shop:
    shop = await held.enter_async_context(_opened(System(settings, folder), policy))
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute("UPDATE merchant SET late_success = $1 WHERE name = $1", policy)
    await connection.close()
    return shop


@contextlib.asynccontextmanager
async def _opened(system: System, name: str) -> AsyncIterator[Shop]:
    await system.ready()
    async with system.shop(name) as shop:
        yield shop
