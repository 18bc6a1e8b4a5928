"""A proxy beside the gateway: all workers answer on one Unix socket as they do on their port."""

import asyncio
import signal
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
from msgspec.structs import replace

from tests.e2e.harness import Shop, System, free_port, order, until
from tests.e2e.wire import asked, connected, signed, written


async def test_a_proxy_reaches_all_workers_through_one_socket(
    system: System, shop: Shop, tmp_path: Path
) -> None:
    door = tmp_path / "floodgate.sock"
    settings = replace(system.settings, port=free_port(), socket=str(door), workers=2)
    system.start("beside", "serve", settings=settings)
    await system.ready(f"http://127.0.0.1:{settings.port}")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(door))) as session:
        behind = Shop(shop.base_url, shop.merchant, shop.credentials, session)
        paid = await asyncio.gather(*(behind.pay() for _ in range(8)))
        assert [each.status for each in paid] == [201] * 8
        refused = await behind.send("GET", "/v1/payments", b"", {})
        page = await behind.send("GET", "/healthz", b"", {})  # aiohttp's, not the front's
        assert (refused.status, page.status) == (401, 200)
    assert (await shop.payment(paid[0].json["id"])).get("status") == "succeeded"
    request = written(signed(shop, asked(shop, "POST", "/v1/payments", order())))
    async with connected(f"http://127.0.0.1:{settings.port}") as wire:
        await wire.send(request[:-1])
        system.send("beside", signal.SIGTERM)
        # A worker waits for the last byte, but nobody waits for a worker.
        await until(lambda: is_shut(asyncio.open_unix_connection(door)))
        await until(lambda: is_shut(asyncio.open_connection("127.0.0.1", settings.port)))
        await wire.send(request[-1:])
        assert (await wire.answer()).status == 201
    assert system.ended("beside") == 0
    assert not door.exists()


async def is_shut(coming: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> bool:
    """Tell whether nobody can come in, to wait for a worker that accepts no more."""
    try:
        _, writer = await coming
    except (FileNotFoundError, ConnectionRefusedError):
        return True
    writer.close()
    return False
