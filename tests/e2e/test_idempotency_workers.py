"""`floodgate serve`: workers share a port, the dead are replaced, a drain answers what began."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.e2e.harness import Reply, Shop, System, free_port, order, until
from tests.e2e.idempotency_kit import Witness, insist

KEY = "order-4711"
PATH = "/v1/payments"
WORKERS = 2
LISTENS = "0A"  # as /proc/net/tcp writes the state


@pytest.fixture
async def served(system: System, shop: Shop) -> AsyncIterator[Shop]:
    """The merchant at the workers of one `serve`, with a new connection for every request."""
    settings = msgspec.structs.replace(system.settings, port=free_port(), channel_seconds=3.0)
    system.start("serve", "serve", "--workers", str(WORKERS), settings=settings)
    base_url = f"http://127.0.0.1:{settings.port}"
    await until(partial(are_listening, base_url))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield replace(shop, base_url=base_url, session=session)
    if "serve" in system.processes:
        await asyncio.to_thread(system.kill, "serve", signal.SIGTERM)


async def are_listening(base_url: str) -> bool:
    """Tell whether every worker has a socket of its own on the one port."""
    place = f"0100007F:{int(base_url.rpartition(':')[2]):04X}"
    return [state for where, state in tcp_sockets() if where == place].count(LISTENS) == WORKERS


def tcp_sockets() -> list[tuple[str, str]]:
    """Each TCP socket of this machine: its local place, and its state."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return [(line[1], line[3]) for line in lines]


def workers_of(system: System) -> list[int]:
    pid = system.processes["serve"].pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_the_dead_are_replaced_and_their_work_is_taken_over(
    system: System, shop: Shop, served: Shop, witness: Witness
) -> None:
    """Each worker is killed in turn while it serves; nothing here lends a hand to the recovery."""
    bodies = [order("tok_latency_300") for _ in range(20)]

    async def buy(body: dict[str, Any]) -> list[Reply]:
        """Ask at the workers that die, and where there is no answer elsewhere."""
        key = body["reference"]
        try:
            first = await served.call("POST", PATH, body, key=key)
        except aiohttp.ClientError:
            first = await insist(shop, body, key)
        return [first, await insist(shop, body, key)]

    buying: list[asyncio.Task[list[Reply]]] = []
    for worker, some in zip(workers_of(system), (bodies[:10], bodies[10:]), strict=True):
        buying += [asyncio.create_task(buy(body)) for body in some]
        await until(partial(witness.is_heard, shop, payments=len(buying)))
        os.kill(worker, signal.SIGKILL)
        await until(partial(is_replaced, system, worker))
        await until(partial(are_listening, served.base_url))
    for first, again in await asyncio.gather(*buying):
        assert first.json["status"] == "succeeded"
        assert first.body == again.body
    await witness.proves(shop, payments=len(bodies), captures=len(bodies))


async def is_replaced(system: System, worker: int) -> bool:
    workers = workers_of(system)
    return worker not in workers and len(workers) == WORKERS


async def test_sigterm_lets_a_running_payment_end(
    system: System, shop: Shop, served: Shop, witness: Witness
) -> None:
    body = order("tok_latency_800")
    paying = asyncio.create_task(served.call("POST", PATH, body, key=KEY))
    await until(partial(witness.payment_of, shop, body["reference"]))
    exit_status = await asyncio.to_thread(system.kill, "serve", signal.SIGTERM)
    answer = await paying
    assert (answer.status, answer.json["status"], exit_status) == (201, "succeeded", 0)
    with pytest.raises(aiohttp.ClientConnectorError):
        await served.call("GET", PATH)
    assert (await insist(shop, body, KEY)).body == answer.body
    await witness.proves(shop)
