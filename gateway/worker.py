"""The two long-running processes of ours: a gateway worker on the port, and the background worker.

SIGTERM drains: nothing new is accepted, what began is finished and made durable, exit 0.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

from gateway import assembly
from gateway.channels.simulator import server as simulator
from gateway.channels.simulator.server import SimulatorConfig
from gateway.drivers import interpreter, listening, telemetry
from gateway.drivers.reloading import kept_fresh
from gateway.faces.api import entrance
from gateway.flow.resume import keep_resuming
from gateway.settings import Settings

logger: Final = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def until_told_to_stop() -> AsyncIterator[asyncio.Event]:
    """Give an event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop


async def serve(settings: Settings) -> None:
    """Serve the API until told to stop, then drain."""
    async with (
        until_told_to_stop() as stop,
        assembly.house(settings) as home,
        kept_fresh(settings.database_url, home.held),
        telemetry.kept_told(home.telling),
    ):
        with listening.opened(settings.host, settings.port, settings.socket) as doors:
            async with entrance.opened(assembly.server_of(home), doors):
                interpreter.settle()
                await stop.wait()


async def work(settings: Settings) -> None:
    """Run the background worker until told to stop: recovery, webhooks, retention, keys."""
    async with (
        until_told_to_stop() as stop,
        assembly.house(settings) as home,
        kept_fresh(settings.database_url, home.held),
        assembly.relay_of(home) as relay,
    ):
        retention = assembly.retention_of(home)
        duties = keep_resuming(home.desk), relay.run(), retention.run(), home.keys.run()
        await _until(stop, *duties)


async def _until(stop: asyncio.Event, *duties: Coroutine[Any, Any, None]) -> None:
    """Do these duties until told to stop; none ends by itself, so what ends one ends all."""
    doing = [asyncio.create_task(duty) for duty in duties]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, *doing}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, *doing):
        task.cancel()
    for end in await asyncio.gather(*doing, return_exceptions=True):
        if isinstance(end, Exception):
            raise end


async def simulate(config: SimulatorConfig) -> None:
    """Run the simulated acquirer until told to stop."""
    async with until_told_to_stop() as stop, simulator.running(config):
        interpreter.settle()
        await stop.wait()
